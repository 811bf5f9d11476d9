"""Repositories, workspaces and the ways into a database, in memory."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from ..commands import neutralise
from ..errors import Cancelled as CancelledError
from ..errors import Permanent
from ..facts import Brought, DumpFacts, FilesFacts, InstalledModule, Retained, Saved
from ..ports import Cancelled, ContainerSpec, OnLine
from ..protocol import Repository, Retention
from .world import FakeContainer, FakeRepository, World


def run_one_off(world: World, spec: ContainerSpec, on_line: OnLine, cancelled: Cancelled) -> int:
    """Dump or restore, where a door is open to the database that is asked for."""
    if spec.argv[-1].endswith(neutralise.SCRIPT):
        return _neutralise(world, spec, on_line)
    if spec.argv[0] == "pg_restore" and not any(word.startswith("--dbname") for word in spec.argv):
        world.call("runtime.run as text")
        world.workspaces[spec.labels["odooops.beside"], "export"]["text"] = world.workspaces[
            spec.labels["odooops.beside"], "export"
        ]["io"]
        return 0
    given = dict(word.removeprefix("--").partition("=")[::2] for word in spec.argv if word.startswith("--"))
    database = world.databases.get(given["dbname"])
    room = world.workspaces[spec.labels["odooops.beside"], spec.mounts[0].source.split("/")[-2]]
    world.call(f"runtime.run {spec.argv[0]} halfway")
    if cancelled():
        raise CancelledError("The operation was called off.")
    shut = database is not None and database.fenced and not given["username"].endswith("_upgrade")
    if database is None or given["dbname"] not in world.doors or shut:
        on_line(f'{spec.argv[0]}: error: connection to database "{given["dbname"]}" failed')
        return 1
    if spec.argv[0] == "pg_dump":
        dumped = {"generation": database.generation, "uuid": database.uuid, "modules": _plain(database.modules)}
        room["io"] = {**dumped, "recorded_digest": database.recorded_digest}
        return 0
    if not (database.fenced or database.apart):
        world.violate(f"{database.name} is loaded while others may enter it")
    dump = room["io"]
    database.generation, database.uuid = dump["generation"], dump["uuid"]
    database.recorded_digest = dump["recorded_digest"]
    database.modules = {name: InstalledModule("installed", version) for name, version in dump["modules"].items()}
    return 0


def _neutralise(world: World, spec: ContainerSpec, on_line: OnLine) -> int:
    (name,) = world.doors
    world.call("runtime.run neutralise halfway")
    if world.neutralize_error:
        on_line(world.neutralize_error)
        return 1
    database = world.databases[name]
    database.dangerous -= {"modules"}
    on_line(neutralise.MARK + '["base", "mail"]')
    return 0


def _plain(modules: Mapping[str, InstalledModule]) -> dict[str, str | None]:
    return {name: module.version for name, module in modules.items() if module.state == "installed"}


def ask_restored(world: World, one: FakeContainer, argv: Sequence[str], on_line: OnLine) -> int:
    """Answer as a restored Odoo does: with pages when code, data and files are of one release."""
    database = world.databases.get(argv[-1])
    wanted = world.images[one.spec.image.partition("@")[2]].generation
    files = world.workspaces[one.spec.labels["odooops.beside"], "restore_test"].get("filestore")
    if database is None or argv[-1] not in world.doors or database.generation != wanted or files != wanted:
        on_line("/web/login answers 500 instead of 200.")
        return 1
    return 0


class FakeVault:
    """Repositories by their address."""

    def __init__(self, world: World) -> None:
        self._world = world

    def ensure(self, repository: Repository, *, make: bool) -> str:
        self._world.call("vault.ensure")
        known = self._world.repositories.get(repository.url)
        if known is None and (repository.identity or not make):
            raise Permanent(f"The repository at {repository.url} is gone.", code="repository_unreachable")
        if known is None:
            known = self._world.repositories[repository.url] = FakeRepository("1d" * 32)
        return self._get(repository).identity

    def ensure_recovery(self, repository: Repository, on_line: OnLine, cancelled: Cancelled) -> str | None:
        self._world.call("vault.ensure_recovery")
        if repository.recovery_public_key:
            self._get(repository).recovery = "sealed"
        return self._get(repository).recovery

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
        self._world.call("vault.save")
        kept = self._get(repository)
        room = self._world.workspaces[host, folder.name]
        self._world.call("vault.save halfway")
        snapshot = f"{len(kept.snapshots) + 1:064x}"
        kept.snapshots[snapshot] = {
            "host": host,
            "tags": tuple(tags),
            **{path: copy.deepcopy(room[path]) for path in paths},
        }
        return Saved(snapshot, 1, 1 << 20)

    def check(self, repository: Repository, on_line: OnLine, cancelled: Cancelled, *, all_data: bool = False) -> None:
        self._world.call("vault.check")
        self._get(repository)

    def forget(
        self, repository: Repository, host: str, tag: str, retention: Retention, on_line: OnLine, cancelled: Cancelled
    ) -> Retained:
        self._world.call("vault.forget")
        kept = self._get(repository).snapshots
        own = [one for one, files in kept.items() if files["host"] == host and tag in files["tags"]]
        gone = own[: -retention.daily]
        for one in gone:
            del kept[one]
        return Retained(tuple(gone), tuple(own[-retention.daily :]))

    def size(self, repository: Repository, snapshot: str) -> int:
        self._world.call("vault.size")
        if snapshot not in self._get(repository).snapshots:
            raise Permanent(f"There is no snapshot {snapshot}.", code="backup_failed")
        return self._world.backup_bytes

    def restore(
        self, repository: Repository, snapshot: str, target: Path, on_line: OnLine, cancelled: Cancelled
    ) -> None:
        self._world.call("vault.restore")
        kept = self._get(repository).snapshots
        if snapshot not in kept:
            raise Permanent(f"There is no snapshot {snapshot}.", code="backup_failed")
        key = next(key for key in self._world.workspaces if key[1] == target.name)
        self._world.call("vault.restore halfway")
        self._world.workspaces[key] |= {
            name: copy.deepcopy(value) for name, value in kept[snapshot].items() if name not in ("host", "tags")
        }

    def version(self) -> str:
        return "0.14.0"

    def _get(self, repository: Repository) -> FakeRepository:
        kept = self._world.repositories[repository.url]
        if kept.trouble is not None:
            raise kept.trouble
        return kept


class FakeWorkspace:
    """Workspaces as dictionaries."""

    def __init__(self, world: World) -> None:
        self._world = world

    def folder(self, environment: str, name: str) -> Path:
        return Path("/srv/odooops") / environment / "work" / name

    def make(self, environment: str, name: str, uid: int, gid: int) -> None:
        self._world.call("workspace.make")
        self._world.workspaces[environment, name] = {}

    def remove(self, environment: str, name: str) -> None:
        self._world.call("workspace.remove")
        self._world.workspaces.pop((environment, name), None)

    def write(self, environment: str, name: str, file: str, text: str) -> None:
        self._world.call("workspace.write")

    def collect_files(self, environment: str, name: str, database: str) -> FilesFacts:
        self._world.call("workspace.collect_files")
        self._world.workspaces[environment, name]["filestore"] = self._world.filestores[environment, database]
        return FilesFacts(1, 1 << 20)

    def take_dump(self, environment: str, name: str) -> DumpFacts:
        self._world.call("workspace.take_dump")
        room = self._world.workspaces[environment, name]
        room["database.dump"] = room.pop("io")
        return self.dump_facts(environment, name)

    def give_dump(self, environment: str, name: str) -> None:
        self._world.call("workspace.give_dump")
        room = self._world.workspaces[environment, name]
        room["io"] = room.pop("database.dump", room.get("io"))

    def dump_facts(self, environment: str, name: str) -> DumpFacts:
        dump = self._world.workspaces[environment, name]["database.dump"]
        return DumpFacts(70 << 20, hashlib.sha256(repr(dump).encode()).hexdigest())

    def drop_dump(self, environment: str, name: str) -> None:
        self._world.call("workspace.drop_dump")
        self._world.workspaces[environment, name].pop("io", None)

    def write_manifest(self, environment: str, name: str, document: Mapping[str, object]) -> None:
        self._world.call("workspace.write_manifest")
        self._world.workspaces[environment, name]["manifest.json"] = dict(document)

    def read_manifest(self, environment: str, name: str) -> Mapping[str, Any]:
        self._world.call("workspace.read_manifest")
        manifest: Mapping[str, Any] = self._world.workspaces[environment, name]["manifest.json"]
        return manifest

    def adopt_files(self, environment: str, name: str) -> FilesFacts:
        self._world.call("workspace.adopt_files")
        return FilesFacts(1, 1 << 20)

    def keep_files(self, environment: str, name: str, wanted: frozenset[str]) -> FilesFacts:
        self._world.call("workspace.keep_files")
        return FilesFacts(len(wanted), 1 << 20)

    def missing_files(self, environment: str, name: str, wanted: frozenset[str]) -> tuple[str, ...]:
        self._world.call("workspace.missing_files")
        return tuple(sorted(wanted - {f"files of {self._world.workspaces[environment, name].get('filestore')}"}))

    def offer_files(self, environment: str, name: str, database: str) -> None:
        self._world.call("workspace.offer_files")

    def place_snapshot(self, environment: str, name: str, token: int) -> None:
        self._world.call("workspace.place_snapshot")
        room = self._world.workspaces[environment, name]
        self._world.file_snapshots[environment, token] = room.pop("filestore")
        self._world.file_times[environment, token] = self._world.now()

    def pack(self, environment: str, name: str, manifest: Mapping[str, object], write: Callable[[bytes], None]) -> int:
        self._world.call("workspace.pack")
        room = self._world.workspaces[environment, name]
        write(repr((manifest["db_name"], room["text"]["generation"], room["filestore"])).encode())
        return 1

    def place_filestore(self, environment: str, name: str, database: str) -> None:
        self._world.call("workspace.place_filestore")
        room, files = self._world.workspaces[environment, name], self._world.filestores
        if "filestore" in room and (environment, database) in files:
            raise Permanent(f"There are files of {environment} where the backup's belong: move them away.")
        if "filestore" in room:
            files[environment, database] = room.pop("filestore")
        elif (environment, database) not in files:
            raise Permanent(f"The restored files of {environment} are gone: restore the backup again.")


class FakeIntake:
    """What an operator brought, by its name: the dump's and the files' generation, or why it can't be taken."""

    def __init__(self, world: World) -> None:
        self._world = world

    def unpack(self, file: str, filestore: str | None, room: Path, room_bytes: int, cancelled: Cancelled) -> Brought:
        self._world.call("intake.unpack")
        given = self._world.brought.get(file)
        if not isinstance(given, dict):
            raise given or Permanent(f"There is no {file}.", code="import_refused")
        key = next(key for key in self._world.workspaces if key[1] == room.name)
        self._world.call("intake.unpack halfway")
        self._world.workspaces[key] |= {"io": copy.deepcopy(given["dump"]), "filestore": given["files"]}
        return Brought("dump.sql", 70 << 20, 1)


class FakeUploads:
    """What the console has got, by operation."""

    def __init__(self, world: World) -> None:
        self._world = world

    def send(self, operation_id: int, token: int, offset: int, data: bytes) -> None:
        self._world.call("uploads.send")
        before = self._world.uploads.get(operation_id, b"")[:offset]
        self._world.uploads[operation_id] = before + data
        self._world.call("uploads.sent")


class FakeDoor:
    """The relay."""

    def __init__(self, world: World) -> None:
        self._world = world

    @contextmanager
    def open(self, folder: Path, database: str) -> Iterator[None]:
        self._world.call("door.open")
        self._world.doors.add(database)
        try:
            yield
        finally:
            self._world.doors.discard(database)
