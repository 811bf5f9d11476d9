"""Read in a customer's database what people are in the midst of, where the apps for it are installed."""

from __future__ import annotations

from datetime import date

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import Composable

from .commands import business as build
from .commands.loss import limit_statements
from .postgres import is_away, one, rows
from .protocol import Busy


def read_business(cursor: Cursor, today: date) -> tuple[Busy, ...]:
    """Return what goes on; what can't be asked is left out, as if its app were not installed."""
    cursor.execute(limit_statements(build.SECONDS))
    columns = {table: set(found) for table, found in rows(cursor, build.COLUMNS, (build.TABLES,))}
    found = [
        Busy(kind=kind, count=count)
        for kind, (table, needed, statement) in build.QUESTIONS.items()
        if needed <= columns.get(table, set()) and (count := _asked(cursor, statement))
    ]
    table, needed = build.FISCAL
    if needed <= columns.get(table, set()):
        left = build.days_left(rows(cursor, build.COMPANIES), today)
        found += [Busy(kind="fiscal_year", count=left)] if left is not None else []
    return tuple(found)


def _asked(cursor: Cursor, statement: Composable) -> int:
    try:
        return int(one(cursor, statement))
    except psycopg2.Error as error:
        if is_away(error):
            raise
        return 0  # it takes too long, or the role may not read it
