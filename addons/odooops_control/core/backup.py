"""When a backup is due, and whether those that are there are good enough for what a policy asks."""

from dataclasses import dataclass
from datetime import datetime, timedelta

# A nightly backup that began a little earlier than the night before is due all the same.
SLACK = timedelta(hours=2)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Kept:
    """What is known of an environment's backups; times are those up to which data would come back."""

    environment: str
    has_data: bool
    has_repository: bool
    newest: datetime | None
    newest_proven: datetime | None


def is_stale(kept, now, max_age_hours):
    """Return whether a backup has to be taken before the environment may be touched."""
    if not kept.has_data or not max_age_hours:
        return False
    return kept.newest is None or now - kept.newest > timedelta(hours=max_age_hours)


def is_due(kept, now, interval=DAY):
    """Return whether the nightly round takes a backup."""
    return kept.has_data and kept.has_repository and (kept.newest is None or now - kept.newest > interval - SLACK)


def test_is_due(kept, now, days):
    """Return whether the nightly round has the newest backup tested; 0 days for never."""
    if not days or kept.newest is None:
        return False
    return kept.newest_proven is None or now - kept.newest_proven > timedelta(days=days) - SLACK
