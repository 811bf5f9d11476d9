"""Command line of the set-up: `python -m scripts.setup up|down [--all]`."""

import argparse
import fcntl
import sys
from contextlib import contextmanager

from . import paths
from .errors import SetupError
from .progress import Progress
from .stack import Stack


def main(argv=None):
    """Run one command; a failure ends with its sentence and code 1."""
    parser = argparse.ArgumentParser(prog="scripts.setup")
    parser.add_argument("command", choices=("up", "down"))
    parser.add_argument("--all", action="store_true", help="down: also downloads, base images and all other state")
    options = parser.parse_args(argv)
    try:
        with alone():
            return up() if options.command == "up" else down(options.all)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1


def up():
    """Start everything but the story, and say how to get in."""
    progress = Progress()
    stack = Stack.load().ensure_up(progress)
    print(f"\nReady after {progress.seconds:.0f} s.")
    print(f"  console   {stack.console_url}   login admin, password {stack.admin_password}")
    print(f"  registry  {stack.registry}")
    print(f"The password is in {paths.SECRETS / 'control_admin_password'}. `make down` removes it all.")
    return 0


def down(everything):
    """Remove what was made."""
    removed = Stack.load().down(everything)
    parts = [f"{count} {kind}" for kind, count in removed.items() if count]
    print(f"Removed {', '.join(parts) or 'nothing: no such containers'}, and the stack's files in {paths.STATE}.")
    return 0


@contextmanager
def alone():
    """Hold the checkout's lock: two set-ups at once would build over each other."""
    paths.STATE.mkdir(parents=True, exist_ok=True)
    with (paths.STATE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SetupError(f"Another make works in {paths.STATE}; wait until it is done.") from error
        yield


if __name__ == "__main__":
    sys.exit(main())
