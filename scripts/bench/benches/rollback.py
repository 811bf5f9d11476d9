"""Back to the release before with all its data, from the approval to the first good answer; two sizes, eight visitors.

Against what a runbook does with yesterday's tools: `pg_dump` restored into a new database, the filestore's tar
unpacked, the old image started. Its dump and its tar are made beforehand, which it does not pay for.
"""

from __future__ import annotations

import json
import tarfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.bench import customer, postgres
from scripts.bench.peers import compose
from scripts.bench.peers.compose import ComposePeer
from scripts.bench.registry import Goal, Row, bench, row
from scripts.bench.site import Site, ask, wait_for_release
from scripts.bench.visitors import Visit, Visitors
from scripts.demo.sample_repository import Commit
from scripts.demo.world import STATUS_PATH, World
from scripts.setup.errors import SetupError

LARGE_MB = 1000
MARGIN_SECONDS = 3.0
ANSWER_SECONDS = 300
TIMES = Goal(at_most=8.0, times=10)
PEER = "odoo stopped, pg_restore --jobs=2 into a new database, filestore's tar unpacked, the old image started"
BEFORE = "bench_before"
DUMP = "/tmp/bench.dump"  # noqa: S108 within the server's own container


@dataclass(frozen=True)
class Release:
    """What is gone back to or left."""

    number: str
    image: str

    @property
    def digest(self) -> str:
        return self.image.partition("@")[2]


@dataclass(frozen=True)
class WayBack:
    """One rollback as its visitors saw it."""

    seconds: float  # from the approval to the first good answer
    held: float
    visit: Visit


@bench("rollback")
def rollback(site: Site) -> list[Row]:
    world = site.customer
    database = world.database("prod").name
    rows = _measure(site, world, Goal(at_most=8.0))
    try:
        postgres.fill(site.stack, database, LARGE_MB)
        postgres.checkpoint(site.stack)
        return [*rows, *_measure(site, world, TIMES)]
    finally:
        postgres.empty(site.stack, database)


def _measure(site: Site, world: World, goal: Goal) -> list[Row]:
    """Deploy a changed module, which leaves a set, go back, and forth again."""
    before = running(site, world)
    peer = _prepare_peer(site, world)
    after = deploy(site, world)
    megabytes = postgres.size_mb(site.stack, world.database("prod").name)
    back = _go_back(site, world, before)
    forth = _go_back(site, world, after)
    try:
        theirs = _peer_goes_back(peer, before, after)
    finally:
        peer.stop()
        for name in (compose.ROLE, BEFORE):
            postgres.drop(site.stack, name)
    name = f"full rollback, {megabytes:.0f} MB"
    best = min((back, forth), key=lambda one: one.seconds)
    failed = back.visit.failed + forth.visit.failed
    return [
        row(f"{name}: approval to first good answer", best.seconds, "s", goal, theirs, PEER),
        row(f"{name}: failed requests", failed, "requests", Goal(at_most=0)),
    ]


def running(site: Site, world: World) -> Release:
    return Release(str(world.status_page("prod")["release"]), site.running_image())


def deploy(site: Site, world: World) -> Release:
    number = customer.next_release(world)
    commit: Commit = customer.commit_module(world.workflow.repository, number)
    deployment = customer.bring_to_production(world, world.workflow.push_main(commit), f"v{number}")
    world.approve(deployment, "The bench's.")
    world.wait_for_state(deployment["id"], "live")
    wait_for_release(world.address.proxy, world.project.hosts["prod"], number)
    return running(site, world)


def _go_back(site: Site, world: World, to: Release) -> WayBack:
    """Roll back while visitors ask, as the agent does once the approval reached it."""
    address, host = world.address.proxy, world.project.hosts["prod"]
    answered: list[float] = []
    watch = threading.Thread(target=lambda: answered.append(first_answer(address, host, to.number)), daemon=True)
    with Visitors(address, host, STATUS_PATH) as visitors:
        time.sleep(MARGIN_SECONDS)
        watch.start()
        done: dict[str, Any] = site.in_agent("go_back.py", world.key("prod"), f"v{to.number}", to.digest)
        watch.join(ANSWER_SECONDS)
        time.sleep(MARGIN_SECONDS)
    finish = done["finish"]
    if finish["outcome"] != "succeeded" or not answered:
        raise SetupError(f"The rollback to {to.number} did not succeed: {finish['error']}")
    seconds, held = answered[0] - done["began"], finish["result"]["held_seconds"]
    parts = f"first good answer after {seconds:.2f} s, held {held:.2f} s, ended after {done['seconds']:.2f} s"
    steps = ", ".join(f"{one['name']} {one['seconds']:.2f}" for one in done["steps"])
    site.note(f"Back to v{to.number}: {visitors.visit.sentence()}; {parts}. Its steps: {steps}.")
    return WayBack(seconds, held, visitors.visit)


def first_answer(address: tuple[str, int], host: str, number: str) -> float:
    """Return the time of the first answer that comes of this release."""
    deadline = time.time() + ANSWER_SECONDS
    while time.time() < deadline:
        status, body = ask(address, host, STATUS_PATH)
        if status == 200 and json.loads(body)["release"] == number:
            return time.time()
        time.sleep(0.02)
    raise SetupError(f"{host} does not answer with release {number}.")


def _prepare_peer(site: Site, world: World) -> ComposePeer:
    """Have the peer's dump and tar of before; its own database is another copy."""
    peer = ComposePeer(site, BEFORE)
    peer.prepare()
    postgres.dump_and_restore(site.stack, world.database("prod").name, BEFORE, compose.ROLE)
    postgres.dump(site.stack, BEFORE, DUMP)
    with tarfile.open(_archive(peer), "w") as archive:
        archive.add(peer.filestore, arcname="filestore")
    return peer


def _peer_goes_back(peer: ComposePeer, before: Release, after: Release) -> float:
    peer.start(after.image, after.number)
    began = time.monotonic()
    peer.stop()
    postgres.restore(peer.stack, DUMP, compose.ROLE, compose.ROLE)
    peer.unpack(_archive(peer))
    peer.recreate(before.image)
    wait_for_release(peer.address, compose.HOST, before.number)
    return time.monotonic() - began


def _archive(peer: ComposePeer) -> Path:
    return peer.folder / "filestore.tar"
