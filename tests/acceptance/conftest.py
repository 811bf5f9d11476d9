"""One running stack for all acceptance tests, and the demo's story told in it once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scripts.demo import earlier, opening, story
from scripts.demo.console import Console
from scripts.demo.timeline import Timeline
from scripts.demo.world import World
from scripts.setup.progress import Progress
from scripts.setup.stack import Stack

from .fake_droplet import FakeDroplet

# Projects of these tests; a demo that somebody looks at in the same stack keeps its own.
STORY, GARAGE, PAPER = "story", "garage", "paper"


@dataclass(frozen=True)
class Told:
    """The story's world afterwards, what it claimed, and the file it wrote."""

    world: World
    summary: dict[str, Any]
    file: dict[str, Any]

    @property
    def claims(self) -> dict[str, bool]:
        return dict(self.world.claims)

    def events(self, name: str, environment: str | None = None, tag: str | None = None) -> list[dict[str, Any]]:
        wanted = {"event": name, "environment": environment, "tag": tag}
        return [one for one in self.file["events"] if all(value in (None, one[key]) for key, value in wanted.items())]


@pytest.fixture(scope="session")
def progress() -> Progress:
    return Progress()


@pytest.fixture(scope="session")
def stack(progress: Progress) -> Iterator[Stack]:
    stack = Stack.load().ensure_up(progress)
    yield stack
    for family in (STORY, GARAGE, PAPER):
        earlier.remove(stack, family)


@pytest.fixture(scope="session")
def told(stack: Stack, progress: Progress, tmp_path_factory: pytest.TempPathFactory) -> Told:
    path: Path = tmp_path_factory.mktemp("story") / "demo.json"
    earlier.remove(stack, STORY)
    world = opening.open_world(stack, Timeline(path, progress.seconds), STORY)
    summary = story.tell(world)
    return Told(world, summary, json.loads(path.read_text()))


@pytest.fixture(scope="session")
def world(told: Told) -> World:
    """The story's world once it is over: stage on v1.2.0, prod on v1.1.0."""
    assert told.summary["ok"], list(told.world.untrue())
    return told.world


@pytest.fixture(scope="session")
def admin(stack: Stack) -> Console:
    return Console(stack.console_url, stack.control_database, "admin", stack.admin_password)


@pytest.fixture(scope="session")
def droplet(stack: Stack, admin: Console) -> Iterator[FakeDroplet]:
    """A droplet on paper: its agent is played by hand, so that no Odoo has to start."""
    known = admin.call("odooops.agent", "search_count", [], context={"active_test": False})
    droplet = FakeDroplet(admin, stack.console_url, f"{PAPER}-{known}")
    yield droplet
    admin.write("odooops.agent", droplet.id, active=False)
