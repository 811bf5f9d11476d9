"""Production's data to a verified staging that answers, asked for as a workflow does, while visitors use production.

Against two ways without our agent, on the same server with the same image: `pg_dump | pg_restore`, `odoo neutralize`,
a start; and Odoo's own `odoo db duplicate -n`, a start. Neither proves anything, and the second ends every session of
what it copies, so it gets a copy that nobody uses. The filestore lies at the peers' place before they begin.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from scripts.bench import postgres
from scripts.bench.benches.rollback import LARGE_MB, Release, deploy, first_answer, running
from scripts.bench.peers import compose
from scripts.bench.peers.compose import ComposePeer
from scripts.bench.registry import Goal, Row, bench, row
from scripts.bench.site import Site, wait_for_release
from scripts.bench.visitors import Visit, Visitors
from scripts.demo.world import STATUS_PATH, World
from scripts.setup.errors import SetupError

MARGIN_SECONDS = 3.0
CLONE_SECONDS = 300
SMALL, LARGE = Goal(at_most=8.0), Goal(times=5)
RESTORE = "pg_dump -Fc -Z0 | pg_restore within the server's container, odoo neutralize, odoo started"
DUPLICATE = "odoo db duplicate -n of a copy that nobody uses, odoo started"
BEFORE = "bench_before"


@dataclass(frozen=True)
class Copy:
    """One clone, from the request to the first answer of the copy, and what production's visitors saw of it."""

    seconds: float
    visit: Visit


@bench("clone")
def clone(site: Site) -> list[Row]:
    world = site.customer
    database = world.database("prod").name
    rows = _measure(site, world, SMALL)
    try:
        postgres.fill(site.stack, database, LARGE_MB)
        postgres.checkpoint(site.stack)
        return [*rows, *_measure(site, world, LARGE)]
    finally:
        postgres.empty(site.stack, database)


def _measure(site: Site, world: World, goal: Goal) -> list[Row]:
    """Deploy a changed module, which leaves the set that staging becomes a copy of."""
    before = running(site, world)
    after = deploy(site, world)
    megabytes = postgres.size_mb(site.stack, world.database("prod").name)
    postgres.checkpoint(site.stack)
    copy = _copy(site, world, before, after)
    theirs = _peers(site, world, after)
    name = f"clone to staging, {megabytes:.0f} MB"
    return [
        row(f"{name}: request to the proven copy's first answer", copy.seconds, "s", goal, theirs[RESTORE], RESTORE),
        row(f"{name}: against Odoo's own", copy.seconds, "s", Goal(), theirs[DUPLICATE], DUPLICATE),
        row(f"{name}: failed requests on production", copy.visit.failed, "requests", Goal(at_most=0)),
    ]


def _copy(site: Site, world: World, before: Release, after: Release) -> Copy:
    """Have staging, which runs `after`, become the copy, which runs `before`; then staging's own release comes back."""
    host, answered = world.project.hosts["stage"], []
    wait_for_release(world.address.proxy, host, after.number)
    watch = threading.Thread(
        target=lambda: answered.append(first_answer(world.address.proxy, host, before.number)), daemon=True
    )
    with Visitors(world.address.proxy, world.project.hosts["prod"], STATUS_PATH) as visitors:
        time.sleep(MARGIN_SECONDS)
        watch.start()
        began = time.time()
        asked = world.ci.call("odooops.environment", "clone", environment=world.key("stage"))
        made = _wait_for_copy(world, asked.body)
        watch.join(CLONE_SECONDS)
        time.sleep(MARGIN_SECONDS)
    if not answered:
        raise SetupError(f"{host} did not answer with the copy's release {before.number}.")
    seconds, held = answered[0] - began, made["held_seconds"]
    parts = f"the agent's own part {made['seconds']:.2f} s, staging held {held:.2f} s, {len(made['checks'])} checks"
    seen = f"production: {visitors.visit.sentence()}"
    site.note(f"A copy in {seconds:.2f} s: {parts}; {seen}. Its steps: {_steps(site, world)}.")
    wait_for_release(world.address.proxy, host, after.number)
    return Copy(seconds, visitors.visit)


def _wait_for_copy(world: World, asked: dict[str, Any]) -> dict[str, Any]:
    """Return the copy once it is done and proven.

    :raises SetupError: it was refused, or ended otherwise
    """
    if "id" not in asked:
        raise SetupError(f"The copy was refused: {asked}")

    def ended() -> dict[str, Any] | None:
        fields = ["state", "error_message", "seconds", "held_seconds", "checks"]
        found = world.admin.read("odooops.clone", asked["id"], fields)
        return found if found["state"] in ("waiting", "done", "failed", "cancelled") else None

    made: dict[str, Any] = world.wait_for("the copy", ended, CLONE_SECONDS)
    if made["state"] != "done" or not all(one["ok"] for one in made["checks"]):
        raise SetupError(f"The copy is {made['state']}: {made['error_message']}")
    return made


def _peers(site: Site, world: World, after: Release) -> dict[str, float]:
    """Return each peer's seconds from production's data to Odoo's first answer."""
    source, peer = world.database("prod").name, ComposePeer(site, BEFORE)
    peer.prepare()
    try:
        began = time.monotonic()
        postgres.dump_and_restore(site.stack, source, compose.ROLE, compose.ROLE)
        peer.neutralise(after.image)
        restored = _started(peer, after, began)
        peer.stop()
        postgres.drop(site.stack, compose.ROLE)
        postgres.dump_and_restore(site.stack, source, BEFORE, compose.ROLE)
        postgres.let_make_databases(site.stack, compose.ROLE, may=True)
        postgres.checkpoint(site.stack)
        began = time.monotonic()
        peer.duplicate(after.image)
        return {RESTORE: restored, DUPLICATE: _started(peer, after, began)}
    finally:
        peer.stop()
        # The agent makes no environment of a role that may do more than an environment's.
        postgres.let_make_databases(site.stack, compose.ROLE, may=False)
        for name in (compose.ROLE, BEFORE):
            postgres.drop(site.stack, name)


def _started(peer: ComposePeer, release: Release, began: float) -> float:
    peer.recreate(release.image)
    wait_for_release(peer.address, compose.HOST, release.number)
    return time.monotonic() - began


def _steps(site: Site, world: World) -> str:
    steps = site.in_agent("steps.py", world.key("stage"), "clone")
    return ", ".join(f"{one['name']} {one['ended'] - one['began']:.2f}" for one in steps)
