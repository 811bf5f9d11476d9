"""Read Odoo's log: what failed, where, and how many tests ran. An exit code of 0 alone proves nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from .findings import WARNING, Finding

LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \d+ (?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) (?P<database>\S+) "
    r"(?P<logger>[^:]+): (?P<text>.*)"
)
FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
RESULT = re.compile(r"(\d+) failed, (\d+) error\(s\) of (\d+) tests when loading database")
COUNT = re.compile(r"(?P<module>[0-9A-Za-z_]+): (?P<count>\d+) tests? ")
TEST = re.compile(r"(FAIL|ERROR): (?P<name>.+)")
SKIPPED = re.compile(r"skipped (?P<name>\S+)\s*: (?P<why>.+)")
LEVELS = ("ERROR", "CRITICAL")
# Some distributions' Odoo lacks libraries that its bundles name; no commit of the repository brought that.
ASSET = re.compile(r"'Could not get content for /?(?P<module>[0-9A-Za-z_]+)/static/")
ASSETS = "odoo.addons.base.models.assetsbundle"
# The sum of what was told one by one.
SUMMARIES = ("odoo.tests.result", "odoo.tests.runner")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
LONGEST = 400


@dataclass(frozen=True)
class Entry:
    """One entry of the log with the lines that belong to it."""

    level: str
    logger: str
    text: str
    more: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a log says: `ran` counts tests by addon."""

    ran: dict[str, int]
    total: int
    findings: tuple[Finding, ...]


def read(text: str, root: Path, own: Collection[str] = ()) -> Outcome:
    """Read a run's log.

    :param root: the repository, whose files are named relative to it.
    :param own: the repository's addons.
    """
    ran: dict[str, int] = {}
    total = 0
    findings: list[Finding] = []
    for entry in entries(text):
        if result := RESULT.search(entry.text):
            total = max(total, int(result[3]))
        if entry.logger == "odoo.tests.stats" and (count := COUNT.match(entry.text)):
            ran[count["module"]] = ran.get(count["module"], 0) + int(count["count"])
        if ".tests." in entry.logger and (skipped := SKIPPED.match(entry.text)):
            findings.append(_skipped(skipped, entry.logger))
        if entry.level in LEVELS and not _is_summary(entry):
            findings.append(_missing_asset(entry, own) or _finding(entry, root))
    return Outcome(ran, total, tuple(findings))


def entries(text: str) -> Iterator[Entry]:
    """Yield the log's entries; lines without a time belong to the one before."""
    head: re.Match[str] | None = None
    more: list[str] = []
    for line in COLOURS.sub("", text).splitlines():
        match = LINE.fullmatch(line)
        if not match:
            more.append(line)
            continue
        if head:
            yield Entry(head["level"], head["logger"], head["text"], tuple(more))
        head, more = match, []
    if head:
        yield Entry(head["level"], head["logger"], head["text"], tuple(more))


def _is_summary(entry: Entry) -> bool:
    return (entry.logger in SUMMARIES and not entry.more) or "At least one test failed" in entry.text


def _missing_asset(entry: Entry, own: Collection[str]) -> Finding | None:
    """Return a warning where Odoo itself lacks a file of its own; None for all else."""
    asset = ASSET.search(entry.text) if entry.logger == ASSETS else None
    if asset is None or asset["module"] in own:
        return None
    return Finding(
        ".",
        _short(f"This Odoo lacks a file of its own: {entry.text}"),
        "Use an image or package that has it.",
        "odoo-incomplete",
        level=WARNING,
    )


def _finding(entry: Entry, root: Path) -> Finding:
    file, line = _place(entry, root)
    last = next((one.strip() for one in reversed(entry.more) if one.strip()), "")
    test = TEST.match(entry.text)
    if test:
        message = f"The test {test['name'].strip()} fails: {last or entry.text}"
        return Finding(
            file, _short(message), "Correct the code, or the test if the new behaviour is meant.", "test-failed", line
        )
    message = f"Odoo logs an {entry.level} ({entry.logger}): {entry.text}" + (f" {last}" if last else "")
    return Finding(
        file,
        _short(message),
        "Correct it; a test that means it catches it: mute_logger or assertLogs.",
        "log-error",
        line,
    )


def _skipped(match: re.Match[str], logger: str) -> Finding:
    message = f"The test {match['name']} is skipped, which proves nothing: {match['why'].strip()}"
    where = logger.removeprefix("odoo.addons.").replace(".", "/")
    return Finding(
        ".",
        _short(f"{message} ({where}.py)."),
        "Give the machine or image what it lacks.",
        "test-skipped",
        level=WARNING,
    )


def _place(entry: Entry, root: Path) -> tuple[str, int | None]:
    """Return the innermost of the repository's own frames."""
    found: tuple[str, int | None] = (".", None)
    for match in FRAME.finditer("\n".join((entry.text, *entry.more))):
        path = Path(match["file"])
        for base in (root, root.resolve()):
            if path.is_relative_to(base):
                found = (path.relative_to(base).as_posix(), int(match["line"]))
    return found


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
