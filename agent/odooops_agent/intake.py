"""Backups of elsewhere, brought by an operator into the agent's folder for imports, unpacked into a workspace.

Odoo.sh and Odoo's own database manager give a zip of a dump and a filestore; others bring a dump of pg_dump's, with
the filestore as a folder or an archive beside it. All of it is somebody else's: no entry is believed, no link is
followed, no name is kept but those that Odoo itself gives to files.
"""

from __future__ import annotations

import gzip
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from .errors import Cancelled, Permanent
from .facts import Brought
from .load_dump import ARCHIVE, PARTS, PLAIN
from .plans.archive import CODE, Budget, place, require_file_name
from .workspace import FILES, MAGIC
from .workspace import IO as IO_FOLDER

HEAD_BYTES = 4096
CHUNK = 1 << 20
TAR_PACKED = (b"\xfd7zXZ\0", b"BZh")  # as dumps are not
TAR_MAGIC = (257, b"ustar")
DAMAGED = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile)
Open = Callable[[], IO[bytes]]


@dataclass(frozen=True, slots=True)
class _Entry:
    """One of an archive's; `open` is None for what is neither file nor folder."""

    name: str
    folder: bool
    open: Open | None


class LocalIntake:
    """The intake port on a folder of the droplet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def unpack(
        self, file: str, filestore: str | None, room: Path, room_bytes: int, cancelled: Callable[[], bool]
    ) -> Brought:
        """Unpack a backup, and a filestore that came beside it, into a workspace.

        :param room: the workspace, empty.
        :param room_bytes: how much may be written.
        :raises Permanent: it is no backup of Odoo, damaged, or too large.
        """
        with ExitStack() as stack, _explained(file):
            sources = [self._open(stack, one) for one in (file, filestore) if one]
            budget = Budget(room_bytes, sum(size for _, size in sources))
            taking = _Taking(room, budget, cancelled)
            for number, (descriptor, _) in enumerate(sources):
                taking.source(descriptor, dump_here=number == 0)
            return taking.done()

    def _open(self, stack: ExitStack, name: str) -> tuple[int, int]:
        """Open what lies in the folder; a folder itself counts as large as what is in it."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, folder)
            descriptor = os.open(require_file_name(name), flags, dir_fd=folder)
        except FileNotFoundError as error:
            raise Permanent(
                f"There is no {name} in {self._folder} on the droplet: put it there, then import again.", code=CODE
            ) from error
        stack.callback(os.close, descriptor)
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            return descriptor, 1 << 62
        if not stat.S_ISREG(found.st_mode):
            raise Permanent(f"{name} in {self._folder} is no file and no folder: put the backup there.", code=CODE)
        return descriptor, found.st_size


@dataclass
class _Taking:
    """One import, while it is unpacked."""

    room: Path
    budget: Budget
    cancelled: Callable[[], bool]
    dump: str | None = None
    parts: set[str] = field(default_factory=set)
    files: int = 0
    dump_bytes: int = 0

    def __post_init__(self) -> None:
        owner = (self.room / IO_FOLDER).stat()
        self.owner = owner.st_uid, owner.st_gid

    def source(self, descriptor: int, *, dump_here: bool) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            if dump_here:
                raise Permanent("The backup is a folder: name its dump, and the folder as its filestore.", code=CODE)
            self._folder(descriptor, "")
            return
        with os.fdopen(os.dup(descriptor), "rb") as file:
            head = _head(file)
            if head.startswith(b"PK"):
                self._entries(_zipped(file))
            elif _is_tar(head) or head.startswith(TAR_PACKED):
                self._entries(_tarred(file))
            elif head.startswith(b"\x1f\x8b"):
                self._gzipped(file, dump_here=dump_here)
            elif dump_here:
                self._dump(file)
            else:
                raise Permanent("The filestore is no folder, zip or tar archive: pack it again.", code=CODE)

    def _gzipped(self, file: IO[bytes], *, dump_here: bool) -> None:
        with gzip.open(file) as inside:
            inner = cast("IO[bytes]", inside)
            head = inside.read(HEAD_BYTES)
            inside.seek(0)
            if _is_tar(head):
                self._entries(_tarred(inner))
            elif dump_here:
                self._dump(inner)
            else:
                raise Permanent("The filestore is no folder, zip or tar archive: pack it again.", code=CODE)

    def _folder(self, descriptor: int, above: str) -> None:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                name = f"{above}{entry.name}"
                self.budget.enter()
                if entry.is_dir(follow_symlinks=False):
                    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
                    below = os.open(entry.name, flags, dir_fd=descriptor)
                    try:
                        self._folder(below, f"{name}/")
                    finally:
                        os.close(below)
                elif not entry.is_file(follow_symlinks=False):
                    raise _no_file(name)
                elif (found := place(name)) and found.kind == "file":
                    opened = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=descriptor)
                    with os.fdopen(opened, "rb") as file:
                        self._file(found.name, file)

    def _entries(self, entries: Iterator[_Entry]) -> None:
        for entry in entries:
            self.budget.enter()
            found = place(entry.name)
            if entry.folder:
                continue
            if entry.open is None:
                raise _no_file(entry.name)
            if found is None:
                continue
            with entry.open() as file:
                if found.kind == "file":
                    self._file(found.name, file)
                elif found.kind == "part":
                    self._part(found.name, file)
                else:
                    self._packed_dump(file)

    def _file(self, name: str, file: IO[bytes]) -> None:
        folder, _, stored = name.partition("/")
        target = self.room / FILES / folder
        target.mkdir(mode=0o755, exist_ok=True)
        with suppress(FileExistsError):  # its name is its content
            self._write(file, target / stored)
            self.files += 1

    def _part(self, name: str, file: IO[bytes]) -> None:
        folder = self.room / IO_FOLDER / PARTS
        folder.mkdir(mode=0o700, exist_ok=True)
        os.chown(folder, *self.owner)
        if name in self.parts or self.dump:
            raise _two_dumps()
        self.parts.add(name)
        self.dump_bytes += self._write(file, folder / name, for_tool=True)

    def _packed_dump(self, file: IO[bytes]) -> None:
        """Take an archive's dump, which may be packed once more."""
        with _Ahead(file) as ahead:
            if not ahead.head.startswith(b"\x1f\x8b"):
                self._dump(cast("IO[bytes]", ahead))
                return
            with gzip.open(cast("IO[bytes]", ahead)) as inside:
                self._dump(cast("IO[bytes]", inside))

    def _dump(self, file: IO[bytes]) -> None:
        if self.dump or self.parts:
            raise _two_dumps()
        with _Ahead(file) as ahead:
            self.dump = _kind(ahead.head)
            target = self.room / IO_FOLDER / self.dump
            self.dump_bytes = self._write(cast("IO[bytes]", ahead), target, for_tool=True)

    def _write(self, file: IO[bytes], target: Path, *, for_tool: bool = False) -> int:
        began = self.budget.written
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(target, flags, 0o600), "wb") as out:
            while chunk := file.read(CHUNK):
                if self.cancelled():
                    raise Cancelled("The operation was called off while the backup was unpacked.")
                self.budget.write(len(chunk))
                out.write(chunk)
            if for_tool:
                os.fchown(out.fileno(), *self.owner)
        return self.budget.written - began

    def done(self) -> Brought:
        if self.parts and "toc.dat" not in self.parts:
            raise Permanent("The dump's folder has no toc.dat: pack all that pg_dump wrote.", code=CODE)
        if not self.dump and not self.parts:
            raise Permanent(
                "There is no dump in it: bring a zip of Odoo.sh's or the database manager's, or a dump of pg_dump's.",
                code=CODE,
            )
        return Brought(self.dump or PARTS, self.dump_bytes, self.files)


class _Ahead:
    """A stream of which the first bytes were looked at."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.head = self._rest = file.read(HEAD_BYTES)

    def read(self, size: int = CHUNK) -> bytes:
        if self._rest:
            size = max(size, 0) or CHUNK
            data, self._rest = self._rest[:size], self._rest[size:]
            return data
        return self._file.read(size)

    def __enter__(self) -> _Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _kind(head: bytes) -> str:
    if head.startswith(MAGIC):
        if head[10:11] == b"\x03":
            raise Permanent("pg_dump's own tar format is not taken: dump with --format=custom.", code=CODE)
        return ARCHIVE
    if not head or b"\0" in head:
        raise Permanent("The dump is none of pg_dump's: bring one in its plain or custom format.", code=CODE)
    return PLAIN


def _head(file: IO[bytes]) -> bytes:
    head = file.read(HEAD_BYTES)
    file.seek(0)
    return head


def _is_tar(head: bytes) -> bool:
    at, magic = TAR_MAGIC
    return head[at : at + len(magic)] == magic


def _zipped(file: IO[bytes]) -> Iterator[_Entry]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            plain = kind in (0, stat.S_IFREG) and not info.flag_bits & 1
            folder = info.is_dir() and kind in (0, stat.S_IFDIR)
            # The name as it stands there: the library has made a harmless one of it.
            yield _Entry(info.orig_filename, folder, _opener(archive, info) if plain else None)


def _opener(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Open:
    return lambda: archive.open(info)


def _tarred(file: IO[bytes]) -> Iterator[_Entry]:
    with tarfile.open(fileobj=file, mode="r|*") as archive:
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # or it keeps all of them in memory
            yield _Entry(member.name, member.isdir(), _extractor(archive, member) if member.isreg() else None)


def _extractor(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Open:
    return lambda: cast("IO[bytes]", archive.extractfile(member))


def _no_file(name: str) -> Permanent:
    return Permanent(
        f"{name[:80]!r} is a link, a device or locked with a password: this is no backup of Odoo.", code=CODE
    )


def _two_dumps() -> Permanent:
    return Permanent("There are two dumps in it: bring the one that is meant.", code=CODE)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except DAMAGED as error:
        raise Permanent(f"{name} is damaged ({error}): download it again.", code=CODE) from error
    except (NotImplementedError, RuntimeError) as error:  # of zipfile: a method or a password that it does not know
        raise Permanent(f"{name} can't be unpacked ({error}): pack it anew.", code=CODE) from error
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile):
            raise
        raise Permanent(f"{name} can't be unpacked ({error}): see the droplet's disk.", code="disk_full") from error
