"""The preflight gate without its tests, on this repository with forty real OCA addons, against pylint-odoo alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.bench.peers import oca_tree
from scripts.bench.registry import Goal, Row, bench, row
from scripts.bench.site import Site
from scripts.setup import paths

# The best of some tries, for both: what else the machine does only ever adds time.
TIMES = 3
TIMES_FOR_ONE = 5
# What the gate enables too.
CHECKS = (
    "odoolint,duplicate-key,function-redefined,no-self-argument,redundant-keyword-arg,undefined-variable,unreachable,"
    "used-before-assignment"
)
TYPICAL = "helpdesk_mgmt"


@bench("preflight")
def preflight(_site: Site | None) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="odooops-bench-") as folder:
        tree = oca_tree.make(Path(folder))
        addons = sorted(str(link) for link in (tree / "addons/oca/selected").iterdir() if link.is_symlink())
        options = [f"--rcfile={tree}/.pylintrc", "--disable=all", f"--enable={CHECKS}", "--disable=missing-readme"]
        theirs = best(TIMES, [tool("pylint"), *options, *addons, "addons/odooops_control"], tree)
        whole = [*gate(tree), "--all", "--with-oca"]
        ours = best(TIMES, whole, tree)
        one = best(TIMES_FOR_ONE, change_one(tree), tree)
    what = f"all preflight checks but the tests, {len(addons)} OCA addons selected"
    about = "pylint-odoo alone over the same addons; ours is that, ruff, OCA's checks, allowlist, risk and version"
    return [
        row(what, ours, "s", Goal(times=1 / 1.2), theirs, about),
        row(f"the same when one addon changed ({TYPICAL}, as a custom addon)", one, "s", Goal(at_most=3)),
    ]


def gate(tree: Path) -> list[str]:
    program = str(paths.ROOT / "scripts/ci/preflight")
    return [sys.executable, program, "all", "--skip=tests", f"--source={tree}", "--base=main~1"]


def change_one(tree: Path) -> list[str]:
    """Take one of the addons over as a custom one, which is the one that changes; return the gate's command for it."""
    link = tree / "addons/oca/selected" / TYPICAL
    shutil.copytree(link.resolve(), tree / "addons/custom" / TYPICAL)
    oca_tree.remove(tree, TYPICAL)
    oca_tree.commit(tree, f"{TYPICAL} becomes ours")
    return gate(tree)


def best(times: int, argv: Sequence[str], folder: Path) -> float:
    """Return the shortest time of a command in seconds.

    :raises RuntimeError: it can't be carried out; findings are no such thing
    """
    taken = []
    for _ in range(times):
        began = time.monotonic()
        done = subprocess.run(list(argv), cwd=folder, capture_output=True, text=True)
        taken.append(time.monotonic() - began)
        if "Traceback" in done.stderr or not done.stdout:
            raise RuntimeError(f"{Path(argv[1]).name} can't run: {done.stderr.strip()[-300:]}")
    return min(taken)


def tool(name: str) -> str:
    return str(Path(sys.prefix) / "bin" / name)
