"""What restic is asked, as argv lists without any secret, and what its answers mean. Pure.

For restic 0.14, which Debian 12 ships, and later: newer ones give some failures an exit code of their own, all of them
the same words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from ..errors import Refused
from ..facts import Retained, Saved
from ..protocol import Retention

SNAPSHOT = re.compile(r"[0-9a-f]{64}")
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[A-Za-z0-9._-]+)*")
FOLDERS = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)+")
# What a storage's login may be made of: anything else would configure restic itself, or the loader of its process.
LOGIN = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION"})
RECOVERY_PREFIX = "odooops-recovery:"
# Every backup has a random share of the data read and compared with its checksums, all of it in about a month.
CHECKED_SHARE = "3%"
KEPT_WITHIN = "2d"
# A living restic renews its lock every 5 minutes, and counts one as stale after 30.
LOCK_STALE = timedelta(minutes=30)
RUN_LONGEST = timedelta(hours=6)
# What the clock may be set back between starting a process and its lock.
CLOCK_STEP = timedelta(seconds=5)

Trouble = Literal["absent", "locked", "wrong_password", "unreachable", "damaged", "disk_full", "program", "other"]

# The first that fits wins: a full disk is told in the words of a failed write.
_TROUBLES: tuple[tuple[Trouble, str], ...] = (
    ("disk_full", r"no space left on device|disk quota exceeded|QuotaExceeded"),
    ("program", r"(?:fatal error: .*out of memory|cannot allocate memory|^unknown (?:flag|shorthand|command))"),
    ("wrong_password", r"wrong password or no key found"),
    (
        "unreachable",
        r"connection refused|no such host|network is unreachable|dial tcp|i/o timeout|timed out|Access ?Denied"
        r"|Access ?Key ?Id|SignatureDoesNotMatch|request signature|NoSuchBucket|x509:",
    ),
    ("locked", r"already locked|unable to create lock in backend: repository is"),
    (
        "damaged",
        r"ciphertext verification failed|repository contains errors|invalid data returned|load <[a-z]+/[0-9a-f]+>"
        r"|hash does not match|does not match id|not found in repository|missing pack|unable to load (?:index|tree)"
        r"|pack [0-9a-f]{8,}.*(?:not exist|contains|invalid|error)|tree [0-9a-f]+.*(?:error|not found)"
        r"|config cannot be loaded|invalid character|(?:data|index|snapshot)s?/[0-9a-f]+.*no such file"
        r"|tag does not match|unexpected EOF|invalid header|Pack ID does not match|StreamPack: ",
    ),
    (
        "absent",
        r"unable to open config file: .*(?:no such file or directory|not exist|404|NoSuchKey)"
        r"|repository does not exist",
    ),
    (
        "unreachable",
        r"unable to open config file|permission denied|input/output error|read-only file system"
        r"|unable to create lock in backend"
        r"|stat [^\n]*: (?:no such file|not a directory)",
    ),
)


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock in a repository, as restic tells it."""

    host: str
    pid: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Run:
    """A restic process of the agent's."""

    pid: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Progress:
    share: float
    bytes_done: int
    bytes_total: int

    def __str__(self) -> str:
        return f"{self.share:.0%} of {self.bytes_total / (1 << 20):.0f} MB"


# -- what may be asked at all


def require_url(url: str, backup_root: str) -> str:
    """Return the address of a repository on disk or S3.

    :param backup_root: the only folder in which repositories on disk may be.
    :raises Refused: it is another kind; some of restic's (rclone, sftp) start programs of the address's choice.
    """
    if url.startswith("s3:"):
        parts = urlsplit(url.removeprefix("s3:"))
        plain = not (parts.username or parts.password or parts.query or parts.fragment)
        if parts.scheme in ("https", "http") and parts.hostname and plain and BUCKET.fullmatch(parts.path.strip("/")):
            return url
    elif url.startswith(f"{backup_root}/") and FOLDERS.fullmatch(url.removeprefix(backup_root)):
        return url
    raise Refused(
        f"{url!r} is no repository that this agent writes to: give a folder below {backup_root}, or "
        "s3:https://<host>/<bucket>.",
        code="bad_repository",
    )


def require_login(given: Mapping[str, str]) -> dict[str, str]:
    """Return what a storage's login is made of. Raises Refused for any other variable."""
    foreign = sorted(set(given) - LOGIN)
    if foreign:
        raise Refused(f"{', '.join(foreign)}: a repository's login has {', '.join(sorted(LOGIN))} only.")
    return dict(given)


def require_snapshot(value: str | None) -> str:
    """Return a snapshot's full id. Raises Refused."""
    if value is None or not SNAPSHOT.fullmatch(value):
        raise Refused(f"{value!r} is no snapshot of a repository: choose the backup again.", code="bad_name")
    return value


# -- argv


def init() -> tuple[str, ...]:
    return ("init",)


def config() -> tuple[str, ...]:
    return ("cat", "config", "--no-lock")


def backup(host: str, tags: Iterable[str], paths: Iterable[str], at: datetime) -> tuple[str, ...]:
    """Save paths relative to the working folder.

    Files are linked anew for every backup, which changes nothing of them but their ctime.
    """
    marks = tuple(word for tag in tags for word in ("--tag", tag))
    when = at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return ("backup", "--json", "--ignore-ctime", "--host", host, "--time", when, *marks, "--", *paths)


def snapshots(host: str) -> tuple[str, ...]:
    return ("snapshots", "--json", "--no-lock", "--host", host)


def forget(host: str, tag: str, retention: Retention) -> tuple[str, ...]:
    """Keep what the policy says of one environment's backups, and all of the last two days and the newest in any case.

    Or the backup before a deployment would go with the next one of the same day.

    :param tag: the environment's own: one that was made anew under its name has another, and leaves the former's alone.
    """
    if min(retention.daily, retention.weekly, retention.monthly) < 0 or not any(
        (retention.daily, retention.weekly, retention.monthly)
    ):
        raise Refused("The retention keeps no backup at all: keep one daily at least.", code="bad_retention")
    kept = (("daily", retention.daily), ("weekly", retention.weekly), ("monthly", retention.monthly))
    words = tuple(word for name, count in kept if count for word in (f"--keep-{name}", str(count)))
    return (
        "forget",
        "--json",
        "--host",
        host,
        "--tag",
        tag,
        "--group-by",
        "host",
        "--keep-last",
        "1",
        "--keep-within",
        KEPT_WITHIN,
        *words,
    )


def prune() -> tuple[str, ...]:
    return ("prune",)


def check() -> tuple[str, ...]:
    return ("check", f"--read-data-subset={CHECKED_SHARE}")


def check_all() -> tuple[str, ...]:
    return ("check", "--read-data")


def restore(snapshot: str, target: str) -> tuple[str, ...]:
    return ("restore", require_snapshot(snapshot), "--target", target, "--no-lock")


def size(snapshot: str) -> tuple[str, ...]:
    """Ask how much room a snapshot's files take once they are restored."""
    return ("stats", "--json", "--mode", "restore-size", "--no-lock", require_snapshot(snapshot))


def list_locks() -> tuple[str, ...]:
    return ("list", "locks", "--no-lock")


def read_lock(lock: str) -> tuple[str, ...]:
    return ("cat", "lock", lock, "--no-lock")


def unlock() -> tuple[str, ...]:
    """Remove what restic itself counts as stale: not renewed for 30 minutes, or of a process here that has ended."""
    return ("unlock",)


def add_key(password_file: str, sealed: str) -> tuple[str, ...]:
    """Add a second password; its sealed form stands in the key's own clear text, so that it travels along."""
    return ("key", "add", "--new-password-file", password_file, "--user", "odooops", "--host", sealed)


def remove_key(number: str) -> tuple[str, ...]:
    return ("key", "remove", number)


def list_keys() -> tuple[str, ...]:
    return ("key", "list", "--json", "--no-lock")


def takes_turns(command: Sequence[str]) -> bool:
    """Tell whether a command locks the repository, so that of one agent's only one at a time may run.

    The others read: a restore stands behind nobody's night work.
    """
    return "--no-lock" not in command


# -- answers


def trouble(text: str, url: str) -> Trouble:
    """Return what a failure's words mean; the repository's own address may have any words in it."""
    text = text.replace(url, "repository")
    return next((kind for kind, words in _TROUBLES if re.search(words, text, re.I | re.M)), "other")


def read_line(text: str) -> Mapping[str, Any] | None:
    """Return a line of `--json` output; None for anything else."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def progress(message: Mapping[str, Any]) -> Progress | None:
    if message.get("message_type") != "status":
        return None
    return Progress(
        float(message.get("percent_done") or 0),
        int(message.get("bytes_done") or 0),
        int(message.get("total_bytes") or 0),
    )


def saved(message: Mapping[str, Any]) -> Saved | None:
    """Return the summary at a backup's end."""
    if message.get("message_type") != "summary" or not message.get("snapshot_id"):
        return None
    return Saved(
        str(message["snapshot_id"]), int(message["total_files_processed"]), int(message.get("data_added") or 0)
    )


def full_id(text: str, short: str) -> str:
    """Return the full id of a snapshot in `snapshots --json`, which older versions shorten in a summary."""
    found = [str(one["id"]) for one in json.loads(text) or () if str(one["id"]).startswith(short)]
    return require_snapshot(found[0] if len(found) == 1 else None)


def retained(text: str) -> Retained:
    """Return which snapshots `forget --json` has removed, and which it has kept."""
    groups = json.loads(text) or ()
    removed, kept = (
        tuple(str(one["id"]) for group in groups for one in group.get(name) or ()) for name in ("remove", "keep")
    )
    return Retained(removed, kept)


def total_size(text: str) -> int:
    return int(json.loads(text)["total_size"])


def identity(text: str) -> str:
    """Return a repository's own id out of its configuration."""
    return str(json.loads(text)["id"])


def lock(text: str) -> Lock:
    given = json.loads(text)
    at = re.sub(r"(\.\d{6})\d+", r"\1", str(given["time"]))  # Go writes nanoseconds
    return Lock(str(given.get("hostname")), int(given.get("pid") or 0), datetime.fromisoformat(at))


def is_dead(
    one: Lock, here: str, hosts: Iterable[str], runs: Iterable[Run], alive: Callable[[int], bool], now: datetime
) -> bool:
    """Tell whether a lock is provably this agent's and of a process that has ended, or of nobody for long.

    :param here: this host's name, which another droplet may have as well.
    :param hosts: the names the agent had, this one among them.
    :param runs: the processes that the agent started and never saw the end of.
    """
    if one.host not in set(hosts) or (one.host == here and alive(one.pid)):
        return False
    own = any(run.pid == one.pid and run.at - CLOCK_STEP <= one.at <= run.at + RUN_LONGEST for run in runs)
    return (one.host == here and own) or now - one.at >= LOCK_STALE


def recovery_keys_in(key_files: Iterable[str]) -> tuple[str, ...]:
    """Return the sealed passwords in a repository's key files (`keys/*`), which anybody may read."""
    marks = (str((read_line(text) or {}).get("hostname") or "") for text in key_files)
    found = (mark.removeprefix(RECOVERY_PREFIX) for mark in marks if mark.startswith(RECOVERY_PREFIX))
    return tuple(each.partition(":")[2] for each in found)


@dataclass(frozen=True, slots=True)
class RecoveryKey:
    """A key of a repository whose password is sealed for an offline recovery key."""

    id: str
    mark: str  # which recovery key
    sealed: str


def recovery_keys(text: str) -> tuple[RecoveryKey, ...]:
    """Return such keys out of `key list --json`."""
    given = ((str(key["id"]), str(key.get("hostName") or "")) for key in json.loads(text) or ())
    parts = ((number, host.removeprefix(RECOVERY_PREFIX)) for number, host in given if host.startswith(RECOVERY_PREFIX))
    return tuple(RecoveryKey(number, *rest.split(":", 1)) for number, rest in parts if ":" in rest)
