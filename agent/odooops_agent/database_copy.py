"""A copy of one environment's database for another: made apart, given to its new owner, made safe and proven.

Until it is handed over it belongs to the agent, and besides the agent only the target's upgrade role may connect, whose
password no running server has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import psycopg2
from psycopg2 import errors as pg
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Identifier, Literal

from .commands import copies as build
from .errors import Permanent
from .neutralise import Rule
from .postgres import first_line, one, rows, transaction
from .protocol import RestoreCheck

# Each table comes with its indexes and sequences, and the server's table of locks is not large.
OWNERS_AT_ONCE = 40
SHOWN = 5


def give_objects(cursor: Cursor, source: str, owner: str) -> None:
    """Give all that `source` has in this database to `owner`; REASSIGN OWNED would give it other databases too."""
    for schema in [schema for (schema,) in rows(cursor, build.SCHEMAS, {"role": source})]:
        cursor.execute(SQL("GRANT USAGE, CREATE ON SCHEMA {} TO {}").format(Identifier(schema), Identifier(owner)))
    statements = [text for (text,) in rows(cursor, build.OWNED, {"role": source, "owner": owner})]
    for first in range(0, len(statements), OWNERS_AT_ONCE):
        cursor.execute("; ".join(statements[first : first + OWNERS_AT_ONCE]))
    left = rows(cursor, build.OWNED, {"role": source, "owner": owner})
    if left:
        raise Permanent(f"{len(left)} objects of {source} stay {source}'s in the copy: {left[0][0]}")


def apply_rules(cursor: Cursor, given: Sequence[Rule], settings: Mapping[str, str]) -> None:
    """Run every rule that is for this database, all or none. Raises Permanent("neutralize_failed")."""
    installed, columns = _installed(cursor), _columns(cursor)
    with transaction(cursor):
        _set(cursor, settings)
        for rule in given:
            if rule.sql and rule.is_for(installed) and not rule.lacks(columns):
                try:
                    cursor.execute(rule.sql)
                except psycopg2.Error as error:
                    raise Permanent(
                        f"The rule {rule.name} can't be carried out ({first_line(error)}): correct it for this "
                        "database, then copy again.",
                        code="neutralize_failed",
                    ) from error


def prove(cursor: Cursor, given: Sequence[Rule], settings: Mapping[str, str]) -> Iterator[RestoreCheck]:
    """Tell of each rule whether it holds; what can't be asked does not."""
    installed, columns = _installed(cursor), _columns(cursor)
    _set(cursor, settings)
    for rule in given:
        if rule.is_for(installed):
            lacking = rule.lacks(columns)
            detail = f"no {', '.join(lacking)}, which the rule knows" if lacking else _unsafe(cursor, rule)
            yield RestoreCheck(name=rule.name, ok=not detail, detail=detail)


def obfuscate(cursor: Cursor, fields: Sequence[tuple[str, str]]) -> int:
    """Turn personal data into noise; returns in how many columns."""
    columns = _columns(cursor)
    wanted: dict[str, list[str]] = {}
    for table, column in fields:
        if f"{table}.{column}" in columns:
            wanted.setdefault(table, []).append(column)
    kinds = {(table, column): kind for table, column, kind in rows(cursor, build.KINDS)}
    with transaction(cursor):
        salt = one(cursor, SQL("SELECT gen_random_uuid()::text"))
        for table, names in wanted.items():
            parts = [build.noise(name, kinds.get((table, name), "text"), salt) for name in names]
            cursor.execute(SQL("UPDATE public.{} SET ").format(Identifier(table)) + SQL(", ").join(parts))
    return sum(map(len, wanted.values()))


def _unsafe(cursor: Cursor, rule: Rule) -> str:
    try:
        cursor.execute(rule.unsafe)
        found = [str(line[0]) for line in cursor.fetchmany(SHOWN + 1)]
    except (psycopg2.Error, IndexError) as error:
        if isinstance(error, pg.QueryCanceled):
            return "it took too long to ask"
        return f"it can't be asked: {first_line(error)}"
    return ", ".join(found[:SHOWN]) + (" and more" if len(found) > SHOWN else "")


def _set(cursor: Cursor, settings: Mapping[str, str]) -> None:
    # Rules name tables as Odoo does.
    cursor.execute("SET search_path = public")
    for name, value in settings.items():
        cursor.execute(SQL("SELECT set_config({}, {}, false)").format(Literal(f"odooops.{name}"), Literal(value)))


def _installed(cursor: Cursor) -> frozenset[str]:
    return frozenset(name for (name,) in rows(cursor, build.INSTALLED))


def _columns(cursor: Cursor) -> frozenset[str]:
    return frozenset(name for (name,) in rows(cursor, build.COLUMNS))
