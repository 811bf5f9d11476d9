"""What somebody brought is unpacked: every form that teams have, and archives that were made to do harm."""

import gzip
import hashlib
import io
import os
import stat
import tarfile
import zipfile
from types import SimpleNamespace

import pytest
from odooops_agent.errors import Cancelled, Permanent
from odooops_agent.intake import LocalIntake
from odooops_agent.plans.archive import Budget, place

ROOM_BYTES = 1 << 30
SQL = b"--\n-- PostgreSQL database dump\n--\n\nSELECT 1;\n"
CUSTOM = b"PGDMP\x01\x0e\x00\x04\x08\x01" + b"x" * 5000
FILE = b"an attachment"
STORED = hashlib.sha1(FILE, usedforsecurity=False).hexdigest()
NAME = f"{STORED[:2]}/{STORED}"


@pytest.fixture
def brought(tmp_path):
    """The folder for imports, a workspace, and what takes the one into the other."""
    imports, room = tmp_path / "imports", tmp_path / "room"
    for folder in (imports, room / "io", room / "filestore"):
        folder.mkdir(parents=True)

    def unpack(file, filestore=None, room_bytes=ROOM_BYTES, cancelled=lambda: False):
        return LocalIntake(imports).unpack(file, filestore, room, room_bytes, cancelled)

    return SimpleNamespace(imports=imports, room=room, unpack=unpack)


def zipped(path, *entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)


def tarred(path, *entries, mode="w:gz", **changes):
    with tarfile.open(path, mode) as archive:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in changes.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))


def check_taken(brought, dump, content, *, files=True):
    assert (brought.room / "io" / dump).read_bytes() == content
    stored = [str(path.relative_to(brought.room / "filestore")) for path in brought.room.glob("filestore/*/*")]
    assert stored == ([NAME] if files else [])
    if files:
        assert (brought.room / "filestore" / NAME).read_bytes() == FILE


MANAGER = (("manifest.json", "{}"), ("dump.sql", SQL), (f"filestore/{NAME}", FILE))
SH = (
    ("dump/dump.sql.gz", gzip.compress(SQL)),
    (f"dump/home/odoo/data/filestore/db/{NAME}", FILE),
    ("dump/odoo.log", "x"),
)


@pytest.mark.parametrize("entries", [MANAGER, SH], ids=["manager", "odoo.sh"])
def test_a_zip_of_a_dump_and_a_filestore(brought, entries):
    zipped(brought.imports / "prod.zip", *entries, ("filestore/checklist/", b""), (f"other/{NAME}", FILE))
    found = brought.unpack("prod.zip")
    check_taken(brought, "dump.sql", SQL)
    assert (found.dump, found.dump_bytes, found.files) == ("dump.sql", len(SQL), 1)


@pytest.mark.parametrize(
    ("content", "dump", "expected"),
    [
        (SQL, "dump.sql", SQL),
        (gzip.compress(SQL), "dump.sql", SQL),
        (CUSTOM, "database.dump", CUSTOM),
        (gzip.compress(CUSTOM), "database.dump", CUSTOM),
    ],
    # Without names pytest takes the bytes, and a gzip header holds the time: workers would collect different tests.
    ids=["sql", "sql.gz", "custom", "custom.gz"],
)
@pytest.mark.parametrize("beside", ["folder", "tar", "tar.gz", "tar.xz", "zip", None])
def test_a_dump_with_a_filestore_beside_it(brought, content, dump, expected, beside):
    (brought.imports / "dump").write_bytes(content)
    archive = brought.imports / "files"
    if beside == "folder":
        (archive / "db" / STORED[:2]).mkdir(parents=True)
        (archive / "db" / NAME).write_bytes(FILE)
        (archive / "db" / "checklist").mkdir()
        (archive / "db" / "checklist" / "x").write_bytes(b"")
    elif beside == "zip":
        zipped(archive, (NAME, FILE))
    elif beside:
        tarred(archive, (f"./db/{NAME}", FILE), mode={"tar": "w"}.get(beside, f"w:{beside[4:]}"))
    brought.unpack("dump", "files" if beside else None)
    check_taken(brought, dump, expected, files=beside is not None)


def test_a_folder_of_pg_dump_s_in_a_tar(brought):
    tarred(brought.imports / "dump.tar.gz", ("out/toc.dat", CUSTOM), ("out/1234.dat.gz", b"rows"))
    assert brought.unpack("dump.tar.gz").dump == "parts"
    assert sorted(path.name for path in (brought.room / "io/parts").iterdir()) == ["1234.dat.gz", "toc.dat"]


def refused(brought, *arguments, code="import_refused", **more):
    """Return why; nothing was written but below the workspace."""
    before = {path for path in brought.room.parent.rglob("*") if brought.room not in path.parents}
    with pytest.raises(Permanent) as told:
        brought.unpack(*arguments, **more)
    assert told.value.code == code
    assert {path for path in brought.room.parent.rglob("*") if brought.room not in path.parents} == before
    assert all(stat.S_ISREG(mode) or stat.S_ISDIR(mode) for mode in _modes(brought.room))
    return told.value.message


def _modes(folder):
    return [path.lstat().st_mode for path in folder.rglob("*")]


BAD_NAMES = (
    "/etc/cron.d/x", "../x", "filestore/../../x", "a/../../dump.sql", "C:/x", "..\\x", f"/{NAME}", f"../{NAME}",
)  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_an_entry_that_leads_out_of_its_archive_is_refused(brought, name):
    zipped(brought.imports / "bad.zip", ("dump.sql", SQL), (name, b"x"))
    assert "leads out" in refused(brought, "bad.zip")
    (brought.room / "io/dump.sql").unlink()
    tarred(brought.imports / "bad.tar.gz", ("dump.sql", SQL), (name, b"x"))
    assert "leads out" in refused(brought, "bad.tar.gz")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("name", ["dump.sql", NAME, "readme"])
def test_a_link_or_a_device_in_a_tar_is_refused(brought, kind, name):
    tarred(brought.imports / "bad.tar", (name, b""), mode="w", type=kind, linkname="/etc/passwd")
    assert "link" in refused(brought, "bad.tar")


def test_a_link_in_a_zip_or_folder_is_refused(brought):
    info = zipfile.ZipInfo(NAME)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    zipped(brought.imports / "bad.zip", ("dump.sql", SQL), (info, "/etc/passwd"))
    assert "link" in refused(brought, "bad.zip")
    (brought.room / "io/dump.sql").unlink()
    (brought.imports / "dump.sql").write_bytes(SQL)
    (brought.imports / "files" / STORED[:2]).mkdir(parents=True)
    (brought.imports / "files" / NAME).symlink_to("/etc/passwd")
    assert "link" in refused(brought, "dump.sql", "files")


def test_a_link_in_the_folder_for_imports_is_not_followed(brought):
    (brought.imports / "dump.sql").symlink_to("/etc/passwd")
    refused(brought, "dump.sql", code="disk_full")
    os.mkfifo(brought.imports / "pipe")
    assert "no file" in refused(brought, "pipe")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "", ".", "a/b", "-x", ".hidden", "a\nb", "x" * 300])
def test_a_name_of_elsewhere_is_refused(brought, name):
    assert "no file's name" in refused(brought, name or " ")


def test_a_bomb_is_counted_while_it_is_unpacked(brought, monkeypatch):
    monkeypatch.setattr(Budget, "RATIO_FROM_BYTES", 1 << 20)
    zeros = b"-" * (4 << 20)
    zipped(brought.imports / "bomb.zip", ("dump.sql", zeros))
    assert "times its size" in refused(brought, "bomb.zip")
    (brought.room / "io/dump.sql").unlink()
    (brought.imports / "bomb.sql.gz").write_bytes(gzip.compress(zeros))
    assert "times its size" in refused(brought, "bomb.sql.gz")
    (brought.room / "io/dump.sql").unlink()
    assert "to spare" in refused(brought, "bomb.sql.gz", room_bytes=1000, code="disk_too_small")


def test_an_archive_that_lies_about_its_size_is_counted_all_the_same(brought, monkeypatch):
    monkeypatch.setattr(Budget, "RATIO_FROM_BYTES", 1 << 20)
    path = brought.imports / "bomb.zip"
    zipped(path, ("dump.sql", b"-" * (4 << 20)))
    data, size = path.read_bytes(), (4 << 20).to_bytes(4, "little")
    path.write_bytes(data.replace(size, (100).to_bytes(4, "little")))
    refused(brought, "bomb.zip")
    assert sum(path.stat().st_size for path in brought.room.rglob("*") if path.is_file()) <= 1 << 20


def test_too_many_entries_are_refused(brought, monkeypatch):
    monkeypatch.setattr(Budget, "ENTRIES_MAX", 3)
    zipped(brought.imports / "many.zip", *((f"a{number}", b"") for number in range(5)))
    assert "more than 3 entries" in refused(brought, "many.zip")


@pytest.mark.parametrize("cut", [100, 5000])
def test_what_is_damaged_is_told(brought, cut):
    whole = gzip.compress(os.urandom(9000).hex().encode())
    (brought.imports / "dump.sql.gz").write_bytes(whole[: cut + 20])
    assert "damaged" in refused(brought, "dump.sql.gz")
    zipped(brought.imports / "dump.zip", ("dump.sql", os.urandom(9000).hex()))
    data = bytearray((brought.imports / "dump.zip").read_bytes())
    data[cut] ^= 0xFF
    (brought.imports / "dump.zip").write_bytes(data)
    (brought.room / "io/dump.sql").unlink(missing_ok=True)
    assert "damaged" in refused(brought, "dump.zip")
    (brought.imports / "short.zip").write_bytes(data[:cut])
    assert "damaged" in refused(brought, "short.zip")


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ((("readme", b"x"),), "no dump"),
        (((f"filestore/{NAME}", FILE),), "no dump"),
        ((("dump.sql", SQL), ("other.sql", SQL)), "two dumps"),
        ((("toc.dat", CUSTOM), ("dump.sql", SQL)), "two dumps"),
        ((("1.dat", b"x"),), "toc.dat"),
        ((("dump.sql", b"\x7fELF\0\0"),), "none of pg_dump's"),
        ((("dump.sql", b""),), "none of pg_dump's"),
        ((("x.dump", b"PGDMP\x01\x0e\x00\x04\x08\x03"),), "own tar format"),
    ],
)
def test_what_is_no_backup_is_refused(brought, entries, why):
    zipped(brought.imports / "x.zip", *entries)
    assert why in refused(brought, "x.zip")


def test_what_lies_nowhere_and_folders_and_other_files_as_filestore(brought):
    assert "put it there" in refused(brought, "absent.zip")
    (brought.imports / "folder").mkdir()
    assert "is a folder" in refused(brought, "folder")
    (brought.imports / "dump.sql").write_bytes(SQL)
    assert "filestore is no folder" in refused(brought, "dump.sql", "dump.sql")


def test_an_import_that_is_called_off_stops(brought):
    (brought.imports / "dump.sql").write_bytes(SQL)
    with pytest.raises(Cancelled):
        brought.unpack("dump.sql", cancelled=lambda: True)


def test_a_locked_zip_is_refused(brought):
    zipped(brought.imports / "locked.zip", ("dump.sql", SQL))
    data = bytearray((brought.imports / "locked.zip").read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    (brought.imports / "locked.zip").write_bytes(data)
    assert "password" in refused(brought, "locked.zip")


@pytest.mark.parametrize(
    "name", [f"ab/{STORED}", "ab/cd", f"{NAME}.txt", f"filestore/{STORED}", "filestore/db/dump.sql"]
)
def test_a_file_that_odoo_would_not_name_so_is_left(name):
    assert place(name) is None
