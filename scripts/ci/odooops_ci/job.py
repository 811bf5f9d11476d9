"""What a command tells the job that runs it: lines in its log, tables on its page, values for later steps."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from .errors import InvalidInput


def tell(sentence: str) -> None:
    """Write a line to the log; stdout is for the command's result."""
    print(sentence, file=sys.stderr, flush=True)


def warn(sentence: str) -> None:
    """Write a line to the log that GitHub shows on the job's page too."""
    text = " ".join(sentence.split()).replace("%", "%25")
    print(f"::warning::{text}", file=sys.stderr, flush=True)


def summarise(markdown: str, environment: Mapping[str, str] = os.environ) -> None:
    """Add to the page that GitHub shows of the job; nothing outside of a job."""
    if path := environment.get("GITHUB_STEP_SUMMARY"):
        _append(path, markdown.rstrip("\n") + "\n\n")


def give(name: str, value: str, environment: Mapping[str, str] = os.environ) -> None:
    """Give later steps and jobs a value, of one line; nothing outside of a job.

    :raise InvalidInput: the value has more lines: the second could set another value.
    """
    if "\n" in value or "\r" in value:
        raise InvalidInput(f"The job's value {name} must be one line.")
    if path := environment.get("GITHUB_OUTPUT"):
        _append(path, f"{name}={value}\n")


def table(title: str, rows: Iterable[tuple[str, object]]) -> str:
    """Return a table of names and values in Markdown; rows without a value are left out."""
    lines = [f"### {title}", "", "| | |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {_cell(value)} |" for name, value in rows if value not in (None, ""))])


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _append(path: str, text: str) -> None:
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(text)
