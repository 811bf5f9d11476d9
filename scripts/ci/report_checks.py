"""Hand on what preflight found of a commit: to the control plane, to later jobs, or to both.

    python scripts/ci/report_checks.py --checks preflight.json --give found --findings
    python scripts/ci/report_checks.py --checks-in READ=lint --checks-in TESTED=tests --give checks --require-passed
    python scripts/ci/report_checks.py --checks-in TESTED=tests --project demo --commit-sha "$SHA"

Reads the JSON that `preflight --json` wrote, from files or from variables with what other jobs gave, several if need
be; what can be read of them is handed on, and the command fails where one is missing. A variable has to hold exactly
the checks that are named with it: the machine that ran a change's own tests has no say in the other checks. `--give
NAME` makes it a value of the job, without the single findings unless `--findings` asks for as many as a value holds;
`register_release.py --checks` takes that. `--project` records each check in the console: in a job of its own, so that
no code of the change runs on the machine that has the key. The control plane comes from ODOOOPS_URL and
ODOOOPS_API_KEY. Exit codes: 0 done, 1 refused or not passed, 2 wrong input, 3 the control plane can't be reached.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from odooops_ci import control, job, patterns
from odooops_ci.errors import InvalidInput, Refused

FINDINGS_SENT = 200
FACTS_GIVEN_CHARACTERS = 4000
FACTS_WITH_FINDINGS_CHARACTERS = 8000
# Of all checks of a value together: Linux takes no variable of 128 KiB or more.
FINDINGS_GIVEN_CHARACTERS = 60_000
STATUSES = ("passed", "failed")
Check = dict[str, object]


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checks", type=Path, action="append", default=[], help="what preflight --json wrote")
    parser.add_argument(
        "--checks-in", metavar="VARIABLE=CHECKS", action="append", default=[], help="the same, of another job"
    )
    parser.add_argument("--give", metavar="NAME", help="the name of the job's value")
    parser.add_argument("--findings", action="store_true", help="give the single findings too")
    parser.add_argument("--require-passed", action="store_true", help="give nothing, and fail, where one has failed")
    parser.add_argument("--project", help="record the checks in the console, for this project")
    parser.add_argument("--commit-sha", help="the commit that they are of, with --project")
    options = parser.parse_args(argv)
    if not options.give and not options.project:
        parser.error("nothing to do: give --give, --project or both")
    if not options.checks and not options.checks_in:
        parser.error("no checks: give --checks or --checks-in")
    return options


def read_all(paths: list[Path], variables: list[str]) -> tuple[list[Check], list[str]]:
    """Return all the checks, and a sentence for each file or variable that has none."""
    checks: list[Check] = []
    errors: list[str] = []
    for read, source in [(read_checks, path) for path in paths] + [(read_handed_on, text) for text in variables]:
        try:
            checks += read(source)
        except InvalidInput as error:
            errors += error.errors
    return checks, errors


def read_checks(path: Path) -> list[Check]:
    """Return the checks of a preflight.

    :raise InvalidInput: there are none: a gate that did not run must not count as one that passed.
    """
    try:
        return checks_of(str(path), path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} can't be read as JSON: {error}.") from None


def read_handed_on(wanted: str, environment: Mapping[str, str] = os.environ) -> list[Check]:
    """Return the checks that another job gave, from `VARIABLE=check,check`.

    :raise InvalidInput: there are none, or others than those.
    """
    variable, _, names = wanted.partition("=")
    if not environment.get(variable):
        raise InvalidInput(f"Nothing was handed on of {names or variable}: the job that looks at it tells why.")
    checks = checks_of(variable, environment[variable])
    if sorted(str(check["check"]) for check in checks) != sorted(names.split(",")):
        raise InvalidInput(f"{variable} has to hold the checks {names}, each once, and nothing else.")
    return checks


def checks_of(source: str, text: str) -> list[Check]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"{source} can't be read as JSON: {error}.") from None
    checks = content.get("checks") if isinstance(content, dict) else None
    if not isinstance(checks, list) or not checks or not all(_is_check(check) for check in checks):
        raise InvalidInput(f"{source} holds no checks: name what preflight --json wrote.")
    return checks


def _is_check(value: object) -> bool:
    known = isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("check", "summary"))
    return known and value.get("status") in STATUSES


def given(checks: list[Check], *, findings: bool = False) -> str:
    """Return the checks as one line of JSON, cut down to what later jobs need."""
    share = FINDINGS_GIVEN_CHARACTERS // max(len(checks), 1)
    cut = [_with_some_findings(check, share) if findings else _without_findings(check) for check in checks]
    return json.dumps({"checks": cut}, separators=(",", ":"))


def _with_some_findings(check: Check, characters: int) -> Check:
    """Return a check with its first findings, as many as have room, and with how many there are."""
    every = _findings(check)
    kept: list[object] = []
    for one in every:
        characters -= len(json.dumps(one)) + 1
        if characters < 0:
            break
        kept.append(one)
    return {**_without_findings(check, FACTS_WITH_FINDINGS_CHARACTERS), "findings": kept, "finding_count": len(every)}


def _findings(check: Check) -> list[object]:
    found = check.get("findings")
    return found if isinstance(found, list) else []


def _without_findings(check: Check, characters: int = FACTS_GIVEN_CHARACTERS) -> Check:
    facts = check.get("facts")
    facts = facts if isinstance(facts, dict) else {}
    if len(json.dumps(facts)) > characters:
        facts = {name: facts[name] for name in ("tier",) if name in facts}
    return {**{name: check[name] for name in ("check", "status", "summary")}, "facts": facts}


def report(plane: control.Control, project: str, commit_sha: str, checks: list[Check]) -> None:
    patterns.require(patterns.PROJECT, project, "a project's code", "demo")
    patterns.require(patterns.COMMIT, commit_sha, "a commit", "40 hexadecimal digits")
    for check in checks:
        findings = _findings(check)
        details = {
            "facts": check.get("facts") or {},
            "findings": findings[:FINDINGS_SENT],
            # Of a value that was cut, as many as there were.
            "finding_count": check.get("finding_count") or len(findings),
        }
        plane.call(
            "odooops.check.run", "report", project=project, commit_sha=commit_sha, name=check["check"],
            status=check["status"], summary=check["summary"], details=details,
        )  # fmt: skip


def require_passed(checks: list[Check]) -> None:
    """Refuse checks of which one did not pass."""
    failed = ", ".join(str(check["check"]) for check in checks if check["status"] != "passed")
    if failed:
        raise Refused(f"Not passed: {failed}. The jobs that looked at it name file and mend.")


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    try:
        checks, errors = read_all(options.checks, options.checks_in)
        if options.project:
            report(control.from_environment(), options.project, options.commit_sha or "", checks)
        if errors:
            raise InvalidInput(errors)
        if options.require_passed:
            require_passed(checks)
        if options.give:
            job.give(options.give, given(checks, findings=options.findings))
        if options.require_passed and not os.environ.get("ODOOOPS_URL"):
            job.summarise("**Not recorded in a console**: the variable `ODOOOPS_URL` is not set.")
    except Refused as refused:
        print(refused, file=sys.stderr)
        return refused.exit_code
    print(json.dumps({"checks": {str(check["check"]): check["status"] for check in checks}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
