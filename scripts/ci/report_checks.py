"""Hand on what preflight found of a commit: to the control plane, to later jobs, or to both.

    python scripts/ci/report_checks.py --checks preflight.json --give checks
    python scripts/ci/report_checks.py --checks preflight.json --project demo --commit-sha "$SHA"

Reads the JSON that `preflight --json` wrote, from several runs if need be; what can be read of them is handed on, and
the command fails where one is missing. `--give NAME` makes it a value of the job, without the single findings (a job's
value is small); `register_release.py --checks` takes that. `--project` records each check in the console: a step of
its own, so that the code that preflight tests never sees the key. The control plane comes from ODOOOPS_URL and
ODOOOPS_API_KEY. Exit codes: 0 done, 1 refused, 2 wrong input, 3 the control plane can't be reached.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from odooops_ci import control, job, patterns
from odooops_ci.errors import InvalidInput, Refused

FINDINGS_SENT = 200
FACTS_GIVEN_CHARACTERS = 4000
Check = dict[str, object]


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checks", type=Path, action="append", required=True, help="what preflight --json wrote")
    parser.add_argument("--give", metavar="NAME", help="the name of the job's value")
    parser.add_argument("--project", help="record the checks in the console, for this project")
    parser.add_argument("--commit-sha", help="the commit that they are of, with --project")
    options = parser.parse_args(argv)
    if not options.give and not options.project:
        parser.error("nothing to do: give --give, --project or both")
    return options


def read_all(paths: list[Path]) -> tuple[list[Check], list[str]]:
    """Return all the checks, and a sentence for each file that has none."""
    checks: list[Check] = []
    errors: list[str] = []
    for path in paths:
        try:
            checks += read_checks(path)
        except InvalidInput as error:
            errors += error.errors
    return checks, errors


def read_checks(path: Path) -> list[Check]:
    """Return the checks of a preflight.

    :raise InvalidInput: there are none: a gate that did not run must not count as one that passed.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} can't be read as JSON: {error}.") from None
    checks = content.get("checks") if isinstance(content, dict) else None
    if not isinstance(checks, list) or not checks or not all(_is_check(check) for check in checks):
        raise InvalidInput(f"{path} holds no checks: name what preflight --json wrote.")
    return checks


def _is_check(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("check", "status", "summary"))


def given(checks: list[Check]) -> str:
    """Return the checks as one line of JSON, cut down to what later jobs need."""
    return json.dumps({"checks": [_without_findings(check) for check in checks]}, separators=(",", ":"))


def _without_findings(check: Check) -> Check:
    facts = check.get("facts")
    facts = facts if isinstance(facts, dict) else {}
    if len(json.dumps(facts)) > FACTS_GIVEN_CHARACTERS:
        facts = {name: facts[name] for name in ("tier",) if name in facts}
    return {**{name: check[name] for name in ("check", "status", "summary")}, "facts": facts}


def report(plane: control.Control, project: str, commit_sha: str, checks: list[Check]) -> None:
    patterns.require(patterns.PROJECT, project, "a project's code", "demo")
    patterns.require(patterns.COMMIT, commit_sha, "a commit", "40 hexadecimal digits")
    for check in checks:
        found = check.get("findings")
        findings = found if isinstance(found, list) else []
        details = {
            "facts": check.get("facts") or {}, "findings": findings[:FINDINGS_SENT], "finding_count": len(findings),
        }  # fmt: skip
        plane.call(
            "odooops.check.run", "report", project=project, commit_sha=commit_sha, name=check["check"],
            status=check["status"], summary=check["summary"], details=details,
        )  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    try:
        checks, errors = read_all(options.checks)
        if options.give and not errors:
            job.give(options.give, given(checks))
        if options.give and not os.environ.get("ODOOOPS_URL"):
            job.summarise("**Not recorded in a console**: the variable `ODOOOPS_URL` is not set.")
        if options.project:
            report(control.from_environment(), options.project, options.commit_sha or "", checks)
        if errors:
            raise InvalidInput(errors)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return refused.exit_code
    print(json.dumps({"checks": {str(check["check"]): check["status"] for check in checks}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
