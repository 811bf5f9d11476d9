"""Production's restore set becomes staging, with real Odoo, PostgreSQL and Docker: nothing in it acts, at no moment.

The set holds what a customer's database may hold: mail servers and mail that waits, keys in parameters, fields and
files, scheduled actions that are due. A sink that counts who connects stands where they all point. The tests share one
droplet and stand in order.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from parts.droplet import Droplet, Environment, build_images
from parts.engine import Stack, running_stack
from parts.postgres import NEWEST, Cluster, running_cluster

PROD, STAGE = Environment("demo/prod"), Environment("demo/stage")
AS_OF = "2026-11-23T10:00:00Z"
KEY_FILE = b"-----BEGIN PRIVATE KEY----- the customer's own"
KEPT_FILE = b"a photograph of a bicycle"
ATTACHED = """
    INSERT INTO ir_attachment (name, type, store_fname, mimetype) VALUES ('{title}', 'binary', '{file}', 'image/jpeg')
"""
MAY_CONNECT = """
    SELECT pg_get_userbyid(datdba), has_database_privilege('{role}', datname, 'CONNECT') FROM pg_database
    WHERE datname = '{name}'
"""
NOW = "now() AT TIME ZONE 'UTC'"
DANGERS = """
UPDATE ir_mail_server SET active = true;
INSERT INTO ir_mail_server (name, smtp_host, smtp_port, smtp_user, smtp_pass, smtp_encryption, smtp_authentication,
    active) VALUES ('real', '{host}', {port}, 'shop', 'hunter2', 'none', 'login', true);
INSERT INTO fetchmail_server (name, state, server, port, server_type, "user", password, active)
    VALUES ('inbox', 'done', '{host}', {port}, 'pop', 'shop', 'hunter2', true);
INSERT INTO mail_message (message_type, subject, email_from) VALUES ('email', 'Your invoice', 'shop@example.com');
INSERT INTO mail_mail (mail_message_id, state, email_to, body_html)
    VALUES ((SELECT max(id) FROM mail_message), 'outgoing', 'customer@example.org', 'Pay');
UPDATE ir_cron SET active = true, nextcall = {now} - interval '1 day';
UPDATE ir_act_server SET state = 'code', code = 'env["ir.mail_server"].connect(host="{host}", port={port})'
    WHERE id IN (SELECT ir_actions_server_id FROM ir_cron);
INSERT INTO res_users_apikeys (name, user_id, scope, index, key) VALUES ('shop', 2, 'rpc', '12345678', 'hash');
INSERT INTO ir_config_parameter (key, value) VALUES ('shop.api_key', 'sesame'), ('shop.endpoint', 'https://u:p@{host}/'),
    ('shop.opening_hours', 'nine to five');
ALTER TABLE workshop_order ADD COLUMN gateway_secret varchar;
UPDATE workshop_order SET gateway_secret = 'sesame';
CREATE VIEW workshop_view AS SELECT id FROM workshop_order;
CREATE TYPE workshop_kind AS ENUM ('bicycle');
CREATE FUNCTION workshop_sum(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1';
SELECT lo_create(0);
"""


class Sink:
    """Counts who connects, by SMTP, POP or HTTP."""

    def __init__(self, host: str) -> None:
        self.host, self.count = host, 0
        self._server = socket.create_server((host, 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._server.accept()[0].close()
                self.count += 1

    def close(self) -> None:
        self._server.close()


@pytest.fixture(scope="module")
def copy_stack() -> Iterator[Stack]:
    with running_stack() as made:
        yield made


@pytest.fixture(scope="module")
def copy_cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="odooops-postgres-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with running_cluster(NEWEST, Path(folder) / "cluster") as started:
            yield started


@pytest.fixture(scope="module")
def sink(copy_stack: Stack) -> Iterator[Sink]:
    bridge = copy_stack.client.api.inspect_network("bridge")["IPAM"]["Config"][0]
    made = Sink(bridge.get("Gateway") or "172.17.0.1")
    yield made
    made.close()


@pytest.fixture(scope="module")
def droplet(copy_stack: Stack, copy_cluster: Cluster, sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Droplet:
    """A droplet whose prod serves v1.1.0 and has a restore set of v1.0.0 that is full of dangers."""
    made = Droplet(copy_stack, copy_cluster, build_images(copy_stack, tmp_path_factory.mktemp("sample")))
    assert made.deploy(PROD, "v1.0.0")["outcome"] == "succeeded"
    ended = made.deploy(PROD, "v1.1.0")
    assert ended["outcome"] == "succeeded", ended
    plant(made, snapshot(made), sink)
    return made


def snapshot(droplet: Droplet) -> dict[str, Any]:
    return droplet.sets[droplet.images["v1.0.0"].partition("@")[2]]


def plant(droplet: Droplet, target: dict[str, Any], sink: Sink) -> None:
    """Put the dangers into the closed set, where production does not act on them."""
    name, cluster = target["database_snapshot"], droplet.cluster
    cluster.as_superuser(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    text = DANGERS.format(host=sink.host, port=sink.port, now=NOW)
    cluster.as_superuser(f"SET ROLE {PROD.database}", text, database=name)
    folder = droplet.stack.data_root / PROD.key / target["filestore_snapshot"]
    for title, content in (("server.pem", KEY_FILE), ("bicycle.jpg", KEPT_FILE)):
        file = stored(content)
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(content)
        cluster.as_superuser(ATTACHED.format(title=title, file=file), database=name)
    cluster.as_superuser(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")


def stored(content: bytes) -> str:
    name = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    return f"{name[:2]}/{name}"


def clone(droplet: Droplet, kill: str = "", **rules: Any) -> dict[str, Any]:
    target = snapshot(droplet)
    uuid = droplet.sql(PROD, "SELECT value FROM ir_config_parameter WHERE key = 'database.uuid'")[0][0]
    source = {"environment": PROD.key, "tier": "production", "database": PROD.database, "database_uuid": uuid}
    given = {"source": {**source, "restore_set": target}, "data_as_of": AS_OF, "rules": rules}
    operation = droplet.describe(STAGE, "v1.0.0", "clone", clone=given)
    operation["environment"]["tier"] = "staging"
    return droplet.work(operation, kill)


def value(droplet: Droplet, statement: str, environment: Environment = STAGE) -> Any:
    return droplet.sql(environment, statement)[0][0]


def serves(droplet: Droplet) -> None:
    status = droplet.status(STAGE)
    assert status
    assert status["version"] == "19.0.1.0.0"
    assert set(droplet.containers(STAGE)) == {"web", "cron"}


def copies(droplet: Droplet) -> list[str]:
    return sorted(name for name in droplet.databases() if "__c" in name)


def production_as_before(droplet: Droplet) -> None:
    status = droplet.status(PROD)
    assert status
    assert status["version"] == "19.0.1.1.0"
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = '{}'"
    for name in (PROD.database, snapshot(droplet)["database_snapshot"]):
        assert droplet.cluster.as_superuser(owner.format(name)) == [(PROD.database,)]


def out_of_reach(droplet: Droplet, name: str) -> None:
    """Neither the environment's role nor production's may connect, and no server of theirs would list it."""
    for role in (STAGE.database, PROD.database):
        ((owner, may),) = droplet.cluster.as_superuser(MAY_CONNECT.format(role=role, name=name))
        assert owner not in (STAGE.database, PROD.database)
        assert not may


def test_a_first_copy_is_safe_and_serves(droplet: Droplet) -> None:
    began = time.monotonic()
    ended = clone(droplet, keep_parameters=["shop.opening_hours"])
    print(f"first copy in {time.monotonic() - began:.1f} s: {ended}")
    assert ended["outcome"] == "succeeded", ended
    serves(droplet)
    production_as_before(droplet)
    assert all(one["ok"] for one in ended["result"]["neutralised"])
    uuid = value(droplet, "SELECT value FROM ir_config_parameter WHERE key = 'database.uuid'")
    assert uuid == ended["result"]["database_uuid"]
    assert uuid != value(droplet, "SELECT value FROM ir_config_parameter WHERE key = 'database.uuid'", PROD)
    for nothing in (
        "SELECT count(*) FROM res_users_apikeys",
        "SELECT count(*) FROM mail_mail WHERE state = 'outgoing'",
        "SELECT count(*) FROM ir_config_parameter WHERE key IN ('shop.api_key', 'shop.endpoint')",
        "SELECT count(*) FROM workshop_order WHERE gateway_secret IS NOT NULL",
        "SELECT count(*) FROM ir_cron WHERE active AND cron_name NOT LIKE 'Base: Auto-vacuum%'",
        "SELECT count(*) FROM fetchmail_server WHERE active OR password IS NOT NULL",
        "SELECT count(*) FROM ir_mail_server WHERE smtp_host <> 'odooops-mail' OR smtp_pass IS NOT NULL",
    ):
        assert value(droplet, nothing) == 0, nothing
    assert value(droplet, "SELECT value FROM ir_config_parameter WHERE key = 'shop.opening_hours'") == "nine to five"
    assert "Copy of demo/prod as of 2026-11-23 10:00 UTC" in value(
        droplet, "SELECT arch_db ->> 'en_US' FROM ir_ui_view WHERE key = 'web.neutralize_banner' AND active"
    )


def test_its_files_are_its_own_and_hold_no_key(droplet: Droplet) -> None:
    ours = droplet.stack.data_root / STAGE.key / "filestore" / STAGE.database
    theirs = droplet.stack.data_root / PROD.key / snapshot(droplet)["filestore_snapshot"]
    assert (ours / stored(KEPT_FILE)).read_bytes() == KEPT_FILE
    assert not (ours / stored(KEY_FILE)).exists()
    # Who may write to a hard link writes to production's file.
    assert (ours / stored(KEPT_FILE)).stat().st_ino != (theirs / stored(KEPT_FILE)).stat().st_ino


def test_everything_in_it_belongs_to_it(droplet: Droplet) -> None:
    owners = """
        SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE proname = 'workshop_sum'
        UNION SELECT pg_get_userbyid(typowner) FROM pg_type WHERE typname = 'workshop_kind'
        UNION SELECT pg_get_userbyid(lomowner) FROM pg_largeobject_metadata
        UNION SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()
    """
    assert droplet.sql(STAGE, owners) == [(STAGE.database,)]
    for role in (PROD.database, f"{PROD.database}_upgrade"):
        may = f"SELECT has_database_privilege('{role}', '{STAGE.database}', 'CONNECT')"
        assert droplet.sql(STAGE, may) == [(False,)]


@pytest.mark.parametrize("point", ["acted:make_copy", "after:neutralise_modules", "acted:hand_over", "after:swap_copy"])
def test_killed_on_the_way_nothing_is_left_in_reach(droplet: Droplet, point: str) -> None:
    before = value(droplet, "SELECT value FROM ir_config_parameter WHERE key = 'database.uuid'")
    clone(droplet, kill=point)
    if "copy" in point.partition(":")[2] or "neutralise" in point:
        for name in copies(droplet):
            if point != "after:swap_copy":
                out_of_reach(droplet, name)
    ended = droplet.recover()
    assert ended["outcome"] == "failed", ended
    assert copies(droplet) == []
    assert value(droplet, "SELECT value FROM ir_config_parameter WHERE key = 'database.uuid'") == before
    serves(droplet)
    production_as_before(droplet)


def test_what_a_project_s_rule_still_finds_stays_closed(droplet: Droplet) -> None:
    rule = {"name": "orders", "reason": "No order may be there.", "sql": "", "unsafe": "SELECT 'nothing ' || 1"}
    ended = clone(droplet, extra=[rule])
    assert ended["error"]["code"] == "not_proven_safe", ended
    assert "orders finds nothing 1" in ended["error"]["message"]
    assert copies(droplet) == []
    serves(droplet)


def test_a_rule_that_fails_half_way_closes_it_too(droplet: Droplet) -> None:
    rule = {"name": "broken", "reason": "x", "sql": "UPDATE no_such_table SET a = 1", "unsafe": "SELECT 1 WHERE false"}
    ended = clone(droplet, extra=[rule])
    assert ended["error"]["code"] == "neutralize_failed", ended
    assert copies(droplet) == []
    serves(droplet)


def test_a_copy_replaces_the_one_before(droplet: Droplet, sink: Sink) -> None:
    ended = clone(droplet, obfuscate=True)
    print(ended)
    assert ended["outcome"] == "succeeded", ended
    serves(droplet)
    assert ended["result"]["restore_set"]["database_snapshot"] in droplet.databases()
    assert value(droplet, "SELECT count(*) FROM res_partner WHERE email LIKE '%@example.com'") == 0
    # Its cron has had its chance by now: what is due goes first.
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and sink.count == 0:
        time.sleep(1)
    assert sink.count == 0
    # The sink could have been reached: the droplet's firewall is not what kept it quiet here.
    knock = f"import socket; socket.create_connection(('{sink.host}', {sink.port}), 10)"
    web = droplet.containers(STAGE)["web"]
    assert droplet.stack.client.containers.get(web).exec_run(["odooops-python", "-c", knock]).exit_code == 0
    deadline = time.monotonic() + 10
    while sink.count == 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert sink.count == 1


def test_the_environment_s_own_role_can_t_enter_a_copy_in_the_making(droplet: Droplet) -> None:
    """Not even with its password: by connecting, as a server would."""
    clone(droplet, kill="acted:make_copy")
    (name,) = copies(droplet)
    dsn = f"host=127.0.0.1 port={droplet.cluster.port} dbname={name} user={STAGE.database} password="
    password = (droplet.stack.data_root / STAGE.key).glob("odoo-*.conf")
    found = [
        line.split(" = ")[1] for file in password for line in file.read_text().splitlines() if "db_password" in line
    ]
    assert found
    for each in found:
        with pytest.raises(psycopg2.OperationalError, match=r"permission denied|authentication failed"):
            psycopg2.connect(dsn + each)
    assert droplet.recover()["outcome"] == "failed"
