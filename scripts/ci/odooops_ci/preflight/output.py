"""Show reports: to a person on a terminal, to GitHub as annotations and a job summary, to the control plane as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .findings import ERROR, LEVELS, NOTICE, WARNING, Finding, Report

COLOURS = {ERROR: "31", WARNING: "33", NOTICE: "36"}
# GitHub shows ten annotations of a level a step and drops the others; the summary has all.
ANNOTATIONS_A_LEVEL = 10
# More nobody reads at once; the JSON has all.
SHOWN_A_CHECK = 100
# What one report may carry to the control plane.
FINDINGS_SENT = 200


def terminal(reports: Sequence[Report], *, colour: bool) -> str:
    """Return what a person reads: a line a check, its findings below, the mend under each."""
    lines: list[str] = []
    for report in reports:
        mark = _paint("ok  " if report.passed else "FAIL", "32" if report.passed else "31", colour)
        lines.append(f"{mark} {report.check:<10} {report.summary}  ({report.seconds:.1f} s)")
        for finding in report.findings[:SHOWN_A_CHECK]:
            lines.append(f"     {_paint(finding.level, COLOURS[finding.level], colour)} {finding.place}")
            lines.append(f"       {finding.message}")
            if finding.mend:
                lines.append(f"       → {finding.mend}")
        lines += [f"     {text}" for text in _left_out(report)]
    failed = [report.check for report in reports if not report.passed]
    lines.append(f"Preflight fails: {', '.join(failed)}." if failed else "Preflight passes.")
    return "\n".join(lines)


def workflow_commands(reports: Iterable[Report]) -> str:
    """Return workflow commands, which GitHub shows in the pull request's files."""
    lines: list[str] = []
    for report in reports:
        for level in LEVELS:
            found = report.of(level)
            lines += [_annotation(report.check, finding) for finding in found[:ANNOTATIONS_A_LEVEL]]
        if not report.passed and not report.errors:
            lines.append(f"::error title=preflight {_property(report.check)}::{_data(report.summary)}")
    return "\n".join(lines)


def _annotation(check: str, finding: Finding) -> str:
    place = f"file={_property(finding.file)},line={finding.line or 1},"
    text = f"{finding.message} {finding.mend}".strip()
    return f"::{finding.level} {place}title=preflight {_property(check)}::{_data(text)}"


def _data(text: str) -> str:
    """Escape as GitHub's toolkit does: a finding's text comes from the pull request and must stay one command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def summary(reports: Sequence[Report]) -> str:
    """Return the job's summary in Markdown."""
    good = all(report.passed for report in reports)
    lines = [f"## Preflight {'passes' if good else 'fails'}", "", "| | check | result | |", "|---|---|---|---|"]
    for report in reports:
        mark = "✅" if report.passed else "❌"
        lines.append(f"| {mark} | {report.check} | {_cell(report.summary)} | {report.seconds:.1f} s |")
    for report in reports:
        lines += _details(report)
    return "\n".join(lines) + "\n"


def _details(report: Report) -> list[str]:
    if not report.findings:
        return []
    head = ["", f"### {report.check}", "", "| | where | what | mend |", "|---|---|---|---|"]
    return (
        head
        + [
            f"| {finding.level} | {_code(finding.place)} | {_cell(finding.message)} | {_cell(finding.mend)} |"
            for finding in report.findings[:SHOWN_A_CHECK]
        ]
        + [f"\n{text}" for text in _left_out(report)]
    )


def _left_out(report: Report) -> list[str]:
    more = len(report.findings) - SHOWN_A_CHECK
    return [f"… and {more} more: --json FILE has all."] if more > 0 else []


def _cell(text: str) -> str:
    """Return text that can end no table's cell and bring no markup or mention of its own."""
    text = " ".join(text.split())
    for sign in "\\`*_[]<>|#@!~":
        text = text.replace(sign, f"\\{sign}" if sign not in "<>@" else {"<": "&lt;", ">": "&gt;", "@": "&#64;"}[sign])
    return text


def _code(text: str) -> str:
    return f"`{' '.join(text.split()).replace('`', '').replace('|', '')}`"


def as_json(reports: Sequence[Report], head: str, base: str) -> dict[str, Any]:
    """Return what `--json` writes: everything."""
    return {
        "schema": 1,
        "commit_sha": head,
        "base": base,
        "passed": all(report.passed for report in reports),
        "checks": [report.as_json() for report in reports],
    }


def for_control(report: Report) -> Mapping[str, Any]:
    """Return the arguments of `odooops.check.run.report` that tell of one check."""
    content = report.as_json()
    findings = content["findings"] if isinstance(content["findings"], list) else []
    details = {
        "facts": content["facts"],
        "seconds": content["seconds"],
        "findings": findings[:FINDINGS_SENT],
        "finding_count": len(findings),
    }
    return {
        "name": report.check,
        "status": content["status"],
        "summary": content["summary"],
        "details": details,
    }


def _paint(text: str, code: str, colour: bool) -> str:
    return f"\033[{code}m{text}\033[0m" if colour else text
