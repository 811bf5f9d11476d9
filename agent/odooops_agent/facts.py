"""What was read from the world before a decision: frozen values, no behaviour that does I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Addon:
    """One addon as the image's build recorded it (schema: docker/odoo, `write_manifest.py`)."""

    version: str
    origin: str  # odoo | enterprise | oca | custom
    depends: tuple[str, ...] = ()
    auto_install: bool = False
    hash: str | None = None  # None for Odoo's own: decided by version
    i18n: Mapping[str, str] = field(default_factory=dict)
    migrations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageManifest:
    """`/etc/odooops/manifest.json` of an image."""

    series: str
    commit_sha: str
    uid: int
    gid: int
    addons_paths: tuple[str, ...]
    addons: Mapping[str, Addon]


@dataclass(frozen=True, slots=True)
class InstalledModule:
    """A row of `ir_module_module`; `version` is `latest_version`."""

    state: str
    version: str | None
    imported: bool = False  # made in the database itself (Studio, a data module): it has no code in any image


@dataclass(frozen=True, slots=True)
class RecordedModule:
    """What the last deployment wrote into the database about a module."""

    version: str
    hash: str | None
    i18n: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Session:
    """A session in `pg_stat_activity` that is not the agent's own."""

    pid: int
    role: str
    application: str
    client: str
    can_end: bool  # the agent's role may pg_terminate_backend() it


@dataclass(frozen=True, slots=True)
class OwnerTag:
    """The database's comment: whose it is and the newest fencing token that touched it."""

    environment_uuid: str
    token: int


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a database says it is; read in one statement each, so cheap enough for every step and health check."""

    uuid: str | None  # ir_config_parameter database.uuid
    tag: OwnerTag | None


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """One database of the cluster, read in one short connection."""

    name: str
    owner: str
    bytes: int
    allows_connections: bool
    tag: OwnerTag | None
    uuid: str | None  # ir_config_parameter database.uuid; None when Odoo is not installed in it
    modules: Mapping[str, InstalledModule]
    recorded_digest: str | None
    recorded: Mapping[str, RecordedModule]
    languages: tuple[str, ...]
    sessions: tuple[Session, ...]
    fenced: bool = False  # its comment names whom to let in again
    asides: tuple[str, ...] = ()  # what failed updates made of it, set aside and not dropped yet


@dataclass(frozen=True, slots=True)
class Container:
    """A container of an environment as Docker and its labels tell it."""

    name: str
    role: str  # web | cron | update
    token: int
    digest: str
    config_hash: str
    running: bool
    operation_id: int = 0


@dataclass(frozen=True, slots=True)
class EnvironmentFacts:
    """All that a deployment is decided from."""

    digest: str
    image: ImageManifest
    database: DatabaseFacts | None
    containers: tuple[Container, ...] = ()
    exposed: Mapping[str, str] = field(default_factory=dict)  # container's name → alias
    upstream: str | None = None
    disk_free_bytes: int | None = None
    database_free_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class KeptSet:
    """A restore set's database as its comment tells it; one that an older agent made tells its token only."""

    token: int
    digest: str | None = None  # the image that goes with it
    since: datetime | None = None  # what was written from then on is not in it; by the cluster's own clock


@dataclass(frozen=True, slots=True, order=True)
class FileSnapshot:
    """Files that lie beside an environment's own, by the number of the set or operation that they are of."""

    token: int
    since: datetime  # by the droplet's clock


@dataclass(frozen=True, slots=True)
class SetFacts:
    """What there is of the restore set that a rollback names."""

    database: bool
    filestore: bool
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a part is not to be had."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class BackupFacts:
    """What its repository tells of a backup: what it takes once it is fetched, or why that can't be asked."""

    bytes: int = 0
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class RollbackFacts:
    """All that a rollback is decided from; without its image the environment's facts have an empty manifest."""

    environment: EnvironmentFacts
    restore_set: SetFacts | None = None
    image_problem: Problem | None = None
    backup: BackupFacts | None = None  # of a preview only: who carries it out looks where it is fetched


@dataclass(frozen=True, slots=True)
class DumpFacts:
    """A database's dump as it lies in a workspace."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FilesFacts:
    """A filestore as it lies in a workspace."""

    count: int
    bytes: int
    wrong: tuple[str, ...] = ()  # files whose content is not what their name says


@dataclass(frozen=True, slots=True)
class Brought:
    """A backup of elsewhere, unpacked: the name of its dump, and how much there is of it."""

    dump: str
    dump_bytes: int
    files: int


@dataclass(frozen=True, slots=True)
class Retained:
    """What a retention has done to one environment's backups, as snapshots' ids."""

    forgotten: tuple[str, ...]
    remaining: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Saved:
    """What a backup came to in its repository."""

    snapshot: str
    files: int
    added_bytes: int
