"""What crashes, restores and copies leave beside the restore sets goes when these do, and nothing else does."""

from datetime import timedelta

import pytest
from odooops_agent.errors import Permanent
from odooops_agent.facts import OwnerTag
from odooops_agent.plans.sets import FIRST_NUMBER
from odooops_agent.testing.droplet import DATABASE, ENVIRONMENT_UUID, KEY
from odooops_agent.testing.world import FakeDatabase

from .oracle import check_kept
from .test_crash import Reaper, Stage, run, start_again

OWN, ANOTHER = ENVIRONMENT_UUID, "somebody-else"
LATER = 900  # a token that no operation here reaches


def leave_files(world, *numbers, hours_ago=49.0):
    for number in numbers:
        world.file_snapshots[KEY, number] = "left"
        world.file_times[KEY, number] = world.now() - timedelta(hours=hours_ago)


def leave_database(world, name, uuid):
    world.databases[name] = FakeDatabase(name, "demo_prod", tag=OwnerTag(uuid, 1) if uuid else None)


def left(world):
    return sorted(number for (_, number), generation in world.file_snapshots.items() if generation == "left")


def closed(world):
    return sorted(name for name in world.databases if "__c" in name)


@pytest.fixture
def littered(deployed):
    leave_files(deployed.world, 1, FIRST_NUMBER + 1)
    leave_database(deployed.world, f"{DATABASE}__c1", OWN)
    return deployed


def test_files_without_a_database_and_copies_that_never_got_in_their_place_go(littered):
    littered.world.file_snapshots[KEY, FIRST_NUMBER + 1] = "half"
    finish = littered.deploy(3)
    assert finish.outcome == "succeeded"
    assert sorted(littered.world.file_snapshots) == [(KEY, finish.token)]
    assert closed(littered.world) == []
    check_kept(littered)


def test_files_stay_for_the_hours_that_sets_do(deployed):
    leave_files(deployed.world, 1, hours_ago=47)
    leave_files(deployed.world, 2)
    assert deployed.deploy(3).outcome == "succeeded"
    assert left(deployed.world) == [1]


def test_what_a_database_copy_or_newer_operation_needs_stays(deployed):
    """An unmarked database may be a set whose mark somebody's hand broke: its files are not ours to take."""
    leave_files(deployed.world, 1, 2, LATER, FIRST_NUMBER + LATER)
    leave_database(deployed.world, f"{DATABASE}__s1", None)
    leave_database(deployed.world, f"{DATABASE}__c{LATER}", OWN)
    leave_database(deployed.world, f"{DATABASE}__c2", ANOTHER)
    leave_database(deployed.world, f"{DATABASE}__c3", None)
    sets = {"keep": 2, "keep_hours": 48, "wanted": [2]}
    assert deployed.deploy(3, options={"restore_sets": sets}).outcome == "succeeded"
    assert left(deployed.world) == [1, 2, LATER, FIRST_NUMBER + LATER]
    assert closed(deployed.world) == [f"{DATABASE}__c2", f"{DATABASE}__c3", f"{DATABASE}__c{LATER}"]


def test_a_rollback_tidies_too(littered):
    assert littered.deploy(2).outcome == "succeeded"  # makes no set, so nothing is judged
    assert left(littered.world) == [1, FIRST_NUMBER + 1]
    assert littered.deploy(3).outcome == "succeeded"
    leave_files(littered.world, 2)
    assert littered.go_back(2, "full").outcome == "succeeded"
    assert left(littered.world) == []


def test_files_stay_while_the_cluster_can_not_be_asked(littered):
    """Tidying is no part of what a release hangs on; nothing goes on a guess."""

    def before_call(call):
        if call == "database.exists" and "filestore.snapshots" in littered.world.calls:
            raise Permanent("The cluster went away.")

    operation = littered.deployment(3)
    littered.world.calls.clear()
    littered.world.before_call = before_call
    littered.workshop.take_on(operation)
    assert littered.outcome(operation.id).outcome == "succeeded"
    assert left(littered.world) == [1, FIRST_NUMBER + 1]


def test_killed_at_every_call_of_the_tidying(tmp_path):
    """After each kill the agent starts again: what was left is gone, and the set and the site are whole."""
    stage = Stage(tmp_path, 1)
    leave_files(stage.world, 1, FIRST_NUMBER + 1)
    leave_database(stage.world, f"{DATABASE}__c1", OWN)
    droplet, operation = stage.play(3)
    run(droplet, operation, Reaper(droplet))
    first = droplet.world.calls.index("database.copies") + 1
    last = max(at for at, call in enumerate(droplet.world.calls, 1) if call == "filestore.drop_snapshot") + 1
    assert last - first >= 5
    for call in range(first, last + 1):
        droplet, operation = stage.play(3)
        assert run(droplet, operation, Reaper(droplet, call=call))
        start_again(droplet)
        assert droplet.outcome(operation.id).outcome == "succeeded", call
        assert sorted(droplet.world.file_snapshots) == [(KEY, operation.token)], call
        assert closed(droplet.world) == [], call
        assert droplet.world.violations == []
        check_kept(droplet)
