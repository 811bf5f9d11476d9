"""What the agent needs from the outside world.

`runtime/docker.py`, `proxy.py`, `database.py` and `filestore.py` are the real
adapters, `testing/` has in-memory ones. Every verb is idempotent: "already so"
is success. Adapters raise `Retryable` when their part is away, `Permanent`
when asking again can't help.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Protocol

from .facts import (
    Brought,
    Container,
    DatabaseFacts,
    DumpFacts,
    FilesFacts,
    FileSnapshot,
    Identity,
    ImageManifest,
    KeptSet,
    Retained,
    Saved,
    Session,
)
from .neutralise import Rule
from .protocol import Busy, InspectResult, Loss, Repository, RestoreCheck, Retention

OnLine = Callable[[str], None]
Cancelled = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Mount:
    """A bind mount; only paths under the data root are ever made by the planners."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """All that a container of an environment may have: no field for privileges, devices or host namespaces."""

    name: str
    image: str  # repository@sha256:…
    argv: tuple[str, ...]
    network: str
    labels: Mapping[str, str]
    user: str  # "uid:gid"
    mounts: tuple[Mount, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    memory_bytes: int | None = None
    cpus: float | None = None
    restart: bool = False
    stop_seconds: int = 30


@dataclass(frozen=True, slots=True)
class Route:
    """An environment's public face at the proxy."""

    environment: str  # key
    hosts: tuple[str, ...]
    redirects: tuple[str, ...]  # hosts answered with a redirect to hosts[0]
    alias: str  # network alias that is dialled, on :8069 and :8072
    hold_limit_seconds: int
    tls: bool


class Runtime(Protocol):
    """Docker Engine."""

    def pull(self, image: str, on_line: OnLine) -> None:
        """Have `repository@digest` here, its manifest read.

        Raises Permanent("image_gone") when the registry no longer has it.
        """

    def read_manifest(self, image: str) -> ImageManifest:
        """Return what the image says is in it; once read it is known for good, also when the image is gone."""

    def ensure_network(self, name: str, labels: Mapping[str, str]) -> None:
        """Make the bridge network and connect the proxy's container to it."""

    def reconnect_proxy(self) -> None:
        """Connect the proxy's container to all the stack's networks again: a recreated one has lost them.

        To be called when the agent starts and from time to time; does nothing when all is so already.
        """

    def containers(self, environment: str) -> tuple[Container, ...]: ...

    def spec(self, name: str) -> ContainerSpec | None:
        """Return what a container was created from; None when there is no such container."""

    def create(self, spec: ContainerSpec) -> None:
        """Create without starting; a container of that name and the same spec is kept."""

    def start(self, name: str) -> None: ...

    def stop(self, name: str, timeout_seconds: int) -> None: ...

    def remove(self, name: str) -> None: ...

    def expose(self, name: str, alias: str) -> None:
        """Let the proxy reach the container under `alias` from now on (and under no other)."""

    def exposed_as(self, name: str) -> str | None: ...

    def run(
        self, name: str, begin: Callable[[], None], timeout_seconds: float, on_line: OnLine, cancelled: Cancelled
    ) -> int:
        """Follow a one-off that was created to its end, stream its lines, remove it; returns the exit code.

        The very container that has the name now, also when another one gets it meanwhile.

        `begin` is called once its lines are being read: it starts the container, or opens the gate before which it
        waits. On cancellation or time-out the container is stopped, killed, removed, then Cancelled or
        Permanent("timed_out") is raised.
        """

    def execute(self, name: str, argv: Sequence[str], timeout_seconds: float, on_line: OnLine) -> int:
        """Run argv inside a running container; returns its exit code."""

    def keep_images(self, environment: str, images: Sequence[str]) -> None:
        """Have these images outlive any prune on the environment's behalf, and no others any more.

        They have to be here. An image that is kept already costs nothing.
        """

    def version(self) -> str: ...


class Proxy(Protocol):
    """Caddy, by its admin API."""

    def ensure_route(self, route: Route) -> None:
        """Create the environment's route or bring its hosts up to date; writes nothing when it is so already.

        An existing route keeps the alias it points at. A write waits while any environment is held, because
        Caddy fails every held request when its configuration changes. Raises Retryable past the wait.
        """

    def remove_route(self, environment: str) -> None:
        """Serve the environment no more and forget all about its route; for whatever ends an environment.

        Waits while another environment is held, as `ensure_route` does.
        """

    def upstream(self, environment: str) -> str | None:
        """The alias the route dials now, read back from the proxy; None without a route."""

    def restore_routes(self) -> None:
        """Write the routes that the proxy has lost (its volume may be new), and what an upgrade of OdooOps changed.

        To be called when the agent starts and from time to time.
        """

    def switch(self, environment: str, alias: str) -> None:
        """Point the route at `alias` at once; no request, kept-alive connection or websocket is cut by it."""

    def hold(self, environment: str, alias: str) -> None:
        """Point the route at an alias nobody answers yet, so that requests wait; marks the hold."""

    def release(self, environment: str) -> None:
        """Forget the hold's mark, so that `ensure_route` may write configuration again."""

    def in_flight(self, alias: str) -> int:
        """Requests being answered by `alias`:8069 now."""

    def version(self) -> str: ...


class Database(Protocol):
    """The PostgreSQL cluster, with the rights a managed one gives: CREATEDB and CREATEROLE, no superuser."""

    def facts(self, name: str) -> DatabaseFacts | None: ...

    def exists(self, name: str) -> bool: ...

    def identity(self, name: str) -> Identity | None:
        """Tell whose a database is, in a few milliseconds; None when there is no such database."""

    def size(self, name: str) -> int: ...

    def free_bytes(self) -> int | None:
        """The configured quota less what the databases take; None without a quota."""

    def ensure_roles(self, app: str, app_password: str, upgrade: str, upgrade_password: str) -> None: ...

    def create(self, name: str, owner: str) -> None: ...

    def write_tag(self, name: str, environment_uuid: str, token: int) -> None: ...

    def sessions(self, name: str) -> tuple[Session, ...]: ...

    def fence(self, name: str, app: str, upgrade: str) -> None:
        """Revoke CONNECT from all but the agent and the upgrade role, end the sessions, prove that none is left."""

    def unfence(self, name: str, app: str) -> None: ...

    def snapshot(self, source: str, target: str, owner: str) -> str:
        """Copy a fenced database by TEMPLATE; returns the strategy used. A half-made target is dropped first."""

    def swap(self, live: str, snapshot: str, aside: str) -> None:
        """Put `snapshot` in the place of `live` by two renames; resumable between them."""

    def drop(self, name: str) -> None: ...

    def sets(self, name: str, environment_uuid: str) -> tuple[KeptSet, ...]:
        """Return a database's copies that are marked as the environment's, oldest first."""

    def copies(self, name: str, environment_uuid: str) -> tuple[int, ...]:
        """Return the tokens of another environment's data that are marked as on their way to this one."""

    def set_files(self, snapshot: str, app: str, upgrade: str) -> frozenset[str]:
        """Return the files that a set's attachments are in.

        It is opened for as long as that is read, to the agent and the upgrade role alone, whose password no running
        server has; whatever happens meanwhile, the next look closes it.
        """

    def mark_set(self, snapshot: str, digest: str | None, since: datetime | None = None) -> None:
        """Write on a copy which image goes with it, and since when what is written is not in it: now, if not told."""

    def count_loss(
        self,
        name: str,
        since: datetime,
        table_seconds: float,
        seconds: float,
        newest: int,
        hurried: Collection[str] = (),
    ) -> Loss:
        """Count what came and changed in a database since then, by model, and show some of the newest.

        A table that can't be counted in `table_seconds`, or after `seconds` for all, is told without its changes, as
        are the models that are to be `hurried`; one that can't be counted at all is told with the reason.
        """

    def record_manifest(self, name: str, digest: str, modules: Mapping[str, Mapping[str, object]]) -> None:
        """Write `odooops.installed_manifest` into the database's parameters."""

    def write_parameters(self, name: str, parameters: Mapping[str, str]) -> None:
        """Write rows of `ir_config_parameter` (such as a frozen `web.base.url`); writes nothing that is so already."""

    def copy_apart(self, source: str, target: str, from_role: str, app: str, upgrade: str) -> str:
        """Copy a closed restore set of `from_role`'s into a database of the agent's own that only `upgrade` may enter.

        All in it becomes `app`'s. Raises Permanent("source_gone"). Returns the strategy used.
        """

    def create_apart(self, target: str, app: str, upgrade: str) -> None:
        """Make an empty one of the same kind."""

    def neutralise(self, name: str, rules: Sequence[Rule], settings: Mapping[str, str]) -> None:
        """Carry out all rules or none. Raises Permanent("neutralize_failed")."""

    def obfuscate(self, name: str, fields: Sequence[tuple[str, str]]) -> int: ...

    def prove(self, name: str, rules: Sequence[Rule], settings: Mapping[str, str]) -> tuple[RestoreCheck, ...]:
        """Tell of each rule whether it holds; one that can't be asked does not."""

    def hand_over(self, name: str, app: str) -> None:
        """Give a database that was made apart to its environment's role."""

    def adopt(self, name: str, live: str, app: str) -> None:
        """Rename a database that was made apart to `live`, which nobody has, and let its environment in."""

    def inspect(self, name: str, since: datetime | None) -> InspectResult:
        """Tell what was configured by hand since then (None: ever), and which of it an update overwrites."""

    def business(self, name: str, today: date) -> tuple[Busy, ...]:
        """Tell what people are in the midst of that a restart would disturb."""

    def attachment_files(self, name: str) -> frozenset[str]:
        """Return the names of the files that the database's attachments are in, as `ab/<sha1>`."""

    def version(self) -> str: ...


class Filestore(Protocol):
    """The environment's directory on the droplet."""

    def prepare(self, environment: str, uid: int, gid: int) -> None: ...

    def write_config(self, environment: str, name: str, text: str, uid: int, gid: int) -> None:
        """Write a file such as `odoo.conf` (mode 0600) atomically."""

    def read_config(self, environment: str, name: str) -> str | None: ...

    def remove_config(self, environment: str, name: str) -> None: ...

    def drop(self, environment: str, database: str) -> None:
        """Remove filestore/<database>, as when a first installation is undone."""

    def exists(self, environment: str, database: str) -> bool:
        """Tell whether there is a filestore/<database>."""

    def set_aside(self, environment: str, database: str, token: int) -> None:
        """Make filestore/<database>, where there is one, the snapshot `token` by one rename; done before is success."""

    def snapshot(self, environment: str, database: str, token: int) -> None:
        """Hard-link copy of filestore/<database> to snapshots/<token>/filestore; a half-made one is redone."""

    def restore(self, environment: str, database: str, token: int) -> None:
        """Put the snapshot in the filestore's place by directory renames; resumable."""

    def exchange(self, environment: str, database: str, wanted: int, given_up: int) -> None:
        """Put the snapshot `wanted` in the filestore's place, which becomes the snapshot `given_up`; resumable.

        Raises Permanent("set_gone") when there is no whole snapshot `wanted`.
        """

    def has_snapshot(self, environment: str, token: int) -> bool:
        """Tell whether there is a whole snapshot."""

    def snapshots(self, environment: str) -> tuple[FileSnapshot, ...]:
        """Return all that lies in snapshots/, whole or not, by its number."""

    def lost_files(self, environment: str, database: str, token: int, wanted: Collection[str]) -> tuple[str, ...]:
        """Return which of these the snapshot lacks though filestore/<database> has them, in order."""

    def drop_snapshot(self, environment: str, token: int) -> None: ...

    def bring(self, source: str, number: int, environment: str, token: int, wanted: Collection[str]) -> FilesFacts:
        """Make the snapshot `token` of another environment's snapshot `number`, of the files named `ab/<sha1>` alone.

        Never by hard links: who may write to one would write to both. Raises Permanent("source_gone").
        """

    def free_bytes(self, environment: str) -> int: ...

    def total_bytes(self) -> int:
        """Size of the disk under the data root."""


class Vault(Protocol):
    """Repositories of off-host backups.

    Raises Retryable("repository_locked" or "repository_unreachable"), Permanent("repository_wrong_password",
    "repository_damaged" or "disk_full").
    """

    def ensure(self, repository: Repository, *, make: bool) -> str:
        """Have the repository and return its identity; made only where that is asked for and none was ever known."""

    def ensure_recovery(self, repository: Repository, on_line: OnLine, cancelled: Cancelled) -> str | None:
        """Have a second password that only the offline recovery key opens, and return it sealed."""

    def save(
        self,
        repository: Repository,
        folder: Path,
        paths: Sequence[str],
        host: str,
        tags: Sequence[str],
        at: datetime,
        on_line: OnLine,
        cancelled: Cancelled,
    ) -> Saved:
        """Back up paths below a folder."""

    def check(self, repository: Repository, on_line: OnLine, cancelled: Cancelled, *, all_data: bool = False) -> None:
        """Prove that the repository is whole: its structure, and a share of its data or all of it."""

    def forget(
        self, repository: Repository, host: str, tag: str, retention: Retention, on_line: OnLine, cancelled: Cancelled
    ) -> Retained:
        """Remove one environment's backups that are not kept; returns their ids and the others'."""

    def size(self, repository: Repository, snapshot: str) -> int:
        """Tell how many bytes a backup's files come to once they are restored."""

    def restore(
        self, repository: Repository, snapshot: str, target: Path, on_line: OnLine, cancelled: Cancelled
    ) -> None:
        """Write a backup's files below a folder."""

    def version(self) -> str: ...


class Workspace(Protocol):
    """Where a backup is gathered and unpacked; see `workspace.py`."""

    def folder(self, environment: str, name: str) -> Path: ...

    def make(self, environment: str, name: str, uid: int, gid: int) -> None: ...

    def remove(self, environment: str, name: str) -> None: ...

    def write(self, environment: str, name: str, file: str, text: str) -> None: ...

    def collect_files(self, environment: str, name: str, database: str) -> FilesFacts: ...

    def take_dump(self, environment: str, name: str) -> DumpFacts: ...

    def give_dump(self, environment: str, name: str) -> None: ...

    def dump_facts(self, environment: str, name: str) -> DumpFacts: ...

    def drop_dump(self, environment: str, name: str) -> None: ...

    def write_manifest(self, environment: str, name: str, document: Mapping[str, object]) -> None: ...

    def read_manifest(self, environment: str, name: str) -> Mapping[str, Any]: ...

    def adopt_files(self, environment: str, name: str) -> FilesFacts: ...

    def keep_files(self, environment: str, name: str, wanted: frozenset[str]) -> FilesFacts:
        """Remove all files but these."""

    def missing_files(self, environment: str, name: str, wanted: frozenset[str]) -> tuple[str, ...]: ...

    def offer_files(self, environment: str, name: str, database: str) -> None: ...

    def place_snapshot(self, environment: str, name: str, token: int) -> None: ...

    def place_filestore(self, environment: str, name: str, database: str) -> None: ...

    def pack(
        self, environment: str, name: str, manifest: Mapping[str, object], write: Callable[[bytes], None]
    ) -> int: ...


class Intake(Protocol):
    """Backups of elsewhere that an operator brought; see `intake.py`."""

    def unpack(self, file: str, filestore: str | None, room: Path, room_bytes: int, cancelled: Cancelled) -> Brought:
        """Unpack one into a workspace; `room_bytes` is all that may be written."""


class Uploads(Protocol):
    """Where what an operation makes for a person goes: the console."""

    def send(self, operation_id: int, token: int, offset: int, data: bytes) -> None:
        """Put a piece in its place; once more changes nothing. Raises Retryable, LeaseLost or Permanent."""


class Exceptions(Protocol):
    """What copies may reach beside their database; nothing by itself."""

    def write(self, network: str, hosts: Sequence[str]) -> None:
        """Say so, `host:port` each; the firewall follows within half a minute."""


class DatabaseDoor(Protocol):
    """A way to one database for a container without a network."""

    def open(self, folder: Path, database: str) -> AbstractContextManager[None]: ...
