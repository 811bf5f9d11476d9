"""`make lint`: every linter over every file, one line a tool, findings below it.

A tool that checked no file fails: a renamed folder must not pass for a clean one. `--prove` runs the tools
on deliberately bad files instead and fails when one of them finds nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.ci import lint_bad
from scripts.ci.lint_checks import CHECKS, STATE, Outcome, Target
from scripts.setup import engine, paths
from scripts.setup.errors import SetupError


def check_all(target: Target, names: list[str], expect_findings: bool) -> bool:
    good = True
    for name in names:
        began = time.monotonic()
        try:
            outcome = CHECKS[name](target)
        except SetupError as error:
            outcome = Outcome(0, (str(error),))
        print(outcome.line(name, time.monotonic() - began), flush=True)
        good &= (bool(outcome.findings) and outcome.files > 0) if expect_findings else outcome.ok
        for finding in outcome.findings[: 3 if expect_findings else 200]:
            print(f"    {finding}")
    return good


def prove(names: list[str]) -> bool:
    """Run the tools on bad files that stand where ours stand."""
    with tempfile.TemporaryDirectory(dir=STATE) as folder:
        root = Path(folder)
        lint_bad.write(root)
        root.chmod(0o755)  # the Odoo image's user reads it too
        return check_all(Target(root), names, expect_findings=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(CHECKS), help="run these tools; may be repeated")
    parser.add_argument(
        "--prove", action="store_true", help="run the tools on deliberately bad files: each must find something"
    )
    options = parser.parse_args()
    STATE.mkdir(parents=True, exist_ok=True)
    paths.make_folders()
    engine.ensure_engine()
    names = options.only or list(CHECKS)
    return 0 if (prove(names) if options.prove else check_all(Target(paths.ROOT), names, expect_findings=False)) else 1


if __name__ == "__main__":
    sys.exit(main())
