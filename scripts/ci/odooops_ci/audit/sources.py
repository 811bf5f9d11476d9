"""Where an audit log is read from: an export file, PostgreSQL, or the console's `/json/2`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..control import Control
from ..errors import InvalidInput, Refused
from .chain import Head, Link

BATCH = 10_000
_QUERY = """
    SELECT id, previous_hash, hash, to_char(happened_at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), user_id, action, model,
           record_id, record_name, project_id, details
      FROM odooops_audit_event ORDER BY id
"""
_NAMES = ("happened_at", "user_id", "action", "model", "record_id", "record_name", "project_id", "details")
_EMPTY = {"user_id": 0, "model": "", "record_id": 0, "record_name": "", "project_id": 0, "details": {}}


def from_file(path: Path) -> Iterator[Link]:
    """Yield the events of an export.

    :raise InvalidInput: it is no export, or not a whole one.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            yield from _links(path, lines)
    except OSError as error:
        raise InvalidInput(f"{path} can't be read ({error.strerror}): give a file that the console exported.") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{path} is no export of an audit log: its text is no UTF-8.") from None


def _links(path: Path, lines: Iterator[str]) -> Iterator[Link]:
    last: Head | None = None
    count = 0
    end: dict[str, Any] | None = None
    for position, line in enumerate(lines, 1):
        row = _row(path, position, line)
        if position == 1 and row.get("odooops_audit") != 1:
            raise InvalidInput(f"{path} is no export of an audit log of version 1: download it in the console.")
        if end is not None:
            raise Refused(f"{path} goes on after its end in line {position}: somebody added to it.")
        if "event" in row:
            link = _link(path, position, row)
            yield link
            count, last = count + 1, Head(link.number, link.hash)
        elif "events" in row:
            end = row
    if end is None:
        raise Refused(f"{path} has no end: it was cut off, or its download was; take it again.")
    told = {"number": last.number, "hash": last.hash} if last else None
    if (end.get("events"), end.get("head")) != (count, told):
        raise Refused(f"{path} ends with another event than its last line says: events were taken out.")


def _row(path: Path, position: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise InvalidInput(f"Line {position} of {path} is no JSON object: take the export again.")
    return row


def _link(path: Path, position: int, row: dict[str, Any]) -> Link:
    try:
        link = Link(row["number"], row["previous_hash"], row["hash"], row["event"])
    except KeyError as error:
        raise InvalidInput(f"Line {position} of {path} has no {error}: take the export again.") from None
    if not isinstance(link.number, int) or not isinstance(link.event, dict):
        raise InvalidInput(f"Line {position} of {path} is no event: take the export again.")
    return link


def from_database(dsn: str) -> Iterator[Link]:
    """Yield the events of a console's database, read in one snapshot.

    :raise InvalidInput: psycopg2 is not installed, or the database can't be read.
    """
    try:
        import psycopg2
    except ImportError:
        raise InvalidInput("Reading a database needs psycopg2: pip install psycopg2-binary.") from None
    try:
        connection = psycopg2.connect(dsn)
        try:
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
            with connection.cursor(name="odooops_audit") as cursor:
                cursor.itersize = BATCH
                cursor.execute(_QUERY)
                for number, previous, digest, *values in cursor:
                    yield Link(number, previous, digest, _event(values))
        finally:
            connection.close()
    except psycopg2.Error as error:
        reason = str(error).strip().partition("\n")[0]
        raise InvalidInput(f"The audit log can't be read from the database: {reason}.") from None


def _event(values: list[Any]) -> dict[str, Any]:
    event = dict(zip(_NAMES, values, strict=True))
    return {name: _EMPTY[name] if value is None and name in _EMPTY else value for name, value in event.items()}


def from_console(control: Control) -> Iterator[Link]:
    """Yield the events as the console gives them; an administrator's key is needed."""
    after = 0
    while True:
        answer = control.call("odooops.audit.event", "export", after=after)
        if not isinstance(answer, dict) or not isinstance(answer.get("events"), list):
            raise Refused("The console's answer is no part of an audit log: is it of this version?")
        for row in answer["events"]:
            yield _link(Path("the console's answer"), after, row)
        if not answer["events"]:
            return
        after = answer["events"][-1]["number"]
