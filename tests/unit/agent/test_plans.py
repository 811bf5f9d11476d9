"""The planners on golden cases: facts in, steps or a refusal out."""

import json
from pathlib import Path

import pytest
from odooops_agent.errors import AgentError
from odooops_agent.planfile import read_plan_file, shown
from odooops_agent.protocol import plain
from odooops_agent.testing.droplet import ENVIRONMENT, ENVIRONMENT_UUID, UUID

CASES = {path.stem: json.loads(path.read_text("utf-8")) for path in (Path(__file__).parent / "cases").glob("*.json")}
BUCKETS = json.loads((Path(__file__).parents[2] / "contract/fixtures/bucket_names.json").read_text("utf-8"))
RUNNING = "sha256:" + "1" * 64
NEW = "sha256:" + "2" * 64

DATABASE = {
    "name": "demo_prod",
    "owner": "demo_prod",
    "bytes": 71303168,
    "allows_connections": True,
    "tag": {"environment_uuid": ENVIRONMENT_UUID, "token": 12},
    "uuid": UUID,
    "recorded_digest": RUNNING,
    "recorded": {},
    "languages": ["en_US"],
    "sessions": [],
}


def merged(base, changes):
    """Return `base` with the changes laid over it, dictionaries within too."""
    result = dict(base)
    for key, value in (changes or {}).items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def plan_file(case):
    """Return a plan file of what the case says and of what every case has in common."""
    operation = {
        "id": 41,
        "uuid": "a3a0d3c2-5f6b-4c1e-8a54-6b1a3f0e9d21",
        "kind": "deploy",
        "token": 17,
        "environment": {**ENVIRONMENT, "database": {"name": "demo_prod", "uuid": UUID if case["database"] else None}},
        "release": {"tag": "v1.1.0", "commit_sha": "b" * 40, "image": "localhost:5000/demo", "digest": NEW},
        "policy_version": "3",
    }
    given = dict(case.get("facts", {}))
    image = {"series": given.pop("series", "19.0"), "commit_sha": "b" * 40, "uid": 10019, "gid": 10019}
    facts = {
        "digest": NEW,
        "database_free_bytes": 50 << 30,
        "image": {**image, "addons_paths": ["/opt/odoo/addons/custom"], "addons": case["image"]},
        "database": merged(DATABASE, case["database"]) if case["database"] else None,
        **(running_containers() if case["database"] else {}),
        **given,
    }
    return {"operation": merged(operation, case.get("operation")), "facts": facts}


def running_containers():
    one = {"token": 12, "digest": RUNNING, "config_hash": "c", "running": True}
    web, cron = "odooops-demo-prod-web-12", "odooops-demo-prod-cron-12"
    return {
        "containers": [{**one, "name": web, "role": "web"}, {**one, "name": cron, "role": "cron"}],
        "exposed": {web: "demo-prod-r12"},
        "upstream": "demo-prod-r12",
    }


def read(case):
    return read_plan_file(json.dumps(plan_file(case)))


@pytest.mark.parametrize("name", sorted(CASES))
def test_case(name):
    case = CASES[name]
    expect = dict(case["expect"])
    if "refused" in expect:
        with pytest.raises(AgentError) as caught:
            read(case)
        assert caught.value.code == expect["refused"]
        assert expect["says"] in caught.value.message
        assert caught.value.message.endswith("."), "a refusal is a sentence"
        return
    plan = read(case)
    document, facts = plain(plan.document), plain(plan.facts)
    found = {"shape": plan.shape, **facts, **document, "steps": facts["steps"]}
    assert {key: found[key] for key in expect} == expect


def test_a_plan_that_is_only_looked_at_warns_of_sessions():
    given = {**plan_file(CASES["session_that_cant_be_ended"]), "execute": False}
    assert "metabase" in read_plan_file(json.dumps(given)).facts.warnings[0]


def test_a_plan_warns_once_of_a_cluster_that_nobody_knows_the_size_of():
    given = merged(plan_file(CASES["custom_addon_changed_with_bump"]), {"facts": {"database_free_bytes": None}})
    (warning,) = read_plan_file(json.dumps(given)).facts.warnings
    assert "ODOOOPS_PG_QUOTA_BYTES" in warning


@pytest.mark.parametrize("bucket", BUCKETS, ids=lambda case: f"{case['tier']} {case['buckets']}")
def test_buckets_as_the_guard_and_the_console_judge_them(bucket):
    environment = {"tier": bucket["tier"], "bucket": bucket["buckets"]}
    given = merged(plan_file(CASES["custom_addon_changed_with_bump"]), {"operation": {"environment": environment}})
    if not bucket["refused"]:
        assert read_plan_file(json.dumps(given)).steps
        return
    with pytest.raises(AgentError) as refused:
        read_plan_file(json.dumps(given))
    assert refused.value.code == "wrong_bucket"
    assert all(name in str(refused.value) for name in bucket["refused"])


def test_the_same_facts_give_the_same_plan():
    case = CASES["custom_addon_changed_with_bump"]
    assert read(case) == read(case)


def test_what_is_not_approved_does_not_change_the_hash():
    """Sizes, names of copies, tokens and sessions are facts of the execution."""
    case = CASES["custom_addon_changed_with_bump"]
    given = plan_file(case)
    changed = merged(given, {"operation": {"id": 99, "token": 1000}, "facts": {"database": {"bytes": 1}}})
    assert read_plan_file(json.dumps(given)).plan_hash == read_plan_file(json.dumps(changed)).plan_hash


@pytest.mark.parametrize(
    "change",
    [
        {"operation": {"environment": {"workers": 1}}},
        {"operation": {"policy_version": "4"}},
        {"operation": {"release": {"digest": "sha256:" + "3" * 64}}},
        {"facts": {"database": {"recorded_digest": "sha256:" + "4" * 64}}},
        {"facts": {"image": {"addons": {"workshop": {"version": "19.0.1.1.1"}}}}},
    ],
    ids=["configuration", "policy", "release", "where it comes from", "module"],
)
def test_what_is_approved_changes_the_hash(change):
    given = plan_file(CASES["custom_addon_changed_with_bump"])
    assert read_plan_file(json.dumps(given)).plan_hash != read_plan_file(json.dumps(merged(given, change))).plan_hash


def test_no_step_carries_a_secret_and_each_that_acts_can_be_taken_back():
    plan = read(CASES["custom_addon_changed_with_bump"])
    assert "password" not in json.dumps([plain(step.arguments) for step in plan.steps]).lower()
    before = [step.name for step in plan.steps[: [step.commits for step in plan.steps].index(True)]]
    undone = {step.name for step in plan.steps if step.undo}
    harmless = {"claim_database", "drain_requests", "verify_update", "record_manifest"}
    assert set(before) == undone | harmless


def test_no_container_has_an_update_in_a_command_that_restarts():
    for name in ("first_installation", "custom_addon_changed_with_bump", "nothing_changed"):
        for step in read(CASES[name]).steps:
            spec = step.arguments.get("spec")
            if spec and spec["restart"]:
                assert not {"-u", "-i", "--update", "--install"} & set(spec["argv"])


def test_shown_to_a_person():
    text = shown(read(CASES["custom_addon_changed_with_bump"]))
    assert "update workshop 19.0.1.0.0 → 19.0.1.1.0" in text
    assert " 15 update_modules   (taken back by restore_data)" in text
    assert " 20 warm_web   ← from here on only forward" in text


def test_the_new_container_imports_dependencies_first():
    step = next(one for one in read(CASES["dependents_are_listed_apart"]).steps if one.name == "preload_web")
    assert step.arguments["modules"] == ["base", "a", "b", "c", "d"]
