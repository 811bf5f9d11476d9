"""Small sums over measured times."""

from __future__ import annotations

import math
from collections.abc import Sequence


def median(values: Sequence[float]) -> float:
    return percentile(values, 50)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` per cent of all are not above (nearest rank)."""
    ranked = sorted(values)
    if not ranked:
        raise ValueError("Nothing was measured.")
    return ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)]
