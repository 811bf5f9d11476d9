"""The tests' databases: one cached template with Odoo's own modules, a copy of it for each run."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from ..errors import Refused

PREFIX = "odooops_preflight_"
TEMPLATES_KEPT = 4
INSTALL = "Install what the tests need: pip install 'odooops[tests]'."
SUPERUSER = "postgres"
ROLE = "odooops_preflight"
LOCK = 7_203_119  # any number: who makes a template holds it


class Databases:
    """A PostgreSQL that may be filled with databases of this run."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        if not environment.get("PGHOST"):
            raise Refused(
                "The tests need a PostgreSQL: set PGHOST, PGPORT, PGUSER and PGPASSWORD to one whose user may create "
                "databases (in this repository, make preflight starts one)."
            )
        try:
            import psycopg2
            import psycopg2.sql
        except ImportError:
            raise Refused(f"psycopg2 is missing. {INSTALL}") from None
        self._psycopg2: Any = psycopg2
        self.login: Mapping[str, str] = {}
        if environment.get("PGUSER", "") in ("", SUPERUSER):
            self.login = self._own_role()

    def _own_role(self) -> dict[str, str]:
        """Make a role that may create databases and nothing else: Odoo refuses to work as PostgreSQL's superuser.

        Returns libpq's variables for it; its password is of this run.
        """
        password = secrets.token_urlsafe(24)
        with closing(self._connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE])
            verb = "ALTER" if cursor.fetchone() else "CREATE"
            statement = self._statement(verb + " ROLE {} LOGIN CREATEDB NOSUPERUSER PASSWORD ", ROLE)
            try:
                cursor.execute(statement + self._psycopg2.sql.Literal(password))
            except self._psycopg2.Error:
                raise Refused(f"PostgreSQL refuses to make the role {ROLE}: set PGUSER to one with CREATEDB.") from None
        return {"PGUSER": ROLE, "PGPASSWORD": password}

    def template(self, key: tuple[str, ...], make: Callable[[str], None]) -> tuple[str, bool]:
        """Return the template for a key and whether it was there; `make` fills a new one."""
        name = f"{PREFIX}t_{hashlib.sha256(chr(0).join(key).encode()).hexdigest()[:16]}"
        with closing(self._connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            there = cursor.fetchone() is not None
            if not there:
                self._run(cursor, "DROP DATABASE IF EXISTS {} WITH (FORCE)", f"{name}_new")
                self._run(cursor, "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'", f"{name}_new")
                try:
                    make(f"{name}_new")
                except BaseException:
                    self._run(cursor, "DROP DATABASE IF EXISTS {} WITH (FORCE)", f"{name}_new")
                    raise
                cursor.execute(self._statement("ALTER DATABASE {} RENAME TO {}", f"{name}_new", name))
            self._used(cursor, name)
            self._drop_old(cursor)
        return name, there

    @contextmanager
    def copy(self, template: str) -> Iterator[str]:
        """Lend a database that is gone afterwards."""
        name = f"{PREFIX}{secrets.token_hex(6)}"
        with closing(self._connect()) as connection, connection.cursor() as cursor:
            self._run(cursor, "CREATE DATABASE {} TEMPLATE {}", name, template)
            try:
                yield name
            finally:
                self._run(cursor, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def states(self, database: str) -> dict[str, str]:
        """Return the modules' states by name."""
        with closing(self._connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT name, state FROM ir_module_module")
            return dict(cursor.fetchall())

    def _connect(self, database: str = "postgres") -> Any:
        try:
            login = {"user": self.login["PGUSER"], "password": self.login["PGPASSWORD"]} if self.login else {}
            connection = self._psycopg2.connect(dbname=database, connect_timeout=10, **login)
        except self._psycopg2.OperationalError as error:
            raise Refused(f"PostgreSQL can't be used: {str(error).strip().splitlines()[0]}.") from None
        connection.autocommit = True
        return connection

    def _statement(self, text: str, *names: str) -> Any:
        sql = self._psycopg2.sql
        return sql.SQL(text).format(*map(sql.Identifier, names))

    def _run(self, cursor: Any, text: str, *names: str) -> None:
        try:
            cursor.execute(self._statement(text, *names))
        except self._psycopg2.Error as error:
            raise Refused(
                f"PostgreSQL refuses {text.partition(' {')[0]}: {str(error).strip().splitlines()[0]}."
            ) from None

    def _used(self, cursor: Any, name: str) -> None:
        """Note when a template was used last: those not used for the longest go first."""
        cursor.execute("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')")
        [when] = cursor.fetchone()
        cursor.execute(
            self._psycopg2.sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                self._psycopg2.sql.Identifier(name), self._psycopg2.sql.Literal(f"last used {when}")
            )
        )

    def _drop_old(self, cursor: Any) -> None:
        cursor.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE %s AND datname NOT LIKE %s "
            "ORDER BY shobj_description(oid, 'pg_database') DESC NULLS LAST",
            [f"{PREFIX}t\\_%", "%\\_new"],
        )
        for [name] in cursor.fetchall()[TEMPLATES_KEPT:]:
            self._run(cursor, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
