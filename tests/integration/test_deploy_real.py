"""Releases travel into real Odoo containers, under load and with an agent that is killed where it hurts most.

The tests share one droplet. Each crash leads back to v1.0.0, but the last, which leads forward; so they stand in order.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from parts.caddy import wait_until
from parts.droplet import STATUS, Droplet, Environment, build_images
from parts.engine import Stack, running_stack
from parts.load import Load
from parts.postgres import NEWEST, Cluster, running_cluster

PROD = Environment("demo/prod")
UNFIT = "INSERT INTO workshop_order (name, state, duration) VALUES ('WO/004', 'new', 'about an hour')"
VERSION = "SELECT latest_version FROM ir_module_module WHERE name = 'workshop'"
ORDERS = "SELECT name, duration FROM workshop_order ORDER BY name"


@pytest.fixture(scope="module")
def deploy_stack() -> Iterator[Stack]:
    with running_stack() as made:
        yield made


@pytest.fixture(scope="module")
def deploy_cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="odooops-postgres-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with running_cluster(NEWEST, Path(folder) / "cluster") as started:
            yield started


@pytest.fixture(scope="module")
def droplet(deploy_stack: Stack, deploy_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Droplet:
    """A droplet whose prod serves v1.0.0, installed by the agent."""
    images = build_images(deploy_stack, tmp_path_factory.mktemp("sample"))
    made = Droplet(deploy_stack, deploy_cluster, images)
    began = time.monotonic()
    ended = made.deploy(PROD, "v1.0.0")
    print(f"first installation in {time.monotonic() - began:.1f} s: {ended}")
    assert ended["outcome"] == "succeeded", ended
    made.sql(PROD, UNFIT)
    return made


def serves(droplet: Droplet, version: str, release: str) -> None:
    """The environment is wholly on one release: code, modules and data; one web and one cron container run."""
    status = droplet.status(PROD)
    assert status
    assert (status["version"], status["release"]) == (version, release)
    assert droplet.sql(PROD, VERSION) == [(version,)]
    assert set(droplet.containers(PROD)) == {"web", "cron"}
    assert ("WO/004", "about an hour") in droplet.sql(PROD, ORDERS)
    assert not any("__x" in name for name in droplet.databases())
    assert droplet.sql(PROD, f"SELECT has_database_privilege('{PROD.database}', '{PROD.database}', 'CONNECT')") == [
        (True,)
    ]


HOLD_LIMIT_SECONDS = 45


def no_failure(load: Load, what: str) -> None:
    """Nobody saw an error; on a machine so busy that a hold outlives its limit, the maintenance page is none."""
    print(f"{what}: {len(load.waits)} requests, {len(load.failures)} failed, longest {load.longest_seconds:.2f} s")
    held_too_long = load.longest_seconds >= HOLD_LIMIT_SECONDS
    assert [each for each in load.failures if not (held_too_long and each.startswith("503"))] == []


def load_on(droplet: Droplet) -> Load:
    return Load(droplet.address, PROD.host, clients=8, path=STATUS, posts=False)


def test_a_first_installation_serves(droplet: Droplet) -> None:
    serves(droplet, "19.0.1.0.0", "1.0.0")


@pytest.mark.parametrize(
    "point",
    ["after:hold_requests", "after:snapshot_filestore", "after:drain_requests", "before:verify_update"],
)
def test_an_agent_killed_before_the_verdict_goes_back(droplet: Droplet, point: str) -> None:
    with load_on(droplet) as load:
        droplet.deploy(PROD, "v1.1.0", kill=point)
        ended = droplet.recover()
    assert ended["outcome"] == "failed", ended
    serves(droplet, "19.0.1.0.0", droplet_release(droplet))
    no_failure(load, f"killed at {point} and started again")


def droplet_release(droplet: Droplet) -> str:
    """v1.0.1 differs from v1.0.0 in one static file only, and either may be the base of the crashes."""
    status = droplet.status(PROD)
    return str(status["release"]) if status else ""


def test_an_agent_killed_while_odoo_has_committed_the_first_module_goes_back(droplet: Droplet) -> None:
    with load_on(droplet) as load:
        agent = droplet.start(PROD, "v1.1.0")
        # Not before the update runs: a superuser's session in the database would, rightly, refuse the deployment.
        wait_until(lambda: "update" in droplet.containers(PROD), 120, "the update runs")
        wait_until(lambda: droplet.sql(PROD, VERSION) == [("19.0.1.1.0",)], 120, "the module is committed")
        assert agent.poll() is None, droplet.log()
        agent.kill()
        agent.communicate()
        ended = droplet.recover()
    assert ended["outcome"] == "failed", ended
    serves(droplet, "19.0.1.0.0", "1.0.0")
    no_failure(load, "killed after the first module's commit and started again")


def test_a_migration_that_raises_is_taken_back_though_the_agent_dies_between_the_renames(droplet: Droplet) -> None:
    with load_on(droplet) as load:
        droplet.deploy(PROD, "v1.2.0", kill="rename:2")
        ended = droplet.recover()
    assert ended["outcome"] == "failed", ended
    serves(droplet, "19.0.1.0.0", "1.0.0")
    no_failure(load, "failed migration, killed between the renames and started again")


def test_a_migration_that_raises_is_taken_back(droplet: Droplet) -> None:
    with load_on(droplet) as load:
        ended = droplet.deploy(PROD, "v1.2.0")
    assert ended["outcome"] == "failed"
    assert "WO/004" in str(ended), ended
    serves(droplet, "19.0.1.0.0", "1.0.0")
    no_failure(load, "failed migration")


def test_a_change_of_code_only_makes_nobody_wait(droplet: Droplet) -> None:
    with load_on(droplet) as load:
        ended = droplet.deploy(PROD, "v1.0.1")
    assert ended["outcome"] == "succeeded", ended
    serves(droplet, "19.0.1.0.0", "1.0.1")
    no_failure(load, "code-only deploy")
    assert load.longest_seconds < 5  # the new Odoo starts on the same cores; make bench measures the goal


def test_two_projects_on_one_droplet_reach_neither_each_others_database_nor_files(droplet: Droplet) -> None:
    other = Environment("garage/prod")
    before = set(droplet.databases())
    assert droplet.deploy(other, "v1.0.0")["outcome"] == "succeeded"
    assert droplet.databases() - before == {other.database}
    for mine, theirs in ((PROD, other), (other, PROD)):
        web = droplet.containers(mine)["web"]
        assert "permission denied for database" in inside(droplet, web, CONNECT, theirs.database)
        assert inside(droplet, web, CONNECT, mine.database) == "connected"
        mounts = droplet.stack.client.api.inspect_container(web)["Mounts"]
        binds = [each["Source"] for each in mounts if each["Type"] == "bind"]
        assert binds
        assert all(source.startswith(f"{droplet.stack.data_root}/{mine.key}") for source in binds)
        assert theirs.database not in inside(droplet, web, "import os; print(os.listdir('/var/lib/odoo/filestore'))")


CONNECT = """
import configparser, sys, psycopg2
own = configparser.RawConfigParser(); own.read("/etc/odoo/odoo.conf"); own = own["options"]
try:
    psycopg2.connect(host=own["db_host"], port=own["db_port"], user=own["db_user"], password=own["db_password"],
                     dbname=sys.argv[1], connect_timeout=5).close()
    print("connected")
except psycopg2.OperationalError as error:
    print(str(error).replace("\\n", " "))
"""


def inside(droplet: Droplet, container: str, program: str, *arguments: str) -> str:
    lines: list[str] = []
    droplet.stack.runtime().execute(container, ["odooops-python", "-c", program, *arguments], 20, lines.append)
    return " ".join(lines)


def test_an_agent_killed_before_the_release_goes_forward(droplet: Droplet) -> None:
    with load_on(droplet) as load:
        droplet.deploy(PROD, "v1.1.0", kill="before:release_requests")
        ended = droplet.recover()
    assert ended["outcome"] == "succeeded", ended
    serves(droplet, "19.0.1.1.0", "1.1.0")
    no_failure(load, "killed before the release and started again")


def test_nothing_is_left_of_all_the_failures(droplet: Droplet) -> None:
    snapshots = {name for name in droplet.databases() if "__s" in name}
    kept: dict[str, Any] = {"databases": snapshots}
    folder = droplet.stack.data_root / PROD.key / "snapshots"
    kept["files"] = sorted(path.name for path in folder.iterdir())
    print(kept)
    assert len(snapshots) == 1  # of the release that is live: its way back
    assert len(kept["files"]) == 1
