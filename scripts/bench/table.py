"""Show the rows as a table on the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from .registry import Row, show

HEADER = ("", "what", "ours", "theirs", "unit", "ratio", "goal", "against")
WIDEST = 46


def render(rows: Sequence[Row]) -> str:
    """Return the table; a long text goes on in the lines below its cell."""
    cells = [[_cell(text) for text in HEADER], *([_cell(text) for text in _texts(row)] for row in rows)]
    widths = [max(len(line) for cell in column for line in cell) for column in zip(*cells, strict=True)]
    lines = [line for row in cells for line in _lines(row, widths)]
    return "\n".join([*lines[:1], "  ".join("-" * width for width in widths), *lines[1:]])


def _texts(row: Row) -> tuple[str, ...]:
    ratio = f"{show(row.ratio)}×" if row.ratio is not None else "–"
    return ("ok" if row.met else "NO", row.name, show(row.ours), show(row.theirs), row.unit, ratio, row.goal, row.peer)


def _cell(text: str) -> list[str]:
    return textwrap.wrap(text, WIDEST) or [""]


def _lines(row: list[list[str]], widths: list[int]) -> list[str]:
    height = max(len(cell) for cell in row)
    padded = [cell + [""] * (height - len(cell)) for cell in row]
    return ["  ".join(cell[n].ljust(w) for cell, w in zip(padded, widths, strict=True)).rstrip() for n in range(height)]
