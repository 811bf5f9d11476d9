"""The command `preflight`: lint, tests, allowlist, risk, version, or all of them.

Compares the working tree with where the branch left main (in a workflow: with the pull request's base). Exit
codes: 0 all checks pass, 1 one of them fails, 2 the command can't be carried out as it was given.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import datetime
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from .. import git, patterns
from ..errors import InvalidInput, Refused
from . import allowlist as allowlists
from . import base as bases
from . import changes as differences
from . import output, repository
from .changes import Changes
from .findings import Finding, Report
from .repository import Repository

STATIC = ("lint", "allowlist", "risk", "version")
CHECKS = ("lint", "tests", "allowlist", "risk", "version")


@dataclass(frozen=True)
class Job:
    """What all checks get; made once."""

    options: argparse.Namespace
    repository: Repository
    changes: Changes
    event: bases.Event
    today: datetime.date


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("check", choices=[*CHECKS, "all"], nargs="+", help="which checks; 'all' is all five")
    parser.add_argument("--source", type=Path, default=Path("."), help="the repository's checkout (default: here)")
    parser.add_argument(
        "--base",
        default="",
        help="what to compare with (default: the event's base, else main); 'none': nothing was released yet",
    )
    parser.add_argument("--all", action="store_true", dest="everything", help="lint and test every addon")
    parser.add_argument("--skip", action="append", default=[], choices=CHECKS, help="leave a check of 'all' out")
    parser.add_argument("--label", action="append", default=[], help="a label of the pull request (raises the risk)")
    parser.add_argument("--with-oca", action="store_true", help="lint OCA's addons too; their findings are warnings")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON too ('-': to stdout only)")
    parser.add_argument("--project", default="", help="report to the control plane as this project (ODOOOPS_URL, …)")
    parser.add_argument("--commit-sha", default="", help="the commit that the result is of (default: the event's head)")
    tests = parser.add_argument_group("tests", "PostgreSQL comes from PGHOST, PGPORT, PGUSER and PGPASSWORD")
    tests.add_argument("--odoo", default=os.environ.get("ODOOOPS_ODOO", "odoo"), help="Odoo's program (default: odoo)")
    tests.add_argument("--odoo-python", default="", help="the Python that runs it (default: its first line's)")
    tests.add_argument("--odoo-addons", action="append", default=[], help="a folder with Odoo's or Enterprise's addons")
    tests.add_argument("--image", default="", help="run Odoo in this image instead, with Docker")
    tests.add_argument("--network", default="", help="Docker's network for --image")
    tests.add_argument("--jobs", type=int, default=0, help="databases side by side (default: one a core)")
    tests.add_argument("--with-demo", action="store_true", help="install demo data too")
    tests.add_argument(
        "--minimum-coverage", type=float, default=0, help="fail below this share of changed lines, in %%"
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="preflight", description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    return run(parser.parse_args(argv))


def run(options: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    try:
        job = prepare(options, environment)
        reports = run_checks(job, chosen(options))
        head = options.commit_sha or job.event.head or git.head_commit(job.repository.root)
        publish(reports, options, environment, head, job.changes.base)
        if options.project:
            report_to_control(reports, options.project, head)
    except Refused as refused:
        for error in refused.errors:
            print(error, file=sys.stderr)
            if environment.get("GITHUB_ACTIONS") == "true":
                print(output.workflow_commands([Report("run", (Finding(".", error, "", "refused"),), checked="")]))
        return max(refused.exit_code, 1)
    return 0 if all(report.passed for report in reports) else 1


def chosen(options: argparse.Namespace) -> list[str]:
    names = CHECKS if "all" in options.check else options.check
    left = [name for name in CHECKS if name in names and name not in options.skip]
    if not left:
        raise InvalidInput("Every check is skipped: leave one, a gate that checks nothing is none.")
    return left


def prepare(options: argparse.Namespace, environment: Mapping[str, str]) -> Job:
    if options.commit_sha:
        patterns.require(patterns.COMMIT, options.commit_sha, "a commit", "40 hexadecimal digits")
    if options.project:
        patterns.require(patterns.PROJECT, options.project, "a project's code", "demo")
    root = options.source.resolve()
    event = bases.read_event(environment)
    if options.label:
        event = replace(event, labels=(*event.labels, *options.label))
    checkout = repository.read(root)
    today = datetime.datetime.now(datetime.UTC).date()
    series = allowlists.read(root, today).policy.series
    changes = differences.read(checkout.tree, bases.find_base(root, options.base, event))
    return Job(options, replace(checkout, series=series), changes, event, today)


def run_checks(job: Job, names: list[str]) -> list[Report]:
    """Run the checks side by side: lint and tests wait for other programs, the others are short."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(names)) as pool:
        return list(pool.map(lambda name: _timed(name, FUNCTIONS[name], job), names))


def _timed(name: str, function: Callable[[Job], Report], job: Job) -> Report:
    began = time.monotonic()
    try:
        report = function(job)
    except Refused as refused:
        findings = tuple(Finding(".", error, "", f"{name}-refused") for error in refused.errors)
        report = Report(name, findings)
    report = _with_broken(report, job)
    return replace(report, seconds=time.monotonic() - began)


def _with_broken(report: Report, job: Job) -> Report:
    """An addon that can't be read is a fault of every check that would have looked at it."""
    if report.check == "allowlist":
        return report
    broken = tuple(one for one in job.repository.broken if one.code in ("manifest-not-literal", "addon-twice"))
    return replace(report, findings=(*broken, *report.findings))


def _lint(job: Job) -> Report:
    from . import check_lint

    everything, with_oca = job.options.everything, job.options.with_oca
    return check_lint.check(job.repository, job.changes, everything=everything, with_oca=with_oca)


def _tests(job: Job) -> Report:
    from . import check_tests

    return check_tests.check(job.repository, job.changes, check_tests.Options.of(job.options))


def _allowlist(job: Job) -> Report:
    from . import check_allowlist

    return check_allowlist.check(job.repository, job.today)


def _risk(job: Job) -> Report:
    from . import check_risk

    return check_risk.check(job.repository, job.changes, job.event.labels)


def _version(job: Job) -> Report:
    from . import check_version

    known = bases.is_known(job.options.base, job.event)
    return check_version.check(job.repository, job.changes, base_known=known)


FUNCTIONS: dict[str, Callable[[Job], Report]] = {
    "lint": _lint,
    "tests": _tests,
    "allowlist": _allowlist,
    "risk": _risk,
    "version": _version,
}


def publish(
    reports: list[Report], options: argparse.Namespace, environment: Mapping[str, str], head: str, base: str
) -> None:
    """Write to the terminal, to GitHub where this is a workflow, and to `--json`."""
    text = json.dumps(output.as_json(reports, head, base), ensure_ascii=False, indent=1)
    if options.json and str(options.json) == "-":
        print(text)
        return
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    print(output.terminal(reports, colour=sys.stdout.isatty() and not environment.get("NO_COLOR")))
    if environment.get("GITHUB_ACTIONS") == "true":
        print(output.workflow_commands(reports))
        if path := environment.get("GITHUB_STEP_SUMMARY"):
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(output.summary(reports))


def report_to_control(reports: list[Report], project: str, head: str) -> None:
    """Record each check at the control plane.

    :raise Refused: it said no or can't be reached; a result that nobody recorded is no pass.
    """
    from .. import control

    plane = control.from_environment()
    for report in reports:
        plane.call("odooops.check.run", "report", project=project, commit_sha=head, **output.for_control(report))


if __name__ == "__main__":
    sys.exit(main())
