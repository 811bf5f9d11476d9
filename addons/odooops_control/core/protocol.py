"""Messages of the agent protocol, version 1, as frozen dataclasses.

Unknown fields are ignored, so that either side may be newer. A field of the wrong type, or a
missing one, is a :class:`BadMessage`.
"""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime

from . import redact

SCHEMA = 1
POLL_SECONDS = 15
LEASE_SECONDS = 30
HEARTBEAT_SECONDS = 10
SILENT_SECONDS = 25
OUTCOMES = ("succeeded", "failed", "cancelled", "indeterminate")
HEALTHS = ("green", "yellow", "red", "unknown")
STEP_STATES = ("pending", "running", "succeeded", "failed", "cancelled", "skipped", "undone")
MAX_LINES = 1000
MAX_STEPS = 200
MAX_MAILS = 100
MAX_RECIPIENTS = 1000
MAX_INTEGER = 2**31 - 1
# Leaves room above what an agent may claim, or one wrong report would use up all tokens. More is not believed.
MAX_TOKEN = 2**30


class ProtocolError(Exception):
    """An answer that is no success: status, code and a sentence."""

    status = 400
    code = "bad_request"


class BadMessage(ProtocolError):
    """The message is not what the protocol says."""


class Unauthorized(ProtocolError):
    """The key is missing, wrong, expired or revoked."""

    status = 401
    code = "unauthorized"


class Forbidden(ProtocolError):
    """The agent may not do this."""

    status = 403
    code = "forbidden"


class UnknownOperation(ProtocolError):
    """This agent has no such operation."""

    status = 404
    code = "unknown_operation"


class StaleToken(ProtocolError):
    """The lease was given on with a newer token."""

    status = 409
    code = "stale_token"


class TooLarge(ProtocolError):
    """The message is larger than the route accepts."""

    status = 413
    code = "too_large"


def error_body(error):
    """Return the JSON body that goes with ``error``."""
    return {"error": {"code": error.code, "message": str(error)}}


def take(message, name, kind, default=...):
    """Return field ``name`` of ``message``, checked to be of ``kind``.

    :raises BadMessage: when it is missing without default, or of another type
    """
    value = message.get(name, None) if isinstance(message, dict) else None
    if value is None:
        if default is ...:
            raise BadMessage(f"The field {name!r} is missing.")
        return default
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise BadMessage(f"The field {name!r} has to be a {kind.__name__}.")
    if kind is int and not 0 <= value <= MAX_INTEGER:
        raise BadMessage(f"The field {name!r} has to lie between 0 and {MAX_INTEGER}.")
    return value


def take_time(message, name, default=...):
    """Return an RFC 3339 time as naive UTC datetime, without fraction of a second."""
    text = take(message, name, str, default)
    if text is default:
        return default
    try:
        return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None, microsecond=0)
    except (ValueError, OverflowError) as error:
        raise BadMessage(f"The field {name!r} has to be a time such as 2026-01-31T10:00:00Z.") from error


def show_time(at):
    """Return a naive UTC datetime as RFC 3339 text, None for none."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else None


def scrubbed(value):
    """Return JSON data without the characters that PostgreSQL refuses."""
    if isinstance(value, str):
        return value.replace("\x00", "?").encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [scrubbed(item) for item in value]
    if isinstance(value, dict):
        return {scrubbed(key): scrubbed(item) for key, item in value.items()}
    return value


def refuse_constant(name):
    """Refuse ``NaN`` and ``Infinity``, which are no JSON."""
    raise ValueError(name)


def objects(message, name, limit):
    """Return a list of JSON objects of at most ``limit`` entries."""
    items = take(message, name, list, [])
    if len(items) > limit:
        raise BadMessage(f"The list {name!r} has more than {limit} entries: send it in parts.")
    if not all(isinstance(item, dict) for item in items):
        raise BadMessage(f"The list {name!r} has to contain objects.")
    return items


def busy_of(message):
    """Return how much of which business goes on in an environment, by kind."""
    found = {take(one, "kind", str): take(one, "count", int) for one in objects(message, "busy", 20)}
    return {kind[:64]: min(max(count, 0), MAX_INTEGER) for kind, count in found.items()}


def tokens_of(message):
    """Return the highest token that the agent has seen for each environment key."""
    tokens = take(message, "tokens", dict, {})
    seen = {key: take(tokens, key, int) for key in tokens if tokens[key] is not None}
    return {key: token for key, token in seen.items() if token <= MAX_TOKEN}


@dataclass(frozen=True)
class AgentInfo:
    """What an agent says about itself."""

    version: str
    host: str
    boot_id: str
    capabilities: tuple

    @classmethod
    def from_json(cls, message):
        """Read the field ``agent`` of a message."""
        info = take(message, "agent", dict)
        names = take(info, "capabilities", list, [])
        return cls(
            version=take(info, "version", str, "")[:64],
            host=take(info, "host", str, "")[:255],
            boot_id=take(info, "boot_id", str, "")[:64],
            capabilities=tuple(str(name)[:64] for name in names[:50]),
        )


@dataclass(frozen=True)
class LeaseRequest:
    """An agent asks for work."""

    agent: AgentInfo
    kinds: tuple
    tokens: dict

    @classmethod
    def from_json(cls, message):
        """Read and check a message."""
        kinds = take(message, "kinds", list)
        if not all(isinstance(kind, str) for kind in kinds):
            raise BadMessage("The list 'kinds' has to contain texts.")
        return cls(AgentInfo.from_json(message), tuple(kinds), tokens_of(message))


@dataclass(frozen=True)
class WorkedOn:
    """An operation that the agent says it is working on."""

    id: int
    token: int
    step: str

    @classmethod
    def from_json(cls, message):
        """Read and check a message."""
        return cls(take(message, "id", int), take(message, "token", int), take(message, "step", str, ""))


@dataclass(frozen=True)
class EnvironmentReport:
    """How an environment is, as the agent sees it."""

    key: str
    health: str
    digest: str | None
    database_uuid: str | None
    detail: str
    checked_at: datetime | None
    # How much of which business goes on, by kind.
    busy: dict | None = None

    @classmethod
    def from_json(cls, message):
        """Read and check a message."""
        health = take(message, "health", str, "unknown")
        return cls(
            key=take(message, "key", str),
            health=health if health in HEALTHS else "unknown",
            digest=take(message, "digest", str, None),
            database_uuid=take(message, "database_uuid", str, None),
            detail=redact.masked(take(message, "detail", str, ""), 500),
            checked_at=take_time(message, "checked_at", None),
            busy=busy_of(message),
        )


@dataclass(frozen=True)
class AuditHead:
    """The newest event of the audit log of which an agent was told."""

    number: int
    hash: str

    @classmethod
    def from_json(cls, message):
        """Read and check a message."""
        return cls(take(message, "number", int), take(message, "hash", str)[:64])


@dataclass(frozen=True)
class Heartbeat:
    """A sign of life."""

    agent: AgentInfo
    operations: tuple
    tokens: dict
    host: dict
    environments: tuple
    sealing_public_key: str | None
    audit_head: AuditHead | None

    @classmethod
    def from_json(cls, message):
        """Read and check a message."""
        return cls(
            agent=AgentInfo.from_json(message),
            operations=tuple(map(WorkedOn.from_json, objects(message, "operations", 100))),
            tokens=tokens_of(message),
            host=redact.masked_data(take(message, "host", dict, {})),
            environments=tuple(map(EnvironmentReport.from_json, objects(message, "environments", 500))),
            sealing_public_key=take(message, "sealing_public_key", str, None),
            audit_head=AuditHead.from_json(message["audit_head"]) if message.get("audit_head") else None,
        )


@dataclass(frozen=True)
class Step:
    """One step of an operation."""

    seq: int
    name: str
    state: str
    started_at: datetime | None
    finished_at: datetime | None
    detail: str

    @classmethod
    def from_json(cls, message):
        """Read and check a message."""
        state = take(message, "state", str)
        if state not in STEP_STATES:
            raise BadMessage(f"A step's state is one of {', '.join(STEP_STATES)}.")
        return cls(
            seq=take(message, "seq", int),
            name=take(message, "name", str),
            state=state,
            started_at=take_time(message, "started_at", None),
            finished_at=take_time(message, "finished_at", None),
            detail=take(message, "detail", str, ""),
        )


@dataclass(frozen=True)
class Line:
    """One line of output."""

    seq: int
    step: str
    stream: str
    at: datetime | None
    text: str

    @classmethod
    def from_json(cls, message):
        """Read and check a message."""
        return cls(
            seq=take(message, "seq", int),
            step=take(message, "step", str, ""),
            stream=take(message, "stream", str, "stdout"),
            at=take_time(message, "at", None),
            text=take(message, "text", str, ""),
        )


@dataclass(frozen=True)
class Steps:
    """Steps that began or ended."""

    operation_id: int
    token: int
    steps: tuple

    @classmethod
    def from_json(cls, message):
        """Read and check a message."""
        steps = tuple(map(Step.from_json, objects(message, "steps", MAX_STEPS)))
        return cls(take(message, "operation_id", int), take(message, "token", int), steps)


@dataclass(frozen=True)
class Logs:
    """Lines of output."""

    operation_id: int
    token: int
    lines: tuple

    @classmethod
    def from_json(cls, message):
        """Read and check a message."""
        lines = tuple(map(Line.from_json, objects(message, "lines", MAX_LINES)))
        return cls(take(message, "operation_id", int), take(message, "token", int), lines)


@dataclass(frozen=True)
class Failure:
    """Why an operation did not succeed."""

    code: str
    step: str
    message: str
    log_tail: tuple

    @classmethod
    def from_json(cls, message):
        """Read and check a message."""
        tail = take(message, "log_tail", list, [])
        return cls(
            code=redact.masked(take(message, "code", str), 64),
            step=redact.masked(take(message, "step", str, ""), 64),
            message=redact.masked(take(message, "message", str), 1000),
            log_tail=tuple(redact.masked(str(line)) for line in tail[-200:]),
        )


@dataclass(frozen=True)
class Finish:
    """An operation's end."""

    operation_id: int
    token: int
    outcome: str
    finished_at: datetime | None
    error: Failure | None
    result: dict

    @classmethod
    def from_json(cls, message):
        """Read and check a message."""
        outcome = take(message, "outcome", str)
        if outcome not in OUTCOMES:
            raise BadMessage(f"An outcome is one of {', '.join(OUTCOMES)}.")
        error = take(message, "error", dict, None)
        return cls(
            operation_id=take(message, "operation_id", int),
            token=take(message, "token", int),
            outcome=outcome,
            finished_at=take_time(message, "finished_at", None),
            error=Failure.from_json(error) if error else None,
            result=_masked_result(take(message, "result", dict, {})),
        )


def _masked_result(result):
    """Return ``result`` without secrets; a data file stays as it is, or it would be one no more."""
    xml = result.get("xml")
    kept = {"xml": xml} if isinstance(xml, str) else {}
    return {**redact.masked_data({name: value for name, value in result.items() if name not in kept}), **kept}


@dataclass(frozen=True)
class CaughtMail:
    """A mail that an environment sent and nobody got; ``raw`` is base64."""

    id: str
    envelope_from: str
    recipients: tuple
    received_at: datetime
    size_bytes: float
    raw: str
    cut: bool

    @classmethod
    def from_json(cls, message):
        """Read and check a message."""
        recipients = take(message, "recipients", list, [])
        return cls(
            id=take(message, "id", str)[:128],
            envelope_from=take(message, "envelope_from", str, ""),
            recipients=tuple(str(one)[:320] for one in recipients[:MAX_RECIPIENTS]),
            received_at=take_time(message, "received_at"),
            size_bytes=take(message, "size_bytes", float, 0.0),
            raw=take(message, "raw", str),
            cut=take(message, "cut", bool, False),
        )


@dataclass(frozen=True)
class Upload:
    """A piece of what an export makes."""

    operation_id: int
    token: int
    offset: int
    data: bytes

    @classmethod
    def from_json(cls, message):
        """Read and check a message."""
        try:
            data = base64.b64decode(take(message, "data", str), validate=True)
        except ValueError as error:
            raise BadMessage("The field 'data' has to be base64.") from error
        numbers = (take(message, name, int) for name in ("operation_id", "token"))
        return cls(*numbers, _take_offset(message), data)


def _take_offset(message):
    """Return a place in a file, which may be far beyond what other numbers may be."""
    offset = message.get("offset")
    if not isinstance(offset, int) or isinstance(offset, bool) or not 0 <= offset < 2**50:
        raise BadMessage("The field 'offset' has to be a place in a file.")
    return offset


@dataclass(frozen=True)
class Mails:
    """What an environment sent."""

    environment: str
    mails: tuple

    @classmethod
    def from_json(cls, message):
        """Read and check a message."""
        mails = tuple(map(CaughtMail.from_json, objects(message, "mails", MAX_MAILS)))
        return cls(take(message, "environment", str), mails)
