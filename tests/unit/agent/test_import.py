"""A backup of elsewhere becomes a new environment's data on fakes: wholly or not at all; a deployment brings it up."""

import copy
import shutil

import pytest
from odooops_agent.errors import Permanent
from odooops_agent.heartbeat import CAPABILITIES
from odooops_agent.protocol import ImportResult, convert
from odooops_agent.testing.droplet import DATABASE, ENVIRONMENT_UUID, KEY, UUID, FakeDroplet
from odooops_agent.testing.world import FakeDatabase

from .test_backups import _killed

MODULES = {"base": "19.0.1.3", "workshop": "19.0.1.0.0"}
DUMP = {"generation": "one", "uuid": UUID, "modules": MODULES, "recorded_digest": None}


@pytest.fixture
def brought(droplet):
    droplet.world.brought["prod.zip"] = {"dump": copy.deepcopy(DUMP), "files": "one"}
    return droplet


def bring(droplet, number=1, file="prod.zip", **changes):
    operation = droplet.operation("import", number, **{"import": {"file": file}, **changes})
    droplet.workshop.take_on(operation)
    return operation, droplet.outcome(operation.id)


def check_nothing_there(droplet):
    world = droplet.world
    assert (world.databases, world.filestores, world.workspaces, world.doors) == ({}, {}, {}, set())
    assert [one for one in world.containers.values() if one.running] == []
    assert droplet.journal.unfinished() == []


def test_the_agent_says_that_it_can():
    assert "import" in CAPABILITIES


def test_the_data_come_in_and_nothing_of_them_runs(brought):
    operation, finish = bring(brought)
    assert finish.outcome == "succeeded", finish.error
    result = convert(finish.result, ImportResult)
    assert (result.database_uuid, result.modules, result.missing_files) == (UUID, 2, 0)
    database = brought.world.databases[DATABASE]
    assert (database.generation, brought.world.filestores[KEY, DATABASE]) == ("one", "one")
    assert (database.tag.environment_uuid, database.tag.token) == (ENVIRONMENT_UUID, operation.token)
    assert brought.world.containers == {}
    assert brought.world.workspaces == {}


def test_nobody_enters_it_before_it_was_looked_at(brought):
    seen = []

    def look(call):
        if call in ("runtime.run python3 halfway", "database.attachment_files", "workspace.place_filestore"):
            seen.append((call, brought.world.databases[DATABASE].fenced))

    brought.world.before_call = look
    assert bring(brought)[1].outcome == "succeeded"
    assert [fenced for call, fenced in seen if call != "workspace.place_filestore"] == [True] * (len(seen) - 1)
    assert len(seen) >= 2
    assert seen[-1] == ("workspace.place_filestore", False)
    assert brought.world.violations == []


@pytest.mark.parametrize("number", [1, 3])
def test_a_deployment_brings_it_up(brought, number):
    assert bring(brought, number)[1].outcome == "succeeded"
    finish = brought.deploy(number)
    assert finish.outcome == "succeeded", finish.error
    assert finish.result["database_uuid"] == UUID
    assert brought.world.answering(KEY) is not None
    assert brought.world.violations == []


def test_a_deployment_that_fails_leaves_the_imported_data_as_they_were(brought):
    bring(brought)
    assert brought.deploy(4).outcome == "failed"
    assert brought.world.databases[DATABASE].generation == "one"
    assert brought.world.filestores[KEY, DATABASE] == "one"
    assert brought.deploy(3).outcome == "succeeded"


def test_an_environment_with_a_database_takes_none(brought):
    bring(brought)
    before = copy.deepcopy(brought.world.databases)
    _, finish = bring(brought)
    assert (finish.outcome, finish.error.code) == ("failed", "import_refused")
    assert brought.world.databases == before


def test_somebody_else_s_database_of_the_name_stays(brought):
    brought.world.databases[DATABASE] = FakeDatabase(DATABASE, owner="somebody")
    _, finish = bring(brought)
    assert finish.outcome == "failed"
    assert brought.world.databases[DATABASE].owner == "somebody"


@pytest.mark.parametrize("tier", ["staging", "preview"])
def test_below_production_only_neutralised_data_go(brought, tier):
    _, finish = bring(brought, environment={"tier": tier})
    assert (finish.error.code, "neutralised" in finish.error.message) == ("import_refused", True)
    check_nothing_there(brought)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"modules": {}}, "import_refused"),
        ({"uuid": None}, "import_refused"),
        ({"modules": {**MODULES, "base": "18.0.1.3"}}, "wrong_series"),
        ({"modules": {**MODULES, "sale_special": "19.0.1.0.0"}}, "missing_modules"),
        ({"modules": {**MODULES, "workshop": "19.0.9.0.0"}}, "backwards"),
    ],
)
def test_what_the_image_can_not_run_does_not_stay(brought, change, code):
    brought.world.brought["prod.zip"]["dump"].update(change)
    _, finish = bring(brought)
    assert (finish.outcome, finish.error.code, finish.result["reverted"]) == ("failed", code, True)
    check_nothing_there(brought)


def test_what_can_not_be_unpacked_changes_nothing(brought):
    brought.world.brought["prod.zip"] = Permanent("It leads out.", code="import_refused")
    _, finish = bring(brought)
    assert (finish.outcome, finish.error.code) == ("failed", "import_refused")
    check_nothing_there(brought)


def test_files_that_outlived_a_database_are_kept(brought):
    brought.world.filestores[KEY, DATABASE] = "old"
    operation, finish = bring(brought)
    assert finish.outcome == "succeeded", finish.error
    assert brought.world.filestores[KEY, DATABASE] == "one"
    assert brought.world.file_snapshots[KEY, operation.token] == "old"


@pytest.mark.parametrize("old_files", [False, True])
def test_killed_at_every_call(brought, old_files, tmp_path):
    """After each kill the agent starts again: the data are there, or nothing is."""
    if old_files:
        brought.world.filestores[KEY, DATABASE] = "old"
    before = copy.deepcopy(brought.world.filestores)
    brought.journal.close()
    call, killed, outcomes = 0, True, set()
    while killed:
        call += 1
        folder = tmp_path / "take"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        droplet = FakeDroplet(folder, copy.deepcopy(brought.world))
        operation = droplet.operation("import", 1, **{"import": {"file": "prod.zip"}})
        killed = _killed(droplet, operation, call)
        droplet.world.before_call = lambda name: None
        droplet.world.doors.clear()  # a socket of the process that died
        droplet.restart()
        entry = droplet.journal.get(operation.id)
        outcome = droplet.outcome(operation.id).outcome if entry else "failed"
        outcomes.add(outcome)
        if outcome == "succeeded":
            assert droplet.world.databases[DATABASE].generation == droplet.world.filestores[KEY, DATABASE] == "one"
        else:
            assert (droplet.world.databases, droplet.world.filestores) == ({}, before)
        assert droplet.world.workspaces == {}
        assert not [name for name, one in droplet.world.containers.items() if one.running]
        assert droplet.journal.unfinished() == []
        droplet.journal.close()
    assert outcomes == {"succeeded", "failed"}
    assert call > 15
