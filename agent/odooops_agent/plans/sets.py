"""Which restore sets stay in the cluster. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..facts import FileSnapshot, KeptSet

# Restored data are numbered from here until they are in their place, so that no restore set has the same number.
FIRST_NUMBER = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Keeping:
    """The newest `sets`, all of the last `hours`, and what somebody waits for by its token."""

    sets: int
    hours: float
    wanted: frozenset[int] = frozenset()


def to_drop(sets: Sequence[KeptSet], own: int, keeping: Keeping, now: datetime) -> tuple[KeptSet, ...]:
    """Return what nobody keeps any more, the oldest first; before them what a restore left that never ended.

    :param own: token of the newest; a set that a newer deployment made is never judged, and its own always stays.
    """
    left = tuple(one for one in sets if FIRST_NUMBER < one.token < FIRST_NUMBER + own)
    earlier = sorted((one for one in sets if one.token < own), key=lambda one: one.token)
    beyond = earlier[: max(0, len(earlier) + 1 - max(1, keeping.sets))]
    oldest = now - timedelta(hours=keeping.hours)
    old = (one for one in beyond if one.since is None or one.since < oldest)
    return left + tuple(one for one in old if one.token not in keeping.wanted)


def outlived(found: Sequence[FileSnapshot], own: int, keeping: Keeping, now: datetime) -> tuple[FileSnapshot, ...]:
    """Return the files that go unless a database is there that they belong to.

    Files outlive their database when a cluster was lost, when a restore set them aside, or when an agent's state was
    lost with an operation half done. Whoever misses some has the sets' hours to fetch them.

    :param own: as for `to_drop`; what a newer operation made is never judged.
    """
    oldest = now - timedelta(hours=keeping.hours)
    return tuple(
        one
        for one in found
        if (one.token - FIRST_NUMBER if one.token > FIRST_NUMBER else one.token) < own
        and one.since < oldest
        and one.token not in keeping.wanted
    )
