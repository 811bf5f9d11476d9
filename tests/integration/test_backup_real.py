"""A real environment is backed up, proven, and survives its droplet: real Odoo, PostgreSQL, Docker and restic.

The tests share one droplet and stand in order.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import zipfile
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nacl.public import PrivateKey, SealedBox
from odooops_agent.commands import dump
from odooops_agent.names import Names
from odooops_agent.protocol import Operation, convert
from odooops_agent.sealing import SealingKey, seal
from odooops_agent.secrets import PasswordStore, Secret
from odooops_agent.settings import read_settings
from odooops_agent.steps import Ports
from odooops_agent.wiring import password_store, real_ports
from parts.droplet import Droplet, Environment, build_images
from parts.engine import Stack, running_stack
from parts.postgres import Cluster, packaged, running_cluster

PROD = Environment("demo/prod")
OFFLINE = PrivateKey.generate()
ORDERS = "SELECT name, state, duration FROM workshop_order ORDER BY name"
FILE = b"an attachment's content " * 1000
STORED = hashlib.sha1(FILE, usedforsecurity=False).hexdigest()
ATTACH = """
    INSERT INTO ir_attachment (name, type, store_fname, checksum, file_size, res_model, res_id)
    VALUES ('proof.txt', 'binary', '{folder}/{name}', '{name}', {size}, 'res.partner', 1)
"""
PASSWORD = "the first password"
BULK_TABLE = "kept_as_it_is"
BULK = "CREATE TABLE {table} AS SELECT md5(i::text) || md5((-i)::text) AS line FROM generate_series(1, 400000) i"


@pytest.fixture(scope="module")
def backup_stack() -> Iterator[Stack]:
    with running_stack() as made:
        yield made


@pytest.fixture(scope="module")
def backup_cluster() -> Iterator[Cluster]:
    # The server's major version is that of the client in the images: an older client refuses a newer server.
    with tempfile.TemporaryDirectory(prefix="odooops-postgres-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with running_cluster(packaged(), Path(folder) / "cluster") as started:
            yield started


@pytest.fixture(scope="module")
def droplet(backup_stack: Stack, backup_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Droplet:
    """A droplet whose prod serves v1.0.0 and has an attachment of its own."""
    images = build_images(backup_stack, tmp_path_factory.mktemp("sample"))
    made = Droplet(backup_stack, backup_cluster, images)
    ended = made.deploy(PROD, "v1.0.0")
    assert ended["outcome"] == "succeeded", ended
    made.sql(PROD, ATTACH.format(folder=STORED[:2], name=STORED, size=len(FILE)))
    folder = filestore(made) / STORED[:2]
    folder.mkdir(exist_ok=True)
    (folder / STORED).write_bytes(FILE)
    return made


def filestore(droplet: Droplet) -> Path:
    return Path(droplet.stack.data_root) / PROD.key / "filestore" / PROD.database


def order(droplet: Droplet, password: str = PASSWORD, **more: Any) -> dict[str, Any]:
    access = seal(Secret(json.dumps({"password": password})), SealingKey(droplet.state / "sealing.key")._key.public_key)
    repository = {
        "id": 1,
        "url": f"{droplet.backups}/demo",
        "sealed": access,
        "recovery_public_key": b64encode(bytes(OFFLINE.public_key)).decode(),
        "identity": more.pop("identity", None),
    }
    return {"backup": 1, "repository": repository, **more}


def back_up(droplet: Droplet, kill: str = "", **more: Any) -> dict[str, Any]:
    return droplet.work(droplet.describe(PROD, "v1.0.0", "backup", backup=order(droplet, **more)), kill)


def prove(droplet: Droplet, snapshot: str, kill: str = "", **more: Any) -> dict[str, Any]:
    given = order(droplet, snapshot=snapshot, **more)
    return droplet.work(droplet.describe(PROD, "v1.0.0", "restore_test", backup=given), kill)


def content(droplet: Droplet) -> tuple[list[tuple[Any, ...]], set[str]]:
    """Return the business data and the list of files, without Odoo's scratch folder `checklist`."""
    files = {str(path.relative_to(filestore(droplet))) for path in filestore(droplet).glob("??/*") if path.is_file()}
    return droplet.sql(PROD, ORDERS), files


def check_nothing_left(droplet: Droplet) -> None:
    work = Path(droplet.stack.data_root) / PROD.key / "work"
    assert not work.exists() or not list(work.iterdir())
    assert not [name for name in droplet.databases() if "__t" in name]
    beside = droplet.stack.client.api.containers(all=True, filters={"label": [f"odooops.beside={PROD.key}"]})
    assert [each["Names"] for each in beside if each["Labels"]["odooops.stack"] == droplet.stack.name] == []


def test_a_backup_is_taken_and_the_environment_goes_on(droplet: Droplet) -> None:
    before = content(droplet)
    ended = back_up(droplet)
    assert ended["outcome"] == "succeeded", (ended, droplet.log())
    print(ended["result"])
    assert ended["result"]["files"] == len(before[1])
    assert ended["result"]["database_bytes"] > 1 << 20
    assert content(droplet) == before
    assert droplet.status(PROD)
    check_nothing_left(droplet)


def test_the_second_backup_stores_what_changed(droplet: Droplet) -> None:
    """With 26 MB that stay: what Odoo writes meanwhile is some blocks of restic's, a good part of a fresh database."""
    droplet.sql(PROD, BULK.format(table=BULK_TABLE), f"ALTER TABLE {BULK_TABLE} OWNER TO {PROD.database}")
    try:
        first, second = back_up(droplet), back_up(droplet)
    finally:
        droplet.sql(PROD, f"DROP TABLE {BULK_TABLE}")
    assert [first["outcome"], second["outcome"]] == ["succeeded", "succeeded"], (first, second)
    assert second["result"]["added_bytes"] < second["result"]["database_bytes"] / 2


def test_a_backup_is_proven(droplet: Droplet) -> None:
    before = content(droplet)
    snapshot = back_up(droplet)["result"]["snapshot"]
    ended = prove(droplet, snapshot)
    assert ended["outcome"] == "succeeded", (ended, droplet.log())
    print(ended["result"])
    assert all(check["ok"] for check in ended["result"]["checks"])
    assert content(droplet) == before
    check_nothing_left(droplet)


def test_a_file_that_the_environment_itself_lacked_is_not_held_against_its_backup(droplet: Droplet) -> None:
    snapshot = back_up(droplet)["result"]["snapshot"]
    path = filestore(droplet) / STORED[:2] / STORED
    path.unlink()
    lacking = back_up(droplet)["result"]["snapshot"]
    path.write_bytes(FILE)
    assert prove(droplet, lacking)["outcome"] == "succeeded"
    assert prove(droplet, snapshot)["outcome"] == "succeeded"


@pytest.mark.parametrize("point", ["acted:make_workspace", "acted:dump_database", "acted:store_backup"])
def test_an_agent_killed_in_a_backup_leaves_nothing(droplet: Droplet, point: str) -> None:
    before = content(droplet)
    back_up(droplet, kill=point)
    ended = droplet.recover()
    assert (ended["outcome"], ended["error"]["code"]) == ("failed", "interrupted")
    assert content(droplet) == before
    check_nothing_left(droplet)


@pytest.mark.parametrize("point", ["acted:create_disposable", "acted:load_dump", "before:drop_disposable"])
def test_an_agent_killed_in_a_restore_test_leaves_nothing(droplet: Droplet, point: str) -> None:
    snapshot = back_up(droplet)["result"]["snapshot"]
    before = content(droplet)
    prove(droplet, snapshot, kill=point)
    ended = droplet.recover()
    assert (ended["outcome"], ended["error"]["code"]) == ("failed", "interrupted")
    assert content(droplet) == before
    check_nothing_left(droplet)


SPY = """
import socket, subprocess, sys
def reaches(*address):
    try:
        socket.create_connection(address, 3).close()
    except OSError:
        return False
    return True
def enters(database):
    argv = ["psql", "-X", "-w", "-h", "/odooops", "-U", sys.argv[1], "-d", database, "-c", "SELECT 1"]
    return subprocess.run(argv, capture_output=True).returncode == 0
print("gateway", reaches(sys.argv[2], int(sys.argv[3])))
print("world", reaches("1.1.1.1", 443))
print("its own", enters(sys.argv[4]))
print("the live one", enters(sys.argv[1]))
print("postgres", enters("postgres"))
"""


def restore(droplet: Droplet, snapshot: str, kill: str = "") -> dict[str, Any]:
    source = {"environment": PROD.key, "tier": "production"}
    given = order(droplet, snapshot=snapshot, source=source)
    return droplet.work(droplet.describe(PROD, "v1.0.0", "restore", backup=given), kill)


def spoil(droplet: Droplet) -> None:
    """Lose business data and a file, as people do."""
    droplet.sql(PROD, "UPDATE workshop_order SET state = 'lost', duration = NULL")
    (filestore(droplet) / STORED[:2] / STORED).unlink()


@pytest.mark.parametrize("point", ["acted:load_dump", "acted:swap_database", "acted:swap_filestore"])
def test_an_agent_killed_in_a_restore_leaves_the_present(droplet: Droplet, point: str) -> None:
    snapshot = back_up(droplet)["result"]["snapshot"]
    before = content(droplet)
    databases = droplet.databases()
    restore(droplet, snapshot, kill=point)
    ended = droplet.recover()
    assert (ended["outcome"], ended["error"]["code"]) == ("failed", "interrupted"), ended
    assert content(droplet) == before
    assert droplet.databases() == databases
    assert droplet.status(PROD)
    check_nothing_left(droplet)


def test_a_backup_takes_the_environment_s_place_and_the_present_is_kept(droplet: Droplet) -> None:
    before = content(droplet)
    snapshot = back_up(droplet)["result"]["snapshot"]
    spoil(droplet)
    ended = restore(droplet, snapshot)
    assert ended["outcome"] == "succeeded", (ended, droplet.log())
    print(ended["result"])
    assert content(droplet) == before
    assert (filestore(droplet) / STORED[:2] / STORED).read_bytes() == FILE
    assert ended["result"]["restore_set"]["database_snapshot"] in droplet.databases()
    assert droplet.status(PROD)
    check_nothing_left(droplet)


def test_the_one_offs_know_no_network_and_only_one_database(droplet: Droplet) -> None:
    """What is restored may be anybody's: it finds no host, and of the cluster only its own database."""
    role, disposable = PROD.database, f"{PROD.database}__t1"
    ports = real_ports_of(droplet)
    names = Names(droplet.stack.name, PROD.key, role, 1)
    folder = ports.workspace.folder(PROD.key, "restore_test") / "io"
    environment = convert(droplet.describe(PROD, "v1.0.0", "backup"), Operation).environment
    gateway = droplet._settings()["ODOOOPS_PG_ODOO_HOST"]
    argv = ("python3", "-c", SPY, role, gateway, str(droplet.cluster.port), disposable)
    spec = dump.tool(names, environment, droplet.images["v1.0.0"], "10019:10019", str(folder), "spy", argv)
    password = PasswordStore(droplet.state / "passwords.json").get(role).reveal()
    lines: list[str] = []
    try:
        ports.workspace.make(PROD.key, "restore_test", 10019, 10019)
        ports.workspace.write(PROD.key, "restore_test", dump.PASSWORDS, dump.pgpass(role, password))
        ports.database.create(disposable, role)
        with ports.door.open(folder, disposable):
            ports.runtime.create(spec)
            ports.runtime.run(spec.name, lambda: ports.runtime.start(spec.name), 60, lines.append, lambda: False)
    finally:
        ports.database.drop(disposable)
        ports.workspace.remove(PROD.key, "restore_test")
    assert lines == ["gateway False", "world False", "its own True", "the live one False", "postgres False"]


def real_ports_of(droplet: Droplet) -> Ports:
    settings = read_settings(droplet._settings())
    return real_ports(settings, password_store(settings))


TWO = Environment("demo/two")


def dumped(droplet: Droplet, *options: str) -> bytes:
    """Return what pg_dump makes of the running environment, as a team's own backup script would."""
    cluster = droplet.cluster
    argv = [str(cluster._binaries / "pg_dump"), "--host=127.0.0.1", f"--port={cluster.port}", "--username=postgres"]
    environment = {**os.environ, "PGPASSWORD": cluster.superuser_password}
    done = subprocess.run([*argv, *options, PROD.database], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def bring(droplet: Droplet, kill: str = "", **order: Any) -> dict[str, Any]:
    return droplet.work(droplet.describe(TWO, "v1.0.0", "import", **{"import": order}), kill)


def check_nothing_came(droplet: Droplet) -> None:
    assert TWO.database not in droplet.databases()
    home = Path(droplet.stack.data_root) / TWO.key
    assert not list(home.glob("work/*"))
    assert not list(home.glob("filestore/*"))


@pytest.fixture(scope="module")
def brought(droplet: Droplet) -> Path:
    """The folder for imports, with a zip as the database manager makes one, and a dump with its files beside it."""
    folder = droplet.state / "imports"
    folder.mkdir()
    with zipfile.ZipFile(folder / "manager.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", "{}")
        archive.writestr("dump.sql", dumped(droplet))
        archive.writestr(f"filestore/{STORED[:2]}/{STORED}", FILE)
    (folder / "prod.dump").write_bytes(dumped(droplet, "--format=custom"))
    shutil.copytree(filestore(droplet), folder / "files")
    return folder


EVIL = {
    "a command of psql's": (b"\\! touch /tmp/owned\n", "command for psql"),
    "a program": (b"COPY pg_class TO PROGRAM 'touch /tmp/owned';\n", "a file or a program"),
    # Out of the reader's sight; the server refuses it to such a role.
    "a program in a block": (
        b"DO $$ BEGIN EXECUTE $q$COPY pg_class TO PROGRAM 'id'$q$; END $$;\n",
        "to or from an external program",
    ),
}


@pytest.mark.parametrize("evil", EVIL)
def test_a_dump_that_commands_is_loaded_by_nobody(droplet: Droplet, brought: Path, evil: str) -> None:
    text, why = EVIL[evil]
    (brought / "evil.sql").write_bytes(dumped(droplet).replace(b"CREATE TABLE", text + b"CREATE TABLE", 1))
    ended = bring(droplet, file="evil.sql")
    assert (ended["outcome"], ended["error"]["code"]) == ("failed", "restore_failed"), ended
    assert why in ended["error"]["message"]
    check_nothing_came(droplet)


def test_a_backup_goes_out_as_a_zip_that_the_database_manager_takes(droplet: Droplet, brought: Path) -> None:
    snapshot = back_up(droplet)["result"]["snapshot"]
    given = order(droplet, snapshot=snapshot)
    ended = droplet.work(droplet.describe(PROD, "v1.0.0", "export", backup=given))
    assert ended["outcome"] == "succeeded", (ended, droplet.log())
    sent = droplet.state / "uploaded.zip"
    assert ended["result"]["sha256"] == hashlib.sha256(sent.read_bytes()).hexdigest()
    with zipfile.ZipFile(sent) as archive:
        assert archive.testzip() is None
        assert archive.read(f"filestore/{STORED[:2]}/{STORED}") == FILE
        assert json.loads(archive.read("manifest.json"))["modules"]["workshop"]
    sent.rename(brought / "prod.zip")
    check_nothing_left(droplet)


def test_an_agent_killed_in_an_import_leaves_nothing(droplet: Droplet, brought: Path) -> None:
    bring(droplet, "acted:load_import", file="manager.zip")
    ended = droplet.recover()
    assert (ended["outcome"], ended["result"]["reverted"]) == ("failed", True)
    check_nothing_came(droplet)


@pytest.mark.parametrize("order", [{"file": "prod.dump", "filestore": "files"}, {"file": "prod.zip"}])
def test_what_a_team_brings_is_imported(droplet: Droplet, brought: Path, order: dict[str, str]) -> None:
    droplet.cluster.as_superuser(f'DROP DATABASE IF EXISTS "{TWO.database}"')
    ended = bring(droplet, **order)
    assert ended["outcome"] == "succeeded", (ended, droplet.log())
    print(ended["result"])
    assert droplet.sql(TWO, ORDERS) == droplet.sql(PROD, ORDERS)
    owners = droplet.sql(TWO, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
    assert owners == [(Names(droplet.stack.name, TWO.key, TWO.database, 1).app_role,)]
    assert (Path(droplet.stack.data_root) / TWO.key / "filestore" / TWO.database / STORED[:2] / STORED).exists()
    assert droplet.containers(TWO) == {}


def test_a_deployment_brings_it_up(droplet: Droplet, brought: Path) -> None:
    """The last of them: what was downloaded."""
    ended = droplet.deploy(TWO, "v1.0.0")
    assert ended["outcome"] == "succeeded", (ended, droplet.log())
    assert droplet.status(TWO)
    assert bring(droplet, file="prod.zip")["error"]["code"] == "import_refused"


def test_the_recovery_key_alone_brings_it_back_when_droplet_and_agent_are_gone(droplet: Droplet) -> None:
    done = back_up(droplet)["result"]
    sealed = done["recovery_sealed"]
    for file in sorted(droplet.state.rglob("*"), reverse=True):
        file.unlink() if not file.is_dir() else file.rmdir()
    password = SealedBox(OFFLINE).decrypt(b64decode(sealed)).decode()
    # A new agent with a new sealing key: the old password is lost, and the repository's identity is known.
    ended = prove(droplet, done["snapshot"], password=password, identity=done["repository_identity"])
    assert ended["outcome"] == "succeeded", (ended, droplet.log())
    check_nothing_left(droplet)
