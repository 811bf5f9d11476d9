"""How a release travels from a git tag to a healthy production: the chapters in their order."""

from __future__ import annotations

from typing import Any

import psycopg2

from scripts.setup.errors import SetupError

from . import chapters, going_back
from .ci import WorkflowError
from .console import RefusalError
from .world import StoryError, World

# OSError is what an unreachable console or proxy raises.
UNEXPECTED = (StoryError, WorkflowError, RefusalError, SetupError, OSError, psycopg2.Error)


def tell(world: World) -> dict[str, Any]:
    """Tell the story and write `.run/demo.json`; returns its summary, whose `ok` says whether all of it is true."""
    try:
        _tell_chapters(world)
    except UNEXPECTED as error:
        world.claim(f"the story could be told to its end: {error}", False)
    ok = not world.untrue() and not world.failed_requests
    return world.timeline.write(
        ok=ok,
        failed_requests=world.failed_requests,
        longest_wait_seconds=round(world.longest_wait_seconds, 2),
        console_url=world.address.console_url,
    )


def _tell_chapters(world: World) -> None:
    chapters.meet_the_agent(world)
    first = chapters.build_first_release(world)
    chapters.stage_follows_main(world, first, "v1.0.0")
    chapters.check_installation(world, "stage")
    waiting = chapters.production_waits(world, first, "v1.0.0")
    chapters.production_goes_live(world, waiting, first, "v1.0.0")
    chapters.check_installation(world, "prod")
    second = chapters.update_under_load(world, "v1.1.0")
    chapters.failing_migration(world, second, "v1.2.0")
    going_back.back_and_forth(world, second, "v1.1.0")
