"""Backups and restore tests on fakes: what they keep, what they refuse, and that they leave the environment alone."""

import copy
import shutil

import pytest
from odooops_agent.errors import Permanent, Retryable
from odooops_agent.heartbeat import CAPABILITIES
from odooops_agent.protocol import BackupResult, RestoreTestResult, convert
from odooops_agent.steps.backup import lost_files
from odooops_agent.testing.droplet import DATABASE, KEY, FakeDroplet
from odooops_agent.testing.world import Killed, Outage

URL = "/srv/odooops-backups/demo"
DISPOSABLE = f"{DATABASE}__t1"
TROUBLES = {
    "repository_locked": Retryable,
    "repository_unreachable": Retryable,
    "repository_wrong_password": Permanent,
    "repository_damaged": Permanent,
}


def order(snapshot=None, **repository):
    given = {"id": 3, "url": URL, "sealed": "x", "recovery_public_key": "key", **repository}
    source = {"environment": KEY, "tier": "production"}
    return {"backup": 12, "repository": given, "snapshot": snapshot, "source": source}


def run(droplet, kind, number=1, **changes):
    operation = droplet.operation(kind, number, **changes)
    droplet.workshop.take_on(operation)
    return droplet.outcome(operation.id)


def back_up(droplet, **repository):
    return run(droplet, "backup", backup=order(**repository))


def prove(droplet, snapshot, number=1):
    return run(droplet, "restore_test", number, backup=order(snapshot))


def environment_of(world):
    """Return all of the world that visitors or their data depend on."""
    databases = {name: one for name, one in world.databases.items() if name != DISPOSABLE}
    live = {name: one for name, one in world.containers.items() if "odooops.beside" not in one.spec.labels}
    return copy.deepcopy((databases, live, world.filestores, world.upstreams, world.held, world.configs))


def check_nothing_left(droplet):
    world = droplet.world
    assert world.workspaces == {}
    assert DISPOSABLE not in world.databases
    assert not [name for name, one in world.containers.items() if "odooops.beside" in one.spec.labels]
    assert world.doors == set()
    assert world.violations == []
    assert droplet.journal.unfinished() == []


def test_the_agent_says_that_it_can():
    assert {"backup", "restore_test"} <= set(CAPABILITIES)


def test_a_backup_holds_database_files_and_what_they_are_of(deployed):
    before = environment_of(deployed.world)
    finish = back_up(deployed)
    assert finish.outcome == "succeeded", finish.error
    result = convert(finish.result, BackupResult)
    kept = deployed.world.repositories[URL].snapshots[result.snapshot]
    assert kept["database.dump"]["generation"] == kept["filestore"] == "one"
    assert kept["manifest.json"]["environment"]["key"] == KEY
    assert result.module_versions == {"base": "19.0.1.3", "workshop": "19.0.1.0.0"}
    assert (result.check, result.digest) == ("ok", deployed.world.databases[DATABASE].recorded_digest)
    assert result.recovery_sealed == "sealed"
    assert environment_of(deployed.world) == before
    check_nothing_left(deployed)


def test_the_files_are_taken_before_the_dump_and_again_after_it(deployed):
    deployed.world.calls.clear()
    back_up(deployed)
    steps = [call for call in deployed.world.calls if call in ("workspace.collect_files", "runtime.run", "vault.save")]
    assert steps == ["workspace.collect_files", "runtime.run", "workspace.collect_files", "vault.save"]


def test_a_backup_is_proven_by_an_odoo_that_boots_on_it(deployed):
    snapshot = back_up(deployed).result["snapshot"]
    before = environment_of(deployed.world)
    finish = prove(deployed, snapshot)
    assert finish.outcome == "succeeded", finish.error
    result = convert(finish.result, RestoreTestResult)
    assert result.ok
    assert {check.name: check.ok for check in result.checks} == dict.fromkeys(
        ("identity", "modules", "attachments", "file contents", "Odoo boots"), True
    )
    assert result.recovery_seconds > 0
    assert environment_of(deployed.world) == before
    check_nothing_left(deployed)


def test_a_backup_tells_what_the_repository_has_of_the_environment(deployed):
    first, second = (back_up(deployed).result for _ in range(2))
    assert second["remaining"] == [first["snapshot"], second["snapshot"]]
    assert run(deployed, "backup", backup={**order(), "retention": {"daily": 1}}).result["forgotten"] == [
        first["snapshot"],
        second["snapshot"],
    ]


def test_docker_that_is_away_says_nothing_about_a_backup(deployed):
    snapshot = back_up(deployed).result["snapshot"]
    away = Retryable("Docker does not answer.")
    deployed.world.before_call = Outage(away, lambda call: call.startswith("runtime.execute"), 1)
    assert prove(deployed, snapshot).outcome == "succeeded"
    deployed.world.before_call = Outage(away, lambda call: call.startswith("runtime.execute"))
    finish = prove(deployed, snapshot, 2)
    assert (finish.outcome, finish.error.code) == ("failed", "unavailable")


def test_a_backup_whose_files_are_gone_is_not_proven(deployed):
    snapshot = back_up(deployed).result["snapshot"]
    deployed.world.repositories[URL].snapshots[snapshot]["filestore"] = "another"
    finish = prove(deployed, snapshot)
    assert (finish.outcome, finish.error.code) == ("failed", "restore_test_failed")
    assert "attachments" in finish.error.message
    assert "Odoo boots" in finish.error.message
    check_nothing_left(deployed)


def test_a_dump_that_is_not_the_one_that_was_written_is_not_restored(deployed):
    snapshot = back_up(deployed).result["snapshot"]
    deployed.world.repositories[URL].snapshots[snapshot]["database.dump"]["generation"] = "forged"
    finish = prove(deployed, snapshot)
    assert (finish.outcome, finish.error.code) == ("failed", "repository_damaged")
    check_nothing_left(deployed)


def test_a_backup_of_another_environment_is_left_alone(deployed):
    snapshot = back_up(deployed).result["snapshot"]
    deployed.world.repositories[URL].snapshots[snapshot]["manifest.json"]["environment"]["key"] = "other/prod"
    finish = prove(deployed, snapshot)
    assert finish.error.code == "restore_refused"
    assert "other/prod" in finish.error.message
    check_nothing_left(deployed)


@pytest.mark.parametrize("code", TROUBLES)
@pytest.mark.parametrize("kind", ["backup", "restore_test"])
def test_each_trouble_of_a_repository_has_its_own_code(deployed, kind, code):
    snapshot = back_up(deployed).result["snapshot"]
    before = environment_of(deployed.world)
    deployed.world.repositories[URL].trouble = TROUBLES[code]("The repository is not well.", code)
    finish = run(deployed, kind, backup=order(snapshot))
    assert (finish.outcome, finish.error.code) == ("failed", code)
    assert environment_of(deployed.world) == before
    check_nothing_left(deployed)


def test_damage_found_by_the_check_turns_the_backup_red_and_forgets_nothing(deployed):
    back_up(deployed)
    deployed.world.before_call = Outage(Permanent("damaged", "repository_damaged"), lambda call: call == "vault.check")
    kept = dict(deployed.world.repositories[URL].snapshots)
    finish = back_up(deployed)
    assert (finish.outcome, finish.error.code) == ("failed", "repository_damaged")
    assert kept.items() <= deployed.world.repositories[URL].snapshots.items()
    check_nothing_left(deployed)


def test_a_repository_that_is_gone_is_not_made_anew(deployed):
    finish = back_up(deployed, identity="1d" * 32)
    assert finish.error.code == "repository_unreachable"
    assert deployed.world.repositories == {}


def test_a_restore_test_makes_no_repository(deployed):
    finish = prove(deployed, "6f" * 32)
    assert finish.error.code == "repository_unreachable"
    assert deployed.world.repositories == {}


def test_a_disk_that_gets_full_on_the_way_leaves_nothing_behind(deployed):
    deployed.world.before_call = Outage(Permanent("full", "disk_full"), lambda call: call == "workspace.take_dump")
    finish = back_up(deployed)
    assert (finish.outcome, finish.error.code) == ("failed", "disk_full")
    check_nothing_left(deployed)


def test_no_room_for_the_dump_is_told_before_anything_is_made(deployed):
    deployed.world.free_bytes = 1 << 30
    finish = back_up(deployed)
    assert finish.error.code == "disk_too_small"
    assert deployed.world.repositories == {}


def test_an_empty_environment_has_nothing_to_back_up(droplet):
    assert back_up(droplet).error.code == "no_database"


def test_a_deployment_in_the_middle_makes_no_backup_of_two_halves(deployed):
    def deploy_meanwhile(call):
        if call == "workspace.take_dump":
            deployed.world.databases[DATABASE].recorded_digest = "sha256:" + "f" * 64

    deployed.world.before_call = deploy_meanwhile
    finish = back_up(deployed)
    assert finish.error.code == "dump_failed"
    assert not deployed.world.repositories[URL].snapshots


def test_a_deployment_that_fences_the_database_fails_the_dump_and_nothing_else(deployed):
    def fence(call):
        deployed.world.databases[DATABASE].fenced = call == "runtime.run pg_dump halfway"

    deployed.world.before_call = fence
    finish = back_up(deployed)
    assert finish.error.code == "dump_failed"
    check_nothing_left(deployed)


def test_a_newer_token_in_the_environment_does_not_stop_a_backup(deployed):
    operation = deployed.operation("backup", 1, backup=order(), token=1)
    deployed.workshop.take_on(operation)
    assert deployed.outcome(operation.id).outcome == "succeeded"


def test_a_backup_that_is_called_off_ends_cancelled(deployed):
    operation = deployed.operation("backup", 1, backup=order())
    deployed.world.before_call = lambda call: (
        deployed.orders.called_off.add(operation.id) if call == "runtime.run pg_dump halfway" else None
    )
    deployed.workshop.take_on(operation)
    assert deployed.outcome(operation.id).outcome == "cancelled"
    check_nothing_left(deployed)


@pytest.mark.parametrize("kind", ["backup", "restore_test"])
def test_killed_at_every_call(deployed, kind, tmp_path):
    """After each kill the agent starts again: nothing is left over and the environment is as it was."""
    snapshot = back_up(deployed).result["snapshot"]
    deployed.journal.close()
    before = environment_of(deployed.world)
    call, killed = 0, True
    while killed:
        call += 1
        folder = tmp_path / "take"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for file in deployed.folder.glob("*.*"):
            shutil.copy(file, folder)
        droplet = FakeDroplet(folder, copy.deepcopy(deployed.world))
        droplet._operations = 10
        operation = droplet.operation(kind, 1, backup=order(snapshot))
        killed = _killed(droplet, operation, call)
        droplet.world.before_call = lambda name: None
        droplet.world.doors.clear()  # a socket of the process that died
        droplet.restart()
        check_nothing_left(droplet)
        assert environment_of(droplet.world) == before
        entry = droplet.journal.get(operation.id)
        expected = "failed" if killed else "succeeded"
        assert entry is None or droplet.outcome(operation.id).outcome == expected
        droplet.journal.close()
    assert call > 15


def _killed(droplet, operation, number):
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
    return False


NAMES = tuple(f"{number % 256:02x}/{number:040x}" for number in range(2000))


@pytest.mark.parametrize(
    ("missing", "manifest", "lost"),
    [
        ((), {"missing_files": []}, 0),
        (("b",), {"missing_files": ["a"], "missing_count": 1}, 1),
        (("a",), {"missing_files": ["a"], "missing_count": 1}, 0),
        (sorted(NAMES), {"missing_files": sorted(NAMES)[:1000], "missing_count": 2000}, 0),
        ([*sorted(NAMES), "zz"], {"missing_files": sorted(NAMES)[:1000], "missing_count": 2000}, 1),
        (["00/!", *sorted(NAMES)[5:]], {"missing_files": sorted(NAMES)[:1000], "missing_count": 2000}, 1),
        (["00/!", *sorted(NAMES)], {"missing_files": sorted(NAMES)[:1000]}, 1),
        (sorted(NAMES), {"missing_files": sorted(NAMES)[:1000]}, 0),
    ],
)
def test_lost_attachments_are_found_however_many_were_missing_before(missing, manifest, lost):
    assert lost_files(missing, manifest)[0] == lost
