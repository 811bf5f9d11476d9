"""The one-offs that dump and restore a database, and the Odoo that proves a backup, as specifications. Pure.

They run in the environment's own image, whose PostgreSQL client is the one its Odoo needs anyway, as its user and its
database role, without a network: the agent's relay is the only way out, and leads to one database.
"""

from __future__ import annotations

from pathlib import Path

from .. import load_dump
from ..names import CONFIG_FILE, DATABASE, HELPERS, HOST, ROLE, Names, require
from ..ports import ContainerSpec, Mount
from ..protocol import Environment
from .odoo import PYTHON
from .odoo_conf import NO_MAIL_HOST

FOLDER = "/odooops"  # the workspace's io/, within the container
PASSWORDS = "pgpass"
DUMP_FILE = f"{FOLDER}/database.dump"
TEST_CONFIG = "odoo.conf"
NO_NETWORK = "none"
SERVE = "serve.py"
LOADER = "load_dump.py"
# Odoo's own start, but for its look into the database `postgres` whether its own is there: only that one is reached.
SERVE_SCRIPT = """
import sys
import odoo.cli
from odoo.service import db

def there(name):
    raise db.DatabaseExists(name)

db._create_empty_database = there
sys.argv[0] = "odoo"
odoo.cli.main()
"""
RESTORE_JOBS = 2


def dump(database: str, role: str) -> tuple[str, ...]:
    """Write one file: uncompressed, or no two dumps would have a block in common."""
    return (
        "pg_dump", "--format=custom", "--compress=0", "--no-password", f"--host={FOLDER}",
        f"--username={require(ROLE, role, 'database role')}", "--lock-wait-timeout=60s", f"--file={DUMP_FILE}",
        f"--dbname={require(DATABASE, database, 'database name')}",
    )  # fmt: skip


def load(database: str, role: str) -> tuple[str, ...]:
    """Read a dump into an empty database; no owner, no right and no error of the dump's counts there."""
    return (
        "pg_restore", "--no-owner", "--no-acl", "--exit-on-error", "--no-password", f"--jobs={RESTORE_JOBS}",
        f"--host={FOLDER}", f"--username={require(ROLE, role, 'database role')}", f"--dbname={database}", DUMP_FILE,
    )  # fmt: skip


def as_text() -> tuple[str, ...]:
    """Turn a dump into what psql, and so Odoo's database manager, reads; this asks no server."""
    return ("pg_restore", "--no-owner", "--no-acl", f"--file={FOLDER}/{load_dump.PLAIN}", DUMP_FILE)


def load_brought(database: str, role: str) -> tuple[str, ...]:
    """Load whatever dump stands there; a plain one without psql, which would run what it says (`load_dump.py`)."""
    user, name = require(ROLE, role, "database role"), require(DATABASE, database, "database name")
    return (PYTHON, f"{FOLDER}/{LOADER}", f"--username={user}", f"--dbname={name}")


def loader_script() -> str:
    return Path(load_dump.__file__).read_text("utf-8")


def serve() -> tuple[str, ...]:
    """Boot Odoo in one process that nobody reaches and that runs no scheduled job."""
    options = ("--workers=0", "--max-cron-threads=0", "--http-interface=127.0.0.1")
    return (PYTHON, f"{FOLDER}/{SERVE}", "-c", CONFIG_FILE, *options)


def answers(host: str, database: str) -> tuple[str, ...]:
    """Ask the restored Odoo for its pages, and that they are of the restored database."""
    return (PYTHON, f"{HELPERS}/healthy.py", "--host", require(HOST, host, "host name"), "--database", database)


def pgpass(role: str, password: str) -> str:
    """Return libpq's password file."""
    shown = password.replace("\\", "\\\\").replace(":", "\\:")
    return f"*:*:*:{role}:{shown}\n"


def test_config(database: str, role: str, password: str, addons_paths: tuple[str, ...]) -> str:
    """Return the odoo.conf of a restored Odoo: one database, by the relay's socket.

    Without a dbfilter, with which Odoo would ask the database `postgres` what there is.
    """
    options = {
        "addons_path": ",".join(addons_paths),
        "data_dir": FOLDER,
        "db_host": FOLDER,
        "db_name": database,
        "db_password": password,
        "db_user": role,
        "list_db": "False",
        "logfile": "",
        "smtp_server": NO_MAIL_HOST,
    }
    return "\n".join(["[options]", *(f"{name} = {value}" for name, value in sorted(options.items())), ""])


def tool(
    names: Names,
    environment: Environment,
    reference: str,
    user: str,
    folder: str,
    name: str,
    argv: tuple[str, ...],
    *,
    config: bool = False,
) -> ContainerSpec:
    """Return a one-off; without a role's label it counts as none of the environment's containers.

    :param folder: the workspace's io/ on the droplet.
    :param config: an odoo.conf stands there.
    """
    configured = (Mount(f"{folder}/{TEST_CONFIG}", CONFIG_FILE, read_only=True),) if config else ()
    return ContainerSpec(
        name=f"{names.stack}-{names.slug}-{name}",
        image=reference,
        argv=argv,
        network=NO_NETWORK,
        # The token tells one operation's from the next one's of the same name.
        labels={"odooops.beside": names.key, "odooops.token": str(names.token)},
        user=user,
        mounts=(Mount(folder, FOLDER), *configured),
        environment={"PGPASSFILE": f"{FOLDER}/{PASSWORDS}", "PGAPPNAME": f"odooops-{name}", "HOME": FOLDER},
        memory_bytes=environment.limits.container_memory_bytes,
        cpus=environment.limits.cpus,
        stop_seconds=10,
    )
