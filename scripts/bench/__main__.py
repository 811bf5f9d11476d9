"""`make bench`: measure against the alternatives, print the table, write `.run/bench.json`.

`make bench ONLY=snapshot,no_op` runs some and leaves the whole table's file alone (`.run/bench-only.json`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from scripts.setup import paths
from scripts.setup.__main__ import alone
from scripts.setup.errors import SetupError

from . import registry, table
from .registry import Measure, Row
from .site import Site

# Above it somebody else is at work; starting the stack itself leaves about this much.
QUIET_LOAD = 1.5


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=os.environ.get("ONLY", ""), help="names, separated by commas")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    options = parser.parse_args(argv)
    benches = registry.discover()
    if options.list:
        print("\n".join(benches))
        return 0
    try:
        chosen = choose(benches, options.only)
        with alone():
            return measure(chosen, whole=not options.only)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1


def choose(benches: dict[str, Measure], only: str) -> dict[str, Measure]:
    """Return the benches that were asked for; all without a wish.

    :raises SetupError: there is none of such a name
    """
    names = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in names if name not in benches]
    if unknown:
        raise SetupError(f"There is no bench {', '.join(unknown)}; there are {', '.join(benches)}.")
    return {name: benches[name] for name in names} or benches


def measure(benches: dict[str, Measure], *, whole: bool) -> int:
    """Return 0 when every row meets its goal, else 1."""
    site = Site.open()
    load = os.getloadavg()[0]
    if load > QUIET_LOAD:
        site.note(f"The machine was busy with other things (load {load:.1f}): the figures are worse for it.")
    rows = list(registry.run(benches, site, tell))
    path = paths.STATE / ("bench.json" if whole else "bench-only.json")
    write(path, rows)
    print(f"\n{table.render(rows)}\n")
    for note in site.notes:
        print(f"  {note}")
    print(f"  Written to {path}.")
    return 0 if all(row.met for row in rows) else 1


def write(path: Path, rows: Sequence[Row]) -> None:
    path.write_text(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False) + "\n")


def tell(text: str) -> None:
    print(f"  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
