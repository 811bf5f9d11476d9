"""The vault on real restic and a repository on disk: what it keeps, and how it tells each trouble."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import odooops_agent
import pytest
from nacl.public import PrivateKey, SealedBox
from odooops_agent.commands import restic as build
from odooops_agent.errors import AgentError, Cancelled, Permanent, Refused, Retryable
from odooops_agent.protocol import Repository, Retention
from odooops_agent.sealing import SealingKey, seal
from odooops_agent.secrets import Redactor, Secret
from odooops_agent.vault import ResticVault

PASSWORD = "a password that no log may show"
HOST = "demo/prod"
TAG = "environment=e1"
QUIET: Any = (lambda line: None, lambda: False)


class Backups:
    """A vault, a repository's address, and a folder to back up."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "backups"
        self.root.mkdir()
        self.source = folder / "source"
        (self.source / "filestore").mkdir(parents=True)
        (self.source / "database.dump").write_bytes(b"PGDMP" + os.urandom(2 << 20))
        (self.source / "manifest.json").write_text("{}")
        self.state = folder / "state"
        self.state.mkdir()
        self.lines: list[str] = []
        self.redactor = Redactor()
        self.key = SealingKey(self.state / "sealing.key")
        self.vault = self.agent()

    def agent(self) -> ResticVault:
        return ResticVault(self.state, self.root, self.key.open, self.redactor)

    def repository(self, password: str = PASSWORD, url: str | None = None, **changes: Any) -> Repository:
        access = json.dumps({"password": password, "environment": changes.pop("environment", {})})
        sealed = seal(Secret(access), self.key._key.public_key)
        return Repository(id=1, url=url or f"{self.root}/demo", sealed=sealed, **changes)

    def save(self, at: datetime | None = None, tag: str = TAG, **changes: Any) -> str:
        moment = at or datetime.now(UTC)
        return self.vault.save(
            self.repository(**changes),
            self.source,
            ("database.dump", "filestore", "manifest.json"),
            HOST,
            (tag, "operation=1"),
            moment,
            self.lines.append,
            lambda: False,
        ).snapshot

    def restic(self, *argv: str) -> str:
        environment = {**os.environ, "RESTIC_PASSWORD": PASSWORD, "RESTIC_REPOSITORY": f"{self.root}/demo"}
        done = subprocess.run(["restic", *argv], env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    def check(self, *, all_data: bool = False) -> None:
        self.vault.check(self.repository(), self.lines.append, lambda: False, all_data=all_data)

    def forget(self, **retention: int) -> tuple[str, ...]:
        kept = Retention(**{"daily": 0, "weekly": 0, "monthly": 0, **retention})
        return self.vault.forget(self.repository(), HOST, TAG, kept, self.lines.append, lambda: False).forgotten

    def pack(self) -> Path:
        """Return the largest file of the repository's data."""
        return max((self.root / "demo/data").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)


@pytest.fixture
def backups(tmp_path: Path) -> Backups:
    return Backups(tmp_path)


@pytest.fixture
def kept(backups: Backups) -> Backups:
    """The same with one backup."""
    backups.vault.ensure(backups.repository(), make=True)
    backups.save()
    return backups


def code_of(act: Callable[[], Any], kind: type[AgentError]) -> str:
    with pytest.raises(kind) as caught:
        act()
    assert PASSWORD not in caught.value.message + "".join(caught.value.log_tail)
    return caught.value.code


def test_a_repository_is_made_once_and_known_again(backups: Backups) -> None:
    identity = backups.vault.ensure(backups.repository(), make=True)
    assert backups.agent().ensure(backups.repository(identity=identity), make=False) == identity


def test_nothing_is_made_where_something_is_to_be_read(backups: Backups) -> None:
    absent = backups.repository()
    assert code_of(lambda: backups.vault.ensure(absent, make=False), Permanent) == "repository_unreachable"
    assert not (backups.root / "demo").exists()


def test_what_was_saved_comes_back_byte_by_byte(kept: Backups, tmp_path: Path) -> None:
    snapshot = kept.save()
    kept.vault.restore(kept.repository(), snapshot, tmp_path / "out", kept.lines.append, lambda: False)
    written = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert kept.vault.size(kept.repository(), snapshot) == written
    found = (tmp_path / "out/database.dump").read_bytes()
    assert found == (kept.source / "database.dump").read_bytes()
    assert len(snapshot) == 64


def test_a_second_backup_stores_only_what_changed(kept: Backups) -> None:
    with (kept.source / "database.dump").open("r+b") as file:
        file.seek(1 << 20)
        file.write(os.urandom(1000))
    saved = kept.vault.save(
        kept.repository(),
        kept.source,
        ("database.dump",),
        HOST,
        (),
        datetime.now(UTC),
        kept.lines.append,
        lambda: False,
    )
    assert 0 < saved.added_bytes < (2 << 20) + 1000


def test_a_wrong_password_is_told_as_such(kept: Backups) -> None:
    assert code_of(lambda: kept.save(password="another"), Permanent) == "repository_wrong_password"


def test_secrets_of_another_agent_are_asked_for_again(kept: Backups, tmp_path: Path) -> None:
    kept.key = SealingKey(tmp_path / "another.key")
    sealed = kept.repository()
    assert code_of(lambda: kept.vault.ensure(sealed, make=True), Refused) == "repository_wrong_password"


def test_a_repository_that_is_gone_is_never_made_anew(kept: Backups) -> None:
    identity = kept.vault.ensure(kept.repository(), make=True)
    (kept.root / "demo").rename(kept.root / "unmounted")
    gone = kept.repository(identity=identity)
    assert code_of(lambda: kept.vault.ensure(gone, make=True), Permanent) == "repository_unreachable"
    assert not (kept.root / "demo").exists()


def test_another_repository_in_its_place_is_not_written_to(kept: Backups) -> None:
    other = kept.repository(identity="ab" * 32)
    assert code_of(lambda: kept.vault.ensure(other, make=True), Permanent) == "repository_unreachable"


def test_a_storage_that_does_not_answer_is_told_within_seconds(backups: Backups) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"s3:http://127.0.0.1:{unused.getsockname()[1]}/bucket"
    began = time.monotonic()
    login = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "very secret"}
    away = backups.repository(url=url, environment=login)
    assert code_of(lambda: backups.vault.ensure(away, make=True), Retryable) == "repository_unreachable"
    assert time.monotonic() - began < 10


def flip_a_byte(pack: Path) -> None:
    pack.chmod(0o600)
    data = bytearray(pack.read_bytes())
    data[1000] ^= 1
    pack.write_bytes(data)


def test_a_pack_that_was_cut_short_is_found(kept: Backups) -> None:
    pack = kept.pack()
    pack.chmod(0o600)
    pack.write_bytes(pack.read_bytes()[:-1000])
    assert code_of(kept.check, Permanent) == "repository_damaged"


def test_a_flipped_byte_is_found_where_all_data_is_read(kept: Backups) -> None:
    flip_a_byte(kept.pack())
    assert code_of(lambda: kept.check(all_data=True), Permanent) == "repository_damaged"


def test_a_damaged_repository_is_told_when_restoring(kept: Backups, tmp_path: Path) -> None:
    snapshot = kept.save()
    flip_a_byte(kept.pack())
    where = (kept.repository(), snapshot, tmp_path / "out", kept.lines.append, lambda: False)
    assert code_of(lambda: kept.vault.restore(*where), Permanent) == "repository_damaged"


@contextmanager
def a_lock(backups: Backups) -> Iterator[int]:
    """Have a restic at work on the repository, with this id; killed in the end, it leaves its lock behind."""
    program = subprocess.Popen(
        ["restic", "backup", "--stdin", "--host", "x"],
        env={**os.environ, "RESTIC_PASSWORD": PASSWORD, "RESTIC_REPOSITORY": f"{backups.root}/demo"},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    locks = backups.root / "demo/locks"
    deadline = time.monotonic() + 30
    while not list(locks.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    try:
        yield program.pid
    finally:
        program.kill()
        program.wait()
    assert list(locks.iterdir())


def leave_a_lock(backups: Backups, *, own: bool = True) -> None:
    """Have a restic killed, which the agent started or which is of another droplet of the same name."""
    began = datetime.now(UTC)
    with a_lock(backups) as pid:
        pass
    if own:
        (backups.state / "restic-runs").write_text(json.dumps([(pid, began.isoformat())]))


def test_a_lock_of_another_droplet_of_the_same_name_is_respected(kept: Backups) -> None:
    leave_a_lock(kept, own=False)
    assert code_of(kept.check, Retryable) == "repository_locked"


def test_a_lock_of_the_agent_s_own_dead_process_is_removed(kept: Backups) -> None:
    leave_a_lock(kept)
    kept.check()
    assert not list((kept.root / "demo/locks").iterdir())


def test_a_lock_of_a_living_process_is_respected(kept: Backups) -> None:
    began = datetime.now(UTC)
    with a_lock(kept) as pid:
        (kept.state / "restic-runs").write_text(json.dumps([(pid, began.isoformat())]))
        assert code_of(kept.check, Retryable) == "repository_locked"
    kept.check()


def test_a_lock_of_another_machine_is_respected_however_old(kept: Backups, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_a_lock(kept)
    monkeypatch.setattr(build, "LOCK_STALE", timedelta(0))
    monkeypatch.setattr("odooops_agent.vault.socket.gethostname", lambda: "this-machine")
    (kept.state / "restic-hosts").write_text("an-earlier-name")
    assert code_of(kept.check, Retryable) == "repository_locked"


def test_a_backup_that_is_called_off_stands_in_nobody_s_way(kept: Backups) -> None:
    (kept.source / "database.dump").write_bytes(b"PGDMP" + os.urandom(100 << 20))
    where = (kept.repository(), kept.source, ("database.dump",), HOST, (), datetime.now(UTC), kept.lines.append)
    began = time.monotonic()

    def called_off() -> bool:
        return bool(list((kept.root / "demo/locks").iterdir())) or time.monotonic() - began > 20

    with pytest.raises(Cancelled):
        kept.vault.save(*where, called_off)
    kept.check()


def test_a_disk_that_gets_full_in_the_middle_costs_no_earlier_backup(backups: Backups) -> None:
    """On a small file system of its own, so that the room really ends."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", backups.root], check=True)
    try:
        backups.vault.ensure(backups.repository(), make=True)
        snapshot = backups.save()
        (backups.source / "database.dump").write_bytes(b"PGDMP" + os.urandom(10 << 20))
        assert code_of(backups.save, Permanent) == "disk_full"
        out = backups.state / "out"
        backups.vault.restore(backups.repository(), snapshot, out, backups.lines.append, lambda: False)
        assert (out / "database.dump").stat().st_size == (2 << 20) + 5
    finally:
        subprocess.run(["umount", "--lazy", backups.root], check=True)


def test_retention_keeps_what_the_policy_says_and_other_environments(kept: Backups) -> None:
    now = datetime.now(UTC)
    for days in range(1, 11):
        kept.save(at=now - timedelta(days=days))
    kept.restic("backup", "--host", "other/prod", str(kept.source))
    gone = kept.forget(daily=7)
    left = json.loads(kept.restic("snapshots", "--json"))
    assert len([one for one in left if one["hostname"] == HOST]) == 7
    assert len([one for one in left if one["hostname"] == "other/prod"]) == 1
    assert len(gone) == 4


def test_retention_keeps_all_of_the_last_two_days(kept: Backups) -> None:
    """Two of one day stay: the one before a deployment may be the one that is needed."""
    now = datetime.now(UTC)
    early = kept.save(at=now - timedelta(hours=30))
    kept.save(at=now - timedelta(hours=29))
    old = kept.save(at=now - timedelta(days=9, minutes=1)), kept.save(at=now - timedelta(days=9))
    gone = kept.forget(daily=7)
    assert early not in gone
    assert old[0] in gone


def test_retention_leaves_the_backups_of_a_former_environment_of_the_name(kept: Backups) -> None:
    former = kept.save(at=datetime.now(UTC) - timedelta(days=9), tag="environment=former")
    own = [kept.save(at=datetime.now(UTC) - timedelta(days=days)) for days in (9, 8)]
    assert set(kept.forget(daily=1)) == set(own)
    left = [one["id"] for one in json.loads(kept.restic("snapshots", "--json"))]
    assert former in left


def test_retention_never_removes_the_last_backup(kept: Backups) -> None:
    assert kept.forget(daily=1) == ()
    assert code_of(kept.forget, Refused) == "bad_retention"


def test_the_recovery_key_opens_the_repository_when_the_agent_is_gone(kept: Backups, tmp_path: Path) -> None:
    offline = PrivateKey.generate()
    public = b64encode(bytes(offline.public_key)).decode()
    sealed = kept.vault.ensure_recovery(kept.repository(recovery_public_key=public), *QUIET)
    assert sealed == kept.vault.ensure_recovery(kept.repository(recovery_public_key=public), *QUIET), "made once"
    command = [sys.executable, "-m", "odooops_agent.cli", "recovery-password", f"{kept.root}/demo/keys"]
    private = b64encode(bytes(offline)).decode()
    alone = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(odooops_agent.__file__).parents[1])}
    told = subprocess.run(command, input=private, env=alone, capture_output=True, text=True, check=True)
    password = told.stdout.strip()
    assert password == SealedBox(offline).decrypt(b64decode(sealed or "")).decode()
    wrong = b64encode(bytes(PrivateKey.generate())).decode()
    refused = subprocess.run(command, input=wrong, env=alone, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    newer = b64encode(bytes(PrivateKey.generate().public_key)).decode()
    kept.vault.ensure_recovery(kept.repository(recovery_public_key=newer), *QUIET)
    outdated = subprocess.run(command, input=private, capture_output=True, text=True, check=False)
    assert outdated.returncode == 1, "a key that was replaced opens nothing any more"
    assert (
        code_of(lambda: kept.vault.ensure(kept.repository(password), make=True), Permanent)
        == "repository_wrong_password"
    )
    sealed = kept.vault.ensure_recovery(kept.repository(recovery_public_key=public), *QUIET)
    password = SealedBox(offline).decrypt(b64decode(sealed or "")).decode()
    snapshot = kept.save()
    # Another droplet, another sealing key: only the repository's files and the offline key are left.
    rescue = Backups.__new__(Backups)
    rescue.root, rescue.state, rescue.lines, rescue.redactor = kept.root, tmp_path / "new", [], Redactor()
    rescue.state.mkdir()
    rescue.key = SealingKey(rescue.state / "sealing.key")
    rescue.vault = rescue.agent()
    rescue.vault.restore(rescue.repository(password), snapshot, tmp_path / "out", rescue.lines.append, lambda: False)
    assert (tmp_path / "out/database.dump").read_bytes() == (kept.source / "database.dump").read_bytes()


def test_no_secret_is_in_argv_or_environment_or_log(kept: Backups, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[str], dict[str, str]]] = []
    real = subprocess.Popen

    def spy(argv: list[str], **options: Any) -> Any:
        seen.append((argv, options["env"]))
        return real(argv, **options)

    monkeypatch.setattr("odooops_agent.vault.subprocess.Popen", spy)
    kept.save()
    assert seen
    assert PASSWORD not in repr(seen) + repr(kept.lines)


@pytest.mark.parametrize(
    "url",
    ["/etc", "{root}", "{root}/../x", "{root}/a//b", "sftp:host:/x", "rclone:x:y", "rest:http://h/", "{root}/a b"],
)
def test_no_other_place_is_written_to(backups: Backups, url: str) -> None:
    strange = backups.repository(url=url.format(root=backups.root))
    assert code_of(lambda: backups.vault.ensure(strange, make=True), Refused) == "bad_repository"


def test_a_login_configures_the_storage_and_nothing_else(backups: Backups) -> None:
    strange = backups.repository(environment={"LD_PRELOAD": "/tmp/x.so"})
    code_of(lambda: backups.vault.ensure(strange, make=True), Refused)
