"""The doctor on real parts: all well, and then each thing that can be wrong, with its mend."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from odooops_agent.commands.odoo_conf import Cluster as OdooCluster
from odooops_agent.doctor import Check, run_checks
from odooops_agent.firewall import Firewall, read_firewall, remove_rules
from odooops_agent.secrets import Secret
from odooops_agent.settings import Settings
from odooops_agent.testing.grants import pin
from parts.caddy import wait_until
from parts.engine import Stack
from parts.postgres import Cluster

KEY = f"odooops_agent_1_{'k' * 43}"


class ControlPlane(BaseHTTPRequestHandler):
    """Knows one key, and its clock can be set wrong."""

    ahead_seconds = 0.0

    def do_GET(self) -> None:
        self._answer(200)

    def do_POST(self) -> None:
        self._answer(400 if self.headers["Authorization"] == f"Bearer {KEY}" else 401)

    def date_time_string(self, timestamp: float | None = None) -> str:
        import time

        return formatdate(time.time() + self.ahead_seconds, usegmt=True)

    def log_message(self, *arguments: object) -> None:
        pass

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def control_plane() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), ControlPlane)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    ControlPlane.ahead_seconds = 0.0


@pytest.fixture(scope="module")
def running(stack: Stack) -> Stack:
    config = {
        "admin": {"listen": f"unix/{stack.folder}/run/admin.sock|0600"},
        "apps": {"http": {"servers": {"odooops": {"listen": [":80"], "routes": []}}}},
    }
    (stack.folder / "caddy.json").write_text(json.dumps(config))
    stack.start_proxy(stack.folder / "caddy.json")
    wait_until((stack.folder / "run" / "admin.sock").exists, 10, "Caddy starts")
    return stack


@pytest.fixture
def firewall(running: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Firewall]:
    monkeypatch.setenv("ODOOOPS_STACK", running.name)
    monkeypatch.setenv("ODOOOPS_PG_DSN", "host=127.0.0.1")
    made = read_firewall()
    made.apply()
    yield made
    remove_rules(running.name)


@pytest.fixture
def settings(running: Stack, cluster: Cluster, control_plane: str, tmp_path: Path, firewall: Firewall) -> Settings:
    key_file = tmp_path / "agent.key"
    key_file.write_text(f"{KEY} {pin().text}")
    dsn_file = tmp_path / "pg_dsn"
    dsn_file.write_text(cluster.agent_dsn)
    for file in (key_file, dsn_file):
        file.chmod(0o600)
    return Settings(
        url=control_plane,
        key_file=key_file,
        state_dir=tmp_path,
        data_root=running.data_root,
        stack=running.name,
        pg_dsn=Secret(cluster.agent_dsn),
        pg_dsn_file=dsn_file,
        pg_quota_bytes=50 << 30,
        caddy_admin=f"unix://{running.folder}/run/admin.sock",
        caddy_container=running.proxy_name,
        targets_dir=running.targets.root,
        tls=False,
        cluster=OdooCluster("127.0.0.1", cluster.port, "prefer"),
        attach=(running.proxy_name,),
        backup_dir=tmp_path,
    )


def told(settings: Settings, name: str) -> Check:
    return next(check for check in run_checks(settings) if check.name == name)


def test_a_droplet_that_lacks_nothing(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    for check in run_checks(settings):
        print(check.ok, check.name, check.detail)
        assert check.ok, check


def test_backups_need_restic_and_a_folder(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not told(replace(settings, backup_dir=settings.data_root / "none"), "backups' folder").ok
    with monkeypatch.context() as bare:  # the firewall of the other tests still needs its programs
        bare.setenv("PATH", "/none")
        assert "apt-get install restic" in told(settings, "restic").mend


def test_a_superuser_is_too_much_and_less_than_both_rights_too_little(settings: Settings, cluster: Cluster) -> None:
    superuser = replace(settings, pg_dsn=Secret(cluster.dsn("postgres", cluster.superuser_password)))
    assert told(superuser, "PostgreSQL rights").mend == 'ALTER ROLE "postgres" NOSUPERUSER'
    cluster.as_superuser("DROP ROLE IF EXISTS weak", "CREATE ROLE weak LOGIN PASSWORD 'weak'")
    weak = told(replace(settings, pg_dsn=Secret(cluster.dsn("weak", "weak"))), "PostgreSQL rights")
    assert weak.mend == 'ALTER ROLE "weak" CREATEDB CREATEROLE'


def test_a_database_whose_role_the_agent_is_no_member_of(settings: Settings, cluster: Cluster) -> None:
    cluster.as_superuser("CREATE ROLE stranger", "CREATE DATABASE strange OWNER stranger")
    cluster.as_superuser("""COMMENT ON DATABASE strange IS '{"odooops":{"environment":"e","token":1}}'""")
    check = told(settings, "PostgreSQL members")
    assert not check.ok
    assert check.mend.startswith('GRANT "stranger" TO')
    cluster.as_superuser("DROP DATABASE strange", "DROP ROLE stranger")


def test_a_cluster_that_nobody_knows_the_size_of_and_one_that_is_nearly_full(settings: Settings) -> None:
    assert "ODOOOPS_PG_QUOTA_BYTES" in told(replace(settings, pg_quota_bytes=None), "PostgreSQL quota").mend
    full = told(replace(settings, pg_quota_bytes=1 << 20), "PostgreSQL quota")
    assert not full.ok
    assert "enlarge" in full.mend


def test_odoo_must_be_able_to_listen_in_the_database_postgres(settings: Settings, cluster: Cluster) -> None:
    cluster.as_superuser("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")
    assert told(settings, "database postgres").mend == "GRANT CONNECT ON DATABASE postgres TO PUBLIC"
    cluster.as_superuser("GRANT CONNECT ON DATABASE postgres TO PUBLIC")
    assert told(settings, "database postgres").ok


def test_secrets_are_files_that_only_their_owner_reads(settings: Settings) -> None:
    assert "ODOOOPS_PG_DSN_FILE" in told(replace(settings, pg_dsn_file=None), "secrets").mend
    settings.key_file.chmod(0o640)
    assert told(settings, "secrets").mend == "on the droplet, chmod 600 the file of ODOOOPS_AGENT_KEY_FILE"


def test_environments_that_reach_the_droplet(settings: Settings, running: Stack) -> None:
    remove_rules(running.name)
    check = told(settings, "firewall")
    assert "lacks the rule" in check.detail
    assert "docker compose up" in check.mend


def test_a_network_that_no_rule_is_for(settings: Settings, running: Stack) -> None:
    labels = {"odooops.stack": running.name, "odooops.environment": "demo/old"}
    network = running.client.networks.create(f"{running.name}-demo-old", labels=labels)
    try:
        assert f"docker network rm {network.name}" in told(settings, "firewall").mend
    finally:
        network.remove()


def test_one_part_that_is_away_stops_no_other_check(settings: Settings) -> None:
    away = replace(
        settings,
        pg_dsn=Secret("host=127.0.0.1 port=1 user=x"),
        url="http://127.0.0.1:1",
        caddy_admin="unix:///nothing/here",
        attach=("not-there",),
    )
    checks = {check.name: check for check in run_checks(away)}
    failing = {name for name, check in checks.items() if not check.ok}
    assert {"PostgreSQL", "PostgreSQL rights", "control plane", "clock", "agent key", "Caddy"} <= failing
    assert "docker compose up" in checks["proxy's container"].mend
    assert all(check.mend for check in checks.values() if not check.ok)
    assert checks["Docker"].ok
    assert checks["data root"].ok


def test_a_wrong_key_and_a_wrong_clock(settings: Settings) -> None:
    settings.key_file.write_text(KEY.replace("k", "x"))
    assert told(settings, "agent key").mend == "enrol the droplet again in the console"
    ControlPlane.ahead_seconds = 300
    check = told(settings, "clock")
    assert not check.ok
    assert "behind" in check.detail


def test_caddy_must_see_the_folder_in_which_the_agent_writes_where_routes_lead(
    settings: Settings, tmp_path: Path
) -> None:
    apart = told(replace(settings, targets_dir=tmp_path / "targets"), "routes' folder")
    assert not apart.ok
    assert "mount one volume" in apart.mend
