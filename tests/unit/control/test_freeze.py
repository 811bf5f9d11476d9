from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from core import freeze

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
EVERY_DAY = frozenset(range(7))
# Clocks that go forward and back, at midnight, by half an hour, on the globe's other half; and one that never does.
CHANGES = [
    ("Europe/Berlin", datetime(2026, 3, 29, 1)),
    ("Europe/Berlin", datetime(2026, 10, 25, 1)),
    ("America/New_York", datetime(2026, 3, 8, 7)),
    ("America/New_York", datetime(2026, 11, 1, 6)),
    ("America/Santiago", datetime(2026, 9, 6, 4)),
    ("Africa/Cairo", datetime(2026, 4, 23, 22)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15)),
    ("Asia/Kolkata", datetime(2026, 3, 29, 1)),
]
HOURS = [(0, 0), (60, 240), (125, 130), (150, 180), (22 * 60, 6 * 60), (23 * 60 + 30, 30), (18 * 60, 150), (0, 1440)]


def reads_closed(window, moment):
    """Return whether the wall clock at that moment stands inside the window, as a person would tell."""
    local = moment.replace(tzinfo=UTC).astimezone(ZoneInfo(window.zone))
    minute, day = local.hour * 60 + local.minute, local.weekday()
    begins, ends = window.from_minute, window.to_minute
    if ends > begins:
        return day in window.days and begins <= minute < ends
    return (day in window.days and minute >= begins) or ((day - 1) % 7 in window.days and minute < ends)


@pytest.mark.parametrize(("begins", "ends"), HOURS)
@pytest.mark.parametrize(("zone", "change"), CHANGES)
@pytest.mark.parametrize("days", [EVERY_DAY, frozenset({5, 6})])
def test_a_window_is_closed_whenever_the_clock_there_says_so(zone, change, begins, ends, days):
    window = freeze.Weekly("Night", zone, days, begins, ends)
    near = {change + step * 5 * MINUTE for step in range(-48, 48)}
    for moment in near | {change + step * 37 * MINUTE for step in range(-65, 65)}:
        closed = freeze.closing([window], moment) is not None
        if reads_closed(window, moment):
            assert closed, moment
        elif abs(moment - change) > 2 * HOUR:
            # It may only be longer than it reads, and only around the change itself.
            assert not closed, moment


@pytest.mark.parametrize(("zone", "change"), CHANGES)
def test_what_opens_is_open_and_was_closed_until_then(zone, change):
    windows = [
        freeze.Weekly("Night", zone, EVERY_DAY, 20 * 60, 8 * 60),
        freeze.Weekly("Weekend", zone, frozenset({5, 6}), 0, 0),
    ]
    for step in range(-30, 30):
        now = change + step * HOUR
        opens = freeze.opens_at(windows, now)
        assert freeze.closing(windows, opens) is None
        assert opens == now or freeze.closing(windows, opens - MINUTE)


def test_the_same_hour_of_people_all_year():
    window = freeze.Weekly("Office", "Europe/Berlin", frozenset({0}), 8 * 60, 18 * 60)
    assert freeze.closing([window], datetime(2026, 1, 5, 7)) == (datetime(2026, 1, 5, 17), "Office")
    assert freeze.closing([window], datetime(2026, 7, 6, 6)) == (datetime(2026, 7, 6, 16), "Office")
    assert freeze.closing([window], datetime(2026, 7, 6, 5, 59)) is None


def test_a_window_that_comes_once():
    begins, ends = datetime(2026, 12, 20), datetime(2027, 1, 2)
    window = freeze.Once("Holidays", begins, ends)
    assert freeze.closing([window], begins) == (ends, "Holidays")
    assert freeze.closing([window], ends) is None
    assert freeze.opens_at([window], begins) == ends


def test_windows_that_follow_on_each_other():
    weekend = freeze.Weekly("Weekend", "UTC", frozenset({5, 6}), 0, 0)
    monday = freeze.Once("Closing the books", datetime(2026, 11, 30), datetime(2026, 11, 30, 12))
    assert freeze.opens_at([weekend, monday], datetime(2026, 11, 28, 3)) == datetime(2026, 11, 30, 12)


def test_a_calendar_without_a_gap():
    always = freeze.Weekly("Always", "UTC", EVERY_DAY, 0, 0)
    assert freeze.opens_at([always], datetime(2026, 11, 28)) is None
    assert freeze.opens_at([], datetime(2026, 11, 28)) == datetime(2026, 11, 28)
