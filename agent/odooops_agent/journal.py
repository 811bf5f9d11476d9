"""The agent's memory on disk: what it began, what it ended, and what it still has to report.

A step's end and the report of it are one transaction, so a crash loses neither. SQLite syncs every commit
(`synchronous=FULL`): a step that is recorded stays recorded when the droplet's power goes.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from .errors import Unrecorded
from .plans.model import Plan
from .protocol import (
    AuditHead,
    FinishRequest,
    LogLine,
    LogsRequest,
    Operation,
    StepReport,
    StepsRequest,
    StepState,
    decode,
    encode,
)

State = Literal["preparing", "running", "undoing", "ended"]
ReportKind = Literal["steps", "logs", "finish"]

# How much of the past is kept: enough to answer a lease that is given twice.
KEPT_OPERATIONS = 200
# Reports of lines kept per operation while the control plane is away.
KEPT_LOG_REPORTS = 500
# Reports that the control plane refused, kept for whoever wants to know what it never heard.
KEPT_REFUSED = 100
LINES_PER_REPORT = 200

_SCHEMA = """
CREATE TABLE IF NOT EXISTS operation (
    id INTEGER PRIMARY KEY, token INTEGER NOT NULL, kind TEXT NOT NULL, environment TEXT NOT NULL,
    document BLOB NOT NULL, plan TEXT, state TEXT NOT NULL, results TEXT NOT NULL DEFAULT '{}',
    cause TEXT, finish BLOB, suspended INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS step (
    operation_id INTEGER NOT NULL, seq INTEGER NOT NULL, place INTEGER, name TEXT NOT NULL, state TEXT NOT NULL,
    started_at TEXT, finished_at TEXT, detail TEXT NOT NULL DEFAULT '', PRIMARY KEY (operation_id, seq)
);
CREATE TABLE IF NOT EXISTS log (operation_id INTEGER PRIMARY KEY, highest INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS token (environment TEXT PRIMARY KEY, highest INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS environment (key TEXT PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, operation_id INTEGER NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS unreadable (
    origin TEXT NOT NULL, key TEXT NOT NULL, content TEXT NOT NULL, reason TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS audit_head (number INTEGER PRIMARY KEY, hash TEXT NOT NULL, at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS audit_break (number INTEGER PRIMARY KEY, found TEXT, at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS used_grant (id TEXT PRIMARY KEY, operation_id INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS tier (environment TEXT PRIMARY KEY, tier TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS refused (
    id INTEGER PRIMARY KEY, operation_id INTEGER NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL, reason TEXT NOT NULL
);
"""


_OPERATION = "document, token, state, plan, results, cause, finish, suspended"


@dataclass(frozen=True, slots=True)
class Entry:
    """What the journal knows of one operation."""

    operation: Operation
    token: int  # of the newest lease; the operation's own is what stands on the resources
    state: State
    plan: Plan | None
    results: Mapping[str, Any]
    cause: Mapping[str, Any] | None
    finish: bytes | None
    suspended: bool


@dataclass(frozen=True, slots=True)
class Report:
    """A report that the control plane has not acknowledged yet."""

    id: int
    operation_id: int
    kind: ReportKind
    body: bytes

    @property
    def token(self) -> int:
        """Of the lease under which it was written."""
        return int(msgspec.json.decode(self.body)["token"])


class Journal:
    """Serialises its callers; any thread may use it."""

    def __init__(self, path: Path | str, *, durable: bool = True) -> None:
        """`durable=False` leaves syncing to the system: for tests that kill processes and never the power."""
        self._path = path
        self._lock = threading.RLock()
        with _explained(path):
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
            self._connection.executescript(_SCHEMA)
            _check(self._connection)
        self._on_report: Callable[[], None] = lambda: None

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def on_report(self, call: Callable[[], None]) -> None:
        """Have `call` called whenever a report was queued."""
        self._on_report = call

    # -- operations -----------------------------------------------------------------------------------------

    def begin(self, operation: Operation) -> None:
        """Record that an operation was taken on; one of the same id that did nothing yet is replaced."""
        with self._transaction() as sql:
            sql.execute("DELETE FROM step WHERE operation_id = ?", (operation.id,))
            sql.execute(
                "INSERT OR REPLACE INTO operation (id, token, kind, environment, document, state)"
                " VALUES (?, ?, ?, ?, ?, 'preparing')",
                (operation.id, operation.token, operation.kind, operation.environment.key, encode(operation)),
            )
            self._see_token(sql, operation.environment.key, operation.token)

    def set_plan(self, operation_id: int, plan: Plan, grant: str | None = None) -> None:
        """Record what will be done; from here the grant is used up, and goes on counting for this operation alone."""
        text = json.dumps(msgspec.to_builtins(asdict(plan) | {"document": plan.document, "facts": plan.facts}))
        with self._transaction() as sql:
            if grant is not None:
                sql.execute("INSERT INTO used_grant VALUES (?, ?)", (grant, operation_id))
            sql.execute("UPDATE operation SET plan = ?, state = 'running' WHERE id = ?", (text, operation_id))

    def grant_used_by(self, grant: str) -> int | None:
        """Return the operation that a grant was used up for."""
        row = self._one("SELECT operation_id FROM used_grant WHERE id = ?", (grant,))
        return int(row[0]) if row else None

    def set_cause(self, operation_id: int, cause: Mapping[str, Any]) -> None:
        """Record why the operation is being undone, before anything is."""
        self._update(operation_id, cause=json.dumps(cause), state="undoing")

    def set_token(self, operation_id: int, token: int) -> None:
        """Take over a newer lease of an operation that the journal knows; reports carry it from now on.

        One that has ended is reported again: under the older lease its outcome would be refused.
        """
        with self._transaction() as sql:
            sql.execute("UPDATE operation SET token = ?, suspended = 0 WHERE id = ?", (token, operation_id))
            row = sql.execute("SELECT environment, finish FROM operation WHERE id = ?", (operation_id,)).fetchone()
            if row is not None:
                self._see_token(sql, row[0], token)
            if row is not None and row[1] is not None:
                sql.execute("DELETE FROM outbox WHERE operation_id = ? AND kind = 'finish'", (operation_id,))
                self._put(sql, operation_id, "finish", _under(token, row[1]))
        self._announce()

    def suspend(self, operation_id: int) -> None:
        """Record that the lease was lost while the operation was under way."""
        self._update(operation_id, suspended=1)

    def keep_result(self, operation_id: int, name: str, value: Any) -> None:
        """Keep something that a later step or the final report needs, across a crash."""
        with self._transaction() as sql:
            row = sql.execute("SELECT results FROM operation WHERE id = ?", (operation_id,)).fetchone()
            results = {**json.loads(row[0]), name: value} if row else {name: value}
            sql.execute("UPDATE operation SET results = ? WHERE id = ?", (json.dumps(results), operation_id))

    def end(self, operation_id: int, finish: FinishRequest[Any]) -> None:
        """Record the outcome and put it in the outbox, under the newest lease."""
        with self._transaction() as sql:
            body = _under(self._token(sql, operation_id) or finish.token, encode(finish))
            sql.execute(
                "UPDATE operation SET state = 'ended', finish = ?, suspended = 0 WHERE id = ?", (body, operation_id)
            )
            self._put(sql, operation_id, "finish", body)
        self._announce()

    def refuse(self, finish: FinishRequest[Any]) -> None:
        """Put in the outbox the outcome of an operation that was never taken on."""
        with self._transaction() as sql:
            self._put(sql, finish.operation_id, "finish", encode(finish))
        self._announce()

    def forget(self, operation_id: int) -> None:
        """Drop an operation that changed nothing, or is another worker's now."""
        with self._transaction() as sql:
            for table in ("step", "outbox"):
                sql.execute(f"DELETE FROM {table} WHERE operation_id = ?", (operation_id,))  # noqa: S608 constant
            sql.execute("DELETE FROM operation WHERE id = ?", (operation_id,))

    def get(self, operation_id: int) -> Entry | None:
        row = self._one(f"SELECT {_OPERATION} FROM operation WHERE id = ?", (operation_id,))  # noqa: S608 constant
        return None if row is None else _entry(row)

    def unfinished(self) -> list[Entry]:
        rows = self._all(f"SELECT {_OPERATION} FROM operation WHERE state != 'ended' ORDER BY id")  # noqa: S608 constant
        return [_entry(row) for row in rows]

    def latest(self, limit: int) -> list[tuple[int, str, str, str]]:
        """Return id, kind, environment and state of the newest operations."""
        return self._all("SELECT id, kind, environment, state FROM operation ORDER BY id DESC LIMIT ?", (limit,))

    # -- steps ----------------------------------------------------------------------------------------------

    def step_began(self, operation_id: int, name: str, at: datetime, place: int | None = None) -> int:
        """Record a step's start and return its number; a step that begins again keeps its number."""
        with self._transaction() as sql:
            row = sql.execute(
                "SELECT seq FROM step WHERE operation_id = ? AND name = ? AND place IS ?", (operation_id, name, place)
            ).fetchone()
            highest = sql.execute("SELECT max(seq) FROM step WHERE operation_id = ?", (operation_id,)).fetchone()
            seq = int(row[0] if row else (highest[0] or 0) + 1)
            sql.execute(
                "INSERT OR REPLACE INTO step (operation_id, seq, place, name, state, started_at)"
                " VALUES (?, ?, ?, ?, 'running', ?)",
                (operation_id, seq, place, name, at.isoformat()),
            )
            self._report_step(sql, operation_id, seq)
        self._announce()
        return seq

    def step_ended(self, operation_id: int, seq: int, state: StepState, at: datetime, detail: str = "") -> None:
        with self._transaction() as sql:
            sql.execute(
                "UPDATE step SET state = ?, finished_at = ?, detail = CASE WHEN ? = '' THEN detail ELSE ? END"
                " WHERE operation_id = ? AND seq = ?",
                (state, at.isoformat(), detail, detail, operation_id, seq),
            )
            self._report_step(sql, operation_id, seq)
        self._announce()

    def places(self, operation_id: int) -> dict[str, dict[int, int]]:
        """Return the numbers of the plan's steps by state and place in the plan."""
        rows = self._all(
            "SELECT state, place, seq FROM step WHERE operation_id = ? AND place IS NOT NULL", (operation_id,)
        )
        found: dict[str, dict[int, int]] = {}
        for state, place, seq in rows:
            found.setdefault(state, {})[place] = seq
        return found

    def current_step(self, operation_id: int) -> str:
        row = self._one("SELECT name FROM step WHERE operation_id = ? ORDER BY seq DESC LIMIT 1", (operation_id,))
        return str(row[0]) if row else ""

    # -- tokens and environments ----------------------------------------------------------------------------

    def _see_token(self, sql: sqlite3.Connection, environment: str, token: int) -> None:
        sql.execute(
            "INSERT INTO token VALUES (?, ?) ON CONFLICT (environment) DO UPDATE"
            " SET highest = max(highest, excluded.highest)",
            (environment, token),
        )

    def tokens(self) -> dict[str, int]:
        return dict(self._all("SELECT environment, highest FROM token"))

    def remember_environment(self, key: str, document: Mapping[str, Any]) -> None:
        with self._transaction() as sql:
            sql.execute("INSERT OR REPLACE INTO environment VALUES (?, ?)", (key, json.dumps(document)))

    def environments(self) -> dict[str, dict[str, Any]]:
        return {key: json.loads(text) for key, text in self._all("SELECT key, document FROM environment ORDER BY key")}

    def tier(self, environment: str) -> str | None:
        """Return the tier under which an environment was seen first, or was raised to."""
        row = self._one("SELECT tier FROM tier WHERE environment = ?", (environment,))
        return str(row[0]) if row else None

    def set_tier(self, environment: str, tier: str) -> None:
        with self._transaction() as sql:
            sql.execute("INSERT OR REPLACE INTO tier VALUES (?, ?)", (environment, tier))

    # -- heads of the console's audit log -------------------------------------------------------------------

    def keep_audit_head(self, head: AuditHead, at: datetime) -> None:
        """Keep the newest head, and the last of each day before: they prove what the log was then."""
        with self._transaction() as sql:
            sql.execute("INSERT OR IGNORE INTO audit_head VALUES (?, ?, ?)", (head.number, head.hash, at.isoformat()))
            last_of_days = "SELECT max(number) FROM audit_head GROUP BY substr(at, 1, 10)"
            sql.execute(f"DELETE FROM audit_head WHERE number NOT IN ({last_of_days})")  # noqa: S608 constant

    def audit_heads(self) -> list[tuple[int, str, str]]:
        """Return number, hash and time of the heads that are held, oldest first."""
        return self._all("SELECT number, hash, at FROM audit_head ORDER BY number")

    def audit_head(self) -> AuditHead | None:
        row = self._one("SELECT number, hash FROM audit_head ORDER BY number DESC LIMIT 1")
        return AuditHead(number=row[0], hash=row[1]) if row else None

    def note_audit_break(self, held: AuditHead, found: str | None, at: datetime) -> bool:
        """Note that the console's log does not have a held head so any more; tells whether that is news."""
        with self._transaction() as sql:
            return bool(
                sql.execute(
                    "INSERT OR IGNORE INTO audit_break VALUES (?, ?, ?)", (held.number, found, at.isoformat())
                ).rowcount
            )

    def audit_break(self) -> tuple[int, str | None, str] | None:
        """Return number, what the console has there, and when it was noticed first."""
        row = self._one("SELECT number, found, at FROM audit_break ORDER BY number LIMIT 1")
        return None if row is None else (row[0], row[1], row[2])

    def accept_audit(self) -> None:
        """Forget the heads: the console was restored from a backup, and its log begins anew from there."""
        with self._transaction() as sql:
            sql.execute("DELETE FROM audit_head")
            sql.execute("DELETE FROM audit_break")

    # -- outbox ---------------------------------------------------------------------------------------------

    def put_lines(self, operation_id: int, lines: Sequence[LogLine]) -> None:
        """Queue lines of output; past a limit they are dropped, the steps and the outcome never are."""
        with self._transaction() as sql:
            queued = sql.execute(
                "SELECT count(*) FROM outbox WHERE operation_id = ? AND kind = 'logs'", (operation_id,)
            ).fetchone()[0]
            token = self._token(sql, operation_id)
            for start in range(0, len(lines), LINES_PER_REPORT):
                if queued >= KEPT_LOG_REPORTS:
                    break
                part = tuple(lines[start : start + LINES_PER_REPORT])
                request = LogsRequest(operation_id=operation_id, token=token, lines=part)
                self._put(sql, operation_id, "logs", encode(request))
                queued += 1
            if lines:
                sql.execute("INSERT OR REPLACE INTO log VALUES (?, ?)", (operation_id, lines[-1].seq))
        self._announce()

    def last_line(self, operation_id: int) -> int:
        """Return the number of the last line of output: the control plane takes none of them twice."""
        row = self._one("SELECT highest FROM log WHERE operation_id = ?", (operation_id,))
        return int(row[0]) if row else 0

    def next_report(self, passing_over: Collection[int] = ()) -> Report | None:
        """Return the oldest report, of another operation than those that are passed over."""
        others = ", ".join("?" * len(passing_over))
        row = self._one(
            f"SELECT id, operation_id, kind, body FROM outbox WHERE operation_id NOT IN ({others})"  # noqa: S608 marks
            " ORDER BY id LIMIT 1",
            tuple(passing_over),
        )
        return None if row is None else Report(*row)

    def acknowledge(self, report_id: int) -> None:
        with self._transaction() as sql:
            sql.execute("DELETE FROM outbox WHERE id = ?", (report_id,))

    def undelivered(self) -> dict[int, int]:
        """Return the operations whose outcome the control plane does not know yet, with the lease's token."""
        return dict(
            self._all(
                "SELECT operation_id, max(json_extract(CAST(body AS TEXT), '$.token')) FROM outbox"
                " WHERE kind = 'finish' GROUP BY operation_id"
            )
        )

    def set_aside(self, report: Report, reason: str) -> None:
        """Take a report out of the outbox that will never be accepted, and keep it with the reason."""
        with self._transaction() as sql:
            sql.execute("DELETE FROM outbox WHERE id = ?", (report.id,))
            sql.execute(
                "INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?, ?)",
                (report.id, report.operation_id, report.kind, report.body, reason),
            )
            sql.execute(
                "DELETE FROM refused WHERE id NOT IN (SELECT id FROM refused ORDER BY id DESC LIMIT ?)", (KEPT_REFUSED,)
            )

    def refused_reports(self) -> list[tuple[int, str, str]]:
        """Return operation, kind and reason of the reports that were set aside, oldest first."""
        return self._all("SELECT operation_id, kind, reason FROM refused ORDER BY id")

    def discard_reports(self, refused: Report) -> int:
        """Drop all that the control plane will never take, as it refused one of the same lease; return how many."""
        with self._transaction() as sql:
            return sql.execute(
                "DELETE FROM outbox WHERE operation_id = ? AND json_extract(CAST(body AS TEXT), '$.token') = ?",
                (refused.operation_id, refused.token),
            ).rowcount

    def compact(self) -> None:
        """Forget the steps of what has ended and was reported, and all but the newest operations."""
        with self._transaction() as sql:
            reported = "state = 'ended' AND id NOT IN (SELECT operation_id FROM outbox)"
            newest = f"SELECT id FROM operation ORDER BY id DESC LIMIT {KEPT_OPERATIONS}"  # noqa: S608 constants
            sql.execute(f"DELETE FROM operation WHERE {reported} AND id NOT IN ({newest})")  # noqa: S608 constants
            newest_logs = f"SELECT operation_id FROM log ORDER BY operation_id DESC LIMIT {KEPT_OPERATIONS}"  # noqa: S608
            sql.execute(f"DELETE FROM log WHERE operation_id NOT IN ({newest_logs})")  # noqa: S608 constants
            sql.execute(f"UPDATE operation SET plan = NULL WHERE {reported}")  # noqa: S608 constants
            sql.execute("DELETE FROM step WHERE operation_id NOT IN (SELECT id FROM operation WHERE state != 'ended')")
        with self._lock:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def set_unreadable_aside(self) -> list[str]:
        """Move what can't be read out of the way of all that can; return a sentence about each.

        It may be of another version of the agent, or damaged; it is kept in the table `unreadable`.
        """
        said = [self._set_operation_aside(*found) for found in self._unreadable("operation", "id", _OPERATION, _entry)]
        for key, row, reason in self._unreadable("environment", "key", "document", _environment):
            self._move_aside("environment", "key", key, row, reason)
            said.append(f"What the journal knows of {key} can't be read ({reason}): its health is told after a deploy.")
        for number, row, reason in self._unreadable("outbox", "id", "body", _body):
            self._move_aside("outbox", "id", number, row, reason)
            said.append(f"A report can't be read ({reason}) and was set aside.")
        return said

    def _set_operation_aside(self, number: int, row: Sequence[Any], reason: str) -> str:
        key = self._one("SELECT environment FROM operation WHERE id = ?", (number,))[0]
        self._move_aside("operation", "id", number, row, reason)
        return (
            f"Operation {number} of {key} can't be read in the journal ({reason}) and was set aside: "
            f"see that {key} serves, and deploy it again."
        )

    def _unreadable(
        self, table: str, key: str, columns: str, read: Callable[[Sequence[Any]], object]
    ) -> list[tuple[Any, Sequence[Any], str]]:
        found = []
        for name, *row in self._all(f"SELECT {key}, {columns} FROM {table} ORDER BY {key}"):  # noqa: S608 constants
            try:
                read(row)
            except Exception as error:  # noqa: BLE001 whatever is wrong with it, it must not cost the others
                found.append((name, row, f"{type(error).__name__}: {error}"))
        return found

    def _move_aside(self, table: str, key: str, name: Any, row: Sequence[Any], reason: str) -> None:
        shown = json.dumps([one.decode(errors="backslashreplace") if isinstance(one, bytes) else one for one in row])
        with self._transaction() as sql:
            sql.execute("INSERT INTO unreadable VALUES (?, ?, ?, ?)", (table, str(name), shown, reason))
            sql.execute(f"DELETE FROM {table} WHERE {key} = ?", (name,))  # noqa: S608 constants

    # -- inside ---------------------------------------------------------------------------------------------

    def _report_step(self, sql: sqlite3.Connection, operation_id: int, seq: int) -> None:
        name, state, started, finished, detail = sql.execute(
            "SELECT name, state, started_at, finished_at, detail FROM step WHERE operation_id = ? AND seq = ?",
            (operation_id, seq),
        ).fetchone()
        step = StepReport(
            seq=seq, name=name, state=state, started_at=_time(started), finished_at=_time(finished), detail=detail
        )
        request = StepsRequest(operation_id=operation_id, token=self._token(sql, operation_id), steps=(step,))
        self._put(sql, operation_id, "steps", encode(request))

    def _token(self, sql: sqlite3.Connection, operation_id: int) -> int:
        row = sql.execute("SELECT token FROM operation WHERE id = ?", (operation_id,)).fetchone()
        return int(row[0]) if row else 0

    def _put(self, sql: sqlite3.Connection, operation_id: int, kind: ReportKind, body: bytes) -> None:
        sql.execute("INSERT INTO outbox (operation_id, kind, body) VALUES (?, ?, ?)", (operation_id, kind, body))

    def _announce(self) -> None:
        self._on_report()

    def _update(self, operation_id: int, **values: Any) -> None:
        columns = ", ".join(f"{name} = ?" for name in values)
        with self._transaction() as sql:
            sql.execute(f"UPDATE operation SET {columns} WHERE id = ?", (*values.values(), operation_id))  # noqa: S608

    def _one(self, query: str, values: Sequence[Any] = ()) -> Any:
        with self._lock, _explained(self._path):
            return self._connection.execute(query, values).fetchone()

    def _all(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock, _explained(self._path):
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _explained(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite may have rolled back by itself, as when its disk was full.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


@contextmanager
def _explained(path: Path | str) -> Iterator[None]:
    """Turn SQLite's errors into the agent's."""
    try:
        yield
    except sqlite3.Error as error:
        raise Unrecorded(_sentence(path, error)) from error


def _sentence(path: Path | str, error: sqlite3.Error) -> str:
    reason = " ".join(str(error).split())
    if "full" in reason:
        return f"The journal {path} can't be written ({reason}): free some space on its disk."
    if type(error) is sqlite3.DatabaseError:  # OperationalError and its other kinds may pass
        return (
            f"The journal {path} is damaged ({reason}): stop the agent, move the file away together with its -wal and "
            "-shm, start the agent, and look at every environment that was in the middle of a deployment."
        )
    return f"The journal {path} can't be used ({reason}): see that its folder and disk are well."


def _check(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(found)


def examine(path: Path) -> tuple[int, int]:
    """Look whether a journal is whole; return how many rows and reports of it were set aside. Changes nothing."""
    with _explained(path), closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as connection:
        _check(connection)
        known = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        counts = [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] if table in known else 0  # noqa: S608
            for table in ("unreadable", "refused")
        ]
    return counts[0], counts[1]


def _entry(row: Sequence[Any]) -> Entry:
    document, token, state, plan, results, cause, finish, suspended = row
    return Entry(
        operation=decode(document, Operation),
        token=token,
        state=state,
        plan=msgspec.convert(json.loads(plan), Plan) if plan else None,
        results=json.loads(results),
        cause=json.loads(cause) if cause else None,
        finish=finish,
        suspended=bool(suspended),
    )


def _environment(row: Sequence[Any]) -> dict[str, Any]:
    return msgspec.json.decode(row[0], type=dict[str, Any])


def _body(row: Sequence[Any]) -> int:
    return int(msgspec.json.decode(row[0])["token"])


def _under(token: int, finish: bytes) -> bytes:
    """Return an outcome as reported under another lease's token."""
    return msgspec.json.encode(msgspec.json.decode(finish) | {"token": token})


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
