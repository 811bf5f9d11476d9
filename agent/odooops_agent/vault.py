"""Off-host backups: restic as a child process that dies with the agent.

A repository's password reaches restic through an anonymous file in memory and its storage's login through the child's
environment: neither is ever an argument, a file on disk or a line of a log.
"""

from __future__ import annotations

import hashlib
import json
import os
import selectors
import signal
import socket
import subprocess
import threading
import time
from base64 import b64decode
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from urllib.parse import urlsplit

from nacl.exceptions import CryptoError
from nacl.public import PublicKey

from .commands import restic as build
from .commands.restic import Progress, Run, Trouble
from .errors import AgentError, Cancelled, Permanent, Refused, Retryable
from .facts import Retained, Saved
from .ports import Cancelled as IsCancelled
from .ports import OnLine
from .protocol import BadMessage, Repository, RepositoryAccess, Retention, decode
from .sealing import seal
from .secrets import Redactor, Secret, write_private

COMMAND_SECONDS = 6 * 3600.0
SHORT_SECONDS = 300.0
PROBE_SECONDS = 5.0
ASK_SECONDS = 0.2
END_SECONDS = 10.0
TAIL_LINES = 30
INTERRUPTED = 130  # its exit code after SIGINT
KEPT_BYTES_MAX = 64 << 20
TELL_SECONDS = 2.0
HOSTS_FILE = "restic-hosts"
RUNS_FILE = "restic-runs"


@dataclass(frozen=True, slots=True)
class _Opened:
    """A repository and what opens it."""

    url: str
    password: Secret
    login: Mapping[str, str]


class _Troubled(Exception):
    """restic ended with an error."""

    def __init__(self, trouble: Trouble, lines: Sequence[str]) -> None:
        super().__init__(trouble)
        self.trouble, self.lines = trouble, tuple(lines)


class ResticVault:
    """The vault port on restic."""

    def __init__(
        self,
        state_dir: Path,
        backup_root: Path,
        unseal: Callable[[str], Secret],
        redactor: Redactor,
        program: str = "restic",
    ) -> None:
        self._state = state_dir
        self._root = str(backup_root)
        self._unseal = unseal
        self._redactor = redactor
        self._program = program
        self._runs = _Runs(state_dir / RUNS_FILE)
        # Of the commands that lock a repository one at a time: pruning locks it against everybody.
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    # -- the port

    def ensure(self, repository: Repository, *, make: bool) -> str:
        """Have the repository; make one only where none was ever known. Returns its identity."""
        opened = self._open(repository)
        try:
            found = build.identity(self._ask(opened, build.config()))
        except _Troubled as error:
            if error.trouble != "absent":
                raise _explained(error, repository.url) from error
            if repository.identity or not make:
                raise Permanent(
                    f"The repository at {repository.url} is gone: mount its disk or correct the address, and make no "
                    "new one in its place.",
                    code="repository_unreachable",
                ) from error
            self._make(opened, repository.url)
            found = build.identity(self._told(opened, build.config(), repository.url))
        if repository.identity and repository.identity != found:
            raise Permanent(
                f"At {repository.url} is another repository ({found[:8]}… instead of {repository.identity[:8]}…): "
                "mount the right disk or correct the address.",
                code="repository_unreachable",
            )
        return found

    def ensure_recovery(self, repository: Repository, on_line: OnLine, cancelled: IsCancelled) -> str | None:
        """Have a second password that only the offline recovery key opens; returns it, sealed."""
        if repository.recovery_public_key is None:
            return None
        key = _recovery_key(repository.recovery_public_key)
        mark = hashlib.sha256(bytes(key)).hexdigest()[:16]
        opened = self._open(repository)
        known = build.recovery_keys(self._told(opened, build.list_keys(), repository.url))
        mine = [each.sealed for each in known if each.mark == mark]
        waiting: dict[str, Any] = {"on_line": on_line, "cancelled": cancelled}
        sealed = mine[0] if mine else self._add_recovery(opened, repository.url, key, mark, **waiting)
        # Of a recovery key that was replaced, perhaps because somebody has seen it. Asked for each time: removing needs
        # the repository for itself, so it may have failed after the new one was added.
        for each in known:
            if each.mark != mark:
                self._told(opened, build.remove_key(each.id), repository.url, **waiting)
        return sealed

    def save(
        self,
        repository: Repository,
        folder: Path,
        paths: Sequence[str],
        host: str,
        tags: Sequence[str],
        at: datetime,
        on_line: OnLine,
        cancelled: IsCancelled,
    ) -> Saved:
        """Back up what is in a folder, and tell how far it is."""
        opened, found = self._open(repository), list[Saved]()
        take = _Teller(on_line, found.append)
        command = build.backup(host, tags, paths, at)
        self._told(opened, command, repository.url, folder=folder, on_line=take, cancelled=cancelled)
        if not found:
            raise Permanent("restic ended without a word about the backup: see its log above.", code="backup_failed")
        listed = self._told(opened, build.snapshots(host), repository.url)
        return Saved(build.full_id(listed, found[0].snapshot), found[0].files, found[0].added_bytes)

    def check(self, repository: Repository, on_line: OnLine, cancelled: IsCancelled, *, all_data: bool = False) -> None:
        """Have restic prove that the repository is whole. Raises Permanent("repository_damaged")."""
        command = build.check_all() if all_data else build.check()
        opened = self._open(repository)
        try:
            self._unlocked(opened, command, on_line=on_line, cancelled=cancelled)
        except _Troubled as error:
            if error.trouble == "other" and error.lines:  # whatever `check` objects to is damage
                error = _Troubled("damaged", error.lines)
            raise _explained(error, repository.url) from error

    def forget(
        self,
        repository: Repository,
        host: str,
        tag: str,
        retention: Retention,
        on_line: OnLine,
        cancelled: IsCancelled,
    ) -> Retained:
        """Remove one environment's backups that the policy no longer keeps; returns their ids and the others'.

        Once forgotten they are gone, so nothing that fails later keeps their ids from being told.
        """
        opened, command = self._open(repository), build.forget(host, tag, retention)
        told = self._told(opened, command, repository.url, on_line=_prose(on_line), cancelled=cancelled)
        done = build.retained(told)
        if done.forgotten:
            try:
                self._told(opened, build.prune(), repository.url, on_line=on_line, cancelled=cancelled)
            except AgentError as error:
                on_line(
                    f"{error.message} The room of {len(done.forgotten)} old backups is freed with the next that goes."
                )
        return done

    def size(self, repository: Repository, snapshot: str) -> int:
        """Tell how many bytes a backup's files come to once they are restored."""
        return build.total_size(self._told(self._open(repository), build.size(snapshot), repository.url))

    def restore(
        self, repository: Repository, snapshot: str, target: Path, on_line: OnLine, cancelled: IsCancelled
    ) -> None:
        """Write a backup's files below a folder.

        Nobody waits for this reader: what is missing may have been packed anew meanwhile, so it looks once more.
        """
        command, opened = build.restore(snapshot, str(target)), self._open(repository)
        try:
            self._unlocked(opened, command, on_line=on_line, cancelled=cancelled)
        except _Troubled as error:
            if error.trouble != "damaged":
                raise _explained(error, repository.url) from error
            on_line("Some data were not where they should be, as when old backups are being removed: reading again.")
            self._told(opened, command, repository.url, on_line=on_line, cancelled=cancelled)

    def version(self) -> str:
        """Return restic's version."""
        try:
            done = subprocess.run([self._program, "version"], capture_output=True, text=True, timeout=20, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            raise Permanent(_missing(error), code="no_restic") from error
        return done.stdout.split()[1]

    # -- opening

    def _open(self, repository: Repository) -> _Opened:
        url = build.require_url(repository.url, self._root)
        try:
            access = decode(self._unseal(repository.sealed).reveal(), RepositoryAccess)
        except (CryptoError, BadMessage, ValueError) as error:
            raise Refused(
                "What opens the repository is not sealed for this agent, which may have been enrolled anew: enter the "
                "repository's password again in the console.",
                code="repository_wrong_password",
            ) from error
        password = Secret(access.password)
        secret = (access.environment.get(name) for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"))
        for each in (access.password, *filter(None, secret)):
            self._redactor.learn(Secret(each))
        if url.startswith("s3:"):
            _probe(url)
        return _Opened(url, password, build.require_login(access.environment))

    def _make(self, opened: _Opened, url: str) -> None:
        if not url.startswith("s3:") and not Path(self._root).is_dir():
            raise Permanent(
                f"There is no folder {self._root} for backups here: make it, or set ODOOOPS_BACKUP_DIR.",
                code="repository_unreachable",
            )
        self._told(opened, build.init(), url)

    def _add_recovery(self, opened: _Opened, url: str, key: PublicKey, mark: str, **waiting: Any) -> str:
        password = Secret(token_urlsafe(32))
        self._redactor.learn(password)
        sealed = seal(password, key)
        with _in_memory(password) as path:
            command = build.add_key(path, f"{build.RECOVERY_PREFIX}{mark}:{sealed}")
            self._told(opened, command, url, files=(path,), **waiting)
        return sealed

    # -- running

    def _ask(self, opened: _Opened, command: Sequence[str]) -> str:
        return self._run(opened, command, seconds=SHORT_SECONDS)

    def _told(
        self,
        opened: _Opened,
        command: Sequence[str],
        url: str,
        *,
        folder: Path | None = None,
        on_line: OnLine = lambda line: None,
        cancelled: IsCancelled = lambda: False,
        files: Sequence[str] = (),
    ) -> str:
        """Run a command and tell what is wrong in the agent's own words."""
        try:
            return self._unlocked(opened, command, folder=folder, on_line=on_line, cancelled=cancelled, files=files)
        except _Troubled as error:
            raise _explained(error, url) from error

    def _unlocked(self, opened: _Opened, command: Sequence[str], **options: Any) -> str:
        """Run a command; once more when only a dead process of this agent's had the repository locked."""
        try:
            return self._run(opened, command, **options)
        except _Troubled as error:
            if error.trouble != "locked" or not self._removed_own_lock(opened):
                raise
        return self._run(opened, command, **options)

    @contextmanager
    def _turn(self, url: str, command: Sequence[str], on_line: OnLine, cancelled: IsCancelled) -> Iterator[None]:
        """Wait until no other command of this agent has the repository locked. Raises Cancelled."""
        if not build.takes_turns(command):
            yield
            return
        lock = self._locks[url]
        if not lock.acquire(blocking=False):
            on_line(f"Another backup of this droplet works on {url}: restic {command[0]} waits until it is done.")
            while not lock.acquire(timeout=ASK_SECONDS):
                if cancelled():
                    raise Cancelled("The operation was called off while it waited for the repository.")
        try:
            yield
        finally:
            lock.release()

    def _removed_own_lock(self, opened: _Opened) -> bool:
        """Remove locks if all of them are this agent's and no living process is behind any."""
        try:
            numbers = self._ask(opened, build.list_locks()).split()
            locks = [build.lock(self._ask(opened, build.read_lock(number))) for number in numbers]
            now, hosts, here = datetime.now(UTC), self._hosts(), socket.gethostname()
            runs = self._runs.all()
            if not all(build.is_dead(one, here, hosts, runs, _is_alive, now) for one in locks):
                return False
            self._ask(opened, build.unlock())
        except _Troubled:
            return False
        return True

    def _hosts(self) -> set[str]:
        """Return the host names this agent has had: a container gets another one each time it is made."""
        path = self._state / HOSTS_FILE
        known = set(path.read_text("utf-8").split()) if path.exists() else set()
        if socket.gethostname() not in known:
            known |= {socket.gethostname()}
            write_private(path, "\n".join(sorted(known)))
        return known

    def _run(
        self,
        opened: _Opened,
        command: Sequence[str],
        *,
        folder: Path | None = None,
        on_line: OnLine = lambda line: None,
        cancelled: IsCancelled = lambda: False,
        files: Sequence[str] = (),
        seconds: float = COMMAND_SECONDS,
    ) -> str:
        self._hosts()
        with self._turn(opened.url, command, on_line, cancelled), _in_memory(opened.password) as password:
            cache, scratch = str(self._state / "restic"), self._state / "restic-scratch"
            scratch.mkdir(mode=0o700, exist_ok=True)
            argv = ["setpriv", "--pdeathsig", "INT", self._program, "--cache-dir", cache, *command]
            keep = tuple(int(path.rpartition("/")[2]) for path in (password, *files))
            try:
                process = subprocess.Popen(
                    argv,
                    cwd=folder or "/",
                    env={**_environment(opened, password), "HOME": str(self._state), "TMPDIR": str(scratch)},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    pass_fds=keep,
                )
            except OSError as error:
                raise Permanent(_missing(error), code="no_restic") from error
            with process, self._runs.noted(process):
                try:
                    return _follow(process, opened.url, on_line, cancelled, seconds)
                finally:
                    _end(process)


class _Runs:
    """Which processes this agent started: one that is noted and no more alive left its lock behind.

    A host's name does not tell: droplets that were made of one image share it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    @contextmanager
    def noted(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """Note a process until it has ended by itself; one that was stopped or killed may have left its lock."""
        run = Run(process.pid, datetime.now(UTC))
        self._change(lambda runs: [*(one for one in runs if one.pid != run.pid), run])
        try:
            yield
        except _Troubled:
            self._change(lambda runs: [one for one in runs if one != run])
            raise
        self._change(lambda runs: [one for one in runs if one != run])

    def all(self) -> tuple[Run, ...]:
        """Return those that run or were killed."""
        with self._lock:
            return tuple(self._read())

    def _read(self) -> list[Run]:
        with suppress(FileNotFoundError, ValueError):
            return [Run(int(pid), datetime.fromisoformat(at)) for pid, at in json.loads(self._path.read_text("utf-8"))]
        return []

    def _change(self, change: Callable[[list[Run]], list[Run]]) -> None:
        with self._lock:
            fresh = datetime.now(UTC) - build.RUN_LONGEST - build.LOCK_STALE
            runs = [one for one in change(self._read()) if one.at >= fresh]
            write_private(self._path, json.dumps([(one.pid, one.at.isoformat()) for one in runs]))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a restic that still runs: asked politely it takes its lock along."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _environment(opened: _Opened, password: str) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "TZ": "UTC",
        "GOGC": "25",  # a small droplet rather waits than swaps
        "RESTIC_PROGRESS_FPS": "1",
        "RESTIC_REPOSITORY": opened.url,
        "RESTIC_PASSWORD_FILE": password,
        **opened.login,
    }


@contextmanager
def _in_memory(secret: Secret) -> Iterator[str]:
    """Yield the path of a file that no disk holds and only a child process can open."""
    descriptor = os.memfd_create("odooops")
    try:
        os.write(descriptor, secret.reveal().encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _follow(process: subprocess.Popen[bytes], url: str, on_line: OnLine, cancelled: IsCancelled, seconds: float) -> str:
    """Read both outputs to the end; return the standard one. Raises Cancelled, _Troubled, or Permanent."""
    assert process.stdout
    assert process.stderr
    out, errors = _Reading(on_line), _Reading(on_line)
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, out)
        selector.register(process.stderr, selectors.EVENT_READ, errors)
        while selector.get_map():
            if cancelled():
                raise Cancelled("The operation was called off while restic ran; it has been stopped.")
            if time.monotonic() >= deadline:
                raise Permanent(f"restic did not end within {seconds:.0f} s.", code="timed_out")
            for key, _ in selector.select(ASK_SECONDS):
                chunk = os.read(key.fd, 1 << 16)
                reading: _Reading = key.data
                reading.feed(chunk)
                if not chunk:
                    selector.unregister(key.fileobj)
    ended = process.wait()
    if ended == 0:
        return out.text()
    lines = (*errors.lines(), *out.lines())
    if ended < 0 or ended == INTERRUPTED:
        raise Permanent(
            f"restic was killed ({f'signal {-ended}' if ended < 0 else 'interrupted'}), which says nothing about the "
            "repository: give the agent more memory if the kernel did it, and try again.",
            code="backup_failed",
            log_tail=lines[-TAIL_LINES:],
        )
    raise _Troubled(build.trouble("\n".join(lines), url), lines[-TAIL_LINES:])


class _Reading:
    """One of a process's outputs."""

    def __init__(self, on_line: OnLine) -> None:
        self._on_line = on_line
        self._kept = bytearray()
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        if len(self._kept) < KEPT_BYTES_MAX:
            self._kept += chunk
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        for line in whole:
            self._on_line(line.decode("utf-8", "replace"))

    def text(self) -> str:
        return self._kept.decode("utf-8", "replace")

    def lines(self) -> list[str]:
        return [line for line in self.text().splitlines() if build.read_line(line) is None and line.strip()]


def _prose(on_line: OnLine) -> OnLine:
    """Return what passes on all but restic's lists, which are for programs."""
    return lambda line: None if line.startswith("[") else on_line(line)


class _Teller:
    """Tells a backup's progress every now and then, and catches its summary."""

    def __init__(self, on_line: OnLine, on_saved: Callable[[Saved], None]) -> None:
        self._on_line, self._on_saved = on_line, on_saved
        self._told = 0.0

    def __call__(self, text: str) -> None:
        message = build.read_line(text)
        if message is None:
            if text.strip():
                self._on_line(text)
            return
        if saved := build.saved(message):
            self._on_saved(saved)
        self._tell(build.progress(message))

    def _tell(self, progress: Progress | None) -> None:
        if progress and progress.bytes_total and time.monotonic() - self._told >= TELL_SECONDS:
            self._told = time.monotonic()
            self._on_line(str(progress))


def _probe(url: str) -> None:
    """See that the storage answers: restic itself would try for a quarter of an hour."""
    parts = urlsplit(url.removeprefix("s3:"))
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((str(parts.hostname), port), PROBE_SECONDS).close()
    except OSError as error:
        raise Retryable(
            f"The storage at {parts.hostname}:{port} does not answer ({error}): see that it is up.",
            code="repository_unreachable",
        ) from error


def _recovery_key(text: str) -> PublicKey:
    try:
        return PublicKey(b64decode(text, validate=True))
    except (ValueError, CryptoError, TypeError) as error:
        raise Refused("The recovery key is none: make a new one in the console.", code="bad_recovery_key") from error


def _missing(error: BaseException) -> str:
    return f"restic can't be run ({error}): install Debian's package restic (apt-get install restic)."


def _explained(error: _Troubled, url: str) -> AgentError:
    """Return the agent's error: the state of the repository and what to do about it."""
    said = next((line for line in error.lines if "Fatal" in line), error.lines[-1] if error.lines else "no word")
    if error.trouble == "locked":
        return Retryable(
            f"The repository at {url} is locked by another process ({said}): wait until it ends, or run "
            "`restic unlock` once you know that none does.",
            code="repository_locked",
            log_tail=error.lines,
        )
    if error.trouble == "unreachable":
        return Retryable(
            f"The repository at {url} can't be reached ({said}): see its address, its login and its disk.",
            code="repository_unreachable",
            log_tail=error.lines,
        )
    code, sentence = _PERMANENT[error.trouble]
    return Permanent(sentence.format(url=url, said=said), code=code, log_tail=error.lines)


_PERMANENT: Mapping[Trouble, tuple[str, str]] = {
    "wrong_password": (
        "repository_wrong_password",
        "The password does not open the repository at {url}: enter the right one in the console.",
    ),
    "damaged": (
        "repository_damaged",
        "The repository at {url} is damaged ({said}): trust none of its backups until `restic check` is content, "
        "and back up to another one meanwhile.",
    ),
    "absent": ("repository_unreachable", "There is no repository at {url} ({said}): see its address."),
    "disk_full": ("disk_full", "No room is left for the backup ({said}): free some, or shorten the retention."),
    "program": (
        "backup_failed",
        "restic itself failed ({said}), which says nothing about the repository: give the agent more memory, or see "
        "that its restic is 0.14 or later.",
    ),
    "other": ("backup_failed", "restic failed: {said}"),
}
