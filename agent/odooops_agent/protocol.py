"""Messages between agent and control plane, version 1.

The fixtures in `tests/contract/fixtures` are the truth; both sides' tests load all of them. Unknown fields
are ignored, so that either side may be newer. Times are `datetime` in UTC, written as RFC 3339 with `Z`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

SCHEMA = 1

Kind = Literal[
    "plan", "deploy", "rollback", "health", "backup", "restore_test", "restore", "import", "export", "clone", "inspect"
]
Mode = Literal["code", "full", "backup", "fix_forward"]
Outcome = Literal["succeeded", "failed", "cancelled", "indeterminate"]
Health = Literal["green", "yellow", "red", "unknown"]
StepState = Literal["pending", "running", "succeeded", "failed", "cancelled", "skipped", "undone"]
Order = Literal["continue", "cancel", "lost"]


class BadMessage(ValueError):
    """A message is not what the protocol says; the text names the field by its path."""


class AgentInfo(Struct, frozen=True, kw_only=True):
    version: str
    host: str
    boot_id: str
    capabilities: tuple[str, ...] = ()


class DatabaseConfig(Struct, frozen=True, kw_only=True):
    name: str
    uuid: str | None = None


class Domains(Struct, frozen=True, kw_only=True):
    main: str
    aliases: tuple[str, ...] = ()
    redirects: tuple[str, ...] = ()


class Limits(Struct, frozen=True, kw_only=True):
    memory_soft_bytes: int
    memory_hard_bytes: int
    container_memory_bytes: int | None = None
    cpus: float | None = None
    request_seconds: int = 120
    request_cpu_seconds: int = 60


class Mail(Struct, frozen=True, kw_only=True):
    host: str
    port: int = 25
    encryption: Literal["none", "starttls", "ssl"] = "none"
    from_filter: str | None = None


class Environment(Struct, frozen=True, kw_only=True):
    """What the control plane wants an environment to be."""

    key: str
    uuid: str
    tier: Literal["preview", "staging", "production"]
    series: str
    database: DatabaseConfig
    modules: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    domains: Domains
    url: str
    workers: int
    cron_workers: int = 1
    limits: Limits
    database_connections_max: int
    mail: Mail | None = None
    bucket: str | None = None  # storage buckets, comma-separated


class Release(Struct, frozen=True, kw_only=True):
    tag: str
    commit_sha: str
    image: str
    digest: str

    @property
    def reference(self) -> str:
        return f"{self.image}@{self.digest}"


class RestoreSetPolicy(Struct, frozen=True, kw_only=True):
    """Which restore sets stay in the cluster: the newest `keep`, all of the last `keep_hours`, and those by number that
    a copy waits to be made of."""

    keep: int = 2
    keep_hours: float = 48
    wanted: tuple[int, ...] = ()


class Options(Struct, frozen=True, kw_only=True):
    drain_limit_seconds: int = 120
    hold_limit_seconds: int = 45
    update_timeout_seconds: int = 3600
    disk_reserve_bytes: int = 1 << 30
    restore_sets: RestoreSetPolicy | UnsetType = UNSET

    @property
    def kept_sets(self) -> RestoreSetPolicy:
        return self.restore_sets if isinstance(self.restore_sets, RestoreSetPolicy) else RestoreSetPolicy()


class TargetSet(Struct, frozen=True, kw_only=True):
    """The restore set that a rollback puts back, as the control plane recorded it when it was taken."""

    token: int
    digest: str
    config_hash: str | None = None
    database_snapshot: str
    filestore_snapshot: str
    taken_at: datetime
    module_versions: dict[str, str] = field(default_factory=dict)


class Limit(Struct, frozen=True, kw_only=True):
    """How much of one model may be lost; null is what nobody could count when it was approved."""

    created: int | None = 0
    changed: int | None = 0


class Ceiling(Struct, frozen=True, kw_only=True):
    """The loss that was approved; a model that it does not name may lose nothing."""

    minutes: float
    counts: dict[str, Limit] = field(default_factory=dict)
    posted: dict[str, int] = field(default_factory=dict)


class Rollback(Struct, frozen=True, kw_only=True):
    """What makes an operation a rollback; its release is the target. Without a mode it is to be previewed."""

    request: int
    mode: Literal["code", "full", "backup"] | None = None
    restore_set: TargetSet | None = None
    backup: dict[str, Any] | None = None
    ceiling: Ceiling | None = None  # none: whatever is lost is lost
    break_glass: bool = False


class KnownSet(Struct, frozen=True, kw_only=True):
    """A restore set that the control plane counts on."""

    token: int
    digest: str
    database_snapshot: str
    filestore_snapshot: str


class Repository(Struct, frozen=True, kw_only=True):
    """A restic repository; what opens it is sealed to the agent and unknown to the control plane."""

    id: int
    url: str
    sealed: str  # of RepositoryAccess as JSON
    identity: str | None = None  # restic's own id of it, once it was made: another one, or none, is not this repository
    recovery_public_key: str | None = None


class RepositoryAccess(Struct, frozen=True, kw_only=True):
    """What is sealed: the repository's password, and what its storage asks for."""

    password: str
    environment: dict[str, str] = field(default_factory=dict)


class Retention(Struct, frozen=True, kw_only=True):
    daily: int = 7
    weekly: int = 4
    monthly: int = 3


class BackupSource(Struct, frozen=True, kw_only=True):
    """Whose backup is restored."""

    environment: str
    tier: Literal["preview", "staging", "production"]
    database_uuid: str | None = None


class BackupOrder(Struct, frozen=True, kw_only=True):
    """What a backup, its test or its restoring is about."""

    backup: int
    repository: Repository
    retention: Retention = Retention()
    snapshot: str | None = None
    source: BackupSource | None = None


class CopySource(Struct, frozen=True, kw_only=True):
    """Whose data a copy is made of: a restore set of its, or else the backup that the operation names."""

    environment: str
    tier: Literal["preview", "staging", "production"]
    database: str
    database_uuid: str | None = None
    restore_set: TargetSet | None = None


class ExtraRule(Struct, frozen=True, kw_only=True):
    """A project's own rule for its copies, as those in `neutralise_rules.toml`; what `unsafe` finds keeps it closed."""

    name: str
    reason: str
    modules: tuple[str, ...] = ()
    sql: str
    unsafe: str


class CopyRules(Struct, frozen=True, kw_only=True):
    """What a project adds to the agent's own rules, and what it lets be."""

    extra: tuple[ExtraRule, ...] = ()
    cron_allowlist: tuple[str, ...] = ()  # XML ids
    keep_parameters: tuple[str, ...] = ()
    network_allowlist: tuple[str, ...] = ()  # host:port
    obfuscate: bool = False


class Clone(Struct, frozen=True, kw_only=True):
    """What makes an operation a copy: its environment is the target, its release the one that the data are of."""

    source: CopySource
    data_as_of: datetime
    rules: CopyRules = CopyRules()


class Inspect(Struct, frozen=True, kw_only=True):
    """What was configured by hand `since` then is asked for; null: since ever."""

    since: datetime | None = None


class ImportOrder(Struct, frozen=True, kw_only=True):
    """What is imported, as names of what lies in the agent's folder for imports."""

    file: str
    filestore: str | None = None


class Grant(Struct, frozen=True, kw_only=True):
    """What the console signed: the text as it was signed, and the signature in base64."""

    document: str
    signature: str


class Operation(Struct, frozen=True, kw_only=True):
    """The unit of work that is leased."""

    id: int
    uuid: str
    kind: str  # a newer control plane may know more kinds than this agent asked for
    attempt: int = 1
    token: int
    lease_seconds: int = 30
    queued_at: datetime | None = None
    environment: Environment
    release: Release
    plan_hash: str | None = None
    policy_version: str
    options: Options = Options()
    rollback: Rollback | UnsetType | None = UNSET
    sets: tuple[KnownSet, ...] | UnsetType = UNSET
    backup: BackupOrder | UnsetType | None = UNSET
    brought: ImportOrder | UnsetType | None = field(name="import", default=UNSET)
    clone: Clone | UnsetType = UNSET
    inspect: Inspect | UnsetType = UNSET

    grant: Grant | UnsetType | None = UNSET

    @property
    def backup_snapshot(self) -> str | None:
        """Return what a restore puts back; what is only looked at by others is no part of what is agreed to."""
        return self.backup.snapshot if self.kind == "restore" and isinstance(self.backup, BackupOrder) else None

    @property
    def import_order(self) -> ImportOrder | None:
        return self.brought if self.kind == "import" and isinstance(self.brought, ImportOrder) else None

    @property
    def way_back(self) -> Rollback | None:
        return self.rollback if isinstance(self.rollback, Rollback) else None

    @property
    def known_sets(self) -> tuple[KnownSet, ...]:
        return self.sets if isinstance(self.sets, tuple) else ()


class LeaseRequest(Struct, frozen=True, kw_only=True):
    schema: int = SCHEMA
    agent: AgentInfo
    kinds: tuple[str, ...]
    tokens: dict[str, int]


class LeaseResponse(Struct, frozen=True, kw_only=True):
    schema: int = SCHEMA
    operation: Operation | None = None
    poll_seconds: float = 15


class OperationEnvelope(Struct, frozen=True, kw_only=True):
    """What has to be known of an operation to refuse it."""

    id: int
    token: int


class LeaseEnvelope(Struct, frozen=True, kw_only=True):
    """A lease's answer whose operation may be one that this agent can't read."""

    operation: OperationEnvelope | None = None


class WorkedOn(Struct, frozen=True, kw_only=True):
    id: int
    token: int
    step: str = ""


class Host(Struct, frozen=True, kw_only=True):
    disk_free_bytes: int | None = None
    disk_total_bytes: int | None = None
    load_1m: float | None = None
    docker: str | None = None
    postgresql: str | None = None
    caddy: str | None = None
    clock_offset_seconds: float | None = None


class Busy(Struct, frozen=True, kw_only=True):
    """What people are in the midst of: so many open tills, running jobs, or days to a fiscal year's end."""

    kind: str  # point_of_sale | payroll | inventory | cron | fiscal_year
    count: int


class EnvironmentReport(Struct, frozen=True, kw_only=True):
    key: str
    health: Health
    digest: str | None = None
    database_uuid: str | None = None
    detail: str = ""
    checked_at: datetime
    busy: tuple[Busy, ...] | UnsetType = UNSET  # of production alone; left out where nobody could look


class AuditHead(Struct, frozen=True, kw_only=True):
    """The newest event of the console's audit log."""

    number: int
    hash: str


class HeartbeatRequest(Struct, frozen=True, kw_only=True):
    schema: int = SCHEMA
    agent: AgentInfo
    at: datetime
    operations: tuple[WorkedOn, ...] = ()
    tokens: dict[str, int] = field(default_factory=dict)
    host: Host = Host()
    environments: tuple[EnvironmentReport, ...] = ()
    sealing_public_key: str | None = None
    audit_head: AuditHead | UnsetType = UNSET  # the highest that this agent was told


class Ordered(Struct, frozen=True, kw_only=True):
    id: int
    order: Order


class HeartbeatResponse(Struct, frozen=True, kw_only=True):
    schema: int = SCHEMA
    operations: tuple[Ordered, ...] = ()
    poll_seconds: float = 15
    key: str | None = None
    now: datetime | None = None
    audit_head: AuditHead | UnsetType | None = UNSET
    audit_held: str | UnsetType | None = UNSET  # the hash that the event has by now which the request named


class StepReport(Struct, frozen=True, kw_only=True):
    seq: int
    name: str
    state: StepState
    started_at: datetime | None = None
    finished_at: datetime | None = None
    detail: str = ""


class StepsRequest(Struct, frozen=True, kw_only=True):
    schema: int = SCHEMA
    operation_id: int
    token: int
    steps: tuple[StepReport, ...]


class LogLine(Struct, frozen=True, kw_only=True):
    seq: int
    step: str
    stream: str
    at: datetime
    text: str


class LogsRequest(Struct, frozen=True, kw_only=True):
    schema: int = SCHEMA
    operation_id: int
    token: int
    lines: tuple[LogLine, ...]


class CaughtMail(Struct, frozen=True, kw_only=True):
    """A mail that an environment sent and that went nowhere."""

    id: str
    envelope_from: str
    recipients: tuple[str, ...]
    received_at: datetime
    size_bytes: int
    raw: str  # base64; the beginning alone where it is cut
    cut: bool = False


class MailsRequest(Struct, frozen=True, kw_only=True):
    schema: int = SCHEMA
    environment: str
    mails: tuple[CaughtMail, ...]


class MailsResponse(Struct, frozen=True, kw_only=True):
    """Which mails are there to stay, or never will be taken: the agent forgets them."""

    schema: int = SCHEMA
    accepted: tuple[str, ...]


class UploadRequest(Struct, frozen=True, kw_only=True):
    """A piece of what an export makes, at its place; the same once more changes nothing."""

    schema: int = SCHEMA
    operation_id: int
    token: int
    offset: int
    data: bytes  # base64 in JSON


class Accepted(Struct, frozen=True, kw_only=True):
    schema: int = SCHEMA
    ok: bool = True


class Failure(Struct, frozen=True, kw_only=True):
    code: str
    step: str
    message: str
    log_tail: tuple[str, ...] = ()


class ModuleChange(Struct, frozen=True, kw_only=True):
    name: str
    from_version: str | None = field(name="from")
    to_version: str = field(name="to")
    action: Literal["install", "update"]


class PlanDocument(Struct, frozen=True, kw_only=True):
    """What the approvers approve: exactly the fields that the plan hash covers."""

    schema: int = SCHEMA
    environment: str
    database_uuid: str | None
    from_digest: str | None
    to_digest: str
    config_hash: str
    modules: tuple[ModuleChange, ...]
    migrations: tuple[str, ...]
    policy_version: str


class PlanFacts(Struct, frozen=True, kw_only=True):
    """What a reader of the plan wants to know beside it; not hashed."""

    database_bytes: int | None
    free_bytes: int | None
    snapshot_strategy: str | None
    dependents: tuple[str, ...]
    steps: tuple[str, ...]
    warnings: tuple[str, ...]
    needs_hold: bool


class PlanResult(Struct, frozen=True, kw_only=True):
    plan: PlanDocument
    plan_hash: str
    facts: PlanFacts


class RestoreSet(Struct, frozen=True, kw_only=True):
    from_digest: str | None
    config_hash: str | None
    database_snapshot: str
    filestore_snapshot: str
    database_bytes: int
    module_versions: dict[str, str]
    taken_at: datetime


class DeployResult(Struct, frozen=True, kw_only=True):
    digest: str
    database_uuid: str | None
    plan_hash: str
    held_seconds: float
    update_seconds: float
    health: Health
    modules: tuple[ModuleChange, ...]
    restore_set: RestoreSet | None


class BackupResult(Struct, frozen=True, kw_only=True):
    snapshot: str
    repository_identity: str
    recovery_sealed: str | None  # the repository's second password, for the offline recovery key alone
    database_bytes: int
    filestore_bytes: int
    added_bytes: int
    files: int
    seconds: float
    taken_at: datetime
    digest: str | None
    config_hash: str | None
    database_uuid: str | None
    module_versions: dict[str, str]
    checksum: str  # SHA-256 of the dump
    forgotten: tuple[str, ...]
    remaining: tuple[str, ...] | UnsetType = UNSET  # all of the environment's that the repository has now
    check: Literal["ok"]


class RestoreCheck(Struct, frozen=True, kw_only=True):
    name: str
    ok: bool
    detail: str = ""


class RestoreTestResult(Struct, frozen=True, kw_only=True):
    ok: bool
    snapshot: str
    recovery_seconds: float
    recovery_point_at: datetime
    checks: tuple[RestoreCheck, ...]


class RestoreResult(Struct, frozen=True, kw_only=True):
    snapshot: str
    digest: str
    database_uuid: str | None
    held_seconds: float
    health: Health
    recovery_point_at: datetime
    restore_set: RestoreSet | None  # what the environment was before


class CloneResult(Struct, frozen=True, kw_only=True):
    """A copy that was proven safe before anybody could reach it."""

    digest: str
    database_uuid: str  # the copy's own, new
    data_as_of: datetime
    neutralised: tuple[RestoreCheck, ...]
    seconds: float
    held_seconds: float
    database_bytes: int
    filestore_bytes: int
    health: Health
    restore_set: RestoreSet | None  # what the environment was before


class ManualChange(Struct, frozen=True, kw_only=True):
    """A record of the configuration that somebody made or changed by hand."""

    kind: Literal["view", "automation", "action", "parameter", "menu", "mail_template"]
    model: str
    id: int
    xml_id: str | None
    name: str
    changed_at: datetime
    by: str
    overwritten_by_update: bool
    reason: str = ""


class InspectResult(Struct, frozen=True, kw_only=True):
    as_of: datetime
    database_uuid: str | None
    changes: tuple[ManualChange, ...]
    xml: str  # a data file for the project's own addon
    left_out: int = 0  # changes that are too many, or too large, for the two above


class ExportResult(Struct, frozen=True, kw_only=True):
    bytes: int
    files: int
    sha256: str


class ImportResult(Struct, frozen=True, kw_only=True):
    database_uuid: str
    database_bytes: int
    modules: int
    files: int
    missing_files: int  # that the database names and nobody brought
    wrong_files: int  # whose content is not what their names say
    health: Health


class FailedResult(Struct, frozen=True, kw_only=True):
    reverted: bool
    digest: str | None
    database_uuid: str | None
    held_seconds: float
    health: Health


class RollbackPlanDocument(Struct, frozen=True, kw_only=True):
    """What the approvers of a rollback approve: exactly the fields that its plan hash covers."""

    schema: int = SCHEMA
    kind: Literal["rollback"] = "rollback"
    environment: str
    database_uuid: str | None
    from_digest: str | None
    to_digest: str
    config_hash: str
    mode: Mode
    restore_set_token: int | None
    backup_snapshot: str | None
    policy_version: str


class LossCount(Struct, frozen=True, kw_only=True):
    """What of one model came or changed since; `changed` is null where it could not be counted in time.

    Where nothing could be counted `created` is null too and `uncounted` says why; the model `*` stands for all.
    """

    model: str
    label: str
    created: int | None
    changed: int | None
    posted: int = 0  # of both, those that are posted entries or payments
    uncounted: str | msgspec.UnsetType = msgspec.UNSET


class LostRecord(Struct, frozen=True, kw_only=True):
    model: str
    id: int
    name: str
    at: datetime


class Loss(Struct, frozen=True, kw_only=True):
    """What going back to `since` would lose; the models that hurt most stand first."""

    since: datetime
    minutes: float
    counts: tuple[LossCount, ...] = ()
    newest: tuple[LostRecord, ...] = ()


class ModePreview(Struct, frozen=True, kw_only=True):
    """One way back: whether it is open, why, and what it costs."""

    mode: Mode
    possible: bool
    reason: str
    plan: RollbackPlanDocument | None
    plan_hash: str | None
    hold_seconds: float | None
    loss: Loss | None
    preview_hash: str | None


class RollbackPreview(Struct, frozen=True, kw_only=True):
    modes: tuple[ModePreview, ...]
    recommended: Mode
    running_digest: str | None
    database_uuid: str | None
    database_bytes: int | None


class RollbackResult(Struct, frozen=True, kw_only=True):
    digest: str
    database_uuid: str | None
    plan_hash: str
    mode: Mode
    held_seconds: float
    health: Health
    restore_set: RestoreSet | None  # of the state given up; code alone gives none up, unless it updates modules
    lost: Loss | None


class FailedClone(FailedResult, frozen=True, kw_only=True):
    """As a deployment's failure, with what was proven before it came to that."""

    neutralised: tuple[RestoreCheck, ...] = ()


class FailedRollback(FailedResult, frozen=True, kw_only=True):
    """As a deployment's failure; past the ceiling with what going back would cost by now."""

    preview: RollbackPreview | None = None


class SetReport(Struct, frozen=True, kw_only=True):
    token: int
    restorable: bool
    reason: str = ""


class SetsResult(Struct, frozen=True, kw_only=True):
    sets: tuple[SetReport, ...]


Result = TypeVar("Result")


class FinishRequest(Struct, Generic[Result], frozen=True, kw_only=True):
    schema: int = SCHEMA
    operation_id: int
    token: int
    outcome: Outcome
    finished_at: datetime
    error: Failure | None = None
    result: Result


class ErrorDetail(Struct, frozen=True, kw_only=True):
    code: str
    message: str = ""


class ErrorResponse(Struct, frozen=True, kw_only=True):
    error: ErrorDetail


Message = TypeVar("Message")


def decode(data: bytes | str, kind: type[Message]) -> Message:
    """Return the message in `data`.

    :raises BadMessage: it is no JSON, or a field is missing or of the wrong type; names the field's path.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise BadMessage(f"{getattr(kind, '__name__', kind)}: {error}") from None


def convert(value: object, kind: type[Message]) -> Message:
    """Return the message that plain JSON values stand for.

    :raises BadMessage: as `decode` does.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise BadMessage(f"{getattr(kind, '__name__', kind)}: {error}") from None


def encode(message: object) -> bytes:
    """Return the message as JSON; a time is cut to whole seconds, which is what the protocol speaks."""
    return msgspec.json.encode(plain(message))


def plain(message: object) -> Any:
    """Return the message as plain JSON values."""
    return _whole_seconds(msgspec.to_builtins(message, builtin_types=(datetime,), str_keys=True))


def _whole_seconds(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, dict):
        return {key: _whole_seconds(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_whole_seconds(item) for item in value]
    return value
