"""What `make up` starts, asked from where its users stand: the host, and containers on networks of their own."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections.abc import Iterator

import psycopg2
import pytest
import requests

from scripts.setup import base_images, cleaning, engine
from scripts.setup.stack import Stack

SECOND_RUN_SECONDS = 15


@pytest.fixture(scope="module")
def live() -> Stack:
    return Stack.load().ensure_up()


@pytest.fixture
def name() -> Iterator[str]:
    """Return a stack's name that nobody else uses; what carries its label is gone afterwards."""
    name = f"odooops-setup-{uuid.uuid4().hex[:8]}"
    yield name
    cleaning.remove_objects(name, (f"{name}/",))


def get(live: Stack, path: str, host: str = "localhost") -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(live.proxy_url + path, headers={"Host": host}, timeout=30, allow_redirects=False)


def test_second_run_reaches_the_main_job_quickly(live: Stack) -> None:
    began = time.monotonic()
    live.ensure_up()
    assert time.monotonic() - began < SECOND_RUN_SECONDS


def test_administrator_logs_in_with_the_made_password(live: Stack) -> None:
    params = {"db": live.control_database, "login": "admin", "password": live.admin_password}
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(f"{live.console_url}/web/session/authenticate", json={"params": params}, timeout=60)
    assert answer.json()["result"]["is_admin"]


def test_console_has_no_database_manager(live: Stack) -> None:
    for path in ("/web/database/manager", "/web/database/selector", "/web/database/list"):
        assert get(live, path).status_code == 404


def test_console_is_not_served_under_a_name_that_nobody_gave(live: Stack) -> None:
    assert get(live, "/web/login", host="other.test").status_code == 404


def test_websocket_goes_to_the_process_that_speaks_it(live: Stack) -> None:
    headers = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Origin: {live.console_url}",
        "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==",
    ]
    asked = ["curl", "--silent", "--include", "--no-buffer", "--max-time", "5", f"{live.console_url}/websocket"]
    argv = asked + [word for header in headers for word in ("--header", header)]
    answer = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert answer.stdout.startswith("HTTP/1.1 101"), answer.stdout


@pytest.mark.parametrize("where", ["the host", "a container on a network of its own"])
def test_customers_postgresql_has_one_address_everywhere(live: Stack, name: str, where: str) -> None:
    query = "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user"
    if where == "the host":
        connection = psycopg2.connect(live.customers_dsn)
        with connection.cursor() as cursor:
            cursor.execute(query)
            found = list(cursor.fetchone())
        connection.close()
    else:
        label = f"--label=odooops.stack={name}"
        engine.docker("network", "create", label, name)
        program = (
            "import json, os, psycopg2; cursor = psycopg2.connect(os.environ['DSN']).cursor(); "
            "cursor.execute(os.environ['QUERY']); print(json.dumps(cursor.fetchone()))"
        )
        found = json.loads(
            engine.docker(
                "run",
                "--rm",
                label,
                f"--network={name}",
                f"--env=DSN={live.customers_dsn}",
                f"--env=QUERY={query}",
                "--entrypoint=python3",
                base_images.ODOO,
                "-c",
                program,
            )
        )
    assert found == [False, True, True]


def test_consoles_role_may_nothing_but_use_its_database(live: Stack) -> None:
    query = "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = 'odooops_control'"
    psql = ["psql", "--username=postgres", "--tuples-only", "--no-align", f"--command={query}"]
    assert engine.docker("exec", live.container("control-db"), *psql).strip() == "f"


def test_caddys_admin_api_has_no_port(live: Stack) -> None:
    curl = ["curl", "--silent", "--max-time", "3", "http://caddy:2019/config/"]
    argv = [engine.client(), "exec", live.container("control"), *curl]
    asked = subprocess.run(argv, capture_output=True, check=False)
    assert asked.returncode == 7  # curl: nobody listens


def test_no_secret_stands_in_an_images_history_or_a_containers_arguments(live: Stack) -> None:
    files = [path for path in (live.state / "secrets").rglob("*") if path.is_file() and path.suffix != ".json"]
    assert len(files) > 5
    secrets = [path.read_text().strip() for path in files]
    shown = "".join(engine.docker("history", "--no-trunc", live.images[part]) for part in ("control", "agent"))
    names = engine.docker("ps", "--quiet", f"--filter=label=odooops.stack={live.name}").split()
    for one in json.loads(engine.docker("inspect", *names)):
        shown += json.dumps([one["Args"], one["Path"], one["Config"]["Labels"], one["Config"]["Env"]])
    assert not [secret for secret in secrets if secret in shown]


def test_removing_takes_what_carries_the_label_and_nothing_else(name: str) -> None:
    label = f"--label=odooops.stack={name}"
    other = f"{name}-other"
    kept = f"{name}-kept"
    try:
        for kind in ("network", "volume"):
            engine.docker(kind, "create", label, name)
            engine.docker(kind, "create", kept)
        run = ["run", "--detach", "--entrypoint=sleep"]
        mine = [label, f"--name={name}", f"--network={name}", f"--volume={name}:/data"]
        engine.docker(*run, *mine, base_images.DEBIAN, "600")
        engine.docker(*run, f"--name={other}", f"--network={name}", base_images.DEBIAN, "600")
        engine.docker("tag", base_images.DEBIAN, f"{name}/demo")
        removed = cleaning.remove_objects(name, (f"{name}/",))
        assert removed == {"containers": 1, "networks": 1, "volumes": 1, "images": 1}
        assert engine.docker("inspect", "--format={{.State.Running}}", other).strip() == "true"
        assert engine.image(base_images.DEBIAN)
        for kind in ("network", "volume"):
            assert engine.docker(kind, "inspect", kept)
    finally:
        subprocess.run([engine.client(), "rm", "--force", other], capture_output=True, check=False)
        for kind in ("network", "volume"):
            subprocess.run([engine.client(), kind, "rm", kept], capture_output=True, check=False)
