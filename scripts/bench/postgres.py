"""The benches' own databases on the customers' PostgreSQL: copies, made and filled by its superuser."""

from __future__ import annotations

import time
from contextlib import closing

import psycopg2
from psycopg2 import sql

from scripts.setup import engine
from scripts.setup.stack import Stack

from .site import Site

# Positional parameters, so that no name ever becomes part of the script.
_DUMP_AND_RESTORE = """
set -euo pipefail
createdb --username=postgres --owner="$3" "$2"
pg_dump --username=postgres --format=custom --compress=0 "$1" \
    | pg_restore --username=postgres --no-owner --no-acl --role="$3" --exit-on-error --dbname="$2"
"""
_DUMP = 'pg_dump --username=postgres --format=custom --compress=0 --file="$2" "$1"'
_RESTORE = """
set -euo pipefail
dropdb --username=postgres --if-exists --force "$2"
createdb --username=postgres --owner="$3" "$2"
pg_restore --username=postgres --no-owner --no-acl --role="$3" --exit-on-error --jobs=2 --dbname="$2" "$1"
"""
_FILL = """
INSERT INTO mail_message (message_type, model, res_id, subject, body, date, create_date, author_id, is_internal)
SELECT 'comment', 'res.partner', 1 + n %% 50, 'Message ' || n, repeat(md5(n::text), 20), now(), now(), 1, true
  FROM generate_series(1, %s) n
"""
ROWS_AT_ONCE = 20_000


def make_role(site: Site, name: str, password: str) -> None:
    """Have the agent make a role as it does for an environment, so that it is allowed to copy the role's databases."""
    site.in_agent("prepare_database.py", name, password)


def dump_and_restore(stack: Stack, source: str, target: str, owner: str) -> float:
    """Copy a database with `pg_dump -Fc -Z0 | pg_restore` within the server's container; return the seconds."""
    drop(stack, target)
    began = time.monotonic()
    script = ["bash", "-c", _DUMP_AND_RESTORE, "bash", source, target, owner]
    engine.docker("exec", stack.container("customers-db"), *script)
    return time.monotonic() - began


def dump(stack: Stack, source: str, path: str) -> None:
    """Dump a database to a file within the server's container."""
    engine.docker("exec", stack.container("customers-db"), "bash", "-c", _DUMP, "bash", source, path)


def restore(stack: Stack, path: str, target: str, owner: str) -> None:
    """Put a dump in the place of a database, with as many jobs as the machine has cores."""
    engine.docker("exec", stack.container("customers-db"), "bash", "-c", _RESTORE, "bash", path, target, owner)


def copy_by_template(stack: Stack, source: str, target: str, owner: str) -> None:
    drop(stack, target)
    names = map(sql.Identifier, (target, source, owner))
    _execute(stack, "postgres", sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(*names))


def drop(stack: Stack, name: str) -> None:
    _execute(stack, "postgres", sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def let_make_databases(stack: Stack, role: str, *, may: bool) -> None:
    """Let a peer's role copy databases by itself, as Odoo's own commands do, or let it no longer."""
    right = sql.SQL("CREATEDB" if may else "NOCREATEDB")
    _execute(stack, "postgres", sql.SQL("ALTER ROLE {} {}").format(sql.Identifier(role), right))


def exists(stack: Stack, name: str) -> bool:
    with closing(_connect(stack, "postgres")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        return cursor.fetchone() is not None


def size_mb(stack: Stack, name: str) -> float:
    with closing(_connect(stack, "postgres")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(%s)", [name])
        return cursor.fetchone()[0] / 1e6


def fill(stack: Stack, name: str, megabytes: float) -> None:
    """Write messages until the database has this size, as years of use would."""
    with closing(_connect(stack, name)) as connection, connection.cursor() as cursor:
        while size_mb(stack, name) < megabytes:
            cursor.execute(_FILL, [ROWS_AT_ONCE])
        cursor.execute("ANALYZE")


def empty(stack: Stack, name: str) -> None:
    """Take back what `fill` wrote, so that the next bench finds the size it knows."""
    with closing(_connect(stack, name)) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM mail_message WHERE subject LIKE 'Message %' AND model = 'res.partner'")
        cursor.execute("VACUUM (FULL, ANALYZE) mail_message")


def checkpoint(stack: Stack) -> None:
    """Let no bench pay for what the one before it wrote."""
    _execute(stack, "postgres", sql.SQL("CHECKPOINT"))


def _execute(stack: Stack, database: str, statement: sql.Composable) -> None:
    with closing(_connect(stack, database)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)


def _connect(stack: Stack, database: str) -> psycopg2.extensions.connection:
    connection = psycopg2.connect(stack.customers_superuser_dsn, dbname=database)
    connection.autocommit = True
    return connection
