"""`make preflight`: the gate on this checkout, its tests in the control plane's image on a PostgreSQL of their own."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from odooops_ci.preflight import cli

from scripts.ci import addon_tests
from scripts.setup import base_images, engine, paths
from scripts.setup.errors import SetupError
from scripts.setup.progress import Progress
from scripts.setup.stack import Stack


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    cli.add_arguments(parser)
    options = parser.parse_args()
    options.source = paths.ROOT
    if "tests" in cli.chosen(options):
        prepare_tests(options)
    return cli.run(options)


def prepare_tests(options: argparse.Namespace) -> None:
    """Have the image and the server that the addon's own tests use, and name them to the gate."""
    progress, stack = Progress(), Stack.load()
    server = addon_tests.TestServer(stack)
    paths.make_folders()
    with progress.step("Docker Engine") as note:
        note(engine.ensure_engine())
    with progress.step("Images") as note:
        base_images.ensure(base_images.DEBIAN, progress.say)
        base_images.ensure(base_images.ODOO, progress.say)
        note(stack.ensure_image("test"))
    with progress.step("PostgreSQL of the tests") as note:
        note(server.ensure(base_images.ensure_postgres(progress.say).name))
    options.image, options.network = stack.images["test"], server.network
    os.environ.update(server.environment())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SetupError as failure:
        sys.exit(str(failure))
