"""The relay to a real server, with and without TLS: libpq's own programs through the socket in a folder."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from odooops_agent.relay import Relay
from parts.postgres import Cluster, Made, make_environment, packaged, running_cluster

# Random, so that nothing is made small on the way, and larger than any buffer between.
FILL = """
    CREATE TABLE much AS SELECT n, md5(random()::text) || md5(random()::text) AS text FROM generate_series(1, 200000) n
"""


@pytest.fixture(scope="module")
def guarded() -> Iterator[Cluster]:
    """A cluster that takes TLS only, as managed ones do, with a certificate of its own for 127.0.0.1."""
    with tempfile.TemporaryDirectory(prefix="odooops-postgres-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with running_cluster(packaged(), Path(folder) / "cluster") as started:
            _guard(started)
            yield started


def _guard(cluster: Cluster) -> None:
    key, certificate = cluster.data / "server.key", cluster.data / "server.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1", "-addext",
         "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    owner = cluster.data.stat()
    for file in (key, certificate):
        os.chown(file, owner.st_uid, owner.st_gid)
    key.chmod(0o600)
    with (cluster.data / "postgresql.conf").open("a") as conf:
        conf.write("ssl = on\n")
    rules = cluster.data / "pg_hba.conf"
    rules.write_text(rules.read_text().replace("host all", "hostssl all"))
    cluster.stop()
    cluster.start()


@pytest.fixture(scope="module")
def filled(guarded: Cluster) -> Made:
    made = make_environment(guarded, "demo_relay")
    made.as_app(FILL)
    return made


def run(folder: Path, made: Made, *argv: str, database: str | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run one of PostgreSQL's programs as the environment's role through the socket."""
    where = ["--no-password", f"--host={folder}", f"--username={made.name}", f"--dbname={database or made.name}"]
    environment = {**os.environ, "PGPASSWORD": made.app_password}
    return subprocess.run([argv[0], *where, *argv[1:]], env=environment, capture_output=True, check=False)


@pytest.mark.parametrize("sslmode", ["prefer", "require", "verify-ca", "verify-full"])
def test_the_server_is_spoken_to_over_tls(filled: Made, tmp_path: Path, sslmode: str) -> None:
    dsn = f"{filled.cluster.agent_dsn} sslmode={sslmode} sslrootcert={filled.cluster.data / 'server.crt'}"
    with Relay(dsn).open(tmp_path, filled.name):
        asked = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        done = run(tmp_path, filled, "psql", "-XAtc", asked)
    assert (done.returncode, done.stdout.strip()) == (0, b"t"), done.stderr


def test_a_server_with_another_certificate_is_not_spoken_to(filled: Made, tmp_path: Path) -> None:
    other = tmp_path / "other.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1",
         "-keyout", str(tmp_path / "other.key"), "-out", str(other)],
        check=True, capture_output=True,
    )  # fmt: skip
    dsn = f"{filled.cluster.agent_dsn} sslmode=verify-full sslrootcert={other}"
    with Relay(dsn).open(tmp_path, filled.name):
        assert run(tmp_path, filled, "psql", "-XAtc", "SELECT 1").returncode != 0


def test_without_tls_such_a_server_lets_nobody_in(filled: Made, tmp_path: Path) -> None:
    with Relay(f"{filled.cluster.agent_dsn} sslmode=disable").open(tmp_path, filled.name):
        assert run(tmp_path, filled, "psql", "-XAtc", "SELECT 1").returncode != 0


def test_a_dump_goes_through_and_comes_back_whole(filled: Made, tmp_path: Path) -> None:
    """Much in one direction, then much in the other, over two connections at a time."""
    dump, target = tmp_path / "dump", "demo_relay__t1"
    filled.database.create(target, filled.name)
    summed = "SELECT md5(string_agg(text, '' ORDER BY n)) FROM much"
    relay = Relay(f"{filled.cluster.agent_dsn} sslmode=require")
    with relay.open(tmp_path, filled.name):
        made = run(tmp_path, filled, "pg_dump", "--format=custom", "--compress=0", f"--file={dump}")
        assert made.returncode == 0, made.stderr
    with relay.open(tmp_path, target):
        argv = ("pg_restore", "--no-owner", "--no-acl", "--exit-on-error", "--jobs=2", str(dump))
        restored = run(tmp_path, filled, *argv, database=target)
        assert restored.returncode == 0, restored.stderr
        found = run(tmp_path, filled, "psql", "-XAtc", summed, database=target).stdout.strip().decode()
    assert found == filled.as_app(summed)[0][0]
    filled.database.drop(target)


def test_no_other_database_is_entered(filled: Made, tmp_path: Path) -> None:
    with Relay(filled.cluster.agent_dsn).open(tmp_path, filled.name):
        for database in ("postgres", "defaultdb", "template1"):
            done = run(tmp_path, filled, "psql", "-XAtc", "SELECT 1", database=database)
            assert done.returncode != 0
            assert b"only the database demo_relay is reached from here" in done.stderr
        with pytest.raises(psycopg2.OperationalError, match="only the database"):
            psycopg2.connect(host=str(tmp_path), user="postgres", password="x", dbname="postgres")
