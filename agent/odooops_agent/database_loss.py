"""Count what came and changed in a customer's database: one statement for each table, none for longer than told."""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg2
from psycopg2 import errors as pg
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from .commands import loss as build
from .plans.loss import counts, rank
from .postgres import first_line, is_away, one, row, rows
from .protocol import Loss, LossCount, LostRecord

NEWEST_PER_MODEL = 10


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose rows carry times."""

    name: str
    model: str
    label: str
    columns: tuple[str, ...]


def read_loss(
    cursor: Cursor, since: datetime, table_seconds: float, seconds: float, newest: int, hurried: Collection[str] = ()
) -> Loss:
    """Return what came and changed since; see the port."""
    now: datetime = one(cursor, build.NOW)
    tables = sorted(_tables(cursor), key=lambda table: rank(table.model))
    cursor.execute(build.limit_statements(table_seconds))
    deadline = time.monotonic() + seconds
    found = []
    for table in tables:
        late = time.monotonic() - deadline
        if late >= 2 * table_seconds:  # even the quickest way is not to take for ever
            counted = _uncounted(table, "there was no time left")
        else:
            counted = _counted(cursor, table, since, hurried=late >= 0 or table.model in hurried)
        if counted.created or counted.changed or counted.changed is None:
            found.append((table, counted))
    return Loss(
        since=since,
        minutes=round(max(0.0, (now - since).total_seconds()) / 60, 1),
        counts=tuple(counted for _, counted in found),
        newest=_newest(cursor, [table for table, counted in found if counted.created], since, newest),
    )


def _tables(cursor: Cursor) -> list[Table]:
    found = rows(cursor, build.TABLES)
    return [
        Table(name, model, label, tuple(columns))
        for name, model, label, size, columns in found
        if size and counts(model) and build.has_times(columns)
    ]


def _counted(cursor: Cursor, table: Table, since: datetime, *, hurried: bool) -> LossCount:
    """Count a table, or tell why it can't be: one that the role may not read closes no way back."""
    try:
        return _count(cursor, table, since, hurried=hurried)
    except pg.QueryCanceled:
        return _uncounted(table, "it took too long")
    except psycopg2.Error as error:
        if is_away(error):
            raise
        return _uncounted(table, first_line(error))


def _uncounted(table: Table, reason: str) -> LossCount:
    label = f"{table.label} (not counted: {reason})"
    return LossCount(model=table.model, label=label, created=None, changed=None, uncounted=reason)


def _count(cursor: Cursor, table: Table, since: datetime, *, hurried: bool) -> LossCount:
    """Count a table; without its changes when that takes too long, as no index leads to them."""
    arguments: dict[str, object] = {"since": _naive(since)}
    if not hurried:
        with suppress(pg.QueryCanceled):
            return _shown(table, row(cursor, build.count(table.name, table.columns), arguments))
    arguments["last"] = _last_before(cursor, table, since)
    return _shown(table, row(cursor, build.count_created(table.name, table.columns), arguments))


def _last_before(cursor: Cursor, table: Table, since: datetime) -> int:
    return int(one(cursor, build.last_before(table.name), {"since": _naive(since)}) or 0)


def _shown(table: Table, counted: Any) -> LossCount:
    created, changed, posted = counted
    return LossCount(model=table.model, label=table.label, created=created, changed=changed, posted=posted)


def _newest(cursor: Cursor, tables: list[Table], since: datetime, most: int) -> tuple[LostRecord, ...]:
    found: list[LostRecord] = []
    for table in tables:
        room = min(NEWEST_PER_MODEL, most - len(found))
        if room <= 0:
            break
        try:
            arguments = {"since": _naive(since), "last": _last_before(cursor, table, since), "most": room}
            shown = rows(cursor, build.newest(table.name, table.columns), arguments)
        except psycopg2.Error as error:
            if is_away(error):
                raise
            continue  # its number is told
        found += [
            LostRecord(model=table.model, id=number, name=name, at=at.replace(tzinfo=UTC)) for number, name, at in shown
        ]
    return tuple(found)


def _naive(since: datetime) -> datetime:
    """Return the time as Odoo stores it: UTC, without saying so."""
    return since.astimezone(UTC).replace(tzinfo=None)
