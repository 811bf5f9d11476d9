"""PostgreSQL with the rights that a managed server gives: CREATEDB and CREATEROLE, no superuser, no files.

One short autocommit connection per job. In a customer's database the agent only reads, guarded as pg_dump guards
itself; it writes there as the environment's own upgrade role, because a trigger of the customer's would otherwise run
with the agent's rights over every other database.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, cast

import psycopg2
from psycopg2 import errors as pg
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, by its lower-case name)
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.extensions import encrypt_password
from psycopg2.sql import SQL, Composable

from .commands import postgres as build
from .errors import AgentError, LeaseLost, Permanent, Refused, Retryable
from .facts import DatabaseFacts, Identity, InstalledModule, RecordedModule, Session

APPLICATION = "odooops-agent"
CONNECTING: Mapping[str, Any] = {
    "connect_timeout": 5,
    "application_name": APPLICATION,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
STATEMENT_SECONDS = 30
COPY_SECONDS = 3600
LOCK_WAIT_SECONDS = 60.0
EVICT_SECONDS = 30.0
POLL_SECONDS = 0.05
# A session appears in pg_stat_activity a moment after its right to connect was checked: so look more than once.
QUIET_LOOKS = 3
INSTALLED_MANIFEST = "odooops.installed_manifest"
DATABASE_UUID = "database.uuid"

AWAY = ("08", "57P", "53300")  # SQLSTATE: connection lost, shutting down or starting, too many connections
Login = tuple[str, str]  # role, password


class PostgresDatabase:
    """The database port on one cluster; `dsn` is the agent's role at its own maintenance database."""

    def __init__(
        self,
        dsn: str,
        quota_bytes: int | None,
        writer_of: Callable[[str], Login | None],
        evict_seconds: float = EVICT_SECONDS,
    ) -> None:
        """`writer_of` gives the role and password with which rows in a customer's database are written."""
        self._dsn = dsn
        self._quota_bytes = quota_bytes
        self._writer_of = writer_of
        self._evict_seconds = evict_seconds

    # -- reading

    def facts(self, name: str) -> DatabaseFacts | None:
        """Read all that a plan needs to know of a database."""
        with self._cursor() as cursor:
            row = _row(cursor, build.DATABASE, (name,))
            sessions = _sessions(cursor, name)
        if row is None:
            return None
        owner, allows, comment, size = row
        inside = self._inside(name) if allows else _Inside()
        return DatabaseFacts(
            name=name,
            owner=owner,
            bytes=int(size),
            allows_connections=allows,
            tag=build.owner_tag(comment),
            uuid=inside.parameters.get(DATABASE_UUID),
            modules=inside.modules,
            languages=inside.languages,
            sessions=sessions,
            **_recorded(inside.parameters.get(INSTALLED_MANIFEST)),
        )

    def exists(self, name: str) -> bool:
        """Tell whether there is such a database."""
        with self._cursor() as cursor:
            return bool(_existing(cursor, name))

    def identity(self, name: str) -> Identity | None:
        """Tell whose a database is."""
        with self._cursor() as cursor:
            row = _row(cursor, build.DATABASE, (name,))
        if row is None:
            return None
        _, allows, comment, _ = row
        return Identity(uuid=self._uuid(name) if allows else None, tag=build.owner_tag(comment))

    def sessions(self, name: str) -> tuple[Session, ...]:
        """List the sessions in a database, the agent's own for this excepted."""
        with self._cursor() as cursor:
            return _sessions(cursor, name)

    def free_bytes(self) -> int | None:
        """Tell what the quota leaves."""
        if self._quota_bytes is None:
            return None
        with self._cursor() as cursor:
            return max(0, self._quota_bytes - int(_one(cursor, build.SIZES)))

    def version(self) -> str:
        """Return the server's version."""
        with self._cursor() as cursor:
            return str(_one(cursor, SQL("SHOW server_version"))).split()[0]

    def _inside(self, name: str) -> _Inside:
        with self._reader(name) as cursor:
            if not _one(cursor, build.ODOO_TABLE):
                return _Inside()
            cursor.execute(build.modules(_one(cursor, build.IMPORTED_COLUMN)))
            modules = {row[0]: InstalledModule(*row[1:]) for row in cursor.fetchall()}
            cursor.execute(build.LANGUAGES)
            languages = tuple(row[0] for row in cursor.fetchall())
            return _Inside(modules, languages, _parameters(cursor, DATABASE_UUID, INSTALLED_MANIFEST))

    def _uuid(self, name: str) -> str | None:
        with self._reader(name) as cursor:
            if not _one(cursor, build.PARAMETERS_TABLE):
                return None
            return _parameters(cursor, DATABASE_UUID).get(DATABASE_UUID)

    # -- roles

    def ensure_roles(self, app: str, app_password: str, upgrade: str, upgrade_password: str) -> None:
        """Have the environment's two roles, and the agent a member of both; see the port."""
        with self._cursor() as cursor, self._lock(cursor, "roles"):
            self._ensure_role(cursor, app, app_password)
            self._ensure_role(cursor, upgrade, upgrade_password)
            cursor.execute(build.grant_role(app, upgrade, _server(cursor)))
            cursor.execute(build.set_role_at_login(upgrade, app))

    def _ensure_role(self, cursor: Cursor, role: str, password: str) -> None:
        existing = _row(cursor, build.ROLE, (role,))
        if existing and any(existing):
            raise Refused(
                f"The role {role} has rights that no environment's role may have; rename it or take them away."
            )
        # Hashed here: a password in a statement would end up in the server's log.
        verifier = encrypt_password(password, role, scope=cursor.connection, algorithm="scram-sha-256")
        cursor.execute(build.write_role(role, verifier, bool(existing)))
        if not _one(cursor, build.has_role(role, _server(cursor))):
            cursor.execute(build.grant_role(role, _me(cursor), _server(cursor)))

    # -- making, naming, dropping

    def create(self, name: str, owner: str) -> None:
        """Create an empty database that only its owner and the agent may enter."""
        with self._cursor() as cursor, self._lock(cursor, name):
            row = _row(cursor, build.DATABASE, (name,))
            if row and row[0] != owner:
                raise Refused(
                    f"There is a database {name} of {row[0]}'s already; choose another name for the environment's."
                )
            if row is None:
                cursor.execute(build.create_database(name, owner))
            with _transaction(cursor):
                cursor.execute(build.revoke("ALL", name, ""))
                cursor.execute(build.grant(["CONNECT"], name, _me(cursor)))
            cursor.execute(build.allow_connections(name, True))

    def write_tag(self, name: str, environment_uuid: str, token: int) -> None:
        """Mark whose the database is. Raises LeaseLost when a newer token has marked it."""
        with self._cursor() as cursor, self._lock(cursor, name):
            text = _comment(cursor, name)
            tag = build.owner_tag(text)
            if tag and tag.token > token:
                raise LeaseLost(
                    f"{name} carries the newer token {tag.token}; another worker owns it, so nothing was touched."
                )
            kept = {**build.read_comment(text), "environment": environment_uuid, "token": token}
            cursor.execute(build.comment(name, build.write_comment(kept)))

    def drop(self, name: str) -> None:
        """Drop a database, whoever is in it."""
        statement = build.drop(name)
        with self._cursor(COPY_SECONDS) as cursor, self._lock(cursor, name):
            if _existing(cursor, name):
                cursor.execute(build.allow_connections(name, False))
                self._with_nobody_in(cursor, name, lambda: cursor.execute(statement))

    # -- the fence

    def fence(self, name: str, app: str, upgrade: str) -> None:
        """Keep all but the agent and the upgrade role out and end every session; see the port."""
        with self._cursor() as cursor, self._lock(cursor, name):
            with _transaction(cursor):
                self._shut_out(cursor, name, keep=(_me(cursor), upgrade))
            others = {role for role in _may_connect(cursor, name) if role not in (_me(cursor), upgrade)}
            if others:
                raise Permanent(
                    f"CONNECT on {name} was given to {', '.join(sorted(others))} by another role; revoke it there."
                )
            self._evict(cursor, name)

    def unfence(self, name: str, app: str) -> None:
        """Let the owner and all who might before the fence connect again."""
        with self._cursor() as cursor, self._lock(cursor, name), _transaction(cursor):
            kept = dict(build.read_comment(_comment(cursor, name)))
            for role in {app, *kept.pop("fenced", ())}:
                if role == app or _row(cursor, build.ROLE, (role,)):
                    cursor.execute(build.grant(["CONNECT"], name, role))
            cursor.execute(build.comment(name, build.write_comment(kept) if kept else None))

    def _shut_out(self, cursor: Cursor, name: str, keep: Sequence[str]) -> None:
        out = [role for role in _may_connect(cursor, name) if role not in keep]
        kept = dict(build.read_comment(_comment(cursor, name)))
        kept["fenced"] = sorted({*kept.get("fenced", ()), *(role for role in out if role)})
        for role in keep:
            cursor.execute(build.grant(["CONNECT"], name, role))
        for role in out:
            cursor.execute(build.revoke("CONNECT", name, role))
        # Together with the revocation: whoever dies here leaves behind who has to be let in again.
        cursor.execute(build.comment(name, build.write_comment(kept)))

    def _evict(self, cursor: Cursor, name: str) -> None:
        """End sessions until there is none. Raises Permanent("database_in_use") that names who holds on."""
        deadline = time.monotonic() + self._evict_seconds
        quiet = 0
        while quiet < QUIET_LOOKS:
            sessions = _sessions(cursor, name)
            quiet = 0 if sessions else quiet + 1
            for each in sessions:
                if each.can_end:
                    cursor.execute(build.END_SESSION, (each.pid,))
            if sessions and time.monotonic() >= deadline:
                raise Permanent(
                    f"{name} is still used after {self._evict_seconds:.0f} s by {build.named(sessions)}; "
                    "end that session there, or make the agent's role a member of its role.",
                    code="database_in_use",
                )
            time.sleep(POLL_SECONDS)

    def _with_nobody_in(self, cursor: Cursor, name: str, act: Callable[[], None]) -> None:
        """Act once the database is empty; again when a client that reconnects without pause was just at the door."""
        deadline = time.monotonic() + self._evict_seconds
        while True:
            self._evict(cursor, name)
            try:
                return act()
            except pg.ObjectInUse as error:
                if time.monotonic() >= deadline:
                    raise Permanent(
                        f"Somebody keeps knocking at {name} ({_first_line(error)}); stop what reconnects to it.",
                        code="database_in_use",
                    ) from error

    # -- snapshot and swap

    def snapshot(self, source: str, target: str, owner: str) -> str:
        """Copy a fenced database by TEMPLATE; returns `wal_log`, `file_copy` or `clone`."""
        with self._cursor(COPY_SECONDS) as cursor, self._lock(cursor, source):
            row = _row(cursor, build.DATABASE, (source,))
            if row is None:
                raise Permanent(f"There is no database {source} to copy.")
            if _existing(cursor, target):
                cursor.execute(build.drop(target))
            strategy = build.choose_strategy(int(row[3]), _server(cursor))
            if strategy == "clone":
                strategy = _prefer_clone(cursor)
            self._copy(cursor, source, target, owner, strategy)
            _copy_attributes(cursor, source, target)
            return strategy

    def _copy(self, cursor: Cursor, source: str, target: str, owner: str, strategy: str) -> None:
        asked = "file_copy" if strategy == "clone" else strategy
        statement = build.copy_database(
            source, target, owner, asked if _server(cursor) >= build.STRATEGIES_SINCE else None
        )
        self._with_nobody_in(cursor, source, lambda: cursor.execute(statement))

    def swap(self, live: str, snapshot: str, aside: str) -> None:
        """Put `snapshot` in the place of `live`, which becomes `aside`.

        Both renames are one transaction: there is no moment without a live database, so a crash leaves the old state
        or the new.
        """
        with self._cursor() as cursor, self._lock(cursor, live):
            there = _existing(cursor, live, snapshot, aside)
            if there == {live, snapshot}:
                _copy_attributes(cursor, live, snapshot)
                cursor.execute(build.allow_connections(live, False))
                self._with_nobody_in(cursor, live, lambda: _exchange(cursor, live, snapshot, aside))
            elif there == {snapshot, aside}:
                cursor.execute(build.rename(snapshot, live))
            elif there != {live, aside}:
                raise Permanent(
                    f"{live} can't be swapped, because of {live}, {snapshot} and {aside} only "
                    f"{', '.join(sorted(there)) or 'none'} exists; restore it from a backup."
                )
            cursor.execute(build.allow_connections(live, True))

    # -- rows in a customer's database

    def record_manifest(self, name: str, digest: str, modules: Mapping[str, Mapping[str, object]]) -> None:
        """Write what was installed from which image."""
        value = json.dumps({"digest": digest, "modules": modules}, sort_keys=True, separators=(",", ":"))
        self.write_parameters(name, {INSTALLED_MANIFEST: value})

    def write_parameters(self, name: str, parameters: Mapping[str, str]) -> None:
        """Write rows of `ir_config_parameter` as the environment's upgrade role."""
        login = self._writer_of(name)
        if login is None:
            raise Permanent(f"The agent has no password for {name}; deploy its environment again to make one.")
        with self._cursor(dbname=name, user=login[0], password=login[1]) as cursor:
            cursor.execute(SQL("SET default_transaction_read_only = off"))
            for key, value in sorted(parameters.items()):
                cursor.execute(build.WRITE_PARAMETER, {"key": key, "value": value})

    # -- connections

    @contextmanager
    def _reader(self, name: str) -> Iterator[Cursor]:
        with self._cursor(dbname=name) as cursor:
            for guard in build.GUARDS:
                cursor.execute(guard)
            yield cursor

    @contextmanager
    def _cursor(self, statement_seconds: float = STATEMENT_SECONDS, **overrides: str) -> Iterator[Cursor]:
        with _explained(), closing(self._connect(**overrides)) as connection, connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = %s", (int(statement_seconds * 1000),))
            yield cursor

    def _connect(self, **overrides: str) -> Connection:
        connection: Connection = psycopg2.connect(self._dsn, **{**CONNECTING, **overrides})
        connection.autocommit = True
        return connection

    @contextmanager
    def _lock(self, cursor: Cursor, name: str) -> Iterator[None]:
        """Work on one database at a time, also beside a statement that a killed agent left running."""
        deadline = time.monotonic() + LOCK_WAIT_SECONDS
        while not _one(cursor, build.LOCK, (name,)):
            if time.monotonic() >= deadline:
                raise Retryable(f"Another job of the agent's still works on {name}; try again when it has ended.")
            time.sleep(POLL_SECONDS)
        yield  # released with the connection


class _Inside:
    """What is read within a database; nothing when Odoo is not in it or nobody may enter."""

    def __init__(
        self,
        modules: Mapping[str, InstalledModule] | None = None,
        languages: tuple[str, ...] = (),
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        self.modules = modules or {}
        self.languages = languages
        self.parameters = parameters or {}


def _row(cursor: Cursor, statement: Composable, arguments: Sequence[object] = ()) -> tuple[Any, ...] | None:
    cursor.execute(statement, arguments)
    return cursor.fetchone()


def _one(cursor: Cursor, statement: Composable, arguments: Sequence[object] = ()) -> Any:
    row = _row(cursor, statement, arguments)
    return row[0] if row else None


def _server(cursor: Cursor) -> int:
    return cursor.connection.server_version


def _me(cursor: Cursor) -> str:
    return str(_one(cursor, SQL("SELECT current_user")))


def _existing(cursor: Cursor, *names: str) -> set[str]:
    cursor.execute(build.EXISTING, (list(names),))
    return {row[0] for row in cursor.fetchall()}


def _sessions(cursor: Cursor, name: str) -> tuple[Session, ...]:
    cursor.execute(build.SESSIONS, (name,))
    return tuple(Session(*row) for row in cursor.fetchall())


def _comment(cursor: Cursor, name: str) -> str | None:
    row = _row(cursor, build.DATABASE, (name,))
    if row is None:
        raise Permanent(f"There is no database {name}.")
    return cast("str | None", row[2])


def _may_connect(cursor: Cursor, name: str) -> list[str]:
    cursor.execute(build.ACL, (name,))
    return [role for role, privilege, _ in cursor.fetchall() if privilege == "CONNECT"]


def _parameters(cursor: Cursor, *keys: str) -> dict[str, str]:
    cursor.execute(build.PARAMETERS, (list(keys),))
    return dict(cursor.fetchall())


def _recorded(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
        modules = {
            str(name): RecordedModule(str(each["version"]), each.get("hash"), dict(each.get("i18n") or {}))
            for name, each in value.get("modules", {}).items()
        }
        return {"recorded_digest": value.get("digest"), "recorded": modules}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {"recorded_digest": None, "recorded": {}}  # somebody's hand in it: as if nothing were recorded


def _prefer_clone(cursor: Cursor) -> str:
    """Ask for copy-on-write files; a server that can't says so here."""
    try:
        cursor.execute("SET file_copy_method = 'clone'")
    except pg.Error:
        return "file_copy"
    return "clone"


def _copy_attributes(cursor: Cursor, source: str, target: str) -> None:
    """Give a copy what TEMPLATE leaves behind: rights, settings, limit, and last the comment that makes it complete."""
    with _transaction(cursor):
        _copy_rights(cursor, source, target)
        cursor.execute(build.connection_limit(target, int(_one(cursor, build.CONNECTION_LIMIT, (source,)))))
        cursor.execute(build.comment(target, _comment(cursor, source)))
    cursor.execute(build.SETTINGS, (source,))
    for role, stored in cursor.fetchall():
        # What a superuser set can only be set by one; it is not the environment's.
        with suppress(pg.InsufficientPrivilege):
            cursor.execute(build.setting(target, role, stored))


def _copy_rights(cursor: Cursor, source: str, target: str) -> None:
    cursor.execute(build.ACL, (target,))
    for role in {row[0] for row in cursor.fetchall()}:
        cursor.execute(build.revoke("ALL", target, role))
    cursor.execute(build.ACL, (source,))
    for role, privilege, grantable in cursor.fetchall():
        cursor.execute(build.grant([privilege], target, role, grantable))


def _exchange(cursor: Cursor, live: str, snapshot: str, aside: str) -> None:
    with _transaction(cursor):
        cursor.execute(build.rename(live, aside))
        cursor.execute(build.rename(snapshot, live))


@contextmanager
def _transaction(cursor: Cursor) -> Iterator[None]:
    cursor.execute("BEGIN")
    try:
        yield
    except BaseException:
        with suppress(psycopg2.Error):
            cursor.execute("ROLLBACK")
        raise
    cursor.execute("COMMIT")


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


@contextmanager
def _explained() -> Iterator[None]:
    """Turn the driver's errors into the agent's."""
    try:
        yield
    except psycopg2.Error as error:
        raise _translated(error) from error


def _translated(error: psycopg2.Error) -> AgentError:
    state, reason = error.pgcode or "", _first_line(error)
    lost = not state and isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError))
    if lost or state.startswith(AWAY):
        return Retryable(f"PostgreSQL does not answer ({reason}); see that it is up and lets the agent in.")
    if isinstance(error, pg.QueryCanceled):
        return Retryable(f"PostgreSQL took too long ({reason}); see what it is busy with.")
    if isinstance(error, pg.DiskFull):
        return Permanent("PostgreSQL's disk is full; enlarge it or drop old snapshots.", code="disk_full")
    if isinstance(error, pg.InsufficientPrivilege):
        return Permanent(
            f"The agent's role may not do this ({reason}); run `odooops-agent doctor` for what it lacks.",
            code="missing_right",
        )
    return Permanent(f"PostgreSQL refused: {reason}")
