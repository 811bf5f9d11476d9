"""The vault on real restic and a real S3 server: what it keeps there, and how it tells each trouble."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from odooops_agent.errors import AgentError, Permanent, Retryable
from odooops_agent.protocol import Repository, Retention
from odooops_agent.sealing import SealingKey, seal
from odooops_agent.secrets import Redactor, Secret
from odooops_agent.vault import ResticVault
from parts.s3 import LOGIN, running_s3

HOST, TAG = "demo/prod", "environment=e1"
QUIET: Any = (lambda line: None, lambda: False)


class Storage:
    """A vault on S3, and a folder to back up."""

    def __init__(self, folder: Path, address: str) -> None:
        self.address = address
        self.buckets = folder / "buckets"
        self.key = SealingKey(folder / "sealing.key")
        self.redactor = Redactor()
        self.vault = ResticVault(folder, folder, self.key.open, self.redactor)
        self.source = folder / "source"
        self.source.mkdir()
        (self.source / "database.dump").write_bytes(b"PGDMP" + os.urandom(1 << 20))

    def repository(self, bucket: str = "backups", identity: str | None = None, **login: str) -> Repository:
        access = json.dumps({"password": "a password", "environment": {**LOGIN, **login}})
        sealed = seal(Secret(access), self.key._key.public_key)
        return Repository(id=1, url=f"{self.address}/{bucket}", sealed=sealed, identity=identity)

    def save(self) -> str:
        at, tags = datetime.now(UTC), (TAG, "operation=1")
        return self.vault.save(self.repository(), self.source, ("database.dump",), HOST, tags, at, *QUIET).snapshot


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    (tmp_path / "buckets").mkdir()
    with running_s3(tmp_path / "buckets") as address:
        yield Storage(tmp_path, address)


def told(storage: Storage, repository: Repository, kind: type[AgentError], *, make: bool = True) -> AgentError:
    with pytest.raises(kind) as caught:
        storage.vault.ensure(repository, make=make)
    said = storage.redactor.mask(caught.value.message)
    assert LOGIN["AWS_SECRET_ACCESS_KEY"] not in said + "".join(caught.value.log_tail)
    return caught.value


def test_a_backup_goes_to_a_bucket_and_comes_back(storage: Storage, tmp_path: Path) -> None:
    identity = storage.vault.ensure(storage.repository(), make=True)
    assert storage.vault.ensure(storage.repository(identity=identity), make=False) == identity
    first, second = storage.save(), storage.save()
    storage.vault.check(storage.repository(), *QUIET, all_data=True)
    storage.vault.restore(storage.repository(), first, tmp_path / "out", *QUIET)
    assert (tmp_path / "out/database.dump").read_bytes() == (storage.source / "database.dump").read_bytes()
    done = storage.vault.forget(storage.repository(), HOST, TAG, Retention(daily=1, weekly=0, monthly=0), *QUIET)
    assert done.forgotten == (), "both are of the last two days"
    assert set(done.remaining) == {first, second}
    pack = max((storage.buckets / "backups/data").rglob("*"), key=lambda one: one.stat().st_size * one.is_file())
    pack.write_bytes(pack.read_bytes()[:-100])
    with pytest.raises(Permanent) as caught:
        storage.vault.check(storage.repository(), *QUIET, all_data=True)
    assert caught.value.code == "repository_damaged"


def test_each_way_in_which_a_storage_is_not_to_be_had_is_told(storage: Storage) -> None:
    identity = storage.vault.ensure(storage.repository(), make=True)
    for login in ({"AWS_SECRET_ACCESS_KEY": "wrong"}, {"AWS_ACCESS_KEY_ID": "wrong"}):
        wrong = told(storage, storage.repository(**login), Retryable)
        assert (wrong.code, "its login" in wrong.message) == ("repository_unreachable", True)
    for absent in (storage.repository("elsewhere"), storage.repository("elsewhere", identity)):
        gone = told(storage, absent, Permanent, make=absent.identity is not None)
        assert gone.code == "repository_unreachable"
        assert not (storage.buckets / "elsewhere").exists(), "no bucket is made in place of one that is gone"
