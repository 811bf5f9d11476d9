"""What an agent costs that has nothing to do."""

from __future__ import annotations

import time
from typing import Any

import docker
from scripts.bench.registry import Goal, Row, bench, row
from scripts.bench.site import Site
from scripts.setup import engine

WATCH_SECONDS = 60
SETTLE_SECONDS = 15


@bench("idle_agent")
def idle_agent(site: Site) -> list[Row]:
    world = site.customer
    name = world.address.agent_container
    time.sleep(SETTLE_SECONDS)
    before = _stats(name)
    time.sleep(WATCH_SECONDS)
    after = _stats(name)
    used = (_cpu_ns(after) - _cpu_ns(before)) / 1e9
    return [
        row("idle agent: memory of its container", _memory_mb(after), "MB", Goal(at_most=60)),
        row("idle agent: resident memory of its processes", _resident_mb(name), "MB", Goal(at_most=60)),
        row(f"idle agent: CPU, mean of {WATCH_SECONDS} s", 100 * used / WATCH_SECONDS, "% of a core", Goal()),
    ]


def _stats(name: str) -> dict[str, Any]:
    client = docker.from_env()
    try:
        return dict(client.containers.get(name).stats(stream=False))
    finally:
        client.close()


def _memory_mb(stats: dict[str, Any]) -> float:
    """Return what `docker stats` shows: all but the page cache that can be dropped."""
    memory = stats["memory_stats"]
    cache = memory["stats"].get("inactive_file", memory["stats"].get("total_inactive_file", 0))
    return float(memory["usage"] - cache) / 1e6


def _cpu_ns(stats: dict[str, Any]) -> int:
    return int(stats["cpu_stats"]["cpu_usage"]["total_usage"])


def _resident_mb(name: str) -> float:
    """Return the resident memory of all processes in the container: Docker's small init and the agent."""
    rows = engine.docker("top", name, "-eo", "pid,rss").splitlines()[1:]
    return sum(int(row.split()[1]) for row in rows) * 1024 / 1e6
