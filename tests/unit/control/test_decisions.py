import json
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import pytest
from core import chain, fairness, grants, keys, policy, redact, transitions
from nacl.signing import SigningKey

FIXTURES = Path(__file__).parents[2] / "contract/fixtures"
CHAIN = json.loads((FIXTURES / "audit_chain_vectors.json").read_text("utf-8"))
GRANTS = json.loads((FIXTURES / "grant_vectors.json").read_text("utf-8"))
QUESTION = policy.Question(
    name="v1.0.0 → demo/prod",
    state="awaiting_approval",
    state_label="Awaiting approval",
    plan_hash="a" * 64,
    policy_current=True,
    authors=frozenset({1}),
    approved_by=frozenset(),
    needed=2,
    project="demo",
)
RITA = policy.Person(2, "Rita", in_group=True, on_project=True)


def refusal(question=QUESTION, person=RITA, plan_hash="a" * 64):
    return policy.approval_refusal(question, person, plan_hash)


def test_who_may_approve():
    assert refusal() is None


@pytest.mark.parametrize(
    ("question", "person", "plan_hash", "sentence"),
    [
        ({}, {"in_group": False}, "a" * 64, "may not decide"),
        ({}, {"on_project": False}, "a" * 64, "may not decide"),
        ({}, {"id": 1}, "a" * 64, "another person"),
        ({"approved_by": frozenset({2})}, {}, "a" * 64, "already"),
        ({"approved_by": frozenset({9})}, {"stands_for": 9}, "a" * 64, "counts already"),
        ({"spoken_for": frozenset({2})}, {}, "a" * 64, "counts already"),
        ({"spoken_for": frozenset({9})}, {"stands_for": 9}, "a" * 64, "counts already"),
        ({}, {"stands_for": 1}, "a" * 64, "another person"),
        ({}, {}, "b" * 64, "has changed"),
        ({}, {}, None, "has changed"),
        ({"plan_hash": ""}, {}, "", "has changed"),
        ({"policy_current": False}, {}, "a" * 64, "plan it again"),
        ({"state": "draft"}, {}, "a" * 64, "no plan yet"),
        ({"state": "rejected", "state_label": "Rejected"}, {}, "a" * 64, "is rejected"),
        ({"state": "live", "state_label": "Live"}, {}, "a" * 64, "is live"),
    ],
)
def test_refusals_are_one_sentence(question, person, plan_hash, sentence):
    said = refusal(replace(QUESTION, **question), replace(RITA, **person), plan_hash)
    assert sentence in said
    assert "\n" not in said


def test_authors_do_not_count():
    assert not policy.is_approved(replace(QUESTION, approved_by=frozenset({1, 2})))
    assert policy.is_approved(replace(QUESTION, approved_by=frozenset({1, 2, 3})))
    assert policy.is_approved(replace(QUESTION, needed=0))


def test_nobody_is_heard_twice():
    assert policy.distinct([(1, 1), (2, 3), (3, 3), (2, 4), (1, 5), (6, 1), (7, 7)]) == [(1, 1), (2, 3), (7, 7)]
    assert policy.distinct([]) == []


@pytest.mark.parametrize("table", [transitions.DEPLOYMENT, transitions.ROLLBACK, transitions.OPERATION])
def test_tables_are_closed(table):
    for state, targets in table.items():
        assert targets <= table.keys()
        assert state not in targets
    for target in table:
        assert all(target in table[state] for state in transitions.allowed_from(table, target))


def test_ends_are_ends():
    for state in ("rejected", "failed"):
        assert not transitions.DEPLOYMENT[state]
        assert not transitions.ROLLBACK[state]
    assert not transitions.ROLLBACK["done"]
    assert transitions.DEPLOYMENT["rolled_back"] == {"live"}, "a rollback can itself be rolled back"
    assert "approved" not in transitions.DEPLOYMENT["draft"]
    assert transitions.allowed_from(transitions.DEPLOYMENT, "approved") == ("planned", "awaiting_approval")
    assert not set(transitions.DEPLOYMENT_ACTIVE) & set(transitions.DEPLOYMENT_SERVING)
    assert transitions.allowed_from(transitions.ROLLBACK, "approved") == ("previewing", "awaiting_approval")
    assert transitions.allowed_from(transitions.ROLLBACK, "running") == ("queued", "indeterminate")


@pytest.mark.parametrize(
    ("kind", "attempt", "state"),
    [("deploy", 1, "queued"), ("deploy", 3, "indeterminate"), ("plan", 2, "queued"), ("plan", 3, "failed")],
)
def test_after_a_lost_lease(kind, attempt, state):
    assert transitions.after_lost_lease(kind, attempt) == state


def candidate(id_, project=1, environment=1, heavy=True, queued_at=0.0):
    return fairness.Candidate(id_, project, environment, exclusive=heavy, heavy=heavy, queued_at=queued_at)


def order(candidates, **load):
    return [one.id for one in fairness.in_order(candidates, fairness.Load(**load))]


def test_oldest_first_within_a_project():
    assert order([candidate(2, queued_at=2), candidate(1, queued_at=1)]) == [1, 2]


def test_projects_take_turns():
    both = [candidate(1, project=1, queued_at=1), candidate(2, project=2, environment=2, queued_at=9)]
    assert order(both, served_at=((1, 100.0),)) == [2, 1]
    assert order(both, running_by_project=((1, 1),), heavy_limit=2) == [2, 1]


def test_light_work_runs_beside_heavy():
    assert order([candidate(1), candidate(2, heavy=False)], heavy_running=1) == [2]
    assert order([candidate(1), candidate(2, heavy=False)]) == [2, 1]


def test_what_changes_an_environment_waits_for_no_backup():
    backup = fairness.Candidate(3, 1, 2, exclusive=False, heavy=True, queued_at=0.0)
    assert order([candidate(1), backup], heavy_running=1, heavy_beside=1) == [1]
    assert order([candidate(1), backup], heavy_running=1) == []
    assert order([backup, candidate(1, queued_at=9)], heavy_limit=2) == [1, 3], "and goes first"


def test_busy_environments_wait():
    assert order([candidate(1), candidate(2, environment=2)], heavy_limit=5, busy_environments=frozenset({1})) == [2]


def test_keys():
    secret = keys.new_secret()
    text = keys.compose(7, secret)
    assert keys.parse(text) == (7, secret)
    assert keys.matches(secret, keys.hashed(secret))
    assert not keys.matches(secret, keys.hashed(keys.new_secret()))
    assert not keys.matches(secret, None)
    assert secret not in keys.hashed(secret)
    for bad in (text + "\n", text[:-1], f"odooops_agent_0_{secret}", f"odooops_agent_-1_{secret}", "", None, 7):
        assert keys.parse(bad) is None


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer abc", "abc"), ("bearer abc", "abc"), ("Basic abc", None), ("Bearer ", None), ("", None), (None, None)],
)
def test_bearer(header, token):
    assert keys.bearer(header) == token


@pytest.mark.parametrize("vector", GRANTS, ids=lambda one: one["document"]["kind"])
def test_golden_signatures(vector):
    key = SigningKey(b64decode(vector["seed"]))
    assert grants.signed(vector["document"], key) == {
        "document": vector["canonical"],
        "signature": vector["signature"],
    }
    assert grants.pin(vector["document"]["audience"], key) == vector["pin"]


@pytest.mark.parametrize("vector", CHAIN, ids=lambda one: one["event"]["action"])
def test_chain_vectors(vector):
    previous, digest, event = vector["previous_hash"], vector["hash"], vector["event"]
    assert chain.link(previous, event) == digest
    assert chain.fault(previous, digest, event, previous) is None
    assert chain.fault(previous, digest, event, "0" * 63 + "1") == "missing"
    assert chain.fault(previous, digest, {**event, "user_id": 99}, previous) == "changed"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("password=hunter2", "password=********"),
        ("DB_PASSWORD: 'hunter2' x", "DB_PASSWORD: '********' x"),
        ('{"api_key": "abc"}', '{"api_key": "********"}'),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ********"),
        ("https://user:pw@host/x", "https://user:********@host/x"),
        ("key odooops_agent_7_" + "k" * 43, "key odooops_agent_7_********"),
        ("ghp_" + "a" * 36, "ghp_********"),
        ("\x1b[1;31mred\x1b[0m\tend\r\n", "red    end"),
        ("module workshop loaded in 0.2s", "module workshop loaded in 0.2s"),
    ],
)
def test_masked(line, shown):
    assert redact.masked(line) == shown


def test_long_lines_are_cut():
    assert len(redact.masked("x" * 100000)) < 8100
