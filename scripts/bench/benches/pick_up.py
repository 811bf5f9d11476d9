"""From an operation queued in Odoo to its first step, started by an idle agent."""

from __future__ import annotations

import random

from scripts.bench.figures import percentile
from scripts.bench.registry import Goal, Row, bench, row
from scripts.bench.site import Site

TIMES = 200
AT_ONCE = 50  # the agent's journal keeps the last 200 operations
POLL_SECONDS = 3.0
PEER = "computed: an agent that asks every 3 s, as GitLab's runner does, and starts at once"


@bench("pick_up")
def pick_up(site: Site) -> list[Row]:
    key = site.customer.key("prod")
    seconds = [one for part in range(TIMES // AT_ONCE) for one in _part(site, key, part)]
    polled = _polled(len(seconds))
    return [
        row(f"from queued to its first step, {name} of {len(seconds)}", 1000 * percentile(seconds, percent), "ms",
            Goal(at_most=limit), 1000 * percentile(polled, percent), PEER)
        for name, percent, limit in (("p50", 50, 150), ("p99", 99, 600))
    ]  # fmt: skip


def _part(site: Site, key: str, seed: int) -> list[float]:
    queued = site.in_control("enqueue_plans.py", environment=key, times=AT_ONCE, seed=seed)
    numbers = sorted(map(int, queued))
    began = site.in_agent("first_steps.py", str(numbers[0]), str(numbers[-1]))
    return [began[number] - queued[number] for number in queued]


def _polled(count: int) -> list[float]:
    draw = random.Random(1)  # noqa: S311 no secret depends on it
    return [draw.uniform(0, POLL_SECONDS) for _ in range(count)]
