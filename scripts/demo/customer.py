"""What a customer's database contains, read by the cluster's owner: never by the product's own roles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import sql

# A running Odoo writes these by itself (crons, presence, logs of visits, bundles that a page made).
LIVELY_TABLES = (
    "auth_totp_",
    "bus_",
    "ir_attachment",
    "ir_cron",
    "ir_logging",
    "ir_profile",
    "res_device",
    "res_users_log",
)


@dataclass(frozen=True)
class Content:
    """Rows and a hash of their text, by table; equal contents are equal databases."""

    tables: dict[str, tuple[int, str]]

    @property
    def rows(self) -> int:
        return sum(count for count, _hash in self.tables.values())

    def changed_since(self, before: Content) -> list[str]:
        """Name the tables that differ."""
        names = self.tables.keys() | before.tables.keys()
        return sorted(name for name in names if self.tables.get(name) != before.tables.get(name))


class CustomerDatabase:
    """A customer's database, read-only."""

    def __init__(self, dsn: str, name: str) -> None:
        self._dsn, self.name = dsn, name

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())

    def value(self, statement: str, *values: Any) -> Any:
        return self.query(statement, *values)[0][0]

    def is_superuser(self, role: str) -> bool:
        return bool(self.value("SELECT rolsuper FROM pg_roles WHERE rolname = %s", role))

    def modules(self) -> dict[str, str]:
        """Return the installed modules' versions."""
        return dict(self.query("SELECT name, latest_version FROM ir_module_module WHERE state = 'installed'"))

    def states(self) -> set[str]:
        """Return the states that modules are in, to see whether one is stuck half-way."""
        return {state for (state,) in self.query("SELECT DISTINCT state FROM ir_module_module")}

    def owner(self) -> tuple[str, bool]:
        """Return the role that owns the database, and whether it is a superuser."""
        statement = (
            "SELECT r.rolname, r.rolsuper FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE datname = %s"
        )
        ((name, is_super),) = self.query(statement, self.name)
        return name, is_super

    def content(self) -> Content:
        """Count and hash every table's rows, but those a running Odoo writes by itself."""
        with self._cursor() as cursor:
            cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
            names = [name for (name,) in cursor.fetchall() if not name.startswith(LIVELY_TABLES)]
            return Content({name: self._hashed(cursor, name) for name in names})

    def _hashed(self, cursor: Any, table: str) -> tuple[int, str]:
        statement = (
            "SELECT count(*), md5(coalesce(string_agg(row, '' ORDER BY row), '')) "
            "FROM (SELECT md5(t::text) AS row FROM {} t) r"
        )
        cursor.execute(sql.SQL(statement).format(sql.Identifier(table)))
        count, hashed = cursor.fetchone()
        return count, hashed

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        # Short: a session of ours must not be what keeps the agent from a snapshot.
        connection = psycopg2.connect(self._dsn, dbname=self.name, application_name="odooops-demo", connect_timeout=10)
        try:
            connection.set_session(readonly=True)
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()
