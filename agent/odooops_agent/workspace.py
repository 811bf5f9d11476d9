"""Where a backup is gathered and unpacked: `<data root>/<project>/<code>/work/<what>`, the agent's alone.

    io/            mounted into the one-off that dumps or restores, and owned by its user
    database.dump  taken out of io/ once the one-off is gone
    filestore/     hard links to the environment's files, or what was restored
    manifest.json  what the backup is of

As in `filestore.py` no step down follows a symlink: io/ was written by a customer's container.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import Permanent
from .facts import DumpFacts, FilesFacts
from .filestore import (
    COMPLETE,
    NEW_FILE,
    _directory,
    _explained,
    _made,
    _opened,
    _owner,
    _parts,
    _remove,
    _settle,
    _there,
)
from .load_dump import PLAIN
from .names import DATABASE, ROLE, require

NAME = re.compile(r"[a-z][a-z_]{0,30}")
FOLDER = re.compile(r"[0-9a-f]{2}")
FILE = re.compile(r"[0-9a-f]{40}")
IO, DUMP, FILES, MANIFEST = "io", "database.dump", "filestore", "manifest.json"
MAGIC = b"PGDMP"
CHUNK = 1 << 20


class LocalWorkspace:
    """The workspace port on the data root."""

    def __init__(self, data_root: Path) -> None:
        self._root = data_root

    def folder(self, environment: str, name: str) -> Path:
        project, code = _parts(environment)
        return self._root / project / code / "work" / require(NAME, name, "workspace")

    def make(self, environment: str, name: str, uid: int, gid: int) -> None:
        """Have an empty workspace; what an earlier one left goes."""
        with _explained(), ExitStack() as stack:
            work = stack.enter_context(self._work(environment))
            _remove(work, name)
            made = stack.enter_context(_made(work, require(NAME, name, "workspace"), 0o700))
            stack.enter_context(_made(made, IO, 0o700, (uid, gid)))
            stack.enter_context(_made(made, FILES, 0o750, (uid, gid)))

    def remove(self, environment: str, name: str) -> None:
        """Remove a workspace; none there is success."""
        with _explained(), suppress(FileNotFoundError), self._work(environment) as work:
            _remove(work, require(NAME, name, "workspace"))

    def write(self, environment: str, name: str, file: str, text: str) -> None:
        """Write a file for the one-off, which only its user reads."""
        with _explained(), self._inside(environment, name, IO) as io:
            with suppress(FileNotFoundError):
                os.unlink(file, dir_fd=io)
            with os.fdopen(os.open(file, NEW_FILE, 0o600, dir_fd=io), "w", encoding="utf-8") as handle:
                os.fchown(handle.fileno(), *_owner(io))
                handle.write(text)

    def collect_files(self, environment: str, name: str, database: str) -> FilesFacts:
        """Link the files of the environment's filestore that are not there yet; returns how many there are then.

        Only names that Odoo gives are taken: the rest is scratch, or not its own.
        """
        require(DATABASE, database, "database name")
        with _explained(), ExitStack() as stack:
            made = stack.enter_context(self._inside(environment, name, FILES))
            try:
                home = stack.enter_context(self._home(environment))
                source = stack.enter_context(_directory(stack.enter_context(_directory(home, FILES)), database))
            except FileNotFoundError:
                return FilesFacts(0, 0)
            for folder in _names(source, FOLDER):
                with _directory(source, folder) as from_, _made(made, folder, 0o755, _owner(made)) as to:
                    _link_missing(from_, to)
            return _measure(made)

    def take_dump(self, environment: str, name: str) -> DumpFacts:
        """Move the dump out of the one-off's reach. Raises Permanent when it is none."""
        with _explained(), ExitStack() as stack:
            made = stack.enter_context(self._inside(environment, name))
            io = stack.enter_context(_directory(made, IO))
            _settle(io, 0o700, (os.geteuid(), os.getegid()))
            os.rename(DUMP, DUMP, src_dir_fd=io, dst_dir_fd=made)
            facts = _read_dump(made)
            _remove(made, IO)
            return facts

    def give_dump(self, environment: str, name: str) -> None:
        """Put a restored dump where the one-off reads it."""
        with _explained(), ExitStack() as stack:
            made = stack.enter_context(self._inside(environment, name))
            io = stack.enter_context(_directory(made, IO))
            if _there(made, DUMP):
                _read_dump(made)
                os.chown(DUMP, *_owner(io), dir_fd=made, follow_symlinks=False)
                os.rename(DUMP, DUMP, src_dir_fd=made, dst_dir_fd=io)

    def dump_facts(self, environment: str, name: str) -> DumpFacts:
        with _explained(), self._inside(environment, name) as made:
            return _read_dump(made)

    def drop_dump(self, environment: str, name: str) -> None:
        """Free the dump's room once it is restored."""
        with _explained(), self._inside(environment, name, IO) as io, suppress(FileNotFoundError):
            os.unlink(DUMP, dir_fd=io)

    def write_manifest(self, environment: str, name: str, document: Mapping[str, Any]) -> None:
        with _explained(), self._inside(environment, name) as made:
            _remove(made, MANIFEST)
            with os.fdopen(os.open(MANIFEST, NEW_FILE, 0o600, dir_fd=made), "w", encoding="utf-8") as handle:
                json.dump(document, handle, sort_keys=True, indent=1)

    def read_manifest(self, environment: str, name: str) -> Mapping[str, Any]:
        """Return what a restored backup says of itself. Raises Permanent when it says nothing."""
        with _explained(), self._inside(environment, name) as made:
            try:
                with os.fdopen(
                    os.open(MANIFEST, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=made), encoding="utf-8"
                ) as file:
                    document = json.load(file)
            except (FileNotFoundError, ValueError) as error:
                raise Permanent(
                    "The backup has no readable manifest.json: it was not made by OdooOps, or not whole.",
                    code="repository_damaged",
                ) from error
        if not isinstance(document, dict):
            raise Permanent("The backup's manifest.json is none.", code="repository_damaged")
        return document

    def adopt_files(self, environment: str, name: str) -> FilesFacts:
        """Give restored files to the environment's user and compare each with its name, its content's SHA-1."""
        with _explained(), ExitStack() as stack:
            made = stack.enter_context(self._inside(environment, name))
            owner = _owner(stack.enter_context(_directory(made, IO)))
            files = stack.enter_context(_made(made, FILES, 0o750, owner))
            count = size = 0
            wrong: list[str] = []
            for folder in _only(files, FOLDER):
                with _directory(files, folder) as below:
                    _settle(below, 0o755, owner)
                    for file in _only(below, FILE):
                        length, right = _adopt(below, folder, file, owner)
                        count, size = count + 1, size + length
                        wrong += [] if right else [f"{folder}/{file}"]
            return FilesFacts(count, size, tuple(wrong))

    def keep_files(self, environment: str, name: str, wanted: frozenset[str]) -> FilesFacts:
        """Remove all restored files but these."""
        with _explained(), self._inside(environment, name, FILES) as files:
            for folder in _names(files, FOLDER):
                with _directory(files, folder) as below:
                    for file in set(os.listdir(below)) - {one.partition("/")[2] for one in wanted if one[:2] == folder}:
                        _remove(below, file)
            return _measure(files)

    def missing_files(self, environment: str, name: str, wanted: frozenset[str]) -> tuple[str, ...]:
        """Return which of these are not there, in order."""
        with _explained(), self._inside(environment, name, FILES) as files:
            there: set[str] = set()
            for folder in _names(files, FOLDER):
                with _directory(files, folder) as below:
                    there |= {f"{folder}/{file}" for file in os.listdir(below)}
        return tuple(sorted(wanted - there))

    def offer_files(self, environment: str, name: str, database: str) -> None:
        """Put the files where an Odoo with this workspace as its data directory looks for them."""
        with _explained(), ExitStack() as stack:
            made = stack.enter_context(self._inside(environment, name))
            io = stack.enter_context(_directory(made, IO))
            into = stack.enter_context(_made(io, FILES, 0o750, _owner(io)))
            if _there(made, FILES) and not _there(into, database):
                os.rename(FILES, require(ROLE, database, "database name"), src_dir_fd=made, dst_dir_fd=into)

    def place_snapshot(self, environment: str, name: str, token: int) -> None:
        """Move the files to where the environment's snapshots are; done before is success."""
        with _explained(), ExitStack() as stack:
            snapshots = stack.enter_context(_directory(stack.enter_context(self._home(environment)), "snapshots"))
            target = stack.enter_context(_made(snapshots, str(int(token)), 0o700))
            self._place(stack, environment, name, target, COMPLETE)

    def place_filestore(self, environment: str, name: str, database: str) -> None:
        """Move the files to where Odoo looks for them; never over others."""
        with _explained(), ExitStack() as stack:
            home = stack.enter_context(self._home(environment))
            target = stack.enter_context(_directory(home, FILES))
            self._place(stack, environment, name, target, require(DATABASE, database, "database name"))

    def pack(self, environment: str, name: str, manifest: Mapping[str, Any], write: Callable[[bytes], None]) -> int:
        """Write a zip as Odoo's database manager makes one, piece by piece; returns the number of stored files."""
        count = 0
        with (
            _explained(),
            self._inside(environment, name) as made,
            zipfile.ZipFile(_Pipe(write), "w", zipfile.ZIP_DEFLATED) as archive,  # type: ignore[call-overload]
        ):
            archive.writestr("manifest.json", json.dumps(manifest, sort_keys=True, indent=1))
            with _directory(made, IO) as io:
                _pack_file(archive, io, PLAIN, PLAIN)
            with _directory(made, FILES) as files:
                for folder in _names(files, FOLDER):
                    with _directory(files, folder) as below:
                        for file in _names(below, FILE):
                            # Mostly images and PDFs, which are packed already.
                            _pack_file(archive, below, file, f"{FILES}/{folder}/{file}", zipfile.ZIP_STORED)
                            count += 1
        return count

    def _place(self, stack: ExitStack, environment: str, name: str, target: int, called: str) -> None:
        made = stack.enter_context(self._inside(environment, name))
        if _there(made, FILES) and _there(target, called):
            raise Permanent(f"There are files of {environment} where the backup's belong: move them away.")
        if _there(made, FILES):
            os.rename(FILES, called, src_dir_fd=made, dst_dir_fd=target)
            os.fsync(target)
        elif not _there(target, called):
            raise Permanent(f"The restored files of {environment} are gone: restore the backup again.")

    @contextmanager
    def _home(self, environment: str) -> Iterator[int]:
        with ExitStack() as stack:
            descriptor = _opened(stack, self._root)
            for part in _parts(environment):
                descriptor = stack.enter_context(_directory(descriptor, part))
            yield descriptor

    @contextmanager
    def _work(self, environment: str) -> Iterator[int]:
        with self._home(environment) as home, _made(home, "work", 0o700) as work:
            yield work

    @contextmanager
    def _inside(self, environment: str, name: str, *below: str) -> Iterator[int]:
        with ExitStack() as stack:
            descriptor = stack.enter_context(self._work(environment))
            for part in (require(NAME, name, "workspace"), *below):
                descriptor = stack.enter_context(_directory(descriptor, part))
            yield descriptor


class _Pipe:
    """What a zip is written to that nobody can seek in."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def write(self, data: bytes) -> int:
        self._write(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass


def _pack_file(
    archive: zipfile.ZipFile, parent: int, name: str, called: str, method: int = zipfile.ZIP_DEFLATED
) -> None:
    info = zipfile.ZipInfo(called)
    info.compress_type = method
    # As of a restored dump: what a container has written may be a pipe.
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)
    with os.fdopen(descriptor, "rb") as source, archive.open(info, "w", force_zip64=True) as target:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Permanent(f"{name} is no file, so the backup can't be packed.", code="dump_failed")
        shutil.copyfileobj(source, target, CHUNK)


def _names(parent: int, wanted: re.Pattern[str]) -> list[str]:
    return sorted(name for name in os.listdir(parent) if wanted.fullmatch(name))


def _only(parent: int, wanted: re.Pattern[str]) -> list[str]:
    """Return the names below; remove what has another, or is not of its kind."""
    for name in os.listdir(parent):
        mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        fits = stat.S_ISDIR(mode) if wanted is FOLDER else stat.S_ISREG(mode)
        if not fits or not wanted.fullmatch(name):
            _remove(parent, name)
    return _names(parent, wanted)


def _link_missing(source: int, target: int) -> None:
    have = set(os.listdir(target))
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.name not in have and FILE.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):  # Odoo's garbage collector was here in between
                    os.link(entry.name, entry.name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)


def _measure(files: int) -> FilesFacts:
    count = size = 0
    for folder in os.listdir(files):
        with _directory(files, folder) as below, os.scandir(below) as entries:
            for entry in entries:
                count, size = count + 1, size + entry.stat(follow_symlinks=False).st_size
    return FilesFacts(count, size)


def _adopt(parent: int, folder: str, name: str, owner: tuple[int, int]) -> tuple[int, bool]:
    with os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent), "rb") as handle:
        os.fchown(handle.fileno(), *owner)
        os.fchmod(handle.fileno(), 0o644)
        digest = hashlib.file_digest(handle, "sha1").hexdigest()
        return handle.tell(), digest == name and name.startswith(folder)


def _read_dump(parent: int) -> DumpFacts:
    try:
        # Without waiting: the customer's image can leave a pipe there, to which nobody ever writes.
        descriptor = os.open(DUMP, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)
    except OSError as error:
        raise Permanent("There is no database dump where one should be.", code="dump_failed") from error
    with os.fdopen(descriptor, "rb") as handle:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode) or handle.read(len(MAGIC)) != MAGIC:
            raise Permanent("What should be a database dump is none.", code="dump_failed")
        handle.seek(0)
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
        return DumpFacts(handle.tell(), digest)
