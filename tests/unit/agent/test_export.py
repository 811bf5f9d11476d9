"""A backup goes to the console on fakes, piece by piece, and the environment notices nothing."""

import copy
import shutil

import pytest
from odooops_agent.errors import Retryable
from odooops_agent.heartbeat import CAPABILITIES
from odooops_agent.protocol import ExportResult, convert
from odooops_agent.steps import export as steps
from odooops_agent.testing.droplet import DATABASE, FakeDroplet
from odooops_agent.testing.world import Outage

from .test_backups import _killed, back_up, check_nothing_left, environment_of, order, run

PACKED = repr((DATABASE, "one", "one")).encode()


def send(droplet, snapshot):
    return run(droplet, "export", backup=order(snapshot))


def test_the_agent_says_that_it_can():
    assert "export" in CAPABILITIES


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_the_console_gets_all_of_it(deployed, piece, monkeypatch):
    monkeypatch.setattr(steps, "CHUNK_BYTES", piece)
    snapshot = back_up(deployed).result["snapshot"]
    before = environment_of(deployed.world)
    finish = send(deployed, snapshot)
    assert finish.outcome == "succeeded", finish.error
    result = convert(finish.result, ExportResult)
    assert deployed.world.uploads[finish.operation_id] == PACKED
    assert (result.bytes, result.files) == (len(PACKED), 1)
    assert environment_of(deployed.world) == before
    check_nothing_left(deployed)


def test_no_database_is_reached(deployed):
    snapshot = back_up(deployed).result["snapshot"]
    deployed.world.calls.clear()
    send(deployed, snapshot)
    assert "door.open" not in deployed.world.calls


def test_a_console_that_is_away_for_a_while_gets_each_piece_once(deployed, monkeypatch):
    monkeypatch.setattr(steps, "CHUNK_BYTES", 5)
    snapshot = back_up(deployed).result["snapshot"]
    away = Retryable("The console does not answer.")
    deployed.world.before_call = Outage(away, lambda call: call == "uploads.sent", 9)
    finish = send(deployed, snapshot)
    assert deployed.world.uploads[finish.operation_id] == PACKED
    deployed.world.before_call = Outage(away, lambda call: call == "uploads.send")
    finish = send(deployed, snapshot)
    assert (finish.outcome, finish.error.code) == ("failed", "unavailable")
    check_nothing_left(deployed)


def test_one_that_is_called_off_stops_between_two_pieces(deployed, monkeypatch):
    monkeypatch.setattr(steps, "CHUNK_BYTES", 5)
    snapshot = back_up(deployed).result["snapshot"]
    operation = deployed.operation("export", 1, backup=order(snapshot))
    deployed.world.before_call = lambda call: (
        deployed.orders.called_off.add(operation.id) if call == "uploads.sent" else None
    )
    deployed.workshop.take_on(operation)
    assert deployed.outcome(operation.id).outcome == "cancelled"
    assert len(deployed.world.uploads[operation.id]) == 5
    check_nothing_left(deployed)


def test_room_is_asked_for_twice_the_backup_and_none_of_the_cluster(deployed):
    snapshot = back_up(deployed).result["snapshot"]
    deployed.world.database_free_bytes = 1
    assert send(deployed, snapshot).outcome == "succeeded"
    deployed.world.free_bytes = (1 << 30) + int(1.9 * 1.2 * deployed.world.backup_bytes)
    finish = send(deployed, snapshot)
    assert (finish.outcome, finish.error.code) == ("failed", "disk_too_small")


def test_killed_at_every_call(deployed, tmp_path):
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
        operation = droplet.operation("export", 1, backup=order(snapshot))
        killed = _killed(droplet, operation, call)
        droplet.world.before_call = lambda name: None
        droplet.restart()
        check_nothing_left(droplet)
        assert environment_of(droplet.world) == before
        entry = droplet.journal.get(operation.id)
        expected = "failed" if killed else "succeeded"
        assert entry is None or droplet.outcome(operation.id).outcome == expected
        droplet.journal.close()
    assert call > 15
