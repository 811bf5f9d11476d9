"""An environment's directory on the droplet, `<data root>/<project>/<code>`: filestore, sessions, snapshots, odoo.conf.

Its containers write below `filestore/` and `sessions/`, and what they write is not to be trusted: every step down is
taken from an open directory and follows no symlink, so no path made there can lead the agent elsewhere.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from .errors import AgentError, Permanent, Refused
from .facts import FilesFacts, FileSnapshot
from .names import CODE, DATABASE, PROJECT, require

CONFIG = re.compile(r"[a-z0-9][a-z0-9._-]{0,80}")
NUMBER = re.compile(r"[1-9][0-9]{0,9}")
OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
PART = "filestore.part"
COMPLETE = "filestore"
SHARE_BLOCKS = 0x40049409  # FICLONE
ASIDE = "replaced"


class LocalFilestore:
    """The filestore port on a local directory; hard links need all of it on one mount."""

    def __init__(self, data_root: Path) -> None:
        self._root = data_root

    def prepare(self, environment: str, uid: int, gid: int) -> None:
        """Make the directories. The environment's own is the agent's, so that no container can move what is in it."""
        with _explained(), ExitStack() as stack:
            self._root.mkdir(parents=True, exist_ok=True)
            project, code = _parts(environment)
            top = stack.enter_context(_made(_opened(stack, self._root), project, 0o755))
            home = stack.enter_context(_made(top, code, 0o750, (os.geteuid(), gid)))
            for name in ("filestore", "sessions"):
                stack.enter_context(_made(home, name, 0o750, (uid, gid)))
            stack.enter_context(_made(home, "snapshots", 0o700))

    def write_config(self, environment: str, name: str, text: str, uid: int, gid: int) -> None:
        """Write a file that only the environment's own user reads, at once or not at all."""
        require(CONFIG, name, "name of a configuration file")
        with _explained(), self._home(environment) as home:
            passing = f".{name}.new"
            with suppress(FileNotFoundError):
                os.unlink(passing, dir_fd=home)
            with os.fdopen(os.open(passing, NEW_FILE, 0o600, dir_fd=home), "w", encoding="utf-8") as handle:
                os.fchown(handle.fileno(), uid, gid)
                handle.write(text)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(passing, name, src_dir_fd=home, dst_dir_fd=home)
            os.fsync(home)

    def read_config(self, environment: str, name: str) -> str | None:
        """Return a file's text; None when there is none."""
        require(CONFIG, name, "name of a configuration file")
        with _explained():
            try:
                with self._home(environment) as home:
                    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=home)
            except FileNotFoundError:
                return None
            with os.fdopen(descriptor, encoding="utf-8") as handle:
                return handle.read()

    def remove_config(self, environment: str, name: str) -> None:
        """Remove a file; none there is success."""
        require(CONFIG, name, "name of a configuration file")
        with _explained(), suppress(FileNotFoundError), self._home(environment) as home:
            os.unlink(name, dir_fd=home)

    def drop(self, environment: str, database: str) -> None:
        """Remove filestore/<database>."""
        require(DATABASE, database, "database name")
        with _explained(), suppress(FileNotFoundError), self._home(environment, "filestore") as filestore:
            _remove(filestore, database)

    def exists(self, environment: str, database: str) -> bool:
        """Tell whether there is a filestore/<database>."""
        require(DATABASE, database, "database name")
        with _explained():
            try:
                with self._home(environment, "filestore") as filestore:
                    return _there(filestore, database)
            except FileNotFoundError:
                return False

    def set_aside(self, environment: str, database: str, token: int) -> None:
        """Make filestore/<database>, where there is one, the snapshot `token` by one rename."""
        require(DATABASE, database, "database name")
        with _explained(), ExitStack() as stack:
            filestore = stack.enter_context(self._home(environment, "filestore"))
            snapshots = stack.enter_context(self._home(environment, "snapshots"))
            target = stack.enter_context(_made(snapshots, str(int(token)), 0o700))
            if _there(filestore, database) and not _there(target, COMPLETE):
                _give_up(filestore, database, target)
                for changed in (filestore, target, snapshots):
                    os.fsync(changed)

    def snapshot(self, environment: str, database: str, token: int) -> None:
        """Hard-link filestore/<database> into snapshots/<token>; whole once it has its name."""
        require(DATABASE, database, "database name")
        with _explained(), ExitStack() as stack:
            filestore = stack.enter_context(self._home(environment, "filestore"))
            snapshots = stack.enter_context(self._home(environment, "snapshots"))
            target = stack.enter_context(_made(snapshots, str(int(token)), 0o700))
            if _there(target, COMPLETE):
                return
            _remove(target, PART)
            with _made(target, PART, 0o750, _owner(filestore)) as part, suppress(FileNotFoundError):
                _link(filestore, database, part)
            os.rename(PART, COMPLETE, src_dir_fd=target, dst_dir_fd=target)
            os.fsync(target)

    def restore(self, environment: str, database: str, token: int) -> None:
        """Put the snapshot in the filestore's place by two renames; what it replaces is removed last."""
        require(DATABASE, database, "database name")
        with _explained(), ExitStack() as stack:
            filestore = stack.enter_context(self._home(environment, "filestore"))
            try:
                target = stack.enter_context(self._home(environment, "snapshots", str(int(token))))
            except FileNotFoundError as error:
                raise Permanent(f"There is no snapshot {token} of {environment}'s files to restore.") from error
            if _there(target, COMPLETE):
                if _there(filestore, database):
                    _set_aside(filestore, database, target)
                os.rename(COMPLETE, database, src_dir_fd=target, dst_dir_fd=filestore)
                os.fsync(filestore)
            elif _there(target, PART) or not _there(filestore, database):
                raise Permanent(
                    f"The snapshot {token} of {environment}'s files is not whole; restore them from a backup."
                )
            for name in os.listdir(target):
                if name.startswith(ASIDE):
                    _remove(target, name)

    def exchange(self, environment: str, database: str, wanted: int, given_up: int) -> None:
        """Put one snapshot in the filestore's place, which becomes another, by two renames.

        Between the two there is no filestore, and nothing runs that would look for it. What a container that was
        started there made anew belongs to nobody and goes.
        """
        require(DATABASE, database, "database name")
        with _explained(), ExitStack() as stack:
            filestore = stack.enter_context(self._home(environment, "filestore"))
            snapshots = stack.enter_context(self._home(environment, "snapshots"))
            whole = self.has_snapshot(environment, wanted)
            if not whole and not (_there(filestore, database) and self.has_snapshot(environment, given_up)):
                raise Permanent(
                    f"The snapshot {wanted} of {environment}'s files is gone or not whole; restore a backup.",
                    code="set_gone",
                )
            target = stack.enter_context(_made(snapshots, str(int(given_up)), 0o700))
            if whole:
                source = stack.enter_context(_directory(snapshots, str(int(wanted))))
                if not _there(target, COMPLETE):
                    _give_up(filestore, database, target)
                elif _there(filestore, database):
                    _set_aside(filestore, database, target)
                os.rename(COMPLETE, database, src_dir_fd=source, dst_dir_fd=filestore)
                for changed in (filestore, target):
                    os.fsync(changed)
            _remove(snapshots, str(int(wanted)))
            for name in os.listdir(target):
                if name.startswith(ASIDE):
                    _remove(target, name)

    def has_snapshot(self, environment: str, token: int) -> bool:
        """Tell whether there is a snapshot with its final name."""
        with _explained():
            try:
                with self._home(environment, "snapshots", str(int(token))) as target:
                    return _there(target, COMPLETE)
            except FileNotFoundError:
                return False

    def snapshots(self, environment: str) -> tuple[FileSnapshot, ...]:
        """Return all that lies in snapshots/ by its number, with when something was last put there or taken out."""
        with _explained():
            try:
                with self._home(environment, "snapshots") as snapshots, os.scandir(snapshots) as entries:
                    return tuple(sorted(_dated(entry) for entry in entries if NUMBER.fullmatch(entry.name)))
            except FileNotFoundError:
                return ()

    def lost_files(self, environment: str, database: str, token: int, wanted: Collection[str]) -> tuple[str, ...]:
        """Return which of these the snapshot lacks though filestore/<database> has them, in order."""
        require(DATABASE, database, "database name")
        with _explained(), ExitStack() as stack:
            try:
                kept = stack.enter_context(self._home(environment, "snapshots", str(int(token)), COMPLETE))
                live = stack.enter_context(self._home(environment, "filestore", database))
            except FileNotFoundError:  # that there is none at all is told by `has_snapshot` and `exists`
                return ()
            lost: list[str] = []
            for folder in sorted({name.partition("/")[0] for name in wanted}):
                named = {name.partition("/")[2] for name in wanted if name.startswith(f"{folder}/")}
                lost += (f"{folder}/{name}" for name in sorted((named - _below(kept, folder)) & _below(live, folder)))
            return tuple(lost)

    def drop_snapshot(self, environment: str, token: int) -> None:
        """Remove a snapshot; none there is success."""
        with _explained(), suppress(FileNotFoundError), self._home(environment, "snapshots") as snapshots:
            _remove(snapshots, str(int(token)))

    def bring(self, source: str, number: int, environment: str, token: int, wanted: Collection[str]) -> FilesFacts:
        """Copy the wanted files of another environment's snapshot; see the port."""
        size = count = 0
        with _explained(), ExitStack() as stack:
            snapshots = stack.enter_context(self._home(environment, "snapshots"))
            target = stack.enter_context(_made(snapshots, str(int(token)), 0o700))
            _remove(target, PART)
            owner = _owner(stack.enter_context(self._home(environment, "filestore")))
            part = stack.enter_context(_made(target, PART, 0o750, owner))
            try:
                given = stack.enter_context(self._home(source, "snapshots", str(int(number)), COMPLETE))
            except FileNotFoundError:
                raise Permanent(
                    f"The files of {source}'s restore set {number} are gone: copy from another one.", code="source_gone"
                ) from None
            folders = sorted({name.partition("/")[0] for name in wanted})
            for folder in folders:
                files = sorted(name.partition("/")[2] for name in wanted if name.startswith(f"{folder}/"))
                with (
                    suppress(FileNotFoundError),
                    _directory(given, folder) as from_,
                    _made(part, folder, 0o755, owner) as to,
                ):
                    for file in files:
                        with suppress(FileNotFoundError):  # production itself lacks it
                            size, count = size + _copy_file(from_, to, file, owner), count + 1
            if not _there(target, COMPLETE):
                os.rename(PART, COMPLETE, src_dir_fd=target, dst_dir_fd=target)
            os.fsync(target)
        return FilesFacts(count, size)

    def free_bytes(self, environment: str) -> int:
        """Tell how much the environment's disk still takes."""
        with _explained():
            try:
                with self._home(environment) as home:
                    disk = os.fstatvfs(home)
            except FileNotFoundError:  # not prepared yet
                disk = os.statvfs(self._root)
            return disk.f_bavail * disk.f_frsize

    def total_bytes(self) -> int:
        """Tell the size of the disk under the data root."""
        with _explained():
            disk = os.statvfs(self._root)
            return disk.f_blocks * disk.f_frsize

    @contextmanager
    def _home(self, environment: str, *below: str) -> Iterator[int]:
        with ExitStack() as stack:
            descriptor = _opened(stack, self._root)
            for name in (*_parts(environment), *below):
                descriptor = stack.enter_context(_directory(descriptor, name))
            yield descriptor


def _below(parent: int, folder: str) -> set[str]:
    try:
        with _directory(parent, folder) as below:
            return set(os.listdir(below))
    except FileNotFoundError:
        return set()


def _dated(entry: os.DirEntry[str]) -> FileSnapshot:
    changed = entry.stat(follow_symlinks=False).st_mtime
    return FileSnapshot(int(entry.name), datetime.fromtimestamp(changed, UTC))


def _parts(environment: str) -> tuple[str, str]:
    project, _, code = environment.partition("/")
    return require(PROJECT, project, "project"), require(CODE, code, "environment")


def _opened(stack: ExitStack, path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    stack.callback(os.close, descriptor)
    return descriptor


@contextmanager
def _directory(parent: int, name: str) -> Iterator[int]:
    descriptor = os.open(name, OPEN_DIRECTORY, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _made(parent: int, name: str, mode: int, owner: tuple[int, int] | None = None) -> Iterator[int]:
    with suppress(FileExistsError):
        os.mkdir(name, mode, dir_fd=parent)
    with _directory(parent, name) as descriptor:
        _settle(descriptor, mode, owner or (os.geteuid(), os.getegid()))
        yield descriptor


def _settle(descriptor: int, mode: int, owner: tuple[int, int]) -> None:
    found = os.fstat(descriptor)
    if (found.st_uid, found.st_gid) != owner:
        os.fchown(descriptor, *owner)
    if stat.S_IMODE(found.st_mode) != mode:
        os.fchmod(descriptor, mode)


def _owner(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_uid, found.st_gid


def _there(parent: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _remove(parent: int, name: str) -> None:
    try:
        kind = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(kind):
        shutil.rmtree(name, dir_fd=parent)
    else:
        os.unlink(name, dir_fd=parent)  # a symlink in a directory's place goes, not what it points to


def _set_aside(filestore: int, database: str, target: int) -> None:
    # Numbered: a container that was started between the two renames of an earlier try may have made it anew.
    free = next(name for name in (f"{ASIDE}.{number}" for number in range(1000)) if not _there(target, name))
    os.rename(database, free, src_dir_fd=filestore, dst_dir_fd=target)


def _copy_file(source: int, target: int, name: str, owner: tuple[int, int]) -> int:
    """Copy one file; where the file system can, both share their blocks until one is written to."""
    with (
        os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=source), "rb") as given,
        os.fdopen(os.open(name, NEW_FILE, 0o644, dir_fd=target), "wb") as made,
    ):
        try:
            fcntl.ioctl(made.fileno(), SHARE_BLOCKS, given.fileno())
        except OSError:
            shutil.copyfileobj(given, made, 1 << 20)
        made.flush()
        os.fchown(made.fileno(), *owner)
        return os.fstat(made.fileno()).st_size


def _give_up(filestore: int, database: str, target: int) -> None:
    """Make the present filestore a snapshot; where nothing was ever stored, an empty one."""
    if _there(filestore, database):
        with _directory(filestore, database):  # and no symlink that a container put in its place
            os.rename(database, COMPLETE, src_dir_fd=filestore, dst_dir_fd=target)
    else:
        with _made(target, COMPLETE, 0o750, _owner(filestore)):
            os.fsync(target)


def _link(parent: int, name: str, target: int) -> None:
    """Fill `target` with hard links to all files below `name`. Raises Refused for anything but files and folders."""
    with _directory(parent, name) as source:
        found = os.fstat(source)
        _settle(target, stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid))
        with os.scandir(source) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    os.link(entry.name, entry.name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
                elif entry.is_dir(follow_symlinks=False):
                    os.mkdir(entry.name, 0o700, dir_fd=target)
                    with _directory(target, entry.name) as below:
                        _link(source, entry.name, below)
                else:
                    raise Refused(f"The filestore holds {entry.name!r}, which is no file or folder; remove it.")


@contextmanager
def _explained() -> Iterator[None]:
    """Turn the system's errors into the agent's."""
    try:
        yield
    except AgentError:
        raise
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise Refused(
                f"{error.filename!r} is a symlink or file where the agent's directory should be; remove it."
            ) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Permanent("The droplet's disk is full; free some of it.", code="disk_full") from error
        if error.errno == errno.EXDEV:
            raise Permanent("filestore and snapshots are on different mounts; put the data root on one.") from error
        raise Permanent(
            f"The agent can't work on the environment's files ({error}); run `odooops-agent doctor`."
        ) from error
