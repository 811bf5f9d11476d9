"""Import Odoo and the addons before they are needed, then wait at a gate.

Most of Odoo's start is Python reading the addons' code, which needs no database. So what comes under a hold does that
while the old release still serves, and waits until its gate, a file, is gone. The file names the modules to import,
one a line, dependencies first.

/tmp/odooops-standby appears when all is imported; it is empty, or says what could not be.
"""

from __future__ import annotations

import time
import traceback
from pathlib import Path

READY = Path("/tmp/odooops-standby")  # noqa: S108 within the container
POLL_SECONDS = 0.02


def import_and_wait(gate: Path) -> None:
    """Import, tell, and wait for the gate; with a problem, wait for the end. Odoo is configured already."""
    try:
        import_all(gate.read_text(encoding="utf-8").split())
    except Exception as error:  # noqa: BLE001 whatever it is, the agent tells it
        traceback.print_exc()
        say_ready(f"{error}\n")
        while True:
            time.sleep(1)
    say_ready("")
    while gate.exists():
        time.sleep(POLL_SECONDS)


def import_all(modules: list[str]) -> None:
    """Import the modules the way the registry would later (odoo/modules/module.py)."""
    from odoo.modules.module import load_openerp_module
    from odoo.service import server

    server.load_server_wide_modules()
    for module in modules:
        try:
            load_openerp_module(module)
        except Exception as error:
            raise ImportError(f"Addon {module} can't be imported: {error!r}") from error


def say_ready(problem: str) -> None:
    passing = READY.with_suffix(".new")
    passing.write_text(problem, encoding="utf-8")
    passing.replace(READY)
