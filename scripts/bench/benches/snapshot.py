"""A copy to go back to, and going back to it; and how both grow with the database."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from scripts.bench import postgres
from scripts.bench.registry import Goal, Row, bench, row
from scripts.bench.site import Site

ROLE = "bench_copy"
SMALL_MB, LARGE_MB = 70, 330
# The best of some tries, for both: what else the machine does only ever adds time.
TIMES, PEER_TIMES = 7, 3
PEER = "pg_dump -Fc -Z0 | pg_restore within the same server's container: as superuser, one job"


@dataclass(frozen=True)
class Size:
    """One database's figures, in seconds."""

    megabytes: float
    ours: float
    theirs: float


@bench("snapshot")
def snapshot(site: Site) -> list[Row]:
    small = _measure(site, SMALL_MB)
    large = _measure(site, LARGE_MB)
    rows = [_row(small, Goal(times=15)), _row(large, Goal())]
    per_100_mb = 100 / (large.megabytes - small.megabytes)
    ours, theirs = (large.ours - small.ours) * per_100_mb, (large.theirs - small.theirs) * per_100_mb
    return [*rows, row("snapshot and swap back: each further 100 MB costs", ours, "s", Goal(times=1), theirs, PEER)]


def _measure(site: Site, fill_to_mb: int) -> Size:
    stack, source = site.stack, site.customer.database("prod").name
    postgres.make_role(site, ROLE, secrets.token_urlsafe(12))
    postgres.dump_and_restore(stack, source, ROLE, ROLE)
    postgres.fill(stack, ROLE, fill_to_mb)
    postgres.checkpoint(stack)
    theirs = [postgres.dump_and_restore(stack, ROLE, f"{ROLE}_restored", ROLE) for _ in range(PEER_TIMES)]
    postgres.drop(stack, f"{ROLE}_restored")
    postgres.checkpoint(stack)
    ours = site.in_agent("copy_and_swap.py", ROLE, str(TIMES))
    best = min(ours["rounds"], key=lambda one: one["snapshot"] + one["swap"])
    parts = f"snapshot {best['snapshot']:.2f} s, swap {best['swap']:.2f} s"
    site.note(f"Copy of {ours['bytes'] / 1e6:.0f} MB by {best['strategy']}: {parts}.")
    postgres.drop(stack, ROLE)
    return Size(ours["bytes"] / 1e6, best["snapshot"] + best["swap"], min(theirs))


def _row(size: Size, goal: Goal) -> Row:
    return row(f"snapshot and swap back, {size.megabytes:.0f} MB", size.ours, "s", goal, size.theirs, PEER)
