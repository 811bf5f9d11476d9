"""Copies of another environment's data, on fakes: proven safe or out of everybody's reach, also after any kill."""

import copy
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from odooops_agent.errors import Permanent
from odooops_agent.facts import KeptSet, OwnerTag
from odooops_agent.plans.copies import new_uuid
from odooops_agent.protocol import CloneResult, FailedClone, convert
from odooops_agent.testing.droplet import DATABASE, KEY, FakeDroplet, digest
from odooops_agent.testing.world import FakeDatabase, Killed, Outage

from .oracle import check_safe
from .test_backups import back_up, order

SOURCE, SET = "acme/live", "acme_live__s7"
STAGING = {"tier": "staging"}
AS_OF = "2026-11-23T09:00:00Z"


def give_source(droplet, number=1):
    """Lay another environment's restore set beside, on the release `number`."""
    world = droplet.world
    mark = KeptSet(7, digest(number), world.now())
    scenario = world.images[digest(number)]
    modules = dict(world.databases[DATABASE].modules) if DATABASE in world.databases else dict(droplet.installed)
    world.databases[SET] = FakeDatabase(
        SET,
        "acme_live",
        scenario.generation,
        "uuid-of-production",
        OwnerTag("acme", 7),
        allows_connections=False,
        modules=modules,
        recorded_digest=digest(number),
        mark=mark,
    )
    world.file_snapshots[SOURCE, 7] = scenario.generation
    return droplet


def restore_set(number=1, **changes):
    files = "snapshots/7/filestore"
    given = {"token": 7, "digest": digest(number), "database_snapshot": SET, "filestore_snapshot": files}
    return {**given, "taken_at": AS_OF, "module_versions": {"base": "19.0.1.3", "workshop": "19.0.1.0.0"}, **changes}


def ordered(number=1, rules=None, **source):
    given = {"environment": SOURCE, "tier": "production", "database": "acme_live", "restore_set": restore_set(number)}
    return {"source": {**given, **source}, "data_as_of": AS_OF, "rules": rules or {}}


def clone(droplet, number=1, given=None, environment=STAGING, **changes):
    environment = {**STAGING, **environment}
    operation = droplet.operation("clone", number, clone=given or ordered(number), environment=environment, **changes)
    droplet.workshop.take_on(operation)
    return operation, droplet.outcome(operation.id)


@pytest.fixture
def staging(droplet):
    """An environment on v1.1.0, then v1.3.0, with the restore set of a production on v1.1.0 beside it."""
    assert droplet.deploy(1, environment=STAGING).outcome == "succeeded"
    assert droplet.deploy(3, environment=STAGING).outcome == "succeeded"
    droplet.world.watched = KEY
    return give_source(droplet)


def source_untouched(world):
    assert (world.databases[SET].generation, world.databases[SET].allows_connections) == ("one", False)
    assert world.file_snapshots[SOURCE, 7] == "one"


def sets_of(world):
    return {int(name.rpartition("__s")[2]): one.generation for name, one in world.databases.items() if "__s" in name}


def check(droplet, operation, sets):
    """As after any other operation, once the source is laid aside."""
    source_untouched(droplet.world)
    del droplet.world.databases[SET]
    del droplet.world.file_snapshots[SOURCE, 7]
    assert droplet.world.workspaces == {}
    assert not any(one.dangerous for one in droplet.world.databases.values())
    return check_safe(droplet, token=operation.token, sets=sets)


def mine(sets):
    return {token: generation for token, generation in sets.items() if token != 7}


def test_the_copy_serves_and_the_present_is_a_restore_set(staging):
    before = mine(sets_of(staging.world))
    operation, finish = clone(staging)
    assert finish.outcome == "succeeded", finish.error
    result = convert(finish.result, CloneResult)
    assert result.database_uuid == new_uuid(operation) != "uuid-of-production"
    assert result.restore_set.database_snapshot == f"{DATABASE}__s{operation.token}"
    assert all(one.ok for one in result.neutralised)
    assert result.neutralised[0].name == "neutralize.sql of 2 modules"
    assert staging.world.databases[DATABASE].owner == DATABASE
    assert check(staging, operation, {**before, operation.token: "two"}) == digest(1)


def test_nothing_is_copied_or_made_safe_under_the_hold(staging):
    staging.world.calls.clear()
    clone(staging)
    calls = staging.world.calls
    held = calls[calls.index("proxy.hold") : calls.index("proxy.release")]
    assert "database.swap" in held
    assert not [
        one for one in held if one in ("database.copy_apart", "database.prove", "filestore.bring", "runtime.run")
    ]


def test_an_environment_that_has_nothing_is_installed_from_the_copy(droplet):
    droplet.installed = {**_installed(droplet)}
    give_source(droplet)
    operation, finish = clone(droplet)
    assert finish.outcome == "succeeded", finish.error
    assert finish.result["restore_set"] is None
    assert droplet.world.databases[DATABASE].uuid == new_uuid(operation)
    assert droplet.world.filestores[KEY, DATABASE] == "one"
    assert droplet.world.violations == []
    assert droplet.world.answering(KEY).digest == digest(1)


def _installed(droplet):
    from odooops_agent.facts import InstalledModule

    addons = droplet.world.images[digest(1)].manifest.addons
    return {name: InstalledModule("installed", addon.version) for name, addon in addons.items()}


def test_a_backup_is_copied_the_same_way(droplet):
    assert droplet.deploy(1).outcome == "succeeded"
    snapshot = back_up(droplet).result["snapshot"]
    given = order(snapshot)
    given["source"]["database_uuid"] = droplet.world.databases[DATABASE].uuid
    for part in (droplet.world.databases, droplet.world.containers, droplet.world.filestores, droplet.world.upstreams):
        part.clear()
    # The backup is of demo/prod; the copy goes to another environment of the droplet.
    operation = droplet.operation(
        "clone",
        1,
        backup=given,
        clone=ordered(environment=KEY, database=DATABASE, restore_set=None),
        environment={"key": "demo/stage", "tier": "staging", "database": {"name": "demo_stage", "uuid": None}},
    )
    droplet.workshop.take_on(operation)
    finish = droplet.outcome(operation.id)
    assert finish.outcome == "succeeded", finish.error
    made = droplet.world.databases["demo_stage"]
    assert (made.generation, made.dangerous, made.uuid) == ("one", frozenset(), new_uuid(operation))
    assert droplet.world.filestores["demo/stage", "demo_stage"] == "one"
    assert droplet.world.violations == []


def lay_trap(droplet, trap):
    world = droplet.world
    if trap == "unsafe":
        world.unsafe = "gateway 4"
    elif trap == "module's own fails":
        world.neutralize_error = "The neutralize.sql of workshop fails: no such column"
    elif trap == "another's data":
        world.databases[SET].uuid = "somebody else"
    elif trap == "no Odoo":
        world.databases[SET].modules.clear()
    elif trap == "series":
        world.databases[SET].modules["base"] = _version("18.0.1.3")
    elif trap == "missing module":
        world.databases[SET].modules["vanished"] = _version("19.0.1.0.0")
    elif trap == "quota":
        world.database_free_bytes = 1 << 20
    elif trap == "set gone":
        del world.databases[SET]


def _version(version):
    from odooops_agent.facts import InstalledModule

    return InstalledModule("installed", version)


@pytest.mark.parametrize(
    ("trap", "code"),
    [
        ("unsafe", "not_proven_safe"),
        ("module's own fails", "neutralize_failed"),
        ("another's data", "identity_mismatch"),
        ("no Odoo", "not_odoo"),
        ("series", "wrong_series"),
        ("missing module", "missing_modules"),
        ("quota", "quota_exceeded"),
        ("set gone", "source_gone"),
    ],
)
def test_what_is_not_proven_safe_is_dropped_and_the_present_stays(staging, trap, code):
    before = mine(sets_of(staging.world))
    given = ordered(database_uuid="uuid-of-production")
    lay_trap(staging, trap)
    staging.world.calls.clear()
    operation, finish = clone(staging, given=given)
    assert (finish.outcome, finish.error.code) == ("failed", code), finish.error
    assert "proxy.hold" not in staging.world.calls
    if trap == "unsafe":
        failed = convert(finish.result, FailedClone)
        assert [one.name for one in failed.neutralised if not one.ok] == ["rules"]
        assert "gateway 4" in finish.error.message
    if trap == "set gone":
        give_source(staging)
    else:
        staging.world.databases[SET].uuid = "uuid-of-production"
    assert check(staging, operation, before) == digest(3)


@pytest.mark.parametrize(
    ("changes", "source", "sentence"),
    [
        ({"environment": {"tier": "production"}}, {}, "no copy ever goes there"),
        ({}, {"environment": KEY}, "copy of itself"),
        ({}, {"database": DATABASE}, "copy of itself"),
        ({}, {"restore_set": restore_set(database_snapshot="demo_prod__s9")}, "do not belong together"),
        ({}, {"database": "other_live"}, "no restore set of other_live"),
        ({}, {"restore_set": restore_set(digest=digest(3))}, "of another release"),
        ({}, {"restore_set": None}, "which backup"),
        ({}, {"database": "prod; DROP DATABASE x"}, "is no database name"),
    ],
    ids=["to production", "itself", "its own database", "halves", "another's set", "release", "no source", "injection"],
)
def test_what_may_not_be_is_refused_before_anything_is_changed(staging, changes, source, sentence):
    before = copy.deepcopy(staging.world.databases)
    _, finish = clone(staging, given=ordered(**source), **changes)
    assert finish.outcome == "failed"
    assert sentence in finish.error.message
    assert staging.world.databases == before


def test_personal_data_go_when_that_is_asked_for(staging):
    staging.world.calls.clear()
    clone(staging, given=ordered(rules={"obfuscate": True}))
    calls = staging.world.calls
    assert calls.index("database.neutralise") < calls.index("database.obfuscate") < calls.index("database.prove")


@pytest.mark.parametrize("call", ["filestore.bring", "database.swap", "filestore.exchange", "database.hand_over"])
def test_a_failure_on_the_way_leaves_the_present(staging, call):
    before = mine(sets_of(staging.world))
    staging.world.before_call = Outage(Permanent("It failed.", "failed"), lambda name: name == call, times=1)
    operation, finish = clone(staging)
    assert finish.outcome == "failed"
    staging.world.before_call = lambda name: None
    assert check(staging, operation, before) == digest(3)


@pytest.mark.parametrize("unsafe", ["", "gateway 4"], ids=["safe", "unsafe"])
def test_killed_at_every_call(staging, unsafe):
    """No reachable database that is not neutralised remains, whether or not the agent ever comes back."""
    memory = Path("/dev/shm")
    staging.journal.close()
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        call, killed = 0, True
        while killed:
            call += 1
            droplet = _again(staging, Path(scratch) / "take")
            droplet.world.unsafe = unsafe
            before = mine(sets_of(droplet.world))
            operation, killed = _killed(droplet, call)
            assert droplet.world.violations == []  # as things stand with the agent dead
            droplet.world.before_call = lambda name: None
            droplet.restart()
            entry = droplet.journal.get(operation.id)
            went = entry is not None and droplet.outcome(operation.id).outcome == "succeeded"
            assert not (went and unsafe)
            sets = {**before, operation.token: "two"} if went else before
            assert check(droplet, operation, sets) == digest(1 if went else 3)
            droplet.journal.close()
    assert call > 40


def _again(staging, folder):
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(staging.folder, folder)
    droplet = FakeDroplet(folder, copy.deepcopy(staging.world))
    droplet._operations = 20
    return droplet


def _killed(droplet, call):
    calls = 0

    def die(name):
        nonlocal calls
        calls += 1
        if calls == call:
            raise Killed(name)

    operation = droplet.operation("clone", 1, clone=ordered(), environment=STAGING)
    droplet.world.before_call = die
    try:
        droplet.workshop.take_on(operation)
    except Killed:
        return operation, True
    return operation, False
