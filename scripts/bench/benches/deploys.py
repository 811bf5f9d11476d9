"""What eight visitors see of a deploy: code only, and with one changed module. Against Compose, same change."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from scripts.bench import customer, postgres
from scripts.bench.peers import compose
from scripts.bench.peers.compose import ComposePeer
from scripts.bench.registry import Goal, Row, bench, row
from scripts.bench.site import Site, wait_for_release
from scripts.bench.visitors import Visit, Visitors
from scripts.demo.ci import Built
from scripts.demo.sample_repository import Commit
from scripts.demo.world import STATUS_PATH, World

MODULE = "workshop"
# The load runs a little before and after, so that it sees the whole change.
MARGIN_SECONDS = 3.0
BEFORE = "bench_before"
RECREATE = "docker compose up -d --force-recreate, direct port"
UPDATE_AFTER = "docker compose up -d --force-recreate, then odoo -u in it; direct port"
UPDATE_BEFORE = (
    "odoo -u in a one-off of the new image while the old one serves, then up -d --force-recreate; direct port"
)


@dataclass
class Change:
    """One release, as ours and the peers' visitors saw it come."""

    release: str
    built: Built
    ours: Visit
    deployment: dict[str, Any]
    peers: dict[str, Visit] = field(default_factory=dict)
    update_alone_seconds: float = 0.0  # `odoo -u` of the same change by itself, nobody asking


@bench("deploys")
def deploys(site: Site) -> list[Row]:
    world = site.customer
    first = _running(site, world)
    peer = ComposePeer(site, BEFORE)
    peer.prepare()
    postgres.dump_and_restore(site.stack, world.database("prod").name, BEFORE, compose.ROLE)
    code = _deploy(site, world, customer.commit_static)
    module = _deploy(site, world, customer.commit_module)
    try:
        _peers(peer, first, code, module)
    finally:
        peer.stop()
        for database in (compose.ROLE, BEFORE):
            postgres.drop(site.stack, database)
    return [*_rows("deploy, code only", code, Goal(at_most=1.0)), *_module_rows(module)]


def _deploy(site: Site, world: World, make: Callable[..., Commit]) -> Change:
    """Bring a new release to production while visitors ask."""
    release = customer.next_release(world)
    built = world.workflow.push_main(make(world.workflow.repository, release))
    deployment = customer.bring_to_production(world, built, f"v{release}")
    host = world.project.hosts["prod"]
    with Visitors(world.address.proxy, host, STATUS_PATH) as visitors:
        time.sleep(MARGIN_SECONDS)
        world.approve(deployment, "The bench's.")
        done = world.wait_for_state(deployment["id"], "live")
        wait_for_release(world.address.proxy, host, release)
        time.sleep(MARGIN_SECONDS)
    visit = visitors.visit
    measured = f"held {done['held_seconds']:.2f} s, update {done['update_seconds']:.2f} s"
    site.note(f"v{release}: {visit.sentence()}; {measured}. Its steps: {_steps(site, world)}.")
    return Change(release, built, visit, done)


def _peers(peer: ComposePeer, first: tuple[str, str], code: Change, module: Change) -> None:
    peer.start(*first)
    code.peers[RECREATE] = _watch(peer, code.release, lambda: peer.recreate(code.built.image))

    def update_after() -> None:
        peer.recreate(module.built.image)
        peer.update(MODULE)

    module.peers[UPDATE_AFTER] = _watch(peer, module.release, update_after)

    peer.start(code.built.image, code.release)
    began = time.monotonic()
    peer.update_aside(module.built.image, MODULE)
    module.update_alone_seconds = time.monotonic() - began

    def update_before() -> None:
        peer.update_aside(module.built.image, MODULE)
        peer.recreate(module.built.image)

    peer.start(code.built.image, code.release)
    module.peers[UPDATE_BEFORE] = _watch(peer, module.release, update_before)


def _watch(peer: ComposePeer, release: str, act: Callable[[], None]) -> Visit:
    with Visitors(peer.address, compose.HOST, STATUS_PATH) as visitors:
        time.sleep(MARGIN_SECONDS)
        act()
        wait_for_release(peer.address, compose.HOST, release)
        time.sleep(MARGIN_SECONDS)
    return visitors.visit


def _rows(name: str, change: Change, longest: Goal) -> list[Row]:
    ours, rows = change.ours, []
    for about, theirs in change.peers.items():
        rows += [
            row(f"{name}: failed requests", ours.failed, "requests", Goal(at_most=0), theirs.failed, about),
            row(f"{name}: longest wait", ours.longest_wait_seconds, "s", longest, theirs.longest_wait_seconds, about),
        ]
    return rows


def _module_rows(change: Change) -> list[Row]:
    """The update's own time is that of a plain `odoo -u` in a one-off: ours imports its code before the hold."""
    update = change.update_alone_seconds
    return _rows(f"deploy, one module (odoo -u alone {update:.1f} s)", change, Goal(at_most=round(update + 2, 2)))


def _running(site: Site, world: World) -> tuple[str, str]:
    return site.running_image(), str(world.status_page("prod")["release"])


def _steps(site: Site, world: World) -> str:
    steps = site.in_agent("steps.py", world.key("prod"))
    return ", ".join(f"{one['name']} {one['ended'] - one['began']:.2f}" for one in steps)
