"""Which migration scripts an update will run, by Odoo's own rule (odoo/modules/migration.py)."""

from __future__ import annotations

from collections.abc import Iterable

from .versions import parse_version, with_series

STAGES = ("pre", "post", "end")
ALWAYS = "0.0.0"


def scripts_to_run(scripts: Iterable[str], installed: str, new: str, series: str) -> tuple[str, ...]:
    """Return those of an addon's scripts that Odoo will run, in the order in which it does.

    :param scripts: `<version>/<file>`, or with the folder `migrations/` or `upgrades/` before.
    :param installed: the version in the database, with the series.
    """
    chosen = [script for script in scripts if _applies(_version(script), installed, new, series)]
    return tuple(sorted(chosen, key=lambda script: _order(script, series)))


def _version(script: str) -> str:
    return script.split("/")[-2]


def _applies(version: str, installed: str, new: str, series: str) -> bool:
    before, after = parse_version(installed), parse_version(new)
    if version == ALWAYS:
        return before < after
    full = with_series(version, series)
    if full != version:
        # A script without series runs for the module's own version, whatever series it comes from.
        return _own(installed) < parse_version(version) <= _own(new)
    return before < parse_version(full) <= after


def _own(version: str) -> tuple[tuple[int, int, str], ...]:
    return parse_version(".".join(version.split(".")[2:]))


def _order(script: str, series: str) -> tuple[object, ...]:
    version, file = script.split("/")[-2:]
    stage = file.split("-", 1)[0]
    # 0.0.0 goes first among the pre scripts and last among the others.
    always_rank = {"pre": -1}.get(stage, 1) if version == ALWAYS else 0
    rank = STAGES.index(stage) if stage in STAGES else len(STAGES)
    return rank, always_rank, parse_version(with_series(version, series)), file
