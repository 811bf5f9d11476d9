"""What is run inside Odoo's containers: argv lists, no shell. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ..names import CONFIG_FILE, DATA_DIR, DATABASE, HELPERS, HOST, MODULE, STANDBY_READY, require

PYTHON = "odooops-python"
SERVER = (PYTHON, f"{HELPERS}/server/odoo")


def web(config: str = CONFIG_FILE) -> tuple[str, ...]:
    """Serve requests and websockets and run no scheduled job."""
    return (*SERVER, "--", "-c", config, "--max-cron-threads=0")


def standby(gate: str, config: str = CONFIG_FILE) -> tuple[str, ...]:
    """Be `web`, once the gate is gone: what takes long of its start is done while the old release still serves.

    :param gate: a file below the data directory.
    """
    return (*SERVER, "--gate", f"{DATA_DIR}/{gate}", *web(config)[len(SERVER) :])


def is_ready() -> tuple[str, ...]:
    """Succeed once a container in waiting has imported what it can; prints what it could not."""
    return ("cat", STANDBY_READY)


def cron(workers: int, connections: int, config: str = CONFIG_FILE) -> tuple[str, ...]:
    """Run scheduled jobs and serve nobody.

    Prefork without HTTP has cron workers only (odoo/service/server.py, PreforkServer.process_spawn); unlike
    threads, a worker whose job hangs can be killed and is replaced.
    """
    return (
        *SERVER, "--", "-c", config, "--no-http", "--workers=1", f"--max-cron-threads={workers}",
        f"--db_maxconn={connections}",
    )  # fmt: skip


def update(
    database: str,
    to_update: Iterable[str],
    to_install: Iterable[str],
    *,
    baseline: str | None = None,
    admin_password: str | None = None,
    languages: Iterable[str] = (),
    gate: str | None = None,
) -> tuple[str, ...]:
    """Update and install modules, then judge the result in the same process.

    :param gate: a file below the data directory; the code is imported first, the database waits until it is gone.
    :param baseline: a file below the data directory with the error lines of the last green deployment.
    :param admin_password: a file below the data directory with a new database's administrator password.
    """
    argv = [PYTHON, f"{HELPERS}/update.py", "--config", CONFIG_FILE, "--database", database]
    for option, modules in (("--update", to_update), ("--install", to_install)):
        names = [require(MODULE, name, "module name") for name in modules]
        argv += [option, ",".join(names)] if names else []
    argv += ["--gate", f"{DATA_DIR}/{gate}"] if gate else []
    argv += ["--baseline", f"{DATA_DIR}/{baseline}"] if baseline else []
    argv += ["--admin-password-file", f"{DATA_DIR}/{admin_password}"] if admin_password else []
    codes = [code for code in languages if code != "en_US"]
    argv += ["--", f"--load-language={','.join(codes)}"] if codes else []
    return tuple(argv)


def warm(host: str, limit_seconds: int, *, websocket: bool = True) -> tuple[str, ...]:
    """Ask pages until every worker has answered one, and the websocket process too if it is to be waited for."""
    argv = (PYTHON, f"{HELPERS}/warm.py", "--host", require(HOST, host, "host name"), f"--limit={limit_seconds}")
    return argv if websocket else (*argv, "--no-websocket")


def healthy(host: str, database: str) -> tuple[str, ...]:
    """Ask /web/health and /web/login once, and that no other database is served."""
    argv = (PYTHON, f"{HELPERS}/healthy.py", "--host", require(HOST, host, "host name"))
    return (*argv, "--database", require(DATABASE, database, "database name"))
