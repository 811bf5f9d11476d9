"""The filestore on a real directory: snapshots that cost no space, and nothing that leads out of it."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from odooops_agent.errors import Permanent, Refused
from odooops_agent.filestore import LocalFilestore

KEY, DATABASE = "demo/prod", "demo_prod"
UID, GID = os.geteuid(), os.getegid()


@pytest.fixture
def store(tmp_path: Path) -> LocalFilestore:
    made = LocalFilestore(tmp_path / "root")
    made.prepare(KEY, UID, GID)
    return made


@pytest.fixture
def home(store: LocalFilestore, tmp_path: Path) -> Path:
    return tmp_path / "root" / "demo" / "prod"


def fill(home: Path, *names: str, text: str = "content") -> Path:
    live = home / "filestore" / DATABASE
    for name in names:
        path = live / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return live


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_environments_directory_is_the_agents_and_its_insides_are_odoos(store: LocalFilestore, home: Path) -> None:
    assert oct(home.stat().st_mode)[-3:] == "750"
    assert oct((home / "snapshots").stat().st_mode)[-3:] == "700"
    assert (home / "filestore").stat().st_uid == UID
    store.prepare(KEY, UID, GID)


@pytest.mark.skipif(os.geteuid() != 0, reason="ownership of another user needs root; the integration tests run as root")
def test_ownership_is_put_right(tmp_path: Path) -> None:
    store = LocalFilestore(tmp_path / "root")
    store.prepare(KEY, 10019, 10019)
    home = tmp_path / "root" / "demo" / "prod"
    os.chown(home / "filestore", 0, 0)
    store.prepare(KEY, 10019, 10019)
    assert ((home / "filestore").stat().st_uid, (home / "sessions").stat().st_gid) == (10019, 10019)
    assert (home.stat().st_uid, home.stat().st_gid) == (0, 10019)
    store.write_config(KEY, "odoo.conf", "[options]\n", 10019, 10019)
    assert ((home / "odoo.conf").stat().st_uid, oct((home / "odoo.conf").stat().st_mode)[-3:]) == (10019, "600")


def test_a_configuration_is_written_whole_and_read_back(store: LocalFilestore, home: Path) -> None:
    store.write_config(KEY, "odoo.conf", "one", UID, GID)
    store.write_config(KEY, "odoo.conf", "two", UID, GID)
    assert store.read_config(KEY, "odoo.conf") == "two"
    assert [path.name for path in home.iterdir() if path.is_file()] == ["odoo.conf"]
    for _ in range(2):
        store.remove_config(KEY, "odoo.conf")
    assert store.read_config(KEY, "odoo.conf") is None
    assert store.read_config("other/prod", "odoo.conf") is None


def test_a_snapshot_shares_the_files_and_restores_them(store: LocalFilestore, home: Path) -> None:
    live = fill(home, "ab/abc", "cd/cde")
    store.snapshot(KEY, DATABASE, 5)
    copy = home / "snapshots" / "5" / "filestore"
    assert files(copy) == {"ab/abc", "cd/cde"}
    assert (copy / "ab/abc").stat().st_ino == (live / "ab/abc").stat().st_ino
    fill(home, "ef/new")
    (live / "ab/abc").unlink()
    store.restore(KEY, DATABASE, 5)
    assert files(live) == {"ab/abc", "cd/cde"}
    store.restore(KEY, DATABASE, 5)
    assert files(live) == {"ab/abc", "cd/cde"}
    assert list((home / "snapshots" / "5").iterdir()) == []
    for _ in range(2):
        store.drop_snapshot(KEY, 5)
    assert not (home / "snapshots" / "5").exists()


def test_a_half_made_snapshot_is_redone_and_a_whole_one_kept(store: LocalFilestore, home: Path) -> None:
    fill(home, "ab/abc", "cd/cde")
    part = home / "snapshots" / "5" / "filestore.part"
    (part / "ab").mkdir(parents=True)
    with pytest.raises(Permanent, match="not whole"):
        store.restore(KEY, DATABASE, 5)
    store.snapshot(KEY, DATABASE, 5)
    fill(home, "ef/later")
    store.snapshot(KEY, DATABASE, 5)
    assert files(home / "snapshots" / "5" / "filestore") == {"ab/abc", "cd/cde"}


def test_a_restore_that_was_left_after_its_first_rename_is_ended(store: LocalFilestore, home: Path) -> None:
    live = fill(home, "ab/abc")
    store.snapshot(KEY, DATABASE, 5)
    os.rename(live, home / "snapshots" / "5" / "replaced.0")
    store.restore(KEY, DATABASE, 5)
    assert files(live) == {"ab/abc"}
    store.snapshot(KEY, DATABASE, 6)
    os.rename(live, home / "snapshots" / "6" / "replaced.0")
    fill(home, "made/anew")  # a container that was started in between
    store.restore(KEY, DATABASE, 6)
    assert files(live) == {"ab/abc"}


WAS, IS = {"ab/abc"}, {"ab/abc", "ef/new"}


def two_states(store: LocalFilestore, home: Path) -> Path:
    """Make the snapshot 5 of a filestore that has one file more by now."""
    live = fill(home, "ab/abc")
    store.snapshot(KEY, DATABASE, 5)
    fill(home, "ef/new")
    return live


def snapshots(home: Path) -> dict[str, set[str]]:
    return {path.name: files(path / "filestore") for path in (home / "snapshots").iterdir()}


def test_the_present_and_a_snapshot_change_places_and_change_back(store: LocalFilestore, home: Path) -> None:
    live = two_states(store, home)
    for _ in range(2):
        store.exchange(KEY, DATABASE, wanted=5, given_up=9)
        assert (files(live), snapshots(home)) == (WAS, {"9": IS})
    assert store.has_snapshot(KEY, 9)
    assert not store.has_snapshot(KEY, 5)
    for _ in range(2):
        store.exchange(KEY, DATABASE, wanted=9, given_up=5)
        assert (files(live), snapshots(home)) == (IS, {"5": WAS})


class Stopped(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("onward", [True, False], ids=["onward", "back"])
@pytest.mark.parametrize("strayed", [False, True])
def test_an_exchange_that_was_cut_off_anywhere_is_ended_or_taken_back(
    store: LocalFilestore, home: Path, monkeypatch: pytest.MonkeyPatch, onward: bool, strayed: bool
) -> None:
    live = two_states(store, home)
    cut, reached = 0, True
    while reached:
        cut += 1
        reached = cut_off(store, monkeypatch, cut)
        if strayed and reached and not live.exists():
            fill(home, "made/anew")  # by a container that was started in between
        if onward:
            store.exchange(KEY, DATABASE, wanted=5, given_up=9)
            assert (files(live), snapshots(home)) == (WAS, {"9": IS}), cut
        if store.has_snapshot(KEY, 9):
            store.exchange(KEY, DATABASE, wanted=9, given_up=5)
        store.drop_snapshot(KEY, 9)
        assert (files(live), snapshots(home)) == (IS, {"5": WAS}), cut
    assert cut > 4


def cut_off(store: LocalFilestore, monkeypatch: pytest.MonkeyPatch, cut: int) -> bool:
    """Exchange, stopping before the `cut`-th change of the disk; tells whether it came to that."""
    changes = 0

    def counted(name: str) -> None:
        act = getattr(os, name)

        def stop_or_act(*args: object, **options: object) -> object:
            nonlocal changes
            changes += 1
            if changes == cut:
                raise Stopped
            return act(*args, **options)

        patch.setattr(os, name, stop_or_act)

    with monkeypatch.context() as patch:
        for name in ("rename", "mkdir", "rmdir", "unlink"):
            counted(name)
        try:
            store.exchange(KEY, DATABASE, wanted=5, given_up=9)
        except Stopped:
            return True
    return False


def test_a_snapshot_that_is_not_whole_is_not_exchanged(store: LocalFilestore, home: Path) -> None:
    live = fill(home, "ab/abc")
    (home / "snapshots" / "5" / "filestore.part").mkdir(parents=True)
    for wanted in (5, 6):
        with pytest.raises(Permanent, match="not whole") as caught:
            store.exchange(KEY, DATABASE, wanted=wanted, given_up=9)
        assert caught.value.code == "set_gone"
        assert not store.has_snapshot(KEY, wanted)
    assert files(live) == {"ab/abc"}
    assert not (home / "snapshots" / "9").exists()


def test_an_environment_that_never_stored_a_file_changes_places_too(store: LocalFilestore, home: Path) -> None:
    store.snapshot(KEY, DATABASE, 5)
    store.exchange(KEY, DATABASE, wanted=5, given_up=9)
    assert store.has_snapshot(KEY, 9)
    assert (home / "filestore" / DATABASE).is_dir()


def test_a_symlink_in_the_filestores_place_is_not_given_up_as_a_snapshot(store: LocalFilestore, home: Path) -> None:
    store.snapshot(KEY, DATABASE, 5)
    (home / "filestore" / DATABASE).symlink_to("/etc")
    with pytest.raises(Refused, match="symlink"):
        store.exchange(KEY, DATABASE, wanted=5, given_up=9)
    assert store.has_snapshot(KEY, 5)


def test_an_environment_without_files_can_be_snapshotted_and_dropped(store: LocalFilestore, home: Path) -> None:
    store.snapshot(KEY, DATABASE, 5)
    store.restore(KEY, DATABASE, 5)
    assert files(home / "filestore" / DATABASE) == set()
    for _ in range(2):
        store.drop(KEY, DATABASE)
    assert not (home / "filestore" / DATABASE).exists()


@pytest.mark.parametrize("place", ["filestore/demo_prod/ab/link", "filestore/demo_prod/link"])
def test_a_symlink_in_the_filestore_is_refused(store: LocalFilestore, home: Path, place: str) -> None:
    fill(home, "ab/abc")
    (home / place).symlink_to("/etc/passwd")
    with pytest.raises(Refused, match="no file or folder"):
        store.snapshot(KEY, DATABASE, 5)


def test_a_device_or_pipe_in_the_filestore_is_refused(store: LocalFilestore, home: Path) -> None:
    os.mkfifo(fill(home, "ab/abc") / "pipe")
    with pytest.raises(Refused, match="no file or folder"):
        store.snapshot(KEY, DATABASE, 5)


def test_a_filestore_that_is_a_symlink_to_anothers_is_not_followed(store: LocalFilestore, home: Path) -> None:
    store.prepare("other/prod", UID, GID)
    theirs = home.parents[1] / "other" / "prod" / "filestore" / "other_prod"
    theirs.mkdir()
    (theirs / "secret").write_text("secret")
    (home / "filestore" / DATABASE).symlink_to(theirs)
    with pytest.raises(Refused, match="symlink"):
        store.snapshot(KEY, DATABASE, 5)
    store.drop(KEY, DATABASE)
    assert (theirs / "secret").read_text() == "secret"


def test_an_environments_directory_that_is_a_symlink_is_refused(store: LocalFilestore, home: Path) -> None:
    store.prepare("other/prod", UID, GID)
    os.rename(home, home.with_name("moved"))
    home.symlink_to(home.parents[1] / "other" / "prod")
    for act in (
        lambda: store.prepare(KEY, UID, GID),
        lambda: store.write_config(KEY, "odoo.conf", "x", UID, GID),
        lambda: store.read_config(KEY, "odoo.conf"),
        lambda: store.drop_snapshot(KEY, 1),
    ):
        with pytest.raises(Refused):
            act()


@pytest.mark.parametrize("key", ["../prod", "demo/..", "/etc", "demo", "demo/prod/x", "demo/prod\n", "Demo/prod", ""])
def test_a_key_that_is_a_path_is_refused(store: LocalFilestore, key: str) -> None:
    with pytest.raises(Refused):
        store.prepare(key, UID, GID)


@pytest.mark.parametrize("name", ["../odoo.conf", "/etc/passwd", ".hidden", "a/b", "odoo.conf\n", ""])
def test_a_name_that_is_a_path_is_refused(store: LocalFilestore, name: str) -> None:
    with pytest.raises(Refused):
        store.write_config(KEY, name, "x", UID, GID)
    with pytest.raises(Refused):
        store.snapshot(KEY, name, 1)


def test_twenty_thousand_files_take_less_than_a_moment(store: LocalFilestore, home: Path) -> None:
    for number in range(256):
        folder = home / "filestore" / DATABASE / f"{number:02x}"
        folder.mkdir(parents=True)
        for file in range(80):
            (folder / f"{number:02x}{file:038x}").touch()
    began = time.monotonic()
    store.snapshot(KEY, DATABASE, 5)
    taken = time.monotonic() - began
    print(f"snapshot of 20,480 files in {taken:.2f} s")
    assert taken < 3
    began = time.monotonic()
    store.restore(KEY, DATABASE, 5)
    print(f"restored in {time.monotonic() - began:.2f} s")


def test_the_disk_is_told(store: LocalFilestore) -> None:
    assert 0 < store.free_bytes(KEY) <= store.total_bytes()
    assert store.free_bytes("not/yet") > 0


def test_files_are_set_aside_by_a_rename_and_put_back(store: LocalFilestore, home: Path) -> None:
    assert not store.exists(KEY, DATABASE)
    store.set_aside(KEY, DATABASE, 5)
    assert not store.has_snapshot(KEY, 5)
    live = fill(home, "ab/abc")
    number = (live / "ab/abc").stat().st_ino
    assert store.exists(KEY, DATABASE)
    store.set_aside(KEY, DATABASE, 5)
    assert not store.exists(KEY, DATABASE)
    fill(home, "cd/cde")
    store.set_aside(KEY, DATABASE, 5)
    assert files(live) == {"cd/cde"}
    store.restore(KEY, DATABASE, 5)
    assert files(live) == {"ab/abc"}
    assert (live / "ab/abc").stat().st_ino == number


def test_what_lies_beside_the_files_is_told_with_its_age(store: LocalFilestore, home: Path) -> None:
    assert store.snapshots("not/yet") == ()
    fill(home, "ab/abc")
    store.snapshot(KEY, DATABASE, 5)
    (home / "snapshots" / "12" / "filestore.part").mkdir(parents=True)
    (home / "snapshots" / "notes").mkdir()
    os.utime(home / "snapshots" / "5", (1_000_000_000, 1_000_000_000))
    found = store.snapshots(KEY)
    assert [one.token for one in found] == [5, 12]
    assert found[0].since.isoformat() == "2001-09-09T01:46:40+00:00"
    store.set_aside(KEY, DATABASE, 5)  # there is one of that number already: nothing moves
    assert store.snapshots(KEY)[0].since == found[0].since
    store.restore(KEY, DATABASE, 5)
    assert store.snapshots(KEY)[0].since > found[0].since


def test_files_that_a_snapshot_lost_are_those_that_the_environment_still_has(store: LocalFilestore, home: Path) -> None:
    """What neither has was the customer's own loss, or is an attachment's that was deleted since."""
    fill(home, "ab/abc", "ab/abd", "cd/cde", "ef/efa")
    store.snapshot(KEY, DATABASE, 5)
    wanted = {"ab/abc", "ab/abd", "cd/cde", "ef/efa", "00/never"}
    assert store.lost_files(KEY, DATABASE, 5, wanted) == ()
    kept = home / "snapshots" / "5" / "filestore"
    shutil.rmtree(kept / "cd")
    (kept / "ab" / "abd").unlink()
    for folder in (kept, home / "filestore" / DATABASE):
        (folder / "ef" / "efa").unlink()
    assert store.lost_files(KEY, DATABASE, 5, wanted) == ("ab/abd", "cd/cde")
    assert store.lost_files(KEY, DATABASE, 6, wanted) == ()
    store.drop(KEY, DATABASE)
    assert store.lost_files(KEY, DATABASE, 5, wanted) == ()
