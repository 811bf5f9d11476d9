"""Install and update modules, then judge the result, in one process: the one-off under the hold.

`update.py --database DB [--update a,b] [--install c] [--baseline FILE] [--verify-only] [--gate FILE] [-- ODOO OPTIONS]`

Does what `odoo -u … -i … --stop-after-init` does, but that command can exit 0 with errors logged and
modules half updated. So the verdict follows at once, on the registry that is loaded anyway. The last line
on stdout is `ODOOOPS_VERDICT {"ok": …, "errors": […], "modules_left": […], "updated": […], "notes": […],
"log_errors": […], "seconds": …}`; the exit code is 0 or 1, or 143 after SIGTERM. `log_errors` are the
normalised lines that a later run may take as its baseline.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import re
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import preload
import verdict

MODULE_NAMES = re.compile(r"\w{1,256}(,\w{1,256})*", re.ASCII)
ABORTED = 128 + signal.SIGTERM
# What Odoo logs after the exception that says why.
FOLLOWS_FAILURE = "odoo.registry: Failed to load registry"
_logger = logging.getLogger("odooops.update")


@dataclass
class Verdict:
    ok: bool = False
    errors: list[str] = field(default_factory=list)
    modules_left: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    log_errors: list[str] = field(default_factory=list)
    seconds: float = 0.0


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="/etc/odoo/odoo.conf")
    parser.add_argument("--database", required=True)
    parser.add_argument("--update", type=module_names, default=[])
    parser.add_argument("--install", type=module_names, default=[])
    parser.add_argument("--baseline", type=Path, help="error lines of the last green deployment, one a line")
    parser.add_argument("--admin-password-file", type=Path, help="the administrator's, when the database is new")
    parser.add_argument("--verify-only", action="store_true", help="change nothing; --update names modules to check")
    parser.add_argument("--gate", type=Path, help="import the code, then wait until this file is gone (preload.py)")
    parser.add_argument("odoo_options", nargs="*", help="more options for odoo, after --")
    return parser.parse_args(argv)


def module_names(text: str) -> list[str]:
    if not MODULE_NAMES.fullmatch(text) or "all" in text.split(","):
        raise argparse.ArgumentTypeError("must be names of modules with commas between")
    return text.split(",")


def run(options: argparse.Namespace) -> Verdict:
    """Do the update and return its verdict; whatever goes wrong is in it."""
    found = Verdict()
    baseline = options.baseline.read_text(encoding="utf-8").splitlines() if options.baseline else []
    errors_logged = verdict.ErrorLog()
    findings: list[str] = []
    try:
        configure(options)
        logging.getLogger().addHandler(errors_logged)
        if options.gate:
            require_gate(options.gate)
            preload.import_and_wait(options.gate)
        load_server_wide_modules()
        registry = update(options, found)
        logging.getLogger().removeHandler(errors_logged)
        if registry is not None:
            findings = judge(registry, options, found)
    except (Exception, SystemExit) as error:  # whatever it is, it is the verdict
        _logger.debug("update failed", exc_info=True)
        found.errors.append(f"The update failed: {verdict.describe(error)}")
        note_modules_left(options, found)
    findings += [line for line in errors_logged.lines if line != FOLLOWS_FAILURE]
    found.log_errors = sorted({verdict.normalise(line) for line in findings})
    found.errors += verdict.new_errors(findings, baseline)
    found.errors += [f"Module {name} is left unfinished" for name in found.modules_left]
    found.ok = not found.errors
    return found


def configure(options: argparse.Namespace) -> None:
    from odoo.tools import config

    argv = ["-c", options.config, "-d", options.database, "--no-http", "--workers=0", "--max-cron-threads=0"]
    # To stderr, whatever the file says: the agent streams it.
    argv += ["--stop-after-init", "--logfile="]
    if options.update and not options.verify_only:
        argv += ["-u", ",".join(options.update)]
    if options.install and not options.verify_only:
        argv += ["-i", ",".join(options.install)]
    config.parse_config([*argv, *options.odoo_options], setup_logging=True)


def require_gate(gate: Path) -> None:
    """Refuse to run when started a second time, by whomever: the database may be in use by now."""
    if not gate.exists():
        raise SystemExit(f"The gate {gate} is gone, so this update had its turn already: deploy again")


def load_server_wide_modules() -> None:
    from odoo.service import server

    server.load_server_wide_modules()


def update(options: argparse.Namespace, found: Verdict):
    """Load the registry the way `odoo` does (odoo/service/server.py, preload_registries)."""
    from odoo.modules import db
    from odoo.orm.registry import Registry
    from odoo.sql_db import db_connect

    with db_connect(options.database).cursor() as cr:
        initialized = db.is_initialized(cr)
    if options.verify_only and not may_verify(options, initialized, found):
        return None
    if not initialized:
        create_extensions(options.database)
    threading.current_thread().dbname = options.database
    install, upgrade = ([], []) if options.verify_only else (options.install, options.update)
    registry = Registry.new(
        options.database,
        update_module=bool(install or upgrade),
        install_modules=install,
        upgrade_modules=upgrade,
    )
    found.updated = sorted(set(registry.updated_modules))
    if not initialized:
        set_admin_password(registry, options.admin_password_file, found)
    return registry


def may_verify(options: argparse.Namespace, initialized: bool, found: Verdict) -> bool:
    """Refuse to load a registry that would start an update by itself, or has nothing to load."""
    from odoo.sql_db import db_connect

    if not initialized:
        found.errors.append(f"Odoo is not installed in database {options.database}")
        return False
    with db_connect(options.database).cursor() as cr:
        found.modules_left = verdict.modules_left(cr)
    return not found.modules_left


def create_extensions(database: str) -> None:
    """Create what Odoo would when it creates a database itself; both are trusted extensions.

    Without them Odoo works, and searches slower.
    """
    import psycopg2
    from odoo.sql_db import db_connect
    from odoo.tools import config

    statements = ["CREATE EXTENSION IF NOT EXISTS pg_trgm"]
    if config["unaccent"]:
        statements.append("CREATE EXTENSION IF NOT EXISTS unaccent")
    for statement in statements:
        try:
            with db_connect(database).cursor() as cr:
                cr.execute(statement, log_exceptions=False)
        except psycopg2.Error as error:
            _logger.warning("%s: %s", statement, verdict.sentence(error))


def set_admin_password(registry, file: Path | None, found: Verdict) -> None:
    from odoo import SUPERUSER_ID, api

    if file is None:
        found.notes.append("The new database's administrator has Odoo's default password: change it")
        return
    with registry.cursor() as cr:
        admin = api.Environment(cr, SUPERUSER_ID, {}).ref("base.user_admin")
        admin.password = file.read_text(encoding="utf-8").strip()


def judge(registry, options: argparse.Namespace, found: Verdict) -> list[str]:
    """Add to the verdict what the database and the registry tell; return what a baseline may excuse."""
    from odoo import SUPERUSER_ID, api

    with registry.cursor() as cr:
        env = api.Environment(cr, SUPERUSER_ID, {})
        found.modules_left = verdict.modules_left(cr)
        if not options.verify_only:
            found.errors += verdict.missed_modules(cr, options.install, options.update, found.updated)
        findings = verdict.broken_views(env, found.updated or options.update)
        error, note = verdict.probe(env)
        found.errors += [error] if error else []
        found.notes += [note] if note else []
        cr.rollback()  # nothing of the checks stays
    return findings


def note_modules_left(options: argparse.Namespace, found: Verdict) -> None:
    from odoo.sql_db import db_connect

    try:
        with db_connect(options.database).cursor() as cr:
            found.modules_left = verdict.modules_left(cr)
    except Exception:  # no connection, or no Odoo in it: the first error said so
        _logger.debug("modules' states can't be read", exc_info=True)


def listen_to_signals(started: float) -> None:
    """End at once on SIGTERM, even inside a long SQL statement, where Python's own handlers wait."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.signal(signal.SIGTERM, lambda *_: None)  # process 1 ignores what it has no handler for
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def listen() -> None:
        while os.read(read, 1)[0] != signal.SIGTERM:
            pass
        _cancel_statements()
        aborted = Verdict(errors=["The update was aborted"], seconds=round(time.monotonic() - started, 2))
        finish(aborted, ABORTED)

    threading.Thread(target=listen, name="signals", daemon=True).start()


def _cancel_statements() -> None:
    pool = getattr(sys.modules.get("odoo.sql_db"), "_Pool", None)
    for connection in list(getattr(pool, "_connections", ())):
        with contextlib.suppress(Exception):  # closed meanwhile
            connection.cancel()


def finish(found: Verdict, code: int) -> None:
    """Print the verdict and end, without waiting for threads that an addon may have left."""
    sys.stderr.flush()
    sys.stdout.write(f"ODOOOPS_VERDICT {json.dumps(asdict(found), ensure_ascii=False)}\n")
    sys.stdout.flush()
    os._exit(code)


def main(argv: list[str]) -> None:
    started = time.monotonic()
    listen_to_signals(started)
    found = run(parse(argv))
    found.seconds = round(time.monotonic() - started, 2)
    finish(found, 0 if found.ok else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
