"""The workspace on a real folder: what it takes from a customer's container, and what it leaves alone."""

import hashlib
import os

import pytest
from odooops_agent.errors import AgentError, Permanent, Refused
from odooops_agent.workspace import LocalWorkspace

KEY, DATABASE = "demo/prod", "demo_prod"
UID, GID = os.getuid(), os.getgid()


def put(folder, content):
    name = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    (folder / name[:2]).mkdir(parents=True, exist_ok=True)
    (folder / name[:2] / name).write_bytes(content)
    return f"{name[:2]}/{name}"


@pytest.fixture
def home(tmp_path):
    made = tmp_path / KEY
    (made / "filestore" / DATABASE).mkdir(parents=True)
    return made


@pytest.fixture
def live(home):
    return home / "filestore" / DATABASE


@pytest.fixture
def workspace(tmp_path, home):
    made = LocalWorkspace(tmp_path)
    made.make(KEY, "backup", UID, GID)
    return made


@pytest.fixture
def room(workspace):
    return workspace.folder(KEY, "backup")


def test_files_are_linked_and_those_since_come_along(workspace, room, live):
    first = put(live, b"one")
    assert workspace.collect_files(KEY, "backup", DATABASE).count == 1
    (live / first).unlink()  # Odoo's garbage collector
    put(live, b"two")
    facts = workspace.collect_files(KEY, "backup", DATABASE)
    assert (facts.count, facts.bytes) == (2, 6)
    assert (room / "filestore" / first).read_bytes() == b"one"


def test_only_odoo_s_own_names_are_taken(workspace, room, live, tmp_path):
    (tmp_path / "secret").write_text("another customer's")
    folder = live / "ab"
    folder.mkdir()
    (folder / ("ab" + "0" * 38)).symlink_to(tmp_path / "secret")
    (folder / "notes.txt").write_text("x")
    (live / "cd").symlink_to(tmp_path)
    (live / "checklist").mkdir()
    with pytest.raises(Refused):
        workspace.collect_files(KEY, "backup", DATABASE)
    (live / "cd").unlink()
    assert workspace.collect_files(KEY, "backup", DATABASE).count == 0
    assert not list((room / "filestore").rglob("*.txt"))


def test_no_filestore_yet_is_an_empty_one(workspace, live):
    live.rmdir()
    assert workspace.collect_files(KEY, "backup", DATABASE).count == 0


def test_a_dump_is_taken_out_of_the_container_s_reach(workspace, room):
    (room / "io/database.dump").write_bytes(b"PGDMP and more")
    facts = workspace.take_dump(KEY, "backup")
    assert facts.sha256 == hashlib.sha256(b"PGDMP and more").hexdigest()
    assert not (room / "io").exists()


@pytest.mark.parametrize(
    "make",
    [
        lambda path: None,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"CREATE TABLE"),
        lambda path: path.symlink_to("/etc/hostname"),
        lambda path: path.mkdir(),
    ],
    ids=["none", "empty", "text", "symlink", "folder"],
)
def test_what_is_no_dump_is_refused(workspace, room, make):
    make(room / "io/database.dump")
    with pytest.raises(AgentError):
        workspace.take_dump(KEY, "backup")


def test_restored_files_are_compared_with_their_names(workspace, room):
    files = room / "filestore"
    good = put(files, b"good")
    bad = put(files, b"whole")
    (files / bad).write_bytes(b"who")
    facts = workspace.adopt_files(KEY, "backup")
    assert (facts.count, facts.wrong) == (2, (bad,))
    assert workspace.missing_files(KEY, "backup", frozenset({good, "ff/" + "f" * 40})) == ("ff/" + "f" * 40,)


@pytest.mark.parametrize("name", ["../../../x", "ab/../x", "ab/x.py", "AB/" + "A" * 40])
def test_restored_names_that_odoo_never_gives_are_dropped(workspace, room, name):
    path = room / "filestore" / name.replace("..", "__up")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    assert workspace.adopt_files(KEY, "backup").count == 0
    assert not path.exists()


def test_a_restored_symlink_leads_nowhere(workspace, room, tmp_path):
    (room / "filestore").rmdir()
    (room / "filestore").symlink_to(tmp_path)
    with pytest.raises(Refused):
        workspace.adopt_files(KEY, "backup")


def test_a_manifest_is_read_back_and_its_absence_told(workspace):
    with pytest.raises(Permanent, match=r"manifest\.json"):
        workspace.read_manifest(KEY, "backup")
    workspace.write_manifest(KEY, "backup", {"schema": 1})
    assert workspace.read_manifest(KEY, "backup") == {"schema": 1}


def test_making_it_removes_what_an_earlier_one_left(workspace, room):
    (room / "filestore/ab").mkdir()
    workspace.make(KEY, "backup", UID, GID)
    assert not list((room / "filestore").iterdir())
    workspace.remove(KEY, "backup")
    workspace.remove(KEY, "backup")
    assert not room.exists()


def test_what_the_container_writes_is_read_by_nobody_else(workspace, room):
    workspace.write(KEY, "backup", "pgpass", "secret")
    assert (room / "io/pgpass").stat().st_mode & 0o777 == 0o600
    assert room.stat().st_mode & 0o777 == 0o700


def test_a_disposable_database_s_files_lie_where_its_odoo_looks(workspace, room):
    stored = put(room / "filestore", b"good")
    workspace.offer_files(KEY, "backup", f"{DATABASE}__t1")
    assert (room / "io/filestore" / f"{DATABASE}__t1" / stored).read_bytes() == b"good"


def test_restored_files_are_placed_beside_the_snapshots_or_in_an_empty_place(workspace, room, home, live):
    (home / "snapshots").mkdir()
    stored = put(room / "filestore", b"good")
    workspace.place_snapshot(KEY, "backup", 2_000_000_017)
    workspace.place_snapshot(KEY, "backup", 2_000_000_017)
    assert (home / "snapshots/2000000017/filestore" / stored).exists()
    workspace.make(KEY, "backup", UID, GID)
    put(room / "filestore", b"good")
    with pytest.raises(Permanent, match="move them away"):
        workspace.place_filestore(KEY, "backup", DATABASE)
    live.rmdir()
    workspace.place_filestore(KEY, "backup", DATABASE)
    assert (live / stored).exists()


def test_a_pipe_in_the_dump_s_place_is_refused_and_not_waited_for(workspace, room):
    os.mkfifo(room / "io" / "database.dump")
    with pytest.raises(Permanent, match="is none"):
        workspace.take_dump(KEY, "backup")
