"""`kill -9` at every point of every kind of deployment and rollback: before each act, after it, and after its record.

A crash point is the n-th call to a port (so also in the midst of a step), or one of the executor's own points
around the journal. After each the agent starts again on the same disk, and is sometimes killed once more.
"""

import copy
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from odooops_agent.protocol import LossCount
from odooops_agent.testing.droplet import DATABASE, FakeDroplet, digest
from odooops_agent.testing.world import Killed

from .oracle import check_empty, check_kept, check_safe

ENTERED = LossCount(model="sale.order", label="Sales Order", created=12, changed=4)
MORE = LossCount(model="sale.order", label="Sales Order", created=13, changed=4)


@dataclass(frozen=True)
class Story:
    """An operation by what it is made of: the releases before, the release, and the mode of a rollback."""

    before: tuple[int, ...]
    number: int
    mode: str | None = None
    ends: str = "failed"
    entered_since_approval: bool = False
    spoilt: bool = False  # the target no longer gets healthy

    @property
    def base(self):
        return self.before[-1] if self.before else None


STORIES = {
    "update": Story((1,), 3, ends="succeeded"),
    "update_that_raises": Story((1,), 4),
    "update_that_logs_an_error": Story((1,), 5),
    "update_that_never_gets_healthy": Story((1,), 7),
    "update_that_never_gets_warm": Story((1,), 8),
    "update_that_can_t_be_imported": Story((1,), 9),
    "switch": Story((1,), 2, ends="succeeded"),
    "switch_that_never_gets_healthy": Story((1,), 6),
    "install": Story((), 1, ends="succeeded"),
    "install_that_raises": Story((), 4),
    "rollback_code": Story((1, 2), 1, "code", ends="succeeded"),
    "rollback_full": Story((1, 3), 1, "full", ends="succeeded"),
    "rollback_full_past_ceiling": Story((1, 3), 1, "full", entered_since_approval=True),
    "rollback_full_that_never_gets_healthy": Story((1, 3), 1, "full", spoilt=True),
}


class Stage:
    """A world at the moment before an operation, to be played from again and again."""

    def __init__(self, scratch, *before):
        self._scratch = scratch
        self.folder = scratch / "stage"
        self.folder.mkdir()
        droplet = FakeDroplet(self.folder)
        for number in before:
            if number is not None:
                assert droplet.deploy(number).outcome == "succeeded"
                droplet.world.watched = "demo/prod"
        self.world = droplet.world
        droplet.journal.compact()
        droplet.journal.close()

    def play(self, number):
        """Return a droplet of its own and the deployment that is about to run on it."""
        droplet = self._droplet()
        operation = droplet.deployment(number)
        droplet.world.calls.clear()
        return droplet, operation

    def play_story(self, story):
        """Return a droplet of its own and the story's operation, approved and about to run."""
        if story.mode is None:
            return self.play(story.number)
        droplet = self._droplet()
        live = droplet.world.databases[DATABASE]
        live.written = {"sale.order": ENTERED}
        operation = droplet.going_back(story.number, story.mode)
        if story.entered_since_approval:
            live.written = {"sale.order": MORE}
        droplet.world.images[digest(story.number)].never_healthy = story.spoilt
        droplet.world.calls.clear()
        return droplet, operation

    def _droplet(self):
        folder = self._scratch / "take"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder, folder)
        droplet = FakeDroplet(folder, copy.deepcopy(self.world))
        droplet._operations = 10
        return droplet


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
    entry = droplet.journal.get(operation.id)
    outcome = droplet.outcome(operation.id).outcome if entry else None
    if story.base is None and not droplet.world.databases:
        assert outcome in (None, "failed")
        check_empty(droplet)
        return
    went = outcome == "succeeded"
    sets = sets_after(story, operation, went=went) if story.mode else None
    now = check_safe(droplet, token=operation.token, sets=sets)
    assert now in (digest(story.base) if story.base else None, digest(story.number))
    assert outcome == ("succeeded" if now == digest(story.number) else "failed") or entry is None
    check_kept(droplet)
    if story.mode == "full":
        check_entered(droplet, story, operation, went=went)


def sets_after(story, operation, *, went):
    """Return which restore sets there ought to be, by the generation of their data."""
    if story.mode == "code":
        return {}
    target = operation.way_back.restore_set.token
    return {operation.token: "two"} if went else {target: "one"}


def check_entered(droplet, story, operation, *, went):
    """What people entered is live as it was, or waits in the set of the present; it is in one place."""
    entered = {"sale.order": MORE if story.entered_since_approval else ENTERED}
    found = {name: one.written for name, one in droplet.world.databases.items() if one.written}
    assert found == {f"{DATABASE}__s{operation.token}" if went else DATABASE: entered}


@pytest.fixture(params=STORIES)
def story(request):
    return request.param


@pytest.fixture
def stage(story, tmp_path):
    # Thousands of small journals: in memory where there is a place for that.
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as scratch:
        yield Stage(Path(scratch), *STORIES[story].before)


def test_undisturbed(story, stage):
    droplet, operation = stage.play_story(STORIES[story])
    Reaper(droplet)
    droplet.workshop.take_on(operation)
    assert droplet.outcome(operation.id).outcome == STORIES[story].ends
    judge(droplet, STORIES[story], operation)


def test_killed_at_every_call(story, stage):
    """Covers what a kill before an act, within a step and after an act leave behind."""
    call = 0
    killed = True
    while killed:
        call += 1
        droplet, operation = stage.play_story(STORIES[story])
        killed = run(droplet, operation, Reaper(droplet, call=call))
        start_again(droplet)
        judge(droplet, STORIES[story], operation)
        droplet.journal.close()
    assert call > 10


def test_killed_at_every_record(story, stage):
    """Covers what a kill between an act and its record, and right after the record, leave behind."""
    droplet, operation = stage.play_story(STORIES[story])
    reaper = Reaper(droplet)
    droplet.workshop.take_on(operation)
    assert reaper.points
    for point in dict.fromkeys(reaper.points):
        droplet, operation = stage.play_story(STORIES[story])
        assert run(droplet, operation, Reaper(droplet, point=point)), point
        start_again(droplet)
        judge(droplet, STORIES[story], operation)
        droplet.journal.close()


AGAIN = ["update", "update_that_raises", "switch", "install", "rollback_full", "rollback_full_past_ceiling"]


@pytest.mark.parametrize("story", AGAIN, indirect=True)
def test_killed_again_on_the_way_back(story, stage):
    """A second kill at every call of the recovery, for first kills spread over the deployment."""
    droplet, operation = stage.play_story(STORIES[story])
    reaper = Reaper(droplet)
    droplet.workshop.take_on(operation)
    for first in range(5, reaper.calls, 7):
        second = 0
        reached = True
        while reached:
            second += 3
            droplet, operation = stage.play_story(STORIES[story])
            run(droplet, operation, Reaper(droplet, call=first))
            again = Reaper(droplet, call=second)
            try:
                droplet.restart()
                reached = False
            except Killed:
                assert again.calls == second
            Reaper(droplet)
            droplet.restart()
            judge(droplet, STORIES[story], operation)
            droplet.journal.close()
