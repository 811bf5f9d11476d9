"""Odoo's order of versions (odoo/tools/parse_version.py), for the numeric ones that manifests may have."""

from __future__ import annotations

import re

_PART = re.compile(r"\d+|[a-z]+")

Version = tuple[tuple[int, int, str], ...]


def parse_version(text: str) -> Version:
    """Return a key that sorts as Odoo sorts; trailing zeros do not count, a word is older than a number."""
    parts = [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in _PART.findall(text.lower())]
    while parts and parts[-1] == (1, 0, ""):
        parts.pop()
    return tuple(parts)


def with_series(version: str, series: str) -> str:
    """Return a migration folder's version with the series, as Odoo's `convert_version` does."""
    if version == "0.0.0" or version.count(".") > 2:
        return version
    return f"{series}.{version}"
