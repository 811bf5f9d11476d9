"""A backup takes the environment's place on fakes: wholly or not at all, and the present stays as a restore set."""

import copy
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from odooops_agent.errors import Permanent, Retryable
from odooops_agent.facts import KeptSet, OwnerTag
from odooops_agent.plans.sets import FIRST_NUMBER, Keeping, to_drop
from odooops_agent.protocol import LossCount, RestoreResult, RollbackPreview, RollbackResult, convert
from odooops_agent.testing.droplet import DATABASE, ENVIRONMENT_UUID, KEY, UUID, FakeDroplet, digest
from odooops_agent.testing.world import FakeContainer, FakeDatabase, Killed, Outage

from .oracle import check_empty, check_safe
from .test_backups import back_up, order, prove


def restore(droplet, snapshot, number=1, **changes):
    given = order(snapshot)
    given["source"].update(changes.pop("source", {}))
    operation = droplet.operation("restore", number, backup=given, **changes)
    droplet.workshop.take_on(operation)
    return operation, droplet.outcome(operation.id)


def sets_of(world):
    return {int(name.rpartition("__s")[2]): one.generation for name, one in world.databases.items() if "__s" in name}


def check_no_room_left(droplet):
    assert droplet.world.workspaces == {}
    assert droplet.world.doors == set()


@pytest.fixture
def moved_on(deployed):
    """v1.1.0 was backed up; v1.3.0 serves by now, with the set of v1.1.0 beside it."""
    deployed.snapshot = back_up(deployed).result["snapshot"]
    assert deployed.deploy(3).outcome == "succeeded"
    return deployed


def test_the_backup_serves_and_the_present_is_a_restore_set(moved_on):
    before = sets_of(moved_on.world)
    operation, finish = restore(moved_on, moved_on.snapshot)
    assert finish.outcome == "succeeded", finish.error
    result = convert(finish.result, RestoreResult)
    assert check_safe(moved_on, token=operation.token, sets={**before, operation.token: "two"}) == digest(1)
    assert result.digest == digest(1)
    assert result.restore_set.from_digest == digest(3)
    assert result.restore_set.database_snapshot == f"{DATABASE}__s{operation.token}"
    check_no_room_left(moved_on)


def test_nothing_is_fetched_or_loaded_under_the_hold(moved_on):
    moved_on.world.calls.clear()
    restore(moved_on, moved_on.snapshot)
    calls = moved_on.world.calls
    held = calls[calls.index("proxy.hold") : calls.index("proxy.release")]
    assert "database.swap" in held
    assert not [call for call in held if call.startswith(("vault.", "workspace.", "runtime.run", "database.snapshot"))]


def test_an_environment_that_is_gone_is_installed_from_its_backup(moved_on):
    world = moved_on.world
    for part in (world.databases, world.containers, world.filestores, world.file_snapshots, world.upstreams):
        part.clear()
    for part in (world.routes, world.configs):
        part.clear()
    world.watched = None
    operation, finish = restore(moved_on, moved_on.snapshot, environment=KNOWN)
    assert finish.outcome == "succeeded", finish.error
    assert check_safe(moved_on, token=operation.token, sets={}) == digest(1)
    assert finish.result["restore_set"] is None
    check_no_room_left(moved_on)


def test_a_backup_that_can_t_be_loaded_installs_nothing(moved_on):
    world = moved_on.world
    for part in (world.databases, world.containers, world.filestores, world.file_snapshots, world.upstreams):
        part.clear()
    for part in (world.routes, world.configs):
        part.clear()
    world.watched = None
    world.before_call = Outage(Permanent("no", "restore_failed"), lambda call: call == "runtime.run pg_restore halfway")
    _, finish = restore(moved_on, moved_on.snapshot)
    assert finish.error.code == "restore_failed"
    check_empty(moved_on)


@pytest.mark.parametrize(
    ("tier", "source"),
    [
        ("production", {"environment": "demo/stage", "tier": "staging"}),
        ("production", {"environment": "other/prod", "tier": "production"}),
        ("staging", {"environment": "demo/prod", "tier": "production"}),
        ("staging", {"environment": "demo/stage2", "tier": "staging"}),
        ("production", {"environment": KEY, "tier": "staging"}),
    ],
    ids=["staging to production", "another's production", "down", "sideways", "a tier that lies"],
)
def test_no_environment_s_data_go_into_another(moved_on, tier, source):
    before = copy.deepcopy(moved_on.world.databases)
    moved_on.journal.set_tier(KEY, tier)
    _, finish = restore(moved_on, moved_on.snapshot, source=source, environment={"tier": tier})
    assert (finish.outcome, finish.error.code) == ("failed", "restore_refused")
    assert moved_on.world.databases == before
    if tier == "production":
        assert "never goes to production" in finish.error.message


def test_a_release_that_lacks_a_module_of_the_backup_is_refused_before_the_hold(moved_on):
    kept = moved_on.world.repositories[order()["repository"]["url"]].snapshots[moved_on.snapshot]
    kept["manifest.json"]["module_versions"]["vanished"] = "19.0.1.0.0"
    moved_on.world.calls.clear()
    operation, finish = restore(moved_on, moved_on.snapshot)
    assert finish.error.code == "missing_modules"
    assert "proxy.hold" not in moved_on.world.calls
    check_safe(moved_on, token=operation.token, sets=sets_of(moved_on.world))


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("vault.restore halfway", "disk_full"),
        ("runtime.run pg_restore halfway", "restore_failed"),
        ("workspace.place_snapshot", "disk_full"),
        ("filestore.exchange", "set_gone"),
        ("database.swap", "database_in_use"),
    ],
)
def test_a_failure_on_the_way_leaves_the_present(moved_on, call, code):
    before = sets_of(moved_on.world)
    moved_on.world.before_call = Outage(Permanent("It failed.", code), lambda name: name == call, times=1)
    operation, finish = restore(moved_on, moved_on.snapshot)
    assert (finish.outcome, finish.error.code) == ("failed", code)
    moved_on.world.before_call = lambda name: None
    assert check_safe(moved_on, token=operation.token, sets=before) == digest(3)
    check_no_room_left(moved_on)


def test_killed_at_every_call(moved_on):
    """Wherever it dies, the environment ends wholly on the backup or wholly on what it was."""
    before = sets_of(moved_on.world)
    moved_on.journal.close()
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        call, killed, seen = 0, True, set()
        while killed:
            call += 1
            droplet = take(moved_on, Path(scratch) / "take")
            operation = droplet.operation("restore", 1, backup=order(moved_on.snapshot))
            killed = killed_at(droplet, operation, call)
            droplet.restart()
            now = check_outcome(droplet, operation, before)
            seen.add(now)
            droplet.journal.close()
        assert call > 60
        assert seen == {digest(1), digest(3)}


def take(stage, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for file in stage.folder.glob("*.*"):
        shutil.copy(file, folder)
    droplet = FakeDroplet(folder, copy.deepcopy(stage.world))
    droplet._operations = 20
    return droplet


def killed_at(droplet, operation, number):
    calls = 0

    def on_call(name):
        nonlocal calls
        calls += 1
        if calls == number:
            raise Killed(name)

    droplet.world.before_call = on_call
    try:
        droplet.workshop.take_on(operation)
    except Killed:
        return True
    finally:
        droplet.world.before_call = lambda name: None
        droplet.world.doors.clear()
    return False


def check_outcome(droplet, operation, before):
    restored = droplet.world.answering(KEY).digest == digest(1)
    sets = {**before, operation.token: "two"} if restored else before
    now = check_safe(droplet, token=operation.token, sets=sets)
    entry = droplet.journal.get(operation.id)
    assert entry is None or droplet.outcome(operation.id).outcome == ("succeeded" if restored else "failed")
    check_no_room_left(droplet)
    return now


# A rollback whose restore set is gone goes back to a backup.


@pytest.fixture
def without_set(moved_on):
    """The set of v1.1.0 was dropped; its backup is there, and an invoice and orders were made since."""
    world = moved_on.world
    for name in [name for name in world.databases if "__s" in name]:
        del world.databases[name]
    world.file_snapshots.clear()
    world.databases[DATABASE].written["account.move"] = LossCount(
        model="account.move", label="Journal Entry", created=1, changed=0, posted=1
    )
    return moved_on


def way_back(droplet):
    return {
        "backup": {
            "id": 12,
            "snapshot": droplet.snapshot,
            "taken_at": "2026-11-23T10:00:00Z",
            "repository": order()["repository"],
        }
    }


def test_the_preview_opens_the_backup_when_the_set_is_gone(without_set):
    finish = without_set.preview(1, rollback=way_back(without_set))
    ways = {one.mode: one for one in convert(finish.result, RollbackPreview).modes}
    assert not ways["full"].possible
    assert ways["backup"].possible, ways["backup"].reason
    assert ways["backup"].plan.backup_snapshot == without_set.snapshot
    assert ways["backup"].loss.counts[0].model == "account.move"
    assert finish.result["recommended"] == "backup"


def test_a_rollback_goes_back_to_a_backup_within_the_ceiling(without_set):
    operation = without_set.going_back(1, "backup", rollback=way_back(without_set))
    without_set.workshop.take_on(operation)
    finish = without_set.outcome(operation.id)
    assert finish.outcome == "succeeded", finish.error
    result = convert(finish.result, RollbackResult)
    assert (result.mode, result.digest) == ("backup", digest(1))
    assert result.restore_set.from_digest == digest(3)
    assert check_safe(without_set, token=operation.token, sets={operation.token: "two"}) == digest(1)
    check_no_room_left(without_set)


def test_past_the_ceiling_the_backup_stays_where_it_is(without_set):
    operation = without_set.going_back(1, "backup", rollback=way_back(without_set))
    more = LossCount(model="account.move", label="Journal Entry", created=2, changed=0, posted=2)
    without_set.world.databases[DATABASE].written["account.move"] = more
    without_set.workshop.take_on(operation)
    finish = without_set.outcome(operation.id)
    assert (finish.outcome, finish.error.code) == ("failed", "loss_above_ceiling")
    assert check_safe(without_set, token=operation.token, sets={}) == digest(3)
    check_no_room_left(without_set)


@pytest.mark.parametrize("changes", [{"snapshot": "9f3a"}, {"repository": None}, {"taken_at": "yesterday"}])
def test_a_backup_that_can_t_be_read_closes_the_way(without_set, changes):
    back = way_back(without_set)
    back["backup"].update(changes)
    finish = without_set.preview(1, rollback=back)
    ways = {one.mode: one for one in convert(finish.result, RollbackPreview).modes}
    assert not ways["backup"].possible


def backup_way(droplet, **changes):
    back = way_back(droplet)
    back["backup"].update(changes)
    finish = droplet.preview(1, rollback=back)
    (way,) = [one for one in convert(finish.result, RollbackPreview).modes if one.mode == "backup"]
    return way


def test_a_disk_too_small_for_the_backup_is_told_before_anybody_approves(without_set):
    """45 GB and a fifth, and 1 GB in reserve, where 50 are free."""
    without_set.world.backup_bytes = 45 << 30
    way = backup_way(without_set)
    assert (way.possible, way.plan) == (False, None)
    assert "has 50.0 GB free and the backup needs 55.0 GB with the reserve: free 5.0 GB more." in way.reason
    without_set.world.free_bytes = 57 << 30
    assert backup_way(without_set).possible


@pytest.mark.parametrize(
    ("told", "missing"),
    [
        ({"database_bytes": 90 << 20}, "may need 180 MB: enlarge it by 120 MB"),
        ({}, "may need 70 MB: enlarge it by 10 MB"),
    ],
    ids=["the dump", "the present"],
)
def test_a_cluster_too_small_for_the_backup_is_told_before_anybody_approves(without_set, told, missing):
    without_set.world.database_free_bytes = 60 << 20
    way = backup_way(without_set, **told)
    assert not way.possible
    assert missing in way.reason
    without_set.world.database_free_bytes = 180 << 20
    assert backup_way(without_set, **told).possible


def test_a_repository_that_does_not_answer_closes_the_way_with_its_reason(without_set):
    away = Retryable("The repository does not answer: look at its host.", "repository_unreachable")
    without_set.world.before_call = Outage(away, lambda call: call == "vault.size")
    way = backup_way(without_set)
    assert (way.possible, way.reason) == (False, "The repository does not answer: look at its host.")


# The cluster is lost, the droplet lives: its files are newer than the backup, its containers still run.

KNOWN = {"database": {"name": DATABASE, "uuid": UUID}}


@pytest.fixture
def without_database(moved_on):
    moved_on.world.databases.clear()
    moved_on.world.file_snapshots.clear()
    return moved_on


def check_as_it_was(droplet):
    """Assert that files and containers outlived a restore that did not happen, and nothing was added."""
    world = droplet.world
    assert world.databases == {}
    assert world.filestores == {(KEY, DATABASE): "two"}
    assert world.file_snapshots == {}
    assert world.answering(KEY).digest == digest(3)
    assert sorted(one.role for one in world.containers.values() if one.running) == ["cron", "web"]
    assert len(world.containers) == 2
    assert (world.held, world.violations) == (set(), [])
    assert droplet.journal.unfinished() == []
    check_no_room_left(droplet)


def check_restored(droplet, operation):
    """Assert that the backup serves, and that the files that were there are set aside."""
    world = droplet.world
    assert world.file_snapshots.pop((KEY, operation.token)) == "two"
    assert check_safe(droplet, token=operation.token, sets={}) == digest(1)
    check_no_room_left(droplet)


def test_files_that_outlived_their_database_are_set_aside(without_database):
    operation, finish = restore(without_database, without_database.snapshot, environment=KNOWN)
    assert finish.outcome == "succeeded", finish.error
    check_restored(without_database, operation)


@pytest.mark.parametrize(
    "call",
    ["database.create", "runtime.run pg_restore halfway", "workspace.place_filestore", "runtime.execute warm.py"],
)
def test_a_restore_that_fails_deletes_no_file_that_it_did_not_make(without_database, call):
    world = without_database.world
    world.before_call = Outage(Permanent("no", "restore_failed"), lambda name: name == call, times=1)
    _, finish = restore(without_database, without_database.snapshot, environment=KNOWN)
    assert (finish.outcome, finish.error.code) == ("failed", "restore_failed")
    assert "its data as before" not in finish.error.message
    assert "no database, as before" in finish.error.message
    check_as_it_was(without_database)


def test_nobody_works_on_the_database_while_it_is_loaded(without_database):
    world, seen = without_database.world, []

    def look(call):
        if call in ("database.create", "runtime.run pg_restore halfway"):
            working = [one.role for one in world.containers.values() if one.running and one.role in ("web", "cron")]
            seen.append((working, set(world.held)))

    world.before_call = look
    _, finish = restore(without_database, without_database.snapshot, environment=KNOWN)
    assert finish.outcome == "succeeded", finish.error
    assert seen == [([], {KEY}), ([], {KEY})]


def test_killed_at_every_call_without_a_database(without_database):
    """Wherever it dies, the backup serves, or all that had outlived the database is as it was."""
    without_database.journal.close()
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        call, killed, seen = 0, True, set()
        while killed:
            call += 1
            droplet = take(without_database, Path(scratch) / "take")
            operation = droplet.operation("restore", 1, backup=order(without_database.snapshot), environment=KNOWN)
            killed = killed_at(droplet, operation, call)
            droplet.restart()
            now = droplet.world.answering(KEY).digest
            if now == digest(1):
                check_restored(droplet, operation)
            else:
                check_as_it_was(droplet)
            seen.add(now)
            droplet.journal.close()
        assert call > 60
        assert seen == {digest(1), digest(3)}


def test_killed_at_every_call_on_the_way_back_too(without_database):
    """The undo dies as well, at each of its calls, and what is done twice deletes nothing."""
    without_database.journal.close()
    with TemporaryDirectory() as scratch:
        call, killed = 0, True
        while killed:
            call += 1
            droplet = take(without_database, Path(scratch) / "take")
            operation = droplet.operation("restore", 1, backup=order(without_database.snapshot), environment=KNOWN)
            killed = killed_on_the_way_back(droplet, operation, call)
            droplet.restart()
            check_as_it_was(droplet)
            droplet.journal.close()
        assert call > 10


def killed_on_the_way_back(droplet, operation, number):
    """Let the new web container never get warm, and die at a call after that."""
    failed, calls = False, 0

    def on_call(name):
        nonlocal failed, calls
        if failed:
            calls += 1
            if calls == number:
                raise Killed(name)
        elif name == "runtime.execute warm.py":
            failed = True
            raise Permanent("no", "restore_failed")

    droplet.world.before_call = on_call
    try:
        droplet.workshop.take_on(operation)
    except Killed:
        return True
    finally:
        droplet.world.before_call = lambda name: None
    return False


def test_a_database_without_odoo_is_left_alone(without_database):
    world = without_database.world
    world.databases[DATABASE] = FakeDatabase(DATABASE, DATABASE, tag=OwnerTag(ENVIRONMENT_UUID, 3))
    _, finish = restore(without_database, without_database.snapshot)
    assert (finish.outcome, finish.error.code) == ("failed", "restore_refused")
    assert "rename or drop it" in finish.error.message
    assert DATABASE in world.databases


def test_a_restore_and_a_restore_test_have_containers_of_their_own(moved_on):
    names = set()

    def look(call):
        if call == "runtime.run pg_restore halfway":
            names.update(name for name, one in moved_on.world.containers.items() if "odooops.beside" in one.spec.labels)

    moved_on.world.before_call = look
    restore(moved_on, moved_on.snapshot)
    prove(moved_on, moved_on.snapshot)
    assert len(names) == 2


def test_a_one_off_of_a_later_operation_under_the_same_name_is_left_running(moved_on):
    """What died is taken back when a newer operation's one-off has the name by now."""
    world, names = moved_on.world, set(moved_on.world.containers)

    def reuse_the_name(call):
        if call == "runtime.run pg_restore halfway":
            (name,) = set(world.containers) - names
            spec = world.containers[name].spec
            world.containers[name] = FakeContainer(replace(spec, labels={**spec.labels, "odooops.token": "99"}), True)
            raise Permanent("no", "restore_failed")

    world.before_call = reuse_the_name
    _, finish = restore(moved_on, moved_on.snapshot)
    assert finish.error.code == "restore_failed"
    (left,) = set(world.containers) - names
    assert world.containers[left].running


@pytest.mark.parametrize("kind", ["restore", "restore_test"])
def test_nobody_but_the_load_enters_what_is_being_loaded(moved_on, kind):
    """Not even the environment's own servers, whose role owns it."""
    world, seen = moved_on.world, []

    def look(call):
        if call in ("runtime.run pg_restore halfway", "workspace.drop_dump"):
            (loaded,) = world.doors or {f"{DATABASE}__t1", f"{DATABASE}__s{FIRST_NUMBER + operation.token}"} & set(
                world.databases
            )
            seen.append(world.databases[loaded].fenced)

    world.before_call = look
    operation = moved_on.operation(kind, 1, backup=order(moved_on.snapshot))
    moved_on.workshop.take_on(operation)
    assert moved_on.outcome(operation.id).outcome == "succeeded"
    assert seen == [True, True]


@pytest.mark.parametrize("kind", ["restore", "restore_test"])
@pytest.mark.parametrize(
    ("said", "named", "refused"),
    [
        ({"tier": "staging"}, None, "a staging environment"),
        ({"tier": "staging"}, UUID, "a staging environment"),
        ({"uuid": "somebody-else"}, None, "another environment"),
        ({"uuid": "somebody-else"}, "another-database", "another environment"),
        ({"uuid": "somebody-else"}, UUID, None),
    ],
    ids=["staging", "staging, database named", "another's", "another's, other database", "a console set up anew"],
)
def test_what_a_backup_says_of_itself_is_believed_more_than_the_operation(moved_on, kind, said, named, refused):
    kept = moved_on.world.repositories[order()["repository"]["url"]].snapshots[moved_on.snapshot]
    kept["manifest.json"]["environment"].update(said)
    given = order(moved_on.snapshot)
    given["source"]["database_uuid"] = named
    before = sets_of(moved_on.world)
    operation = moved_on.operation(kind, 1, backup=given)
    moved_on.workshop.take_on(operation)
    finish = moved_on.outcome(operation.id)
    if refused is None:
        assert finish.outcome == "succeeded", finish.error
        return
    assert (finish.outcome, finish.error.code) == ("failed", "restore_refused")
    assert refused in finish.error.message
    assert check_safe(moved_on, token=operation.token, sets=before) == digest(3)


@pytest.mark.parametrize("kind", ["restore", "restore_test"])
def test_no_room_on_the_droplet_is_told_before_the_download(moved_on, kind):
    moved_on.world.backup_bytes = 45 << 30
    moved_on.world.calls.clear()
    operation = moved_on.operation(kind, 1, backup=order(moved_on.snapshot))
    moved_on.workshop.take_on(operation)
    finish = moved_on.outcome(operation.id)
    assert (finish.outcome, finish.error.code) == ("failed", "disk_too_small")
    assert "vault.restore" not in moved_on.world.calls


@pytest.mark.parametrize("kind", ["restore", "restore_test"])
def test_no_room_in_the_cluster_is_told_before_the_load(moved_on, kind):
    moved_on.world.database_free_bytes = 100 << 20  # more than the dump, less than its indexes need too
    moved_on.world.calls.clear()
    operation = moved_on.operation(kind, 1, backup=order(moved_on.snapshot))
    moved_on.workshop.take_on(operation)
    finish = moved_on.outcome(operation.id)
    assert (finish.outcome, finish.error.code) == ("failed", "disk_too_small")
    assert "database.create" not in moved_on.world.calls


def test_a_first_installation_that_fails_deletes_no_file_that_was_there_before(droplet):
    droplet.world.filestores[KEY, DATABASE] = "two"
    droplet.world.before_call = Outage(Permanent("no", "update_failed"), lambda call: call == "runtime.run")
    finish = droplet.deploy(1)
    assert (finish.outcome, finish.error.code) == ("failed", "update_failed")
    assert droplet.world.databases == {}
    assert droplet.world.filestores == {(KEY, DATABASE): "two"}


def test_a_loss_against_a_backup_counts_what_was_being_written_when_it_was_taken(without_set):
    finish = without_set.preview(1, rollback=way_back(without_set))
    (shown,) = [one for one in convert(finish.result, RollbackPreview).modes if one.mode == "backup"]
    assert f"{shown.loss.since:%H:%M}" == "09:45"
    assert "15 minutes earlier" in shown.reason


def test_a_backup_that_reaches_less_far_than_was_approved_is_left_alone(without_set):
    back = way_back(without_set)
    back["backup"]["taken_at"] = "2027-01-01T10:00:00Z"
    operation = without_set.going_back(1, "backup", rollback=back)
    without_set.workshop.take_on(operation)
    finish = without_set.outcome(operation.id)
    assert (finish.outcome, finish.error.code) == ("failed", "restore_refused")
    assert "reaches up to" in finish.error.message


def test_databases_that_a_restore_left_behind_go_with_the_next_old_sets():
    """One of a restore that began later than this operation is another's, under way."""
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    sets = [KeptSet(token, now, digest(1)) for token in (17, FIRST_NUMBER + 15, FIRST_NUMBER + 19)]
    assert [one.token for one in to_drop(sets, 18, Keeping(2, 48), now)] == [FIRST_NUMBER + 15]
