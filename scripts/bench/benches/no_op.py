"""Deciding that nothing needs updating, on a database with sale, stock, purchase, account, crm and project."""

from __future__ import annotations

from scripts.bench.peers.click_odoo import ClickOdoo
from scripts.bench.registry import Goal, Row, bench, row
from scripts.bench.site import Site

# The best of some tries, for both: what else the machine does only ever adds time.
TIMES = 15
PEER_TIMES = 7


@bench("no_op")
def no_op(site: Site) -> list[Row]:
    world = site.customer
    ours = site.in_agent("no_op_decision.py", world.key("prod"), str(TIMES))
    if ours["changes"] or ours["shape"] != "switch":
        raise RuntimeError(f"The agent would update {ours['changes']} on an environment that has its own release.")
    with ClickOdoo(site) as peer:
        theirs = peer.nothing_to_update(PEER_TIMES)
    what = f"deciding that nothing needs updating, {ours['modules']} modules installed"
    about = (
        "click-odoo-update 1.24, hashes recorded before, its whole process in a container of the same image; "
        "ours from reading the facts to the plan; the pull had read the manifest "
        f"({ours['manifest_seconds'] * 1000:.0f} ms)"
    )
    return [row(what, min(ours["seconds"]), "s", Goal(times=40), min(theirs), about)]
