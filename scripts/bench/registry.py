"""The table's rows, the goals they are judged by, and the functions that measure them.

A file in `benches/` adds rows by itself:

    @bench("snapshot")
    def snapshot(site: Site) -> list[Row]: ...

A bench that can't run becomes one row that says why and meets nothing: a missing figure must not look like a good one.
"""

from __future__ import annotations

import importlib
import pkgutil
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

Measure = Callable[[Any], "list[Row]"]
_BENCHES: dict[str, Measure] = {}


@dataclass(frozen=True)
class Goal:
    """What a row has to reach; less is better for every figure here.

    :ivar at_most: our figure, in the row's unit
    :ivar times: how many times the alternative's figure is ours
    """

    at_most: float | None = None
    times: float | None = None

    def text(self, unit: str) -> str:
        parts = [f"at most {show(self.at_most)} {unit}".rstrip()] if self.at_most is not None else []
        parts += [f"at least {show(self.times)} times less"] if self.times is not None else []
        return " and ".join(parts) or "none"

    def met_by(self, ours: float, ratio: float | None) -> bool:
        within = self.at_most is None or ours <= self.at_most
        ahead = self.times is None or (ratio is not None and ratio >= self.times)
        return within and ahead


@dataclass(frozen=True)
class Row:
    """One figure of ours beside the alternative's of the same run.

    :ivar peer: what the alternative does, in a few words
    :ivar ratio: the alternative's figure divided by ours; None where one of them is missing or ours is 0
    """

    name: str
    ours: float | None
    theirs: float | None
    peer: str
    unit: str
    ratio: float | None
    goal: str
    met: bool


def row(name: str, ours: float, unit: str, goal: Goal, theirs: float | None = None, peer: str = "") -> Row:
    """Judge one figure."""
    ratio = theirs / ours if theirs is not None and ours > 0 else None
    met = goal.met_by(ours, ratio)
    return Row(name, _rounded(ours), _rounded(theirs), peer, unit, _rounded(ratio), goal.text(unit), met)


def failed_row(name: str, why: str) -> Row:
    """Return the row of a bench that could not run."""
    return Row(name, None, None, "", "", None, f"could not be measured: {why}", met=False)


def bench(name: str) -> Callable[[Measure], Measure]:
    """Register a function that measures rows."""

    def register(measure: Measure) -> Measure:
        if name in _BENCHES:
            raise ValueError(f"Two benches are called {name}.")
        _BENCHES[name] = measure
        return measure

    return register


def discover(package: str = "scripts.bench.benches") -> dict[str, Measure]:
    """Import every file of the package and return the benches by name, in the order of the files' names."""
    for module in sorted(pkgutil.iter_modules(importlib.import_module(package).__path__), key=lambda one: one.name):
        importlib.import_module(f"{package}.{module.name}")
    return dict(_BENCHES)


def run(benches: dict[str, Measure], site: Any, tell: Callable[[str], None]) -> Iterable[Row]:
    """Run benches one after the other; yields their rows, a failed one's included."""
    for name, measure in benches.items():
        tell(f"{name} …")
        began = time.monotonic()
        try:
            rows = measure(site)
        except Exception as error:  # noqa: BLE001 whatever it was, the table says so
            tell(traceback.format_exc())
            rows = [failed_row(name, _sentence(error))]
        tell(f"{name}: {len(rows)} rows after {time.monotonic() - began:.0f} s")
        yield from rows or [failed_row(name, "it returned no rows")]


def show(number: float | None) -> str:
    """Return a number as people read it."""
    if number is None:
        return "–"
    return f"{number:.0f}" if number == round(number) or abs(number) >= 1000 else f"{number:.3g}"


def _rounded(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.4g}")


def _sentence(error: Exception) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0][:300]
