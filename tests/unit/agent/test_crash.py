"""`kill -9` at every point of every kind of deployment: before each act, between act and record, after each record.

A crash point is the n-th call to a port (so also in the midst of a step), or one of the executor's own points
around the journal. After each the agent starts again on the same disk, and is sometimes killed once more.
"""

import copy
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from odooops_agent.testing.droplet import FakeDroplet, digest
from odooops_agent.testing.world import Killed

from .oracle import check_empty, check_safe

# A deployment by what it is made of: the release before, the release, its shape.
STORIES = {
    "update": (1, 3),
    "update_that_raises": (1, 4),
    "update_that_logs_an_error": (1, 5),
    "update_that_never_gets_healthy": (1, 7),
    "update_that_never_gets_warm": (1, 8),
    "update_that_can_t_be_imported": (1, 9),
    "switch": (1, 2),
    "switch_that_never_gets_healthy": (1, 6),
    "install": (None, 1),
    "install_that_raises": (None, 4),
}


class Stage:
    """A world at the moment before a deployment, to be played from again and again."""

    def __init__(self, scratch, before):
        self._scratch = scratch
        self.folder = scratch / "stage"
        self.folder.mkdir()
        droplet = FakeDroplet(self.folder)
        if before is not None:
            assert droplet.deploy(before).outcome == "succeeded"
            droplet.world.watched = "demo/prod"
        self.world = droplet.world
        droplet.journal.compact()
        droplet.journal.close()

    def play(self, number):
        """Return a droplet of its own and the operation that is about to run on it."""
        folder = self._scratch / "take"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder, folder)
        droplet = FakeDroplet(folder, copy.deepcopy(self.world))
        droplet._operations = 10
        operation = droplet.deployment(number)
        droplet.world.calls.clear()
        return droplet, operation


class Reaper:
    """Kills at the n-th call of a port, or at a point of the executor."""

    def __init__(self, droplet, call=None, point=None):
        self.calls = 0
        self.points = []
        self._call = call
        self._point = point
        droplet.world.before_call = self.on_call
        droplet.point = self.on_point

    def on_call(self, name):
        self.calls += 1
        if self.calls == self._call:
            raise Killed(name)

    def on_point(self, name):
        self.points.append(name)
        if name == self._point:
            raise Killed(name)


def run(droplet, operation, reaper):
    """Run the operation; tells whether it was killed."""
    try:
        droplet.workshop.take_on(operation)
    except Killed:
        return True
    return False


def start_again(droplet):
    Reaper(droplet)
    droplet.restart()


def judge(droplet, story, operation):
    before, number = STORIES[story]
    entry = droplet.journal.get(operation.id)
    outcome = droplet.outcome(operation.id).outcome if entry else None
    if before is None and not droplet.world.databases:
        assert outcome in (None, "failed")
        check_empty(droplet)
        return
    now = check_safe(droplet, token=operation.token)
    assert now in (digest(before) if before else None, digest(number))
    assert outcome == ("succeeded" if now == digest(number) else "failed") or entry is None
    if outcome == "succeeded":
        assert now == digest(number)


@pytest.fixture(params=STORIES)
def story(request):
    return request.param


@pytest.fixture
def stage(story, tmp_path):
    # Thousands of small journals: in memory where there is a place for that.
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as scratch:
        yield Stage(Path(scratch), STORIES[story][0])


def test_undisturbed(story, stage):
    droplet, operation = stage.play(STORIES[story][1])
    Reaper(droplet)
    droplet.workshop.take_on(operation)
    expected = "succeeded" if story in ("update", "switch", "install") else "failed"
    assert droplet.outcome(operation.id).outcome == expected
    judge(droplet, story, operation)


def test_killed_at_every_call(story, stage):
    """Covers what a kill before an act, within a step and after an act leave behind."""
    call = 0
    killed = True
    while killed:
        call += 1
        droplet, operation = stage.play(STORIES[story][1])
        killed = run(droplet, operation, Reaper(droplet, call=call))
        start_again(droplet)
        judge(droplet, story, operation)
        droplet.journal.close()
    assert call > 10


def test_killed_at_every_record(story, stage):
    """Covers what a kill between an act and its record, and right after the record, leave behind."""
    droplet, operation = stage.play(STORIES[story][1])
    reaper = Reaper(droplet)
    droplet.workshop.take_on(operation)
    assert reaper.points
    for point in dict.fromkeys(reaper.points):
        droplet, operation = stage.play(STORIES[story][1])
        assert run(droplet, operation, Reaper(droplet, point=point)), point
        start_again(droplet)
        judge(droplet, story, operation)
        droplet.journal.close()


@pytest.mark.parametrize("story", ["update", "update_that_raises", "switch", "install"], indirect=True)
def test_killed_again_on_the_way_back(story, stage):
    """A second kill at every call of the recovery, for first kills spread over the deployment."""
    droplet, operation = stage.play(STORIES[story][1])
    reaper = Reaper(droplet)
    droplet.workshop.take_on(operation)
    for first in range(5, reaper.calls, 7):
        second = 0
        reached = True
        while reached:
            second += 3
            droplet, operation = stage.play(STORIES[story][1])
            run(droplet, operation, Reaper(droplet, call=first))
            again = Reaper(droplet, call=second)
            try:
                droplet.restart()
                reached = False
            except Killed:
                assert again.calls == second
            Reaper(droplet)
            droplet.restart()
            judge(droplet, story, operation)
            droplet.journal.close()
