"""The vault where restic fails halfway or is killed: what stays true then. On real restic: tests/integration."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from nacl.public import PrivateKey
from odooops_agent.commands import restic as build
from odooops_agent.commands.restic import Lock, Run
from odooops_agent.errors import Cancelled, Permanent, Retryable
from odooops_agent.facts import Retained
from odooops_agent.protocol import Repository, Retention
from odooops_agent.sealing import SealingKey, seal
from odooops_agent.secrets import Redactor, Secret
from odooops_agent.vault import ResticVault, _Troubled

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
RETENTION = Retention(daily=7, weekly=4, monthly=6)
TAG = "environment=e"
QUIET = (lambda line: None, lambda: False)


class Answers(ResticVault):
    """restic's answers from memory; what is `busy` finds the repository locked, once."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.keys, self.snapshots, self.busy = [], ["a" * 64, "b" * 64], ""

    def _run(self, opened, command, **options):
        if self.busy and " ".join(command).startswith(self.busy):
            self.busy = ""
            raise _Troubled("locked", ["Fatal: repository is already locked"])
        match command:
            case ("key", "list", *_):
                return json.dumps(self.keys)
            case ("key", "add", *_, sealed):
                self.keys = [*self.keys, {"id": f"k{len(self.keys)}", "hostName": sealed}]
            case ("key", "remove", number):
                self.keys = [one for one in self.keys if one["id"] != number]
            case ("snapshots", *_):
                return json.dumps([{"id": one} for one in self.snapshots])
            case ("forget", *_):
                gone, self.snapshots = self.snapshots[:-1], self.snapshots[-1:]
                kept = [{"id": one} for one in self.snapshots]
                return json.dumps([{"keep": kept, "remove": [{"id": one} for one in gone] or None}])
            case ("cat", "lock", *_):
                return json.dumps({"hostname": "another", "pid": 1, "time": NOW.isoformat()})
            case ("list", "locks", *_):
                return "1f"
        return ""


@pytest.fixture
def sealing(tmp_path):
    return SealingKey(tmp_path / "sealing.key")


@pytest.fixture
def repository(tmp_path, sealing):
    def made(recovery=None):
        sealed = seal(Secret(json.dumps({"password": "p", "environment": {}})), sealing._key.public_key)
        return Repository(id=1, url=f"{tmp_path}/demo", sealed=sealed, recovery_public_key=recovery)

    return made


@pytest.fixture
def vault(tmp_path, sealing):
    return Answers(tmp_path, tmp_path, sealing.open, Redactor())


def a_recovery_key():
    return b64encode(bytes(PrivateKey.generate().public_key)).decode()


def test_a_replaced_recovery_key_opens_nothing_though_its_removal_failed_at_first(vault, repository):
    first, second = a_recovery_key(), a_recovery_key()
    vault.ensure_recovery(repository(first), *QUIET)
    vault.busy = "key remove"
    with pytest.raises(Retryable):
        vault.ensure_recovery(repository(second), *QUIET)
    assert len(vault.keys) == 2
    sealed = vault.ensure_recovery(repository(second), *QUIET)
    assert [one["hostName"].endswith(sealed) for one in vault.keys] == [True]
    assert vault.ensure_recovery(repository(second), *QUIET) == sealed


def test_what_was_forgotten_is_told_though_its_room_is_not_freed(vault, repository):
    said = []
    vault.busy = "prune"
    act = partial(vault.forget, repository(), "demo/prod", TAG, RETENTION, said.append, lambda: False)
    assert act() == Retained(("a" * 64,), ("b" * 64,))
    assert "locked" in said[0]
    assert act() == Retained((), ("b" * 64,)), "what remains is told each time"


@pytest.fixture
def scripted(tmp_path, sealing):
    """A vault whose restic is a script."""

    def made(script):
        program = tmp_path / "restic"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return ResticVault(tmp_path, tmp_path, sealing.open, Redactor(), str(program))

    return made


def test_a_reader_waits_for_no_backup_and_who_waits_can_be_called_off(scripted, repository, tmp_path):
    vault, said = scripted("""echo '{"total_size": 3}'"""), []
    with vault._locks[f"{tmp_path}/demo"]:
        assert vault.size(repository(), "a" * 64) == 3
        with pytest.raises(Cancelled):
            vault.check(repository(), said.append, lambda: bool(said))
    assert "waits" in said[0]
    vault.check(repository(), said.append, lambda: False)


def test_a_reader_looks_once_more_before_it_speaks_of_damage(scripted, repository, tmp_path):
    """Another droplet may have packed anew what it was reading."""
    missing = "echo 'Fatal: pack 0123456789 does not exist' >&2; exit 1"
    vault, said = scripted(f"[ -e {tmp_path}/again ] && exit 0; touch {tmp_path}/again; {missing}"), []
    vault.restore(repository(), "a" * 64, tmp_path, said.append, lambda: False)
    assert "reading again" in said[-1]
    with pytest.raises(Permanent) as told:
        scripted(missing).restore(repository(), "a" * 64, tmp_path, said.append, lambda: False)
    assert told.value.code == "repository_damaged"


@pytest.mark.parametrize("kill", ["kill -9 $$", "exit 130"])
def test_a_restic_that_was_killed_says_nothing_of_the_repository(tmp_path, sealing, repository, kill):
    program = tmp_path / "restic"
    program.write_text(f"#!/bin/sh\n{kill}\n")
    program.chmod(0o755)
    vault = ResticVault(tmp_path, tmp_path, sealing.open, Redactor(), str(program))
    with pytest.raises(Permanent) as told:
        vault.check(repository(), print, lambda: False)
    assert told.value.code == "backup_failed"
    assert "was killed" in told.value.message


@pytest.mark.parametrize(
    "words", ["fatal error: runtime: out of memory", "unknown flag: --read-data-subset", "fork: Cannot allocate memory"]
)
def test_a_restic_that_fails_by_itself_is_no_damage(tmp_path, sealing, repository, words):
    program = tmp_path / "restic"
    program.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 2\n")
    program.chmod(0o755)
    vault = ResticVault(tmp_path, tmp_path, sealing.open, Redactor(), str(program))
    with pytest.raises(Permanent) as told:
        vault.check(repository(), print, lambda: False)
    assert told.value.code == "backup_failed"


def test_only_a_killed_restic_s_process_stays_noted(tmp_path, sealing, repository):
    program = tmp_path / "restic"
    vault = ResticVault(tmp_path, tmp_path, sealing.open, Redactor(), str(program))
    for ending, count in (("exit 1", 0), ("kill -9 $$", 1), ("exit 1", 1)):
        program.write_text(f"#!/bin/sh\necho no >&2\n{ending}\n")
        program.chmod(0o755)
        with pytest.raises(Permanent):
            vault.check(repository(), print, lambda: False)
        assert len(vault._runs.all()) == count


HOSTS = {"here", "formerly"}
RUN = Run(41, NOW - timedelta(seconds=10))


@pytest.mark.parametrize(
    ("host", "pid", "age_minutes", "runs", "dead"),
    [
        ("here", 41, 0, [RUN], True),
        ("here", 41, 0, [], False),  # of a droplet of the same name
        ("here", 42, 0, [RUN], False),
        ("here", 41, 5, [RUN], False),  # older than the process of that number
        ("here", 41, 31, [], True),
        ("here", 7, 31, [Run(7, RUN.at)], False),  # alive
        ("formerly", 41, 1, [RUN], False),
        ("formerly", 41, 31, [], True),
        ("another", 41, 600, [RUN], False),
    ],
)
def test_a_host_s_name_alone_makes_no_lock_a_dead_one(host, pid, age_minutes, runs, dead):
    lock = Lock(host, pid, NOW - timedelta(minutes=age_minutes))
    assert build.is_dead(lock, "here", HOSTS, runs, lambda one: one == 7, NOW) is dead
