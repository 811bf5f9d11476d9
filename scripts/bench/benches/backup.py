"""A backup of 1 GB that has not changed, has grown by 1 %, or has changed all over: time and what is stored anew."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg2

from scripts.bench import postgres
from scripts.bench.registry import Goal, Row, bench, row
from scripts.bench.site import Site
from scripts.setup import engine
from scripts.setup.errors import SetupError

ROLE = "bench_backup"
DATABASE_MB, FILES_MB = 500, 500
# The sample image's user, which is pinned there.
IMAGE_UID = "10019"
PEER = "pg_dump -Fc, then tar czf of the filestore, on the droplet: no check, no encryption, every time all of it"
GROWN = """
    INSERT INTO mail_message (message_type, model, res_id, subject, body, date, create_date, author_id, is_internal)
    SELECT 'comment', 'res.partner', 1, 'New ' || n, repeat(md5(n::text), 20), now(), now(), 1, true
      FROM generate_series(1, 7000) n
"""
SCATTERED = "UPDATE mail_message SET subject = subject || '!' WHERE id % 100 = 7"


@dataclass(frozen=True)
class Backup:
    """One backup's figures."""

    seconds: float
    megabytes: float  # stored anew


@bench("backup")
def backup(site: Site) -> list[Row]:
    stack, source = site.stack, site.customer.database("prod").name
    image = site.running_image()
    try:
        site.in_agent("prepare_database.py", ROLE, "unused-so-far")
        postgres.dump_and_restore(stack, source, ROLE, ROLE)
        postgres.fill(stack, ROLE, DATABASE_MB)
        site.in_agent("back_up.py", ROLE, "forget", "0")
        folder = site.in_agent("filestore.py", ROLE, str(FILES_MB), IMAGE_UID)["folder"]
        first = _back_up(site, image, 1)
        unchanged = _back_up(site, image, 2)
        theirs = _runbook(site, folder)
        _execute(site, GROWN)
        site.in_agent("filestore.py", ROLE, str(FILES_MB // 100), IMAGE_UID)
        grown = _back_up(site, image, 3)
        _execute(site, SCATTERED)
        scattered = _back_up(site, image, 4)
    finally:
        site.in_agent("back_up.py", ROLE, "forget", "0")
        postgres.drop(stack, ROLE)
    site.note(f"The first backup, with its repository: {first.seconds:.1f} s, {first.megabytes:.0f} MB stored.")
    return [
        _time("backup of 1 GB, unchanged since the last", unchanged, Goal(), theirs),
        _stored("backup of 1 GB, unchanged: stored anew", unchanged, Goal(times=10), theirs),
        _stored("backup of 1 GB, 1 % appended: stored anew", grown, Goal(times=10), theirs),
        _stored("backup of 1 GB, 1 % of the messages changed all over: stored anew", scattered, Goal(), theirs),
    ]


def _time(name: str, ours: Backup, goal: Goal, theirs: Backup) -> Row:
    return row(name, ours.seconds, "s", goal, theirs.seconds, PEER)


def _stored(name: str, ours: Backup, goal: Goal, theirs: Backup) -> Row:
    return row(name, ours.megabytes, "MB", goal, theirs.megabytes, PEER)


def _back_up(site: Site, image: str, number: int) -> Backup:
    postgres.checkpoint(site.stack)
    done: dict[str, Any] = site.in_agent("back_up.py", ROLE, image, str(number))
    if done["outcome"] != "succeeded":
        raise SetupError(f"The backup did not succeed: {done['error']['message']}")
    return Backup(done["seconds"], done["result"]["added_bytes"] / 1e6)


def _runbook(site: Site, folder: str) -> Backup:
    """Dump and pack as a runbook says; each in the container where the data are, nothing is sent anywhere."""
    began = time.monotonic()
    dump = _size(site, "customers-db", "$PGDATA/..", f"pg_dump --username=postgres --format=custom --file=$part {ROLE}")
    files = _size(site, "agent", "$ODOOOPS_BACKUP_DIR", f"tar czf $part -C {folder} .")
    return Backup(time.monotonic() - began, (dump + files) / 1e6)


def _size(site: Site, service: str, scratch: str, command: str) -> int:
    """Run a command that writes `$part` in a folder that is on disk there; return the file's bytes."""
    script = f"part={scratch}/bench.part; {command} && stat -c %s $part && rm $part"
    return int(engine.docker("exec", site.stack.container(service), "sh", "-c", script).split()[-1])


def _execute(site: Site, statement: str) -> None:
    with closing(psycopg2.connect(site.stack.customers_superuser_dsn, dbname=ROLE)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
