"""Count what came and changed in a customer's database: one statement for each table, none for longer than told."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg2 import errors as pg
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from .commands import loss as build
from .plans.loss import counts, rank
from .postgres import one, row, rows
from .protocol import Loss, LossCount, LostRecord

NEWEST_PER_MODEL = 10


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose rows carry times."""

    name: str
    model: str
    label: str
    columns: tuple[str, ...]


def read_loss(cursor: Cursor, since: datetime, table_seconds: float, seconds: float, newest: int) -> Loss:
    """Return what came and changed since; see the port."""
    now: datetime = one(cursor, build.NOW)
    tables = sorted(_tables(cursor), key=lambda table: rank(table.model))
    cursor.execute(build.limit_statements(table_seconds))
    deadline = time.monotonic() + seconds
    found = []
    for table in tables:
        counted = _count(cursor, table, since, hurried=time.monotonic() >= deadline)
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
        arguments = {"since": _naive(since), "last": _last_before(cursor, table, since), "most": room}
        found += [
            LostRecord(model=table.model, id=number, name=name, at=at.replace(tzinfo=UTC))
            for number, name, at in rows(cursor, build.newest(table.name, table.columns), arguments)
        ]
    return tuple(found)


def _naive(since: datetime) -> datetime:
    """Return the time as Odoo stores it: UTC, without saying so."""
    return since.astimezone(UTC).replace(tzinfo=None)
