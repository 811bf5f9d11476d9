from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from core import backup, conditions
from core.conditions import GREEN, OVERRIDDEN, RED, REQUEST, START, WAITING, StagingRun

NOW = datetime(2026, 11, 23, 12)
KEPT = backup.Kept("demo/prod", True, True, NOW - timedelta(hours=3), NOW - timedelta(hours=30))


def ago(minutes, trouble=""):
    return StagingRun(NOW - timedelta(minutes=minutes), trouble)


@pytest.mark.parametrize(
    ("results", "required", "state"),
    [
        ([], (), GREEN),
        ([("lint", "success")], (), GREEN),
        ([("lint", "success"), ("tests", "in_progress")], (), WAITING),
        ([("lint", "failure"), ("tests", "in_progress")], (), RED),
        ([("lint", "success")], ("lint", "tests"), WAITING),
        ([("lint", "success"), ("tests", "success")], ("lint", "tests"), GREEN),
    ],
)
def test_preflight(results, required, state):
    found = conditions.preflight("v1", results, required)
    assert found.state == state
    assert found.blocks == ("" if state == GREEN else REQUEST)


@pytest.mark.parametrize(
    ("status", "state"), [("success", GREEN), ("failure", RED), ("timed_out", RED), ("queued", WAITING)]
)
def test_oca(status, state):
    assert conditions.oca([("allowlist", status), ("lint", "failure")]).state == state
    assert conditions.oca([("lint", "success")]) is None


@pytest.mark.parametrize(
    ("runs", "state"),
    [
        ([], RED),
        ([ago(5)], GREEN),
        ([ago(5, "it was rolled back")], RED),
        ([ago(50, "it was rolled back"), ago(5)], GREEN),
        ([ago(50), ago(5, "it was red")], RED),
    ],
)
def test_staging(runs, state):
    assert conditions.staging("v1", runs).state == state


@pytest.mark.parametrize(
    ("runs", "minutes", "state"),
    [
        ([ago(120)], 120, GREEN),
        ([ago(119)], 120, WAITING),
        # What ran there once counts from its first green verdict, also when it was superseded since.
        ([ago(300), ago(5)], 120, GREEN),
        # But not from before what went wrong with it.
        ([ago(300), ago(200, "it was red"), ago(5)], 120, WAITING),
    ],
)
def test_staging_time(runs, minutes, state):
    assert conditions.staging_time(runs, NOW, minutes).state == state


def test_staging_time_that_nobody_asks_for():
    assert conditions.staging_time([ago(0)], NOW, 0) is None
    assert conditions.staging_time([], NOW, 120) is None
    assert conditions.staging_time([ago(5, "it was red")], NOW, 120) is None


def test_time_that_is_left_is_rounded_up():
    run = StagingRun(NOW - timedelta(minutes=119, seconds=30))
    assert "another 1 minute." in conditions.staging_time([run], NOW, 120).detail


@pytest.mark.parametrize(
    ("states", "state"),
    [
        ([("demo/stage", "green")], GREEN),
        ([("demo/stage", "yellow")], GREEN),
        ([("demo/stage", "unknown")], WAITING),
        ([("demo/stage", "green"), ("demo/other", "red")], RED),
    ],
)
def test_staging_health(states, state):
    assert conditions.staging_health(states).state == state
    assert conditions.staging_health([]) is None


@pytest.mark.parametrize(
    ("kept", "hours", "always", "impossible", "state", "blocks"),
    [
        (KEPT, 24, False, None, GREEN, ""),
        (KEPT, 2, False, None, WAITING, ""),
        (KEPT, 2, False, "The key is gone.", RED, REQUEST),
        (KEPT, 24, False, "The key is gone.", GREEN, ""),
        (KEPT, 24, True, None, WAITING, ""),
        (replace(KEPT, newest=None), 24, False, None, WAITING, ""),
        (replace(KEPT, has_repository=False), 24, False, "No repository.", RED, REQUEST),
    ],
)
def test_backup(kept, hours, always, impossible, state, blocks):
    found = conditions.backup(kept, NOW, hours, always, impossible)
    assert (found.state, found.blocks) == (state, blocks)


def test_backups_that_nobody_asks_for():
    assert conditions.backup(KEPT, NOW, 0, False, "no repository") is None
    assert conditions.backup(replace(KEPT, has_data=False), NOW, 24, True, None) is None
    assert conditions.restore_test(KEPT, NOW, 0) is None


@pytest.mark.parametrize(("hours", "state"), [(31, GREEN), (30, GREEN), (29, RED)])
def test_restore_test(hours, state):
    assert conditions.restore_test(KEPT, NOW, hours).state == state
    assert conditions.restore_test(replace(KEPT, newest_proven=None), NOW, hours).state == RED


def test_approvals():
    assert conditions.approvals(0, 1, [], "1 more person has to approve.").blocks == START
    assert conditions.approvals(1, 1, ["Rita"], None).state == GREEN


def test_only_what_may_be_is_overridden():
    found = [
        conditions.barred("It was rolled back."),
        conditions.staging("v1", []),
        conditions.staging_time([ago(1)], NOW, 120),
        conditions.staging_health([("demo/stage", "green")]),
        conditions.approvals(0, 1, [], "1 more person has to approve."),
    ]
    every = {one.key: ("Rita", "because") for one in found}
    after = conditions.overridden(found, every)
    assert [one.state for one in after] == [RED, RED, OVERRIDDEN, GREEN, WAITING]
    assert [one.key for one in conditions.blocking(after, REQUEST, START)] == ["quarantine", "staging", "approvals"]
    assert (after[2].by, after[2].why) == ("Rita", "because")


@pytest.mark.parametrize(
    ("minutes", "text"), [(1, "1 minute"), (119, "119 minutes"), (120, "2 hours"), (60 * 72, "3 days")]
)
def test_spans(minutes, text):
    assert conditions.span(minutes) == text


@pytest.mark.parametrize(
    ("busy", "said"),
    [
        (None, None),
        ({}, None),
        ({"of a later agent": 3}, None),
        ({"point_of_sale": 1}, "1 point-of-sale session is open."),
        ({"cron": 2, "payroll": 1}, "1 payroll batch is being worked on. 2 scheduled jobs are running."),
        ({"fiscal_year": 0}, "The fiscal year ends today."),
        ({"fiscal_year": 3}, "The fiscal year ends in 3 days."),
    ],
)
def test_business(busy, said):
    found = conditions.business(busy)
    assert (found.detail if found else None) == said
    assert found is None or (found.state, found.blocks) == (conditions.WAITING, conditions.START)
