"""What somebody configured by hand in an Odoo database, and which of it the next `-u` takes away. Reads only.

Odoo writes as user 1 while it installs and updates; whoever else wrote a record last did so by hand. An update writes
again what a module's data files name, unless the record is marked `noupdate`; what has no module's name it never sees.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as Xml

from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Identifier

from .commands import inspection as build
from .neutralise import looks_secret
from .postgres import one, rows
from .protocol import InspectResult, ManualChange

CHANGES_MAX, XML_BYTES_MAX = 500, 1 << 20
BY_HAND = frozenset({"__export__", "__import__", "__custom__", "studio_customization", "base_import_module"})
ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Named:
    """A record's name in a module's data."""

    module: str
    name: str
    noupdate: bool

    @property
    def full(self) -> str:
        return f"{self.module}.{self.name}"


def inspect(cursor: Cursor, since: datetime | None, uuid: str | None) -> InspectResult:
    """List what was changed by hand since then, and write the same as a data file."""
    installed = frozenset(name for (name,) in rows(cursor, build.INSTALLED))
    found: list[tuple[ManualChange, Mapping[str, Any], build.Kind]] = []
    for kind in build.KINDS:
        if one(cursor, SQL("SELECT to_regclass(%s) IS NOT NULL"), (f"public.{kind.table}",)):
            found += _changed(cursor, kind, since, installed)
    found.sort(key=lambda each: each[0].changed_at, reverse=True)
    names = {(change.model, change.id): _id(change) for change, _, _ in found}
    kept, written, size = list[ManualChange](), dict[tuple[int, int], Any](), 0
    for change, values, kind in found[:CHANGES_MAX]:
        record = _record(cursor, change, values, kind, names)
        size += len(Xml.tostring(record))
        if size > XML_BYTES_MAX:
            break
        kept.append(change)
        written[build.KINDS.index(kind), change.id] = record
    root = Xml.Element("odoo")
    # What is pointed to comes first: automations before their actions, a view before those that were made upon it.
    root.extend(written[place] for place in sorted(written))
    _break_lines(root)
    text = Xml.tostring(root, encoding="unicode", xml_declaration=False)
    return InspectResult(
        as_of=datetime.now(UTC),
        database_uuid=uuid,
        changes=tuple(kept),
        xml=f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n',
        left_out=len(found) - len(kept),
    )


def _changed(
    cursor: Cursor, kind: build.Kind, since: datetime | None, installed: frozenset[str]
) -> Iterator[tuple[ManualChange, Mapping[str, Any], build.Kind]]:
    statement = build.CHANGED.format(table=Identifier(kind.table))
    asked = {"model": kind.model, "since": since.astimezone(UTC).replace(tzinfo=None) if since else None}
    for values, at, by, module, name, noupdate in rows(cursor, statement, asked):
        named = Named(module, name, bool(noupdate)) if module else None
        overwritten = named is not None and not named.noupdate and named.module in installed - BY_HAND
        yield (
            ManualChange(
                kind=kind.kind,
                model=kind.model,
                id=values["id"],
                xml_id=named.full if named else None,
                name=_text(values.get(kind.name)) or f"{kind.model} {values['id']}",
                changed_at=at.replace(tzinfo=UTC),
                by=by or "",
                overwritten_by_update=overwritten,
                reason=f"The module {module} writes what its data files name of it at every update."
                if overwritten
                else "",
            ),
            values,
            kind,
        )


def _id(change: ManualChange) -> str:
    return change.xml_id or f"manual_{change.model.replace('.', '_')}_{change.id}"


def _record(
    cursor: Cursor,
    change: ManualChange,
    values: Mapping[str, Any],
    kind: build.Kind,
    names: Mapping[tuple[str, int], str],
) -> Any:
    if kind.model == "ir.config_parameter" and looks_secret(values["key"], _text(values["value"])):
        return Xml.Comment(f" {change.name} looks like a secret: enter it by hand ")
    record = Xml.Element("record", id=_id(change), model=change.model)
    for column, relation in kind.fields.items():
        value = values.get(column)
        if value is None:
            continue
        field = Xml.SubElement(record, "field", name="arch" if column == "arch_db" else column)
        if relation and relation != build.ARCH:
            target = names.get((relation, value)) or one(cursor, build.XML_ID, {"model": relation, "id": value})
            if target is None:
                record.remove(field)
                record.append(Xml.Comment(f" {column}: {relation} {value}, which has no name: choose it by hand "))
            else:
                field.set("ref", target)
        elif isinstance(value, bool | int | float):
            field.set("eval", str(value))
        elif relation == build.ARCH and (arch := _parsed(_text(value))) is not None:
            field.set("type", "xml")
            field.append(arch)
        else:
            field.text = ILLEGAL.sub("", _text(value))
    return record


def _break_lines(root: Xml.Element) -> None:
    """Give each record and field a line of its own; within a view every blank may show on a page."""
    root.text = "\n"
    for record in root:
        record.tail = "\n"
        if len(record):
            record.text = "\n    "
            for field in record:
                field.tail = "\n    "
            record[-1].tail = "\n"


def _parsed(arch: str) -> Xml.Element | None:
    try:
        # Of the database's own owner, and PostgreSQL keeps no entities declared: expat's limits suffice.
        return Xml.fromstring(ILLEGAL.sub("", arch))  # noqa: S314
    except Xml.ParseError:
        return None


def _text(value: Any) -> str:
    """Return a value as it is in the source language, which is what a data file holds."""
    if isinstance(value, dict):
        value = value.get("en_US") or next(iter(value.values()), "")
    return "" if value is None else str(value)
