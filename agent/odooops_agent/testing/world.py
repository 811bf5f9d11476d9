"""A droplet, its proxy and its PostgreSQL in memory: one world that the four fake ports act on.

The world enforces what the real parts enforce (a snapshot needs an empty database, a swap too) and notes as a
violation what they would let pass and a customer would notice: a request that nobody answers or holds, two
crons at a time, code on a database of another generation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ..errors import AgentError
from ..facts import ImageManifest, InstalledModule, KeptSet, OwnerTag, RecordedModule, Session
from ..ports import ContainerSpec, Route
from ..protocol import Busy, LossCount


class Killed(BaseException):
    """The process ends here, as by `kill -9`: nothing after it runs."""


@dataclass
class FakeDatabase:
    """One database; `generation` names the release whose schema it has, or "half" in the midst of an update."""

    name: str
    owner: str
    generation: str = "none"
    uuid: str | None = None
    tag: OwnerTag | None = None
    allows_connections: bool = True
    fenced: bool = False
    modules: dict[str, InstalledModule] = field(default_factory=dict)
    recorded_digest: str | None = None
    recorded: dict[str, RecordedModule] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    bytes: int = 70 << 20
    mark: KeptSet | None = None  # on a copy
    apart: bool = False  # the agent's own, which no server may enter
    dangerous: frozenset[str] = frozenset()  # what has yet to be done before it can hurt nobody
    written: dict[str, LossCount] = field(default_factory=dict)  # by people since the last deployment, by model
    busy: tuple[Busy, ...] = ()  # what people are in the midst of


@dataclass
class FakeContainer:
    spec: ContainerSpec
    running: bool = False
    alias: str | None = None

    @property
    def role(self) -> str:
        return self.spec.labels.get("odooops.role", "one-off")

    @property
    def digest(self) -> str:
        return self.spec.labels["odooops.digest"]


@dataclass
class Scenario:
    """What a release does when it is tried."""

    manifest: ImageManifest
    generation: str
    migration_error: str | None = None
    logged_error: str | None = None
    import_error: str | None = None
    never_healthy: bool = False
    never_warm: bool = False


@dataclass
class FakeRepository:
    """An off-host repository; `trouble` is what each use of it meets."""

    identity: str
    snapshots: dict[str, dict[str, Any]] = field(default_factory=dict)  # id → files, and whose
    recovery: str | None = None
    trouble: AgentError | None = None


@dataclass
class World:
    """The state of everything, and the clock."""

    images: dict[str, Scenario] = field(default_factory=dict)  # by digest
    gone: set[str] = field(default_factory=set)  # digests that were pruned and that the registry has no more
    pruned: set[str] = field(default_factory=set)  # digests that are not here and that the registry has
    kept_images: set[str] = field(default_factory=set)  # digests that no prune reaches
    containers: dict[str, FakeContainer] = field(default_factory=dict)
    networks: set[str] = field(default_factory=set)
    routes: dict[str, Route] = field(default_factory=dict)
    upstreams: dict[str, str] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    in_flight: dict[str, int] = field(default_factory=dict)
    databases: dict[str, FakeDatabase] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)  # of others than Odoo
    stubborn: set[str] = field(default_factory=set)  # roles whose sessions come back at once
    filestores: dict[tuple[str, str], str] = field(default_factory=dict)  # (environment, database) → generation
    file_snapshots: dict[tuple[str, int], str] = field(default_factory=dict)
    file_times: dict[tuple[str, int], datetime] = field(default_factory=dict)  # of the snapshots; else the beginning
    configs: dict[tuple[str, str], str] = field(default_factory=dict)
    repositories: dict[str, FakeRepository] = field(default_factory=dict)  # by address
    brought: dict[str, Any] = field(default_factory=dict)  # by file: a dump and its files, or an error
    uploads: dict[int, bytes] = field(default_factory=dict)  # what the console has got, by operation
    workspaces: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)  # (environment, name) → files
    doors: set[str] = field(default_factory=set)  # databases that a one-off can reach now
    free_bytes: int = 50 << 30
    exceptions: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by network
    unsafe: str = ""  # what the checks of a copy still find
    neutralize_error: str | None = None
    backup_bytes: int = 71 << 20  # of each backup, once it is restored
    database_free_bytes: int | None = None
    database_quota_bytes: int | None = None  # where it is given, what the databases leave of it is free
    violations: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    before_call: Callable[[str], None] = lambda call: None
    watched: str | None = None  # the environment whose visitors are watched
    seconds: float = 0.0
    started_at: datetime = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)

    # -- the clock

    def now(self) -> datetime:
        return self.started_at + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    # -- what every port's verb goes through

    def call(self, name: str) -> None:
        """Note a call; a test may raise here, as an outage or a crash in its place."""
        self.calls.append(name)
        self.seconds += 0.01
        self.before_call(name)

    def check(self) -> None:
        """Look at the world as a visitor and as an accountant would."""
        self._check_visitors()
        self._check_crons()
        self._check_updates()
        self._check_generations()
        self._check_copies()

    def _check_copies(self) -> None:
        for name, one in self.databases.items():
            if one.dangerous and not one.apart:
                self.violate(f"{name} can be reached and is not neutralised ({', '.join(sorted(one.dangerous))})")

    def waits(self, one: FakeContainer) -> bool:
        """Tell whether the container stands before a closed gate."""
        if "odooops.environment" not in one.spec.labels:
            return False
        gates = [word.rpartition("/")[2] for word in one.spec.argv if "/standby-" in word]
        return any((one.spec.labels["odooops.environment"], gate) in self.configs for gate in gates)

    def _check_updates(self) -> None:
        for name, one in self.containers.items():
            database = self.databases.get(database_of(one.spec))
            works = one.role == "update" and one.running and not self.waits(one)
            if works and database and database.modules and not database.fenced:
                self.violate(f"{name} works on a database that others may enter")

    def _check_visitors(self) -> None:
        key = self.watched
        if key is None or key not in self.upstreams or key in self.held:
            return
        if self.answering(key) is None:
            self.violate(f"nobody answers {key} at {self.upstreams[key]}, and it is not held")

    def answering(self, key: str) -> FakeContainer | None:
        """Return the container that a visitor's request reaches."""
        alias = self.upstreams.get(key)
        found = [one for one in self.containers.values() if one.running and one.alias == alias and one.role == "web"]
        if len(found) > 1:
            self.violate(f"{len(found)} containers answer {alias}")
        return found[0] if found else None

    def _check_crons(self) -> None:
        running = [name for name, one in self.containers.items() if one.running and one.role == "cron"]
        if len(running) > 1:
            self.violate(f"two crons run: {running}")

    def _check_generations(self) -> None:
        for name, one in self.containers.items():
            database = self.databases.get(database_of(one.spec))
            # A web container that nobody reaches may stand by for a database that is about to fit.
            visible = one.role == "cron" or (one.alias in self.upstreams.values())
            if one.running and visible and database and not database.fenced:
                wanted = self.images[one.digest].generation
                if database.generation != wanted:
                    self.violate(f"{name} of generation {wanted} on a database of {database.generation}")

    def violate(self, sentence: str) -> None:
        last = self.calls[-1] if self.calls else "start"
        self.violations.append(f"after {last}: {sentence}")

    # -- Odoo's own sessions

    def odoo_sessions(self, name: str) -> list[Session]:
        database = self.databases[name]
        if database.fenced or not database.allows_connections:
            return []
        return [
            Session(1000 + place, database.owner, "odoo-1", "172.18.0.2", can_end=True)
            for place, one in enumerate(self.containers.values())
            if one.running and one.role in ("web", "cron") and database_of(one.spec) == name
        ]


def database_of(spec: ContainerSpec) -> str:
    """Return the database that a container of this environment uses: `demo/prod` has demo_prod."""
    if "odooops.environment" not in spec.labels:
        return ""  # a one-off beside it
    return spec.labels["odooops.environment"].replace("/", "_").replace("-", "_")


class Outage:
    """Raises an error at chosen calls, for as long as told."""

    def __init__(self, error: AgentError, matches: Callable[[str], bool], times: int | None = None) -> None:
        self._error = error
        self._matches = matches
        self._left = times

    def __call__(self, call: str) -> None:
        if self._matches(call) and self._left != 0:
            if self._left is not None:
                self._left -= 1
            raise self._error
