"""The four ports on an in-memory world."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime

from ..errors import Cancelled as CancelledError
from ..errors import Permanent, Refused, Retryable
from ..facts import (
    Container,
    DatabaseFacts,
    FilesFacts,
    FileSnapshot,
    Identity,
    ImageManifest,
    InstalledModule,
    KeptSet,
    OwnerTag,
    RecordedModule,
    Session,
)
from ..neutralise import Rule
from ..ports import Cancelled, ContainerSpec, OnLine, Route
from ..protocol import Busy, InspectResult, Loss, RestoreCheck
from ..steps import Ports
from .backups import FakeDoor, FakeIntake, FakeUploads, FakeVault, FakeWorkspace, ask_restored, run_one_off
from .world import FakeContainer, FakeDatabase, World, database_of


def fake_ports(world: World) -> Ports:
    return Ports(
        FakeRuntime(world),
        FakeProxy(world),
        FakeCluster(world),
        FakeFilestore(world),
        FakeVault(world),
        FakeWorkspace(world),
        FakeDoor(world),
        FakeExceptions(world),
        FakeIntake(world),
        FakeUploads(world),
    )


class FakeExceptions:
    """What the firewall is told."""

    def __init__(self, world: World) -> None:
        self._world = world

    def write(self, network: str, hosts: Sequence[str]) -> None:
        self._world.call("exceptions.write")
        self._world.exceptions[network] = tuple(hosts)


class FakeRuntime:
    """Docker Engine."""

    def __init__(self, world: World) -> None:
        self._world = world

    def pull(self, image: str, on_line: OnLine) -> None:
        self._world.call("runtime.pull")
        digest = image.partition("@")[2]
        if digest not in self._world.images or digest in self._world.gone:
            raise Permanent(f"The registry no longer has {image}: build the release again.", code="image_gone")
        self._world.pruned.discard(digest)
        on_line(f"{image}: pulled")

    def read_manifest(self, image: str) -> ImageManifest:
        self._world.call("runtime.read_manifest")
        return self._world.images[image.partition("@")[2]].manifest

    def keep_images(self, environment: str, images: Sequence[str]) -> None:
        self._world.call("runtime.keep_images")
        digests = {image.partition("@")[2] for image in images}
        absent = digests & (self._world.gone | self._world.pruned)
        if absent:
            raise Permanent(f"No such image: {', '.join(sorted(absent))}")
        self._world.kept_images = digests

    def ensure_network(self, name: str, labels: Mapping[str, str]) -> None:
        self._world.call("runtime.ensure_network")
        self._world.networks.add(name)

    def reconnect_proxy(self) -> None:
        self._world.call("runtime.reconnect_proxy")

    def containers(self, environment: str) -> tuple[Container, ...]:
        self._world.call("runtime.containers")
        return tuple(
            Container(
                name=name,
                role=one.role,
                token=int(one.spec.labels["odooops.token"]),
                digest=one.digest,
                config_hash=one.spec.labels["odooops.config_hash"],
                running=one.running,
                operation_id=int(one.spec.labels["odooops.operation"]),
            )
            for name, one in self._world.containers.items()
            if one.spec.labels.get("odooops.environment") == environment
        )

    def spec(self, name: str) -> ContainerSpec | None:
        self._world.call("runtime.spec")
        one = self._world.containers.get(name)
        return one.spec if one else None

    def create(self, spec: ContainerSpec) -> None:
        self._world.call(f"runtime.create {spec.labels.get('odooops.role', 'one-off')}")
        existing = self._world.containers.get(spec.name)
        if existing is None or existing.spec != spec:
            self._world.containers[spec.name] = FakeContainer(spec)

    def start(self, name: str) -> None:
        self._world.call(f"runtime.start {self._role(name)}")
        self._get(name).running = True
        self._world.check()

    def stop(self, name: str, timeout_seconds: int) -> None:
        self._world.call(f"runtime.stop {self._role(name)}")
        one = self._world.containers.get(name)
        if one is not None:
            if one.running and one.alias and self._world.in_flight.get(one.alias):
                self._world.violations.append(f"{name} was stopped with requests in flight")
            one.running = False
        self._world.check()

    def remove(self, name: str) -> None:
        self._world.call(f"runtime.remove {self._role(name)}")
        self._world.containers.pop(name, None)
        self._world.check()

    def expose(self, name: str, alias: str) -> None:
        self._world.call("runtime.expose")
        for one in self._world.containers.values():
            if one.alias == alias:
                one.alias = None
        self._get(name).alias = alias
        self._world.check()

    def exposed_as(self, name: str) -> str | None:
        one = self._world.containers.get(name)
        return one.alias if one else None

    def run(
        self, name: str, begin: Callable[[], None], timeout_seconds: float, on_line: OnLine, cancelled: Cancelled
    ) -> int:
        self._world.call("runtime.run")
        begin()
        one = self._get(name)
        if not one.running or self._world.waits(one):
            raise Permanent(f"{name} does not run.")
        spec = one.spec
        if "odooops.beside" in spec.labels:
            code = run_one_off(self._world, spec, on_line, cancelled)
            del self._world.containers[spec.name]
            return code
        database = self._world.databases[database_of(spec)]
        database.generation = "half"
        self._world.filestores[spec.labels["odooops.environment"], database.name] = "half"
        self._world.call("runtime.run halfway")
        if cancelled():
            del self._world.containers[spec.name]
            raise CancelledError("The update was called off.")
        code = self._update(spec, database, on_line)
        del self._world.containers[spec.name]
        return code

    def _update(self, spec: ContainerSpec, database: FakeDatabase, on_line: OnLine) -> int:
        scenario = self._world.images[spec.labels["odooops.digest"]]
        on_line("odoo.modules.loading: loading")
        errors = []
        if scenario.migration_error:
            on_line(scenario.migration_error)
            errors = [f"The update failed: {scenario.migration_error}"]
        elif scenario.logged_error:
            errors = [scenario.logged_error]
        names = [name for option in ("--update", "--install") for name in _values(spec.argv, option)]
        if not scenario.migration_error:
            for name in names:
                version = scenario.manifest.addons[name].version
                database.modules[name] = InstalledModule("installed", version)
            database.generation = scenario.generation
            database.uuid = database.uuid or "0c2d3c1e-8f3a-11f0-9d4e-0242ac120002"
            self._world.filestores[spec.labels["odooops.environment"], database.name] = scenario.generation
        verdict = {"ok": not errors, "errors": errors, "updated": names, "log_errors": [], "notes": []}
        on_line(f"ODOOOPS_VERDICT {json.dumps(verdict)}")
        return 1 if errors else 0

    def execute(self, name: str, argv: Sequence[str], timeout_seconds: float, on_line: OnLine) -> int:
        program = argv[1].rpartition("/")[2]
        self._world.call(f"runtime.execute {program}")
        one = self._get(name)
        if not one.running:
            raise Permanent(f"{name} does not run.")
        if program == "odooops-standby":
            if self._world.images[one.digest].import_error:
                on_line(f"{self._world.images[one.digest].import_error}")
            return 0
        if "odooops.beside" in one.spec.labels:
            return ask_restored(self._world, one, argv, on_line)
        if self._world.waits(one):
            on_line("/web/health does not answer.")
            return 1
        scenario = self._world.images[one.digest]
        database = self._world.databases.get(database_of(one.spec))
        reachable = database is not None and not database.fenced and database.allows_connections
        if scenario.never_healthy or not reachable:
            on_line("/web/login answers 500 instead of 200.")
            return 1
        return 1 if scenario.never_warm and program == "warm.py" else 0

    def version(self) -> str:
        return "20.10.24"

    def _get(self, name: str) -> FakeContainer:
        if name not in self._world.containers:
            raise Permanent(f"No such container: {name}")
        return self._world.containers[name]

    def _role(self, name: str) -> str:
        return name.rsplit("-", 2)[1]


def _values(argv: Sequence[str], option: str) -> list[str]:
    return argv[argv.index(option) + 1].split(",") if option in argv else []


class FakeProxy:
    """Caddy."""

    def __init__(self, world: World) -> None:
        self._world = world

    def ensure_route(self, route: Route) -> None:
        self._world.call("proxy.ensure_route")
        if self._world.held - {route.environment}:
            self._world.violations.append("configuration was written during another environment's hold")
        self._world.upstreams.setdefault(route.environment, route.alias)
        self._world.routes[route.environment] = route

    def remove_route(self, environment: str) -> None:
        self._world.call("proxy.remove_route")
        if self._world.held - {environment}:
            self._world.violations.append("configuration was written during another environment's hold")
        self._world.routes.pop(environment, None)
        self._world.upstreams.pop(environment, None)
        self._world.held.discard(environment)

    def upstream(self, environment: str) -> str | None:
        self._world.call("proxy.upstream")
        return self._world.upstreams.get(environment)

    def restore_routes(self) -> None:
        self._world.call("proxy.restore_routes")

    def switch(self, environment: str, alias: str) -> None:
        self._world.call("proxy.switch")
        self._require(environment)
        self._world.upstreams[environment] = alias
        self._world.check()

    def hold(self, environment: str, alias: str) -> None:
        self._world.call("proxy.hold")
        self._require(environment)
        self._world.held.add(environment)
        self._world.upstreams[environment] = alias
        self._world.check()

    def release(self, environment: str) -> None:
        self._world.call("proxy.release")
        self._world.held.discard(environment)
        self._world.check()

    def in_flight(self, alias: str) -> int:
        self._world.call("proxy.in_flight")
        left = self._world.in_flight.get(alias, 0)
        if left:
            self._world.in_flight[alias] = left - 1
        return left

    def version(self) -> str:
        return "2.11.4"

    def _require(self, environment: str) -> None:
        if environment not in self._world.upstreams:
            raise Permanent(f"The proxy has no route for {environment}.", code="no_route")


class FakeCluster:
    """PostgreSQL."""

    def __init__(self, world: World) -> None:
        self._world = world

    def facts(self, name: str) -> DatabaseFacts | None:
        self._world.call("database.facts")
        one = self._world.databases.get(name)
        if one is None:
            return None
        if not one.allows_connections:
            raise Retryable(f"The database {name} is there and can't be entered.")
        return DatabaseFacts(
            name=name,
            owner=one.owner,
            bytes=one.bytes,
            allows_connections=one.allows_connections,
            tag=one.tag,
            uuid=one.uuid,
            modules=dict(one.modules),
            recorded_digest=one.recorded_digest,
            recorded=dict(one.recorded),
            languages=("en_US",),
            sessions=self.sessions(name),
            fenced=one.fenced,
            asides=tuple(sorted(each for each in self._world.databases if each.startswith(f"{name}__x"))),
        )

    def exists(self, name: str) -> bool:
        self._world.call("database.exists")
        return name in self._world.databases

    def identity(self, name: str) -> Identity | None:
        self._world.call("database.identity")
        one = self._world.databases.get(name)
        return Identity(one.uuid, one.tag) if one else None

    def size(self, name: str) -> int:
        self._world.call("database.size")
        found = self._world.databases.get(name)
        return found.bytes if found else 0

    def free_bytes(self) -> int | None:
        self._world.call("database.free_bytes")
        quota = self._world.database_quota_bytes
        if quota is None:
            return self._world.database_free_bytes
        return quota - sum(one.bytes for one in self._world.databases.values())

    def ensure_roles(self, app: str, app_password: str, upgrade: str, upgrade_password: str) -> None:
        self._world.call("database.ensure_roles")
        self._world.roles |= {app: app_password, upgrade: upgrade_password}

    def create(self, name: str, owner: str) -> None:
        self._world.call("database.create")
        self._world.databases.setdefault(name, FakeDatabase(name, owner))

    def write_tag(self, name: str, environment_uuid: str, token: int) -> None:
        self._world.call("database.write_tag")
        found = self._get(name)
        if found.tag and found.tag.environment_uuid != environment_uuid:
            raise Refused(f"The database {name} is marked as another environment's.", code="identity_mismatch")
        found.tag = OwnerTag(environment_uuid, token)

    def sessions(self, name: str) -> tuple[Session, ...]:
        self._world.call("database.sessions")
        return (*self._world.sessions, *self._world.odoo_sessions(name))

    def fence(self, name: str, app: str, upgrade: str) -> None:
        self._world.call("database.fence")
        database = self._get(name)
        database.fenced = True
        stuck = [one for one in self._world.sessions if not one.can_end or one.role in self._world.stubborn]
        if stuck:
            raise Permanent(f"A session of {stuck[0].role} can't be ended: close it.", code="foreign_sessions")
        self._world.sessions.clear()

    def unfence(self, name: str, app: str) -> None:
        self._world.call("database.unfence")
        self._get(name).fenced = False
        self._world.check()

    def snapshot(self, source: str, target: str, owner: str) -> str:
        self._world.call("database.snapshot")
        self._require_empty(source)
        copy = replace(self._get(source), name=target, modules=dict(self._get(source).modules))
        copy.generation = "half"
        self._world.databases[target] = copy
        self._world.call("database.snapshot halfway")
        copy.generation = self._get(source).generation
        return "wal_log"

    def swap(self, live: str, snapshot: str, aside: str) -> None:
        self._world.call("database.swap")
        databases = self._world.databases
        there = {name for name in (live, snapshot, aside) if name in databases}
        if there == {live, snapshot}:
            databases[live].allows_connections = False
            self._require_empty(live)
            self._world.call("database.swap shut")
            # Both renames are one transaction, and before it the comment was copied.
            was = databases.pop(live)
            databases[aside] = replace(was, name=aside)
            databases[live] = replace(databases.pop(snapshot), name=live, fenced=was.fenced, tag=was.tag, mark=None)
            self._world.call("database.swap renamed")
        elif there != {live, aside}:
            raise Permanent(f"{live} can't be swapped: only {', '.join(sorted(there)) or 'none'} exists.")
        databases[live].allows_connections = True

    def drop(self, name: str) -> None:
        self._world.call("database.drop")
        self._world.databases.pop(name, None)

    def sets(self, name: str, environment_uuid: str) -> tuple[KeptSet, ...]:
        self._world.call("database.sets")
        copies = {
            int(each.rpartition("__s")[2]): one
            for each, one in self._world.databases.items()
            if each.startswith(f"{name}__s")
        }
        return tuple(
            one.mark or KeptSet(token)
            for token, one in sorted(copies.items())
            if one.tag and one.tag.environment_uuid == environment_uuid
        )

    def copies(self, name: str, environment_uuid: str) -> tuple[int, ...]:
        self._world.call("database.copies")
        databases = self._world.databases.items()
        found = ((each.rpartition("__c")[2], one.tag) for each, one in databases if each.startswith(f"{name}__c"))
        return tuple(int(token) for token, tag in sorted(found) if tag and tag.environment_uuid == environment_uuid)

    def set_files(self, snapshot: str, app: str, upgrade: str) -> frozenset[str]:
        self._world.call("database.set_files")
        return frozenset({f"files of {self._get(snapshot).generation}"})

    def mark_set(self, snapshot: str, digest: str | None, since: datetime | None = None) -> None:
        self._world.call("database.mark_set")
        token = int(snapshot.rpartition("__s")[2])
        self._get(snapshot).mark = KeptSet(token, digest, since or self._world.now())

    def count_loss(
        self,
        name: str,
        since: datetime,
        table_seconds: float,
        seconds: float,
        newest: int,
        hurried: Collection[str] = (),
    ) -> Loss:
        self._world.call("database.count_loss")
        minutes = round((self._world.now() - since).total_seconds() / 60, 1)
        return Loss(since=since, minutes=minutes, counts=tuple(self._get(name).written.values()))

    def record_manifest(self, name: str, digest: str, modules: Mapping[str, Mapping[str, object]]) -> None:
        self._world.call("database.record_manifest")
        one = self._get(name)
        one.recorded_digest = digest
        one.recorded = {
            module: RecordedModule(str(given["version"]), str(given["hash"])) for module, given in modules.items()
        }

    def copy_apart(self, source: str, target: str, from_role: str, app: str, upgrade: str) -> str:
        self._world.call("database.copy_apart")
        found = self._world.databases.get(source)
        if found is None:
            raise Permanent(f"The restore set {source} is gone.", code="source_gone")
        made = replace(found, name=target, owner="agent", tag=None, mark=None, apart=True, modules=dict(found.modules))
        made.dangerous, made.generation, made.allows_connections = frozenset({"modules", "rules"}), "half", True
        self._world.databases[target] = made
        self._world.call("database.copy_apart halfway")
        made.generation = found.generation
        self._world.check()
        return "wal_log"

    def create_apart(self, target: str, app: str, upgrade: str) -> None:
        self._world.call("database.create_apart")
        made = FakeDatabase(target, "agent", apart=True, dangerous=frozenset({"modules", "rules"}))
        self._world.databases[target] = made

    def neutralise(self, name: str, rules: Sequence[Rule], settings: Mapping[str, str]) -> None:
        self._world.call("database.neutralise")
        one = self._get(name)
        one.dangerous -= {"rules"}
        one.uuid = settings["uuid"]

    def obfuscate(self, name: str, fields: Sequence[tuple[str, str]]) -> int:
        self._world.call("database.obfuscate")
        return len(fields)

    def prove(self, name: str, rules: Sequence[Rule], settings: Mapping[str, str]) -> tuple[RestoreCheck, ...]:
        self._world.call("database.prove")
        left = sorted(self._get(name).dangerous)
        found = {"rules": self._world.unsafe or ", ".join(left)}
        return tuple(RestoreCheck(name=rule, ok=not detail, detail=detail) for rule, detail in found.items())

    def hand_over(self, name: str, app: str) -> None:
        self._world.call("database.hand_over")
        one = self._get(name)
        one.owner, one.apart = app, False
        self._world.check()

    def adopt(self, name: str, live: str, app: str) -> None:
        self._world.call("database.adopt")
        databases = self._world.databases
        if name in databases and live not in databases:
            databases[live] = replace(databases.pop(name), name=live)
        self._world.check()

    def write_parameters(self, name: str, parameters: Mapping[str, str]) -> None:
        self._world.call("database.write_parameters")
        self._get(name).parameters |= parameters

    def inspect(self, name: str, since: datetime | None) -> InspectResult:
        self._world.call("database.inspect")
        return InspectResult(as_of=self._world.now(), database_uuid=self._get(name).uuid, changes=(), xml="<odoo/>")

    def business(self, name: str, today: date) -> tuple[Busy, ...]:
        self._world.call("database.business")
        return self._get(name).busy

    def attachment_files(self, name: str) -> frozenset[str]:
        self._world.call("database.attachment_files")
        return frozenset({f"files of {self._get(name).generation}"})

    def version(self) -> str:
        return "15.18"

    def _get(self, name: str) -> FakeDatabase:
        if name not in self._world.databases:
            raise Permanent(f"There is no database {name}.")
        return self._world.databases[name]

    def _require_empty(self, name: str) -> None:
        if self._world.odoo_sessions(name) or self._world.sessions:
            raise Permanent(f"The database {name} is in use.", code="foreign_sessions")
        running = [one for one in self._world.containers.values() if one.running and one.role == "update"]
        updates = [one for one in running if not self._world.waits(one)]
        if any(database_of(one.spec) == name for one in updates):
            raise Permanent(f"An update still works on {name}.")


class FakeFilestore:
    """The droplet's directories."""

    def __init__(self, world: World) -> None:
        self._world = world

    def prepare(self, environment: str, uid: int, gid: int) -> None:
        self._world.call("filestore.prepare")

    def write_config(self, environment: str, name: str, text: str, uid: int, gid: int) -> None:
        self._world.call("filestore.write_config")
        self._world.configs[environment, name] = text

    def read_config(self, environment: str, name: str) -> str | None:
        self._world.call("filestore.read_config")
        return self._world.configs.get((environment, name))

    def remove_config(self, environment: str, name: str) -> None:
        self._world.call("filestore.remove_config")
        self._world.configs.pop((environment, name), None)

    def drop(self, environment: str, database: str) -> None:
        self._world.call("filestore.drop")
        self._world.filestores.pop((environment, database), None)

    def exists(self, environment: str, database: str) -> bool:
        self._world.call("filestore.exists")
        return (environment, database) in self._world.filestores

    def set_aside(self, environment: str, database: str, token: int) -> None:
        self._world.call("filestore.set_aside")
        if (environment, database) in self._world.filestores and (environment, token) not in self._world.file_snapshots:
            self._world.file_snapshots[environment, token] = self._world.filestores.pop((environment, database))
            self._world.file_times[environment, token] = self._world.now()

    def snapshot(self, environment: str, database: str, token: int) -> None:
        self._world.call("filestore.snapshot")
        self._world.file_snapshots[environment, token] = "half"
        self._world.file_times[environment, token] = self._world.now()
        self._world.call("filestore.snapshot halfway")
        self._world.file_snapshots[environment, token] = self._world.filestores.get((environment, database), "none")

    def restore(self, environment: str, database: str, token: int) -> None:
        self._world.call("filestore.restore")
        generation = self._world.file_snapshots.pop((environment, token), None)
        if generation is not None:
            self._world.filestores[environment, database] = generation

    def exchange(self, environment: str, database: str, wanted: int, given_up: int) -> None:
        self._world.call("filestore.exchange")
        files, snapshots = self._world.filestores, self._world.file_snapshots
        if self.has_snapshot(environment, wanted):
            if not self.has_snapshot(environment, given_up):
                snapshots[environment, given_up] = files.pop((environment, database), "none")
                self._world.file_times[environment, given_up] = self._world.now()
            self._world.call("filestore.exchange halfway")
            files[environment, database] = snapshots.pop((environment, wanted))
        elif (environment, database) not in files or not self.has_snapshot(environment, given_up):
            raise Permanent(f"The snapshot {wanted} of {environment}'s files is gone.", code="set_gone")

    def bring(self, source: str, number: int, environment: str, token: int, wanted: Collection[str]) -> FilesFacts:
        self._world.call("filestore.bring")
        self._world.file_times[environment, token] = self._world.now()
        if (source, number) not in self._world.file_snapshots:
            raise Permanent(f"The files of {source} are gone.", code="source_gone")
        self._world.file_snapshots[environment, token] = "half"
        self._world.call("filestore.bring halfway")
        self._world.file_snapshots[environment, token] = self._world.file_snapshots[source, number]
        return FilesFacts(len(wanted), 1 << 20)

    def has_snapshot(self, environment: str, token: int) -> bool:
        self._world.call("filestore.has_snapshot")
        return self._world.file_snapshots.get((environment, token), "half") != "half"

    def snapshots(self, environment: str) -> tuple[FileSnapshot, ...]:
        self._world.call("filestore.snapshots")
        times, start = self._world.file_times, self._world.started_at
        found = (token for key, token in sorted(self._world.file_snapshots) if key == environment)
        return tuple(FileSnapshot(token, times.get((environment, token), start)) for token in found)

    def lost_files(self, environment: str, database: str, token: int, wanted: Collection[str]) -> tuple[str, ...]:
        self._world.call("filestore.lost_files")
        return tuple(sorted(set(wanted) - {f"files of {self._world.file_snapshots.get((environment, token))}"}))

    def drop_snapshot(self, environment: str, token: int) -> None:
        self._world.call("filestore.drop_snapshot")
        self._world.file_snapshots.pop((environment, token), None)

    def free_bytes(self, environment: str) -> int:
        self._world.call("filestore.free_bytes")
        return self._world.free_bytes

    def total_bytes(self) -> int:
        return 100 << 30
