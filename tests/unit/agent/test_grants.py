"""Production changes by what people agreed to and the console signed, and by nothing else that anybody sends."""

import json
from base64 import b64decode
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from msgspec import UNSET
from nacl.signing import SigningKey
from odooops_agent.cli import main
from odooops_agent.console_pin import ConsolePin
from odooops_agent.doctor import _check, _pinned
from odooops_agent.errors import Refused
from odooops_agent.grants import DOMAIN, Pin, check_grant, read_pin
from odooops_agent.permission import permit
from odooops_agent.protocol import Ceiling, Grant, Operation, decode
from odooops_agent.testing.droplet import KEY, digest
from odooops_agent.testing.grants import AGENT, document, granted, pin, sign
from odooops_agent.testing.world import Killed

from .oracle import check_safe

VECTORS = json.loads((Path(__file__).parents[2] / "contract/fixtures/grant_vectors.json").read_text("utf-8"))
STRANGER = SigningKey(b"x" * 32)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda one: one["document"]["kind"])
def test_golden_signatures(vector):
    said = vector["document"]
    assert json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False) == vector["canonical"]
    read_pin(vector["pin"]).key.verify(DOMAIN + vector["canonical"].encode(), b64decode(vector["signature"]))
    assert sign(said, SigningKey(b64decode(vector["seed"]))).signature == vector["signature"]


def without(operation):
    return msgspec.structs.replace(operation, grant=UNSET)


def resigned(operation, droplet, key=None, **changes):
    said = document(operation, droplet.world.now(), **changes)
    return msgspec.structs.replace(operation, grant=sign(said, key) if key else sign(said))


def refused(droplet, operation):
    """Have the operation refused; return the code, nothing being touched."""
    before, calls = encode_world(droplet), len(droplet.world.calls)
    droplet.workshop.take_on(operation)
    finish = droplet.outcome(operation.id)
    assert finish.outcome == "failed"
    assert finish.error.step == "check_grant"
    assert finish.result["reverted"]
    assert encode_world(droplet) == before
    changing = [call for call in droplet.world.calls[calls:] if not call.startswith(("health", "containers", "probe"))]
    assert not [call for call in changing if "pull" in call]
    return finish.error.code


def encode_world(droplet):
    world = droplet.world
    return sorted(world.databases), sorted(map(str, world.containers))


def test_what_was_agreed_to_is_done(deployed):
    assert deployed.deploy(3).outcome == "succeeded"


def altered(operation):
    """The same signature under another text."""
    text = operation.grant.document.replace('"break_glass":false', '"break_glass":true')
    assert text != operation.grant.document
    return msgspec.structs.replace(operation, grant=Grant(document=text, signature=operation.grant.signature))


FORGERIES = {
    "another key": lambda operation, droplet: resigned(operation, droplet, STRANGER),
    "another text": lambda operation, droplet: altered(operation),
    "no base64": lambda operation, droplet: msgspec.structs.replace(
        operation, grant=Grant(document=operation.grant.document, signature="ä!")
    ),
    "not a grant": lambda operation, droplet: msgspec.structs.replace(operation, grant=sign({"schema": 1})),
    "a later schema": lambda operation, droplet: resigned(operation, droplet, schema=2),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_grant(deployed, forge):
    assert refused(deployed, forge(deployed.deployment(3), deployed)) == "grant_forged"


@pytest.mark.parametrize(
    "changes",
    [
        {"audience": AGENT + 1},
        {"environment": "demo/stage"},
        {"kind": "rollback"},
        {"plan_hash": "a" * 64},
        {"plan_hash": None},
        {"digest": digest(2)},
        {"policy_version": "4"},
        {"backup_snapshot": "abc"},
    ],
    ids=str,
)
def test_a_grant_for_something_else(deployed, changes):
    assert refused(deployed, resigned(deployed.deployment(3), deployed, **changes)) == "grant_foreign"


def test_an_order_whose_plan_hash_was_changed_after_it_was_signed(deployed):
    operation = msgspec.structs.replace(deployed.deployment(3), plan_hash="b" * 64)
    assert refused(deployed, operation) == "grant_foreign"


def test_no_grant_at_all(deployed):
    assert refused(deployed, without(deployed.deployment(3))) == "grant_missing"


@pytest.mark.parametrize(
    ("offset", "code"),
    [
        (timedelta(0), None),
        (-timedelta(minutes=4), None),
        (HOUR + timedelta(minutes=4), None),
        (-timedelta(minutes=6), "grant_expired"),
        (HOUR + timedelta(minutes=6), "grant_expired"),
        (-HOUR, "grant_expired"),
    ],
    ids=str,
)
def test_the_clock_may_be_off_by_five_minutes(deployed, offset, code):
    operation, now = deployed.deployment(3), deployed.world.now()
    if code is None:
        check_grant(operation, pin(), now + offset)
        return
    with pytest.raises(Refused, match=r"clock says .* set the clock right") as caught:
        check_grant(operation, pin(), now + offset)
    assert caught.value.code == code


def test_an_expired_grant_changes_nothing(deployed):
    now = deployed.world.now()
    operation = resigned(deployed.deployment(3), deployed, issued_at=now - 5 * HOUR, expires_at=now - 4 * HOUR)
    assert refused(deployed, operation) == "grant_expired"


def test_a_grant_counts_once(deployed):
    first = deployed.deployment(2)
    deployed.workshop.take_on(first)
    assert deployed.outcome(first.id).outcome == "succeeded"
    again = msgspec.structs.replace(first, id=first.id + 100, token=first.token + 1)
    assert refused(deployed, again) == "grant_replayed"


def test_a_grant_counts_once_also_when_its_operation_is_forgotten(deployed):
    first = deployed.deployment(2)
    deployed.workshop.take_on(first)
    deployed.journal.forget(first.id)
    deployed.restart()
    assert refused(deployed, msgspec.structs.replace(first, token=first.token + 1)) == "grant_replayed"


def test_a_grant_goes_on_counting_for_its_own_operation(deployed):
    """Killed before the plan it comes again under the same grant; killed after it, it needs none to go back."""
    deployed.point = lambda name: (_ for _ in ()).throw(Killed(name)) if name == "after:hold_requests" else None
    operation = deployed.deployment(3)
    deployed.journal.begin(operation)
    deployed.restart()
    with pytest.raises(Killed):
        deployed.workshop.take_on(operation)
    deployed.point = lambda name: None
    deployed.world.sleep(48 * 3600)
    deployed.restart()
    assert deployed.outcome(operation.id).outcome == "failed"
    assert check_safe(deployed, token=0) == digest(1)


def test_a_failed_deployment_reverts_under_its_own_grant(deployed):
    finish = deployed.deploy(4)
    assert finish.outcome == "failed"
    assert finish.result["reverted"]
    assert check_safe(deployed, token=0) == digest(1)


def test_a_refused_order_uses_nothing_up(deployed):
    operation = deployed.deployment(3)
    stale = granted(msgspec.structs.replace(operation, plan_hash="b" * 64), deployed.world.now())
    deployed.workshop.take_on(stale)
    assert deployed.outcome(stale.id).error.code == "plan_changed"
    deployed.workshop.take_on(msgspec.structs.replace(operation, id=operation.id + 100))
    assert deployed.outcome(operation.id + 100).outcome == "succeeded"


def test_a_rollback_loses_no_more_than_was_signed(deployed):
    deployed.deploy(3)
    operation = deployed.going_back(1, "full")
    way_back = operation.way_back
    wider = msgspec.structs.replace(way_back, ceiling=Ceiling(minutes=10_000))
    for rollback in (wider, msgspec.structs.replace(way_back, ceiling=None)):
        order = msgspec.structs.replace(operation, id=operation.id + 100, rollback=rollback)
        assert refused(deployed, order) == "grant_foreign"
    broken = msgspec.structs.replace(way_back, break_glass=True)
    assert refused(deployed, msgspec.structs.replace(operation, rollback=broken)) == "grant_foreign"
    assert deployed.go_back(1, "full").outcome == "succeeded"


def test_a_droplet_that_knows_no_console(deployed):
    operation = deployed.deployment(3)
    shop = replace(deployed.workshop, console_pin=lambda: None)
    shop.take_on(operation)
    assert deployed.outcome(operation.id).error.code == "console_unpinned"


@pytest.mark.parametrize("tier", ["staging", "preview"])
def test_production_is_not_passed_off_as_less(deployed, tier):
    operation = deployed.deployment(3)
    order = msgspec.structs.replace(
        without(operation), environment=msgspec.structs.replace(operation.environment, tier=tier)
    )
    assert refused(deployed, order) == "tier_lowered"
    plan = deployed.operation("plan", 3, environment={"tier": tier})
    assert refused(deployed, plan) == "tier_lowered", "a look at it would follow the wrong tier's rules too"


def test_what_is_called_prod_is_production_from_the_first_sight(droplet):
    operation = droplet.operation("deploy", 1, environment={"tier": "staging"}, plan_hash="a" * 64)
    droplet.workshop.take_on(without(operation))
    assert droplet.outcome(operation.id).error.code == "grant_missing"


def test_a_tier_falls_when_it_is_said_on_the_droplet(deployed):
    assert deployed.journal.tier(KEY) == "production"
    deployed.journal.set_tier(KEY, "staging")
    plan = deployed.operation("plan", 3, environment={"tier": "staging"})
    deployed.workshop.take_on(plan)
    assert deployed.outcome(plan.id).outcome == "succeeded"
    deployed.plan(3)
    assert deployed.journal.tier(KEY) == "production", "it rises by itself"


@pytest.mark.parametrize("tier", ["staging", "preview"])
def test_what_is_not_production_needs_no_grant(droplet, tier):
    stage = droplet.operation("deploy", 1, environment={"key": "demo/stage", "tier": tier})
    assert stage.grant is UNSET
    assert permit(droplet.journal, stage, lambda: None, droplet.world.now()) is None


@pytest.mark.parametrize("kind", ["plan", "health", "backup", "restore_test", "rehearse"])
def test_what_changes_nothing_needs_no_grant(droplet, kind):
    assert permit(droplet.journal, droplet.operation(kind, 1), lambda: None, droplet.world.now()) is None


@pytest.mark.parametrize("kind", ["deploy", "rollback", "restore", "destroy", "of a later version"])
def test_every_other_kind_needs_one(droplet, kind):
    with pytest.raises(Refused) as caught:
        permit(droplet.journal, without(droplet.operation(kind, 1)), pin, droplet.world.now())
    assert caught.value.code == "grant_missing"


def of_the_contract(kind):
    message = (Path(__file__).parents[2] / f"contract/fixtures/lease_response_{kind}.json").read_text("utf-8")
    return decode(json.dumps(json.loads(message)["operation"]), Operation)


@pytest.mark.parametrize(
    "other", [{"file": "else.dump"}, {"filestore": None}, {"filestore": "else.tar.gz"}], ids=lambda one: str(*one)
)
def test_an_import_of_another_file_than_was_signed(other):
    operation = of_the_contract("import")
    assert check_grant(operation, pin(), operation.queued_at).brought == operation.brought
    changed = msgspec.structs.replace(operation, brought=msgspec.structs.replace(operation.brought, **other))
    with pytest.raises(Refused, match="brought") as caught:
        check_grant(changed, pin(), operation.queued_at)
    assert caught.value.code == "grant_foreign"


def test_the_order_of_the_contract_is_granted():
    operation = of_the_contract("deploy")
    said = check_grant(operation, pin(), operation.queued_at)
    assert (said.audience, said.approvers[0].login, said.includes_revert) == (AGENT, "rita", True)


# -- whom the droplet obeys

AGENT_KEY = f"odooops_agent_1_{'k' * 43}"


@pytest.fixture
def console(tmp_path):
    (tmp_path / "agent.key").write_text(f"{AGENT_KEY} {pin().text}\n")
    return ConsolePin(tmp_path / "agent.key", tmp_path)


def test_the_console_s_key_comes_with_the_enrolment(console):
    assert console() == Pin(AGENT, pin().key, pin().text)


def test_a_key_pinned_by_hand_counts_until_the_next_enrolment(console, tmp_path):
    other = pin(STRANGER, 8)
    console.pin(other.text)
    assert console() == other
    assert (tmp_path / "console-pin.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "agent.key").write_text(f"{AGENT_KEY[:-1]}x {pin(STRANGER, 9).text}\n")
    assert console() == pin(STRANGER, 9)


def test_a_droplet_enrolled_before_has_none_until_it_is_pinned(console, tmp_path):
    (tmp_path / "agent.key").write_text(AGENT_KEY)
    assert console() is None
    console.pin(pin().text)
    assert console() == pin()


@pytest.mark.parametrize("text", ["", "odooops_console_x", AGENT_KEY, pin().text + "A", pin().text[:-1]])
def test_what_is_no_console_s_key_is_refused_with_a_sentence(console, text):
    with pytest.raises(Refused, match="is no console's key"):
        console.pin(text)


def test_commands(console, tmp_path, monkeypatch, capsys):
    values = {
        "ODOOOPS_URL": "https://console.example.com", "ODOOOPS_AGENT_KEY_FILE": tmp_path / "agent.key",
        "ODOOOPS_STATE_DIR": tmp_path, "ODOOOPS_PG_DSN": "host=db.internal",
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))
    assert main(["pin"]) == 0
    other = pin(STRANGER, 8).text
    assert main(["pin", other]) == 0
    assert capsys.readouterr().out.splitlines() == [pin().text, other]
    assert main(["pin", "nonsense"]) == 1
    assert main(["tier", "demo/prod", "staging"]) == 1
    assert "has seen no demo/prod" in capsys.readouterr().err


def test_the_doctor_tells_whom_the_droplet_obeys(console, tmp_path):
    from types import SimpleNamespace

    settings = SimpleNamespace(key_file=tmp_path / "agent.key", state_dir=tmp_path)
    assert f"as number {AGENT}" in _check("console's key", lambda: _pinned(settings), "").detail
    (tmp_path / "agent.key").write_text(AGENT_KEY)
    assert not _check("console's key", lambda: _pinned(settings), "pin it").ok
