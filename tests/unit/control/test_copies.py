"""The rules that a project writes for its copies, when a copy is due, and what was configured by hand since."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from core import copies, copy_rules

FIXTURES = Path(__file__).resolve().parents[3] / "tests/contract/fixtures"
RULES = """
cron_allowlist: [base.autovacuum_job]
keep_parameters: [workshop.opening_hours]
network_allowlist:
  - pypi.example.com:443
rules:
  - name: workshop_gateway
    reason: The workshop's gateway would text real customers.
    modules: [workshop]
    sql: UPDATE workshop_gateway SET token = NULL, active = false
    unsafe: SELECT 'gateway ' || id FROM workshop_gateway WHERE active OR token IS NOT NULL
"""


def fixture(name):
    return json.loads((FIXTURES / f"{name}.json").read_text())


def test_the_rules_are_the_fixture_s():
    wanted = fixture("lease_response_clone")["operation"]["clone"]["rules"]
    assert {**copy_rules.read(RULES), "obfuscate": False} == wanted


@pytest.mark.parametrize("text", ["", None, "# nothing yet", "rules:\ncron_allowlist: []"])
def test_no_rules_are_none(text):
    assert copy_rules.read(text) == {
        "extra": [],
        "cron_allowlist": [],
        "keep_parameters": [],
        "network_allowlist": [],
    }


RULE = "rules:\n- {name: a, reason: b, sql: c, unsafe: select 1"
BAD = {
    "[": "no YAML in line 1",
    "- a": "Begin each line",
    "cron: [x.y]": "'cron' is nothing here",
    "1: x": "is nothing here",
    "cron_allowlist: base.x": "begin each entry with '- '",
    "cron_allowlist: [1]": "'1' in cron_allowlist is not a scheduled action",
    "cron_allowlist: [autovacuum]": "by its XML id",
    "keep_parameters: ['a b']": "a system parameter's key",
    "network_allowlist: [example.com]": "a host with its port",
    "network_allowlist: ['example.com:70000']": "a host with its port",
    "network_allowlist: ['-x.com:1']": "a host with its port",
    "network_allowlist: ['*.example.com:443']": "a host with its port",
    "network_allowlist: ['http://example.com:443']": "a host with its port",
    "cron_allowlist: [a.b]\ncron_allowlist: [c.d]": "'cron_allowlist' stands twice",
    "rules: [x]": "Rule 1 needs name, reason, sql and unsafe",
    "rules: [{name: X}]": "Rule 1 needs a name",
    "rules: [{name: a}]": "Rule 'a' needs 'reason': why",
    "rules: [{name: a, reason: ' ', sql: c, unsafe: select}]": "needs 'reason'",
    "rules: [{name: a, reason: b, unsafe: select}]": "needs 'sql'",
    "rules: [{name: a, reason: b, sql: c}]": "needs 'unsafe'",
    "rules: [{name: a, reason: b, sql: c, unsafe: delete from x}]": "has to be a SELECT",
    RULE + ", when: 1}": "'when' is nothing in rule 'a'",
    RULE + ", modules: [X]}": "'X' in rule 'a' is no module's name",
    RULE + "}\n- {name: a, reason: b, sql: c, unsafe: select 1}": "Two rules are called 'a'",
    "rules: &a [*a]": "alias",
    "keep_parameters: &a [x]\ncron_allowlist: *a": "alias",
    "keep_parameters: [2026-13-45]": "can't read",
    "!!python/object/apply:os.system [id]": "no YAML",
    "cron_allowlist: [" + "a.b," * 201 + "]": "more than 200",
    "[" * 5000: "YAML",
    "#" * (copy_rules.MAX_CHARACTERS + 1): "shorten them",
}


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_what_is_wrong_is_said_in_a_sentence(text):
    with pytest.raises(copy_rules.BadRules) as caught:
        copy_rules.read(text)
    assert BAD[text] in str(caught.value)
    assert "\n" not in str(caught.value)


NIGHT = datetime(2026, 11, 24, 2, 10)  # a Tuesday


def test_a_daily_copy_is_due_at_its_hour_once():
    assert copies.is_due("daily", 2, None, NIGHT)
    assert copies.is_due("daily", 2, NIGHT - timedelta(hours=23), NIGHT)
    assert not copies.is_due("daily", 2, NIGHT - timedelta(minutes=5), NIGHT)
    assert not copies.is_due("daily", 2, None, NIGHT + timedelta(hours=8)), "nobody's day is overwritten"
    assert not copies.is_due("daily", 3, None, NIGHT)
    assert copies.is_due("daily", 23, None, datetime(2026, 11, 24, 0, 30)), "an hour before midnight"
    assert not copies.is_due("none", 2, None, NIGHT)


def test_a_weekly_copy_is_due_on_sundays():
    sunday = datetime(2026, 11, 22, 2, 10)
    assert copies.is_due("weekly", 2, sunday - timedelta(days=7), sunday)
    assert not copies.is_due("weekly", 2, None, NIGHT)
    assert copies.slot("weekly", 2, NIGHT) == datetime(2026, 11, 22, 2)


def test_an_age_in_words():
    assert copies.age(NIGHT - timedelta(minutes=90), NIGHT) == "90 minutes"
    assert copies.age(NIGHT - timedelta(hours=26), NIGHT) == "26 hours"
    assert copies.age(NIGHT - timedelta(days=9), NIGHT) == "9 days"
    assert copies.age(NIGHT + timedelta(days=9), NIGHT) == "0 minutes"


def test_a_proof_without_a_check_is_none():
    assert copies.is_proven(fixture("finish_request_clone")["result"])
    assert not copies.is_proven(fixture("finish_request_clone_not_safe")["result"])
    for nothing in ({}, {"neutralised": []}, {"neutralised": "x"}, {"neutralised": [{"name": "a", "ok": "yes"}]}):
        assert not copies.is_proven(nothing)


def test_changes_made_by_hand():
    found = copies.changes(fixture("finish_request_inspect")["result"])
    assert [one["name"] for one in found] == ["workshop.order.form", "res.partner.form.vat"]
    assert copies.unexported(found, datetime(2026, 11, 23, 10, 42)) == found[1:]
    assert copies.unexported(found, None) == found
    assert copies.overwritten(found, ["workshop", "sale"]) == found[:1]
    assert not copies.overwritten(found, ["sale"])
    for nothing in ({}, {"changes": "x"}, {"changes": [1, {}, {"kind": 1}]}):
        assert copies.changes(nothing) == []
