"""How the agent talks to PostgreSQL: one short autocommit connection per job, and errors that say what to do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg2
from psycopg2 import errors as pg
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, by its lower-case name)
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import Composable

from .commands import postgres as build
from .errors import AgentError, Permanent, Retryable

APPLICATION = "odooops-agent"
CONNECTING: Mapping[str, Any] = {
    "connect_timeout": 5,
    "application_name": APPLICATION,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
STATEMENT_SECONDS = 30.0
LOCK_WAIT_SECONDS = 60.0
POLL_SECONDS = 0.05
AWAY = ("08", "57P", "53300")  # SQLSTATE: connection lost, shutting down or starting, too many connections


Arguments = Sequence[object] | Mapping[str, object]


class NotEntered(Retryable):
    """A connection was not made: PostgreSQL is away, or there is no such database, or it is closed."""


class Postgres:
    """Connections of the agent's role; `dsn` leads to its own maintenance database."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    @contextmanager
    def cursor(self, statement_seconds: float = STATEMENT_SECONDS, **overrides: str) -> Iterator[Cursor]:
        """Open a connection for one job; `overrides` are libpq's parameters, such as `dbname`."""
        # As the connection's options they outrank what a database's or role's owner set for them.
        settings = {"default_transaction_read_only": "off", "statement_timeout": f"{statement_seconds * 1000:.0f}"}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        connecting = self._connect(**{"options": options, **overrides})
        with explained(), closing(connecting) as connection, connection.cursor() as cursor:
            yield cursor

    @contextmanager
    def reader(self, database: str, login: tuple[str, str] | None) -> Iterator[Cursor]:
        """Open a customer's database to read in it, guarded as pg_dump guards itself. Raises NotEntered.

        Logged in as the environment's own role, not merely acting for it: a cast or operator that the customer gave
        a column runs all the same, and could RESET ROLE to the agent's.
        """
        own = {"user": login[0], "password": login[1]} if login else {}
        with self.cursor(STATEMENT_SECONDS, dbname=database, **own) as cursor:
            cursor.execute(build.GUARDS)
            yield cursor

    @contextmanager
    def writer(self, database: str, role: str, password: str) -> Iterator[Cursor]:
        """Open a customer's database to write in it, with no more rights than the environment's own role."""
        with self.cursor(dbname=database, user=role, password=password) as cursor:
            yield cursor

    def _connect(self, **overrides: str) -> Connection:
        try:
            connection: Connection = psycopg2.connect(self._dsn, **{**CONNECTING, **overrides})
        except psycopg2.OperationalError as error:
            raise NotEntered(_away(first_line(error))) from error
        connection.autocommit = True
        return connection


@contextmanager
def locked(cursor: Cursor, name: str) -> Iterator[None]:
    """Work on one database at a time, also beside a statement that a killed agent left running."""
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while not one(cursor, build.LOCK, (name,)):
        if time.monotonic() >= deadline:
            raise Retryable(f"Another job of the agent's still works on {name}; try again when it has ended.")
        time.sleep(POLL_SECONDS)
    yield  # released with the connection


@contextmanager
def transaction(cursor: Cursor) -> Iterator[None]:
    """Do all of it or nothing."""
    cursor.execute("BEGIN")
    try:
        yield
    except BaseException:
        with suppress(psycopg2.Error):
            cursor.execute("ROLLBACK")
        raise
    cursor.execute("COMMIT")


def row(cursor: Cursor, statement: Composable, arguments: Arguments = ()) -> tuple[Any, ...] | None:
    """Return the first row."""
    cursor.execute(statement, arguments)
    return cursor.fetchone()


def rows(cursor: Cursor, statement: Composable, arguments: Arguments = ()) -> list[tuple[Any, ...]]:
    """Return all rows."""
    cursor.execute(statement, arguments)
    return cursor.fetchall()


def one(cursor: Cursor, statement: Composable, arguments: Arguments = ()) -> Any:
    """Return the first value of the first row."""
    found = row(cursor, statement, arguments)
    return found[0] if found else None


def server(cursor: Cursor) -> int:
    """Return the server's version as PostgreSQL counts it: 180006 is 18.6."""
    return cursor.connection.server_version


def first_line(error: BaseException) -> str:
    """Return an error without its details, hints and statement."""
    return str(error).strip().partition("\n")[0]


@contextmanager
def explained() -> Iterator[None]:
    """Turn the driver's errors into the agent's."""
    try:
        yield
    except psycopg2.Error as error:
        raise _translated(error) from error


def is_away(error: psycopg2.Error) -> bool:
    """Tell whether PostgreSQL itself is away, or the connection to it."""
    state = error.pgcode or ""
    lost = not state and isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError))
    return lost or state.startswith(AWAY)


def _away(reason: str) -> str:
    return f"PostgreSQL does not answer ({reason}); see that it is up and lets the agent in."


def _translated(error: psycopg2.Error) -> AgentError:
    reason = first_line(error)
    if is_away(error):
        return Retryable(_away(reason))
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
