"""Find what a push is compared with: the newest commit before it whose release passed every check.

    python scripts/ci/find_base.py --source repository --project demo --give commit

The console knows which did. What was on the branch before the push is no measure: it may have been refused, or never
looked at, and the next push would carry it through. Where the console knows of no release that passed (the first push)
the value is `none`: preflight checks everything. Where nobody knows (a rewritten branch, a silent console) it is empty:
preflight checks everything, and its check of versions fails. The control plane comes from ODOOOPS_URL and
ODOOOPS_API_KEY. Exit codes: 0 found or not, 2 wrong input.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from odooops_ci import control, git, job, patterns
from odooops_ci.errors import InvalidInput, Refused
from odooops_ci.preflight.changes import NOTHING_BEFORE


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default=Path("."), help="the checkout, with its whole history")
    parser.add_argument("--project", required=True)
    parser.add_argument("--give", metavar="NAME", help="the name of the job's value")
    return parser.parse_args(argv)


def passed(project: str) -> list[str]:
    """Return the commits whose releases passed every check, newest first.

    :raise Refused: the control plane said no, can't be reached, or answers what is no list of commits.
    """
    answer = control.from_environment().call("odooops.release", "checked", project=project)
    commits = answer.get("commits") if isinstance(answer, dict) else None
    if not isinstance(commits, list) or not all(patterns.COMMIT.fullmatch(str(one)) for one in commits):
        raise Refused("The control plane's answer is no list of commits: is it older than these scripts?")
    return commits


def find(source: Path, passed_commits: list[str] | None) -> str:
    """Return the first of these that HEAD came from, "none" where there are none, "" where nobody knows.

    HEAD itself is not among them: a workflow that runs again is to check it.
    """
    if passed_commits is None:
        return ""
    head = git.head_commit(source)
    others = [one for one in passed_commits if one != head]
    return next((one for one in others if git.contains(source, one)), "") if others else NOTHING_BEFORE


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    try:
        patterns.require(patterns.PROJECT, options.project, "a project's code", "demo")
        base = find(options.source, known(options.project))
        if options.give:
            job.give(options.give, base)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return refused.exit_code
    job.tell(_sentence(base))
    print(json.dumps({"base": base}))
    return 0


def _sentence(base: str) -> str:
    if not base:
        return "No commit to compare with is known. Everything is checked."
    if base == NOTHING_BEFORE:
        return "No release has passed before. Everything is checked."
    return f"Compared with {base}, the newest that passed every check."


def known(project: str) -> list[str] | None:
    """Return the commits that passed, None where nobody says so: then more is checked, not less."""
    try:
        return passed(project)
    except (InvalidInput, Refused) as refused:
        job.warn(f"What passed before is not known, so everything is checked. {refused}")
        return None


if __name__ == "__main__":
    sys.exit(main())
