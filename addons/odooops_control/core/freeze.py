"""When nothing may be deployed: windows that recur and windows that come once, in the time of the people there.

All moments that go in and out are naive UTC, as Odoo keeps them; a weekly window is on its zone's wall clock.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)
# Further ahead nobody waits: a calendar that leaves no gap until then leaves none.
HORIZON = timedelta(days=60)


@dataclass(frozen=True)
class Once:
    """From one moment to another."""

    name: str
    begins: datetime
    ends: datetime

    def around(self, moment):
        """Return the times at which it may hold at that moment, as pairs of beginning and end."""
        return [(self.begins, self.ends)]


@dataclass(frozen=True)
class Weekly:
    """On days of the week, from a minute of the day to another; past midnight when the second is not later.

    ``days`` are those on which it begins, Monday being 0.
    """

    name: str
    zone: str
    days: frozenset
    from_minute: int
    to_minute: int

    def around(self, moment):
        """Return the times at which it may hold at that moment, as pairs of beginning and end."""
        zone = ZoneInfo(self.zone)
        today = moment.replace(tzinfo=UTC).astimezone(zone).date()
        days = [today + DAY * step for step in range(-2, 2)]
        return [self._on(day, zone) for day in days if day.weekday() in self.days]

    def _on(self, day, zone):
        last = day if self.to_minute > self.from_minute else day + DAY
        # A time that the clock shows twice, or never, is taken so that the window is not shorter than it reads.
        return min(_moments(day, self.from_minute, zone)), max(_moments(last, self.to_minute, zone))


def _moments(day, minute, zone):
    """Return the UTC moments that this time of the day may mean."""
    day, minute = day + DAY * (minute // 1440), minute % 1440
    local = datetime.combine(day, time(minute // 60, minute % 60), zone)
    return [local.replace(fold=fold).astimezone(UTC).replace(tzinfo=None) for fold in (0, 1)]


def closing(windows, now):
    """Return the window that is closed now and when it ends, or None."""
    ends = [(end, window.name) for window in windows for begin, end in window.around(now) if begin <= now < end]
    return max(ends, default=None)


def opens_at(windows, now):
    """Return the first moment from ``now`` on at which no window is closed, None when there is none in sight."""
    moment = now
    while found := closing(windows, moment):
        moment = found[0]
        if moment - now > HORIZON:
            return None
    return moment
