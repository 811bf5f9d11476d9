"""The agent's memory: what survives, what is reported, what is forgotten."""

import json
import sqlite3

import pytest
from odooops_agent import doctor
from odooops_agent import journal as journals
from odooops_agent.errors import Unrecorded
from odooops_agent.journal import Journal
from odooops_agent.protocol import FailedResult, FinishRequest, LogLine
from odooops_agent.testing.droplet import FakeDroplet


@pytest.fixture
def operation(droplet):
    return droplet.operation("deploy", 1)


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "own.sqlite")


def bodies(journal):
    found = []
    while (report := journal.next_report()) is not None:
        found.append((report.kind, json.loads(report.body)))
        journal.acknowledge(report.id)
    return found


def finish(operation, now, token=None):
    result = FailedResult(reverted=True, digest=None, database_uuid=None, held_seconds=0.0, health="unknown")
    return FinishRequest(
        operation_id=operation.id, token=token or operation.token, outcome="failed", finished_at=now, result=result
    )


def test_every_commit_is_synced(tmp_path):
    journal = Journal(tmp_path / "own.sqlite")
    assert journal._one("PRAGMA synchronous")[0] == 2
    assert journal._one("PRAGMA journal_mode")[0] == "wal"


def test_what_was_recorded_is_there_after_a_restart(tmp_path, operation, droplet):
    path = tmp_path / "own.sqlite"
    journal = Journal(path)
    journal.begin(operation)
    seq = journal.step_began(operation.id, "pull_image", droplet.world.now())
    journal.step_ended(operation.id, seq, "succeeded", droplet.world.now(), "pulled")
    journal.keep_result(operation.id, "held_at", "x")
    journal.keep_result(operation.id, "held_seconds", 1.5)
    again = Journal(path)
    entry = again.get(operation.id)
    assert entry.operation == operation
    assert entry.state == "preparing"
    assert entry.results == {"held_at": "x", "held_seconds": 1.5}
    assert again.unfinished() == [entry]
    assert again.tokens() == {"demo/prod": operation.token}
    assert [kind for kind, _ in bodies(again)] == ["steps", "steps"]


def test_a_plan_survives_with_all_its_arguments(droplet):
    droplet.deploy(1)
    operation = droplet.deployment(3)
    plans = []
    keep = droplet.journal.set_plan
    droplet.journal.set_plan = lambda number, plan, grant: (plans.append(plan), keep(number, plan, grant))
    droplet.workshop.take_on(operation)
    read = droplet.journal.get(operation.id).plan
    assert json.loads(json.dumps([dict(step.arguments) for step in read.steps], default=dict)) == json.loads(
        json.dumps([dict(step.arguments) for step in plans[0].steps], default=dict)
    )
    assert read.document == plans[0].document
    assert [step.undo for step in read.steps] == [step.undo for step in plans[0].steps]


def test_a_step_s_number_stays_when_it_begins_again(journal, operation, droplet):
    journal.begin(operation)
    now = droplet.world.now()
    first = journal.step_began(operation.id, "hold_requests", now, 4)
    second = journal.step_began(operation.id, "drain_requests", now, 5)
    assert (first, second) == (1, 2)
    assert journal.step_began(operation.id, "hold_requests", now, 4) == 1
    assert journal.current_step(operation.id) == "drain_requests"


def test_tokens_only_grow(journal, droplet):
    late, early = droplet.operation("plan", 1, token=9), droplet.operation("plan", 1, token=5)
    journal.begin(late)
    journal.begin(early)
    assert journal.tokens() == {"demo/prod": 9}
    journal.set_token(early.id, 11)
    assert journal.tokens() == {"demo/prod": 11}


def test_an_outcome_and_its_report_are_one(journal, operation, droplet):
    journal.begin(operation)
    journal.end(operation.id, finish(operation, droplet.world.now()))
    assert journal.unfinished() == []
    assert [(kind, body["outcome"]) for kind, body in bodies(journal)] == [("finish", "failed")]


def test_an_outcome_is_reported_again_under_a_newer_token(journal, operation, droplet):
    journal.begin(operation)
    journal.end(operation.id, finish(operation, droplet.world.now()))
    bodies(journal)
    journal.set_token(operation.id, 99)
    kind, body = bodies(journal)[0]
    assert (kind, body["token"], body["outcome"]) == ("finish", 99, "failed")
    assert journal.get(operation.id).token == 99


def test_a_transaction_that_fails_leaves_nothing(journal, operation, droplet):
    journal.begin(operation)
    with pytest.raises(AttributeError):
        journal.step_began(operation.id, "pull_image", at=None)
    with pytest.raises(TypeError):
        journal.step_ended(operation.id, 7, "succeeded", droplet.world.now())
    assert journal.current_step(operation.id) == ""
    journal.begin(operation)


def test_lines_are_capped_while_the_control_plane_is_away(journal, operation, droplet, monkeypatch):
    monkeypatch.setattr(journals, "KEPT_LOG_REPORTS", 3)
    journal.begin(operation)
    line = LogLine(seq=1, step="x", stream="stdout", at=droplet.world.now(), text="y")
    for _ in range(10):
        journal.put_lines(operation.id, [line] * 201)
    journal.end(operation.id, finish(operation, droplet.world.now()))
    kinds = [kind for kind, _ in bodies(journal)]
    assert kinds == ["logs"] * 3 + ["finish"]


def test_reports_of_a_refused_lease_go_and_those_of_a_newer_one_stay(journal, operation, droplet):
    now = droplet.world.now()
    journal.begin(operation)
    journal.step_began(operation.id, "hold_requests", now, 1)
    refused = journal.next_report()
    journal.step_began(operation.id, "drain_requests", now, 2)
    journal.set_token(operation.id, 50)
    journal.step_began(operation.id, "stop_workers", now, 3)
    assert journal.discard_reports(refused) == 2
    assert [body["token"] for _, body in bodies(journal)] == [50]


def test_compacting_keeps_what_is_needed(journal, droplet, monkeypatch):
    monkeypatch.setattr(journals, "KEPT_OPERATIONS", 2)
    now = droplet.world.now()
    ended = [droplet.operation("plan", 1) for _ in range(4)]
    for one in ended:
        journal.begin(one)
        journal.step_began(one.id, "pull_image", now)
        journal.end(one.id, finish(one, now))
    running = droplet.operation("deploy", 1)
    journal.begin(running)
    journal.step_began(running.id, "hold_requests", now, 0)
    journal.compact()
    assert all(journal.get(one.id) for one in ended), "not reported yet"
    bodies(journal)
    journal.compact()
    assert [bool(journal.get(one.id)) for one in ended] == [False, False, False, True]
    assert journal.places(running.id) == {"running": {0: 1}}


def test_a_damaged_journal_is_no_silent_fresh_start(tmp_path):
    (tmp_path / "own.sqlite").write_bytes(b"this is no database, though it is long enough to look at" * 20)
    with pytest.raises(Unrecorded, match=r"own.sqlite is damaged \(file is not a database\): stop the agent, move"):
        Journal(tmp_path / "own.sqlite")


def test_a_journal_whose_pages_are_damaged_says_what_to_do(tmp_path, droplet):
    droplet.deploy(1)
    droplet.journal.compact()
    droplet.journal.close()
    path = droplet.folder / "journal.sqlite"
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * 4096 + whole[8192:])
    with pytest.raises(Unrecorded, match=r"is damaged .* look at every environment"):
        Journal(path)
    with pytest.raises(Unrecorded, match="is damaged"):
        journals.examine(path)


def test_what_cant_be_read_is_set_aside_and_the_others_recover(tmp_path, droplet):
    now, path = droplet.world.now(), droplet.folder / "journal.sqlite"
    old, good = droplet.operation("deploy", 1), droplet.operation("deploy", 1)
    for one in (old, good):
        droplet.journal.begin(one)
        droplet.journal.step_began(one.id, "hold_requests", now, 1)
    droplet.journal.remember_environment("demo/stage", {"database": "demo_stage"})
    with sqlite3.connect(path) as damage:
        damage.execute("UPDATE operation SET document = X'7b22ff' WHERE id = ?", (old.id,))
        damage.execute("UPDATE environment SET document = '{' WHERE key = 'demo/stage'")
        damage.execute("UPDATE outbox SET body = 'x' WHERE operation_id = ?", (old.id,))
    journal = Journal(path)
    said = journal.set_unreadable_aside()
    assert len(said) == 3
    assert f"Operation {old.id} of demo/prod can't be read in the journal" in said[0]
    assert "see that demo/prod serves" in said[0]
    assert [entry.operation for entry in journal.unfinished()] == [good]
    assert journal.environments() == {}
    assert journal.next_report().operation_id == good.id
    assert journal.set_unreadable_aside() == []
    assert [row[0] for row in journal._all("SELECT origin FROM unreadable")] == ["operation", "environment", "outbox"]
    assert journals.examine(path) == (3, 0)
    check = doctor._check("journal", lambda: doctor._journal(droplet.folder), "")
    assert not check.ok
    assert check.detail == "3 of its rows can't be read and were set aside"


def test_the_doctor_tells_of_a_whole_journal(tmp_path, droplet):
    assert doctor._journal(tmp_path / "nowhere") == "this agent has not run yet"
    assert doctor._journal(droplet.folder) == "it is whole"


def test_environments_are_remembered_for_their_health(droplet):
    droplet.deploy(1)
    known = FakeDroplet(droplet.folder, droplet.world).journal.environments()["demo/prod"]
    assert known["database"] == "demo_prod"
    assert known["host"] == "prod.localhost"
