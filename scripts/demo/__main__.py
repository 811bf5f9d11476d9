"""`make demo`: set everything up, then tell how a release travels to a healthy production, and check each word."""

from __future__ import annotations

import sys

from scripts.setup import paths
from scripts.setup.__main__ import alone
from scripts.setup.errors import SetupError
from scripts.setup.progress import Progress
from scripts.setup.stack import Stack

from . import closing, earlier, opening, story
from .timeline import Timeline


def main() -> int:
    try:
        with alone():
            return demo()
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1


def demo() -> int:
    """Return 0 when all that the story claims is true, else 1."""
    progress = Progress()
    stack = Stack.load().ensure_up(progress)
    earlier.remove(stack)
    print()
    timeline = Timeline(paths.STATE / "demo.json", progress.seconds)
    world = opening.open_world(stack, timeline)
    summary = story.tell(world)
    print(closing.text(world, summary, stack.admin_password))
    return 0 if summary["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
