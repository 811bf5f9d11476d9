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


def _age(moment, now):
    hours = (now - moment) / timedelta(hours=1)
    return f"{hours:.0f} hours" if hours >= 2 else f"{hours * 60:.0f} minutes"


def is_stale(kept, now, max_age_hours):
    """Return whether a backup has to be taken before the environment may be touched."""
    if not kept.has_data or not max_age_hours:
        return False
    return kept.newest is None or now - kept.newest > timedelta(hours=max_age_hours)


def refusal(kept, now, max_age_hours, proven_max_age_hours):
    """Return why nothing may be deployed for want of a backup, or None.

    A backup that is merely too old is no reason: one is taken first.
    """
    if not kept.has_data:
        return None
    if (max_age_hours or proven_max_age_hours) and not kept.has_repository:
        return (
            f"{kept.environment} has no backup repository, and its policy asks for backups: give it one, "
            "or have the policy ask for none."
        )
    if not proven_max_age_hours:
        return None
    if kept.newest_proven is None:
        return f"No backup of {kept.environment} was ever restored: have its newest one tested, then decide."
    if now - kept.newest_proven > timedelta(hours=proven_max_age_hours):
        return (
            f"The newest backup of {kept.environment} that was restored is {_age(kept.newest_proven, now)} old and "
            f"may be {proven_max_age_hours} hours: back up, have that tested, then decide."
        )
    return None


def is_due(kept, now, interval=DAY):
    """Return whether the nightly round takes a backup."""
    return kept.has_data and kept.has_repository and (kept.newest is None or now - kept.newest > interval - SLACK)


def test_is_due(kept, now, days):
    """Return whether the nightly round has the newest backup tested; 0 days for never."""
    if not days or kept.newest is None:
        return False
    return kept.newest_proven is None or now - kept.newest_proven > timedelta(days=days) - SLACK
