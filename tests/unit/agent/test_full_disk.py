"""A disk is full, the journal's or the parts': whatever was under way, it ends wholly old or wholly new."""

import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from odooops_agent.errors import Permanent, Unrecorded
from odooops_agent.executor import FIRST_PAUSE_SECONDS
from odooops_agent.operations import RECORD_PAUSE_SECONDS
from odooops_agent.testing.droplet import FakeDroplet, digest

from .oracle import check_safe
from .test_crash import STORIES, Stage, judge

WRITES = ("INSERT", "UPDATE", "DELETE")


class FullDisk:
    """A connection whose n-th write and all after it find no space, until some is freed."""

    def __init__(self, connection, first):
        self._connection = connection
        self._left = first
        self.full = False
        self.writes = 0

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, statement, *values):
        if statement.lstrip().startswith(WRITES):
            self.writes += 1
            self._left -= 1
            if self._left == 0:
                self.full = True
            if self.full:
                self._connection.execute("ROLLBACK")  # as SQLite does by itself
                raise sqlite3.OperationalError("database or disk is full")
        return self._connection.execute(statement, *values)


@pytest.mark.parametrize("number", [2, 3, 4, 8], ids=["switch", "update", "update that raises", "never warm"])
def test_a_disk_that_fills_up_at_any_write_leaves_nobody_waiting(tmp_path, number):
    first, filled = 1, True
    while filled:
        (folder := tmp_path / str(first)).mkdir()
        droplet = FakeDroplet(folder)
        droplet.deploy(1)
        droplet.world.watched = "demo/prod"
        operation = droplet.deployment(number)
        disk = droplet.journal._connection = FullDisk(droplet.journal._connection, first)
        waited = let_it_wait(droplet, disk)
        try:
            droplet.workshop.take_on(operation)
        except Unrecorded:
            assert first <= 5, "it was not even taken on"
        filled = disk.full or waited
        if waited:
            now = check_safe(droplet, token=operation.token)
            assert droplet.outcome(operation.id).outcome == ("succeeded" if now == digest(number) else "failed")
        first += 1
    assert first > 40


def let_it_wait(droplet, disk):
    """Free the disk once the operation waits for it alone, and see what visitors have until then."""
    sleep, waited = droplet.world.sleep, []

    def watch(seconds):
        if disk.full and seconds == RECORD_PAUSE_SECONDS:
            assert droplet.world.held == set()
            assert droplet.world.answering("demo/prod") is not None
            assert droplet.world.violations == []
            waited.append(seconds)
            disk.full = False
        sleep(seconds)

    droplet.world.sleep = watch
    return waited


def test_the_reason_is_told(deployed):
    operation = deployed.deployment(3)
    disk = deployed.journal._connection = FullDisk(deployed.journal._connection, -1)

    def fill(call):
        disk.full = disk.full or call == "database.fence"

    deployed.world.before_call = fill
    let_it_wait(deployed, disk)
    deployed.workshop.take_on(operation)
    error = deployed.outcome(operation.id).error
    assert error.code == "journal_failed"
    assert "database or disk is full" in error.message
    assert "free some space on its disk" in error.message


def test_sqlite_s_own_full_disk_leaves_the_journal_usable(deployed):
    """A limit on the file's pages is the same to SQLite as a disk without space."""
    journal, operation = deployed.journal, deployed.operation("deploy", 3)
    pages = journal._one("PRAGMA page_count")[0]
    journal._one(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unrecorded, match="is full"):
        journal.keep_result(41, "large", "x" * 5_000_000)
    journal._one("PRAGMA max_page_count = 1000000")
    journal.begin(operation)
    assert journal.get(operation.id).state == "preparing"


class FullParts:
    """From the n-th call of a port on none finds any space, until the agent has waited for some."""

    def __init__(self, world, first, waits=3):
        self.calls, self.failed, self._first, self._waits = 0, 0, first, waits
        self._sleep = world.sleep
        world.before_call, world.sleep = self.on_call, self.sleep

    @property
    def full(self):
        return self.calls >= self._first and self._waits > 0

    def on_call(self, name):
        self.calls += 1
        if self.full:
            self.failed += 1
            raise Permanent("The disk is full; free some of it.", code="disk_full")

    def sleep(self, seconds):
        if self.full and seconds >= FIRST_PAUSE_SECONDS:
            self._waits -= 1
        self._sleep(seconds)


@pytest.mark.parametrize("name", ["rollback_full", "rollback_full_that_never_gets_healthy", "update"])
def test_parts_whose_disk_is_full_at_any_call_leave_no_half(tmp_path, name):
    """In the midst of the renames too: the way back, and the way on past the point of no return, wait for space."""
    story, memory = STORIES[name], Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as scratch:
        stage = Stage(Path(scratch), *story.before)
        first, failed = 0, True
        while failed:
            first += 1
            droplet, operation = stage.play_story(story)
            parts = FullParts(droplet.world, first)
            droplet.workshop.take_on(operation)
            failed = parts.failed
            droplet.world.before_call = lambda call: None
            assert droplet.outcome(operation.id).outcome in ("succeeded", "failed"), first
            judge(droplet, story, operation)
            droplet.journal.close()
        assert first > 40
