"""The agent's side of the protocol: every fixture is read, understood and written again as it was."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from odooops_agent import protocol
from odooops_agent.plans.hashing import canonical_json, plan_hash, preview_hash
from odooops_agent.protocol import (
    Accepted,
    BackupResult,
    BadMessage,
    CloneResult,
    DeployResult,
    ErrorResponse,
    ExportResult,
    FailedClone,
    FailedResult,
    FailedRollback,
    FinishRequest,
    HeartbeatRequest,
    HeartbeatResponse,
    ImportResult,
    InspectResult,
    LeaseRequest,
    LeaseResponse,
    LogsRequest,
    Loss,
    MailsRequest,
    MailsResponse,
    PlanDocument,
    PlanResult,
    RestoreResult,
    RestoreTestResult,
    RollbackPlanDocument,
    RollbackPreview,
    RollbackResult,
    SetsResult,
    StepsRequest,
    UploadRequest,
    convert,
    decode,
    encode,
    plain,
)

FIXTURES = Path(__file__).parent / "fixtures"
KINDS: dict[str, Any] = {
    "error_stale_token": ErrorResponse,
    "finish_request_backup": FinishRequest[BackupResult],
    "finish_request_clone": FinishRequest[CloneResult],
    "finish_request_clone_not_safe": FinishRequest[FailedClone],
    "finish_request_deploy": FinishRequest[DeployResult],
    "finish_request_failed": FinishRequest[FailedResult],
    "finish_request_health": FinishRequest[SetsResult],
    "finish_request_import": FinishRequest[ImportResult],
    "finish_request_export": FinishRequest[ExportResult],
    "finish_request_indeterminate": FinishRequest[FailedResult],
    "finish_request_inspect": FinishRequest[InspectResult],
    "finish_request_plan": FinishRequest[PlanResult],
    "finish_request_plan_changed": FinishRequest[FailedResult],
    "finish_request_rollback": FinishRequest[RollbackResult],
    "finish_request_rollback_loss_above_ceiling": FinishRequest[FailedRollback],
    "finish_request_rollback_preview": FinishRequest[RollbackPreview],
    "finish_request_restore": FinishRequest[RestoreResult],
    "finish_request_restore_test": FinishRequest[RestoreTestResult],
    "finish_response": Accepted,
    "heartbeat_request": HeartbeatRequest,
    "heartbeat_response": HeartbeatResponse,
    "heartbeat_response_renewal": HeartbeatResponse,
    "lease_request": LeaseRequest,
    "lease_response_backup": LeaseResponse,
    "lease_response_clone": LeaseResponse,
    "lease_response_clone_backup": LeaseResponse,
    "lease_response_deploy": LeaseResponse,
    "lease_response_empty": LeaseResponse,
    "lease_response_first_plan": LeaseResponse,
    "lease_response_health": LeaseResponse,
    "lease_response_export": LeaseResponse,
    "lease_response_import": LeaseResponse,
    "lease_response_inspect": LeaseResponse,
    "lease_response_plan": LeaseResponse,
    "lease_response_rollback": LeaseResponse,
    "lease_response_rollback_preview": LeaseResponse,
    "lease_response_restore": LeaseResponse,
    "lease_response_restore_test": LeaseResponse,
    "logs_request": LogsRequest,
    "logs_response": Accepted,
    "mails_request": MailsRequest,
    "mails_response": MailsResponse,
    "steps_request": StepsRequest,
    "steps_response": Accepted,
    "upload_request": UploadRequest,
    "upload_response": Accepted,
}
VECTORS = json.loads((FIXTURES / "plan_hash_vectors.json").read_text("utf-8"))
ROLLBACK_VECTORS = json.loads((FIXTURES / "rollback_hash_vectors.json").read_text("utf-8"))
# Maps whose keys are data take no field of the protocol's.
DATA_MAPS = (
    ("tokens",),
    ("result", "module_versions"),
    ("result", "restore_set", "module_versions"),
    ("operation", "rollback", "restore_set", "module_versions"),
    ("operation", "clone", "source", "restore_set", "module_versions"),
    ("operation", "rollback", "ceiling", "counts"),
    ("operation", "rollback", "ceiling", "posted"),
)


def load(name):
    return (FIXTURES / f"{name}.json").read_bytes()


def test_every_fixture_is_known():
    others = {"audit_chain_vectors", "bucket_names", "grant_vectors", "plan_hash_vectors", "rollback_hash_vectors"}
    assert {path.stem for path in FIXTURES.glob("*.json")} == {*KINDS, *others}


@pytest.mark.parametrize("name", KINDS)
def test_round_trip(name):
    message = decode(load(name), KINDS[name])
    assert json.loads(encode(message)) == json.loads(load(name))


@pytest.mark.parametrize("name", KINDS)
def test_messages_are_frozen_values(name):
    message = decode(load(name), KINDS[name])
    assert message == decode(load(name), KINDS[name])
    with pytest.raises(AttributeError):
        message.schema = 2


@pytest.mark.parametrize("name", KINDS)
def test_unknown_fields_are_ignored(name):
    def widen(value):
        if isinstance(value, dict):
            return {**{key: widen(item) for key, item in value.items()}, "from_a_newer_version": {"x": 1}}
        return [widen(item) for item in value] if isinstance(value, list) else value

    given = json.loads(load(name))
    wide = widen(given)
    for path in DATA_MAPS:
        cursor, source = wide, given
        for key in path[:-1]:
            cursor, source = (cursor or {}).get(key) or {}, (source or {}).get(key) or {}
        if path[-1] in source:
            cursor[path[-1]] = source[path[-1]]
    assert decode(json.dumps(wide), KINDS[name]) == decode(load(name), KINDS[name])


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda m: m["operation"].update(token="17"), "$.operation.token"),
        (lambda m: m["operation"]["environment"].update(workers=None), "$.operation.environment.workers"),
        (lambda m: m["operation"]["environment"]["database"].pop("name"), "$.operation.environment.database"),
        (lambda m: m["operation"]["environment"].update(tier="live"), "$.operation.environment.tier"),
        (lambda m: m["operation"]["environment"].update(modules="workshop"), "$.operation.environment.modules"),
        (lambda m: m["operation"]["environment"]["modules"].append(7), "$.operation.environment.modules[1]"),
        (lambda m: m.update(poll_seconds=True), "$.poll_seconds"),
        (lambda m: m["operation"].pop("release"), "$.operation"),
    ],
)
def test_a_bad_field_is_named_by_its_path(change, path):
    message = json.loads(load("lease_response_deploy"))
    change(message)
    with pytest.raises(BadMessage, match=r"LeaseResponse: ") as caught:
        decode(json.dumps(message), LeaseResponse)
    assert path in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "\ufeff{}", '{"operation": NaN}', "[" * 100_000])
def test_no_json_is_one_clear_error(text):
    with pytest.raises(BadMessage):
        decode(text.encode(), LeaseResponse)


def test_times_are_utc_in_whole_seconds():
    at = datetime.fromisoformat("2026-11-23T11:00:05.987+01:00")
    request = protocol.StepReport(seq=1, name="pull_image", state="running", started_at=at)
    assert json.loads(encode(request))["started_at"] == "2026-11-23T10:00:05Z"
    assert decode(encode(request), protocol.StepReport).started_at == datetime(2026, 11, 23, 10, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["plan_hash"][:8])
def test_plan_hash_vectors(vector):
    plan = convert(vector["plan"], PlanDocument)
    assert canonical_json(plain(plan)) == vector["canonical"]
    assert plan_hash(plan) == vector["plan_hash"]


def test_the_hash_covers_every_field_of_the_plan():
    plan = VECTORS[0]["plan"]
    hashes = {plan_hash(convert(plan, PlanDocument))}
    for name, value in plan.items():
        changed = {**plan, name: 2 if isinstance(value, int) else [] if isinstance(value, list) else "other"}
        hashes.add(plan_hash(convert(changed, PlanDocument)))
    assert len(hashes) == len(plan) + 1


@pytest.mark.parametrize("vector", ROLLBACK_VECTORS, ids=lambda vector: vector["plan_hash"][:8])
def test_rollback_hash_vectors(vector):
    plan = convert(vector["plan"], RollbackPlanDocument)
    loss = convert(vector["loss"], Loss) if vector["loss"] else None
    assert canonical_json(plain(plan)) == vector["canonical"]
    assert plan_hash(plan) == vector["plan_hash"]
    assert preview_hash(vector["plan_hash"], loss) == vector["preview_hash"]


def test_a_preview_s_hash_moves_with_what_would_be_lost():
    with_the_same_plan = [one for one in ROLLBACK_VECTORS if one["plan_hash"] == ROLLBACK_VECTORS[1]["plan_hash"]]
    assert len(with_the_same_plan) == 2
    assert len({one["preview_hash"] for one in with_the_same_plan}) == 2
