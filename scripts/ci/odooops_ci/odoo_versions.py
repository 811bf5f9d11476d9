"""Odoo's order of versions and its rule of which migration scripts run (odoo/modules/migration.py).

The agent has the same rule, as it must not import this package; tests/unit/preflight compares the two.
"""

from __future__ import annotations

import re

_PART = re.compile(r"\d+|[a-z]+")
# Folders of another form are passed over by Odoo without a word.
FOLDER = re.compile(r"((\d+\.0|saas~\d+\.\d)\.)?\d+\.\d+(\.\d+)?", re.ASCII)
SCRIPT = re.compile(r"(pre|post|end)-.*\.py", re.DOTALL)
ALWAYS = "0.0.0"

Version = tuple[tuple[int, int, str], ...]


def parse(text: str) -> Version:
    """Return a key that sorts as Odoo sorts; trailing zeros do not count, a word is older than a number."""
    parts = [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in _PART.findall(text.lower())]
    while parts and parts[-1] == (1, 0, ""):
        parts.pop()
    return tuple(parts)


def adapt(version: str, series: str) -> str:
    """Return a manifest's version as Odoo records it: "1.2" is "19.0.1.2" in series "19.0".

    :raise ValueError: Odoo would refuse to install an addon with it.
    """
    parts = version.split(".")
    if not 2 <= len(parts) <= 5 or not all(part.isdecimal() for part in parts):
        raise ValueError(f"{version!r} is not 2 to 5 numbers with dots between")
    if len(parts) <= 3 and not version.startswith(series):
        return f"{series}.{version}"
    if not version.startswith(f"{series}."):
        raise ValueError(f"{version!r} is not of series {series}")
    return version


def runs(folder: str, before: str, after: str, series: str) -> bool:
    """Tell whether an update from one version to another runs the scripts of a migration folder."""
    old, new = parse(before), parse(after)
    if folder == ALWAYS:
        return old < new
    if folder.count(".") <= 2:
        # A folder without series goes by the module's own version, whatever series it comes from.
        return _own(before) < parse(folder) <= _own(after)
    return old < parse(folder) <= new


def is_newer(folder: str, version: str) -> bool:
    """Tell whether a folder stands for a later version than `version`, so that nothing runs it yet."""
    if folder == ALWAYS:
        return False
    return parse(folder) > (_own(version) if folder.count(".") <= 2 else parse(version))


def _own(version: str) -> Version:
    return parse(".".join(version.split(".")[2:]))
