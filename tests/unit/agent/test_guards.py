"""What the agent leaves alone: others' databases, newer leases, and orders that come too late."""

import pytest
from odooops_agent.errors import LeaseLost, Permanent, Refused, Retryable
from odooops_agent.facts import OwnerTag
from odooops_agent.names import DATABASE as DATABASE_NAME
from odooops_agent.names import require
from odooops_agent.steps import environment
from odooops_agent.testing.droplet import DATABASE, ENVIRONMENT_UUID, digest, image
from odooops_agent.testing.fakes import fake_ports
from odooops_agent.testing.world import FakeDatabase, Scenario

from .oracle import check_kept, check_safe


def run_with(droplet, number, before_call):
    operation = droplet.deployment(number)
    droplet.world.calls.clear()
    droplet.world.before_call = before_call
    droplet.workshop.take_on(operation)
    droplet.world.before_call = lambda call: None
    return operation, droplet.outcome(operation.id)


# -- databases of others


@pytest.mark.parametrize("tag", [None, OwnerTag(ENVIRONMENT_UUID, 3), OwnerTag("somebody-else", 1)])
def test_a_database_that_appears_before_a_first_installation_survives_it(droplet, tag):
    def before_call(call):
        if call == "database.ensure_roles":
            droplet.world.databases[DATABASE] = FakeDatabase(DATABASE, "demo_prod", uuid="theirs", tag=tag)

    _, finish = run_with(droplet, 4, before_call)
    assert finish.outcome != "succeeded"
    if tag is None or tag.environment_uuid != ENVIRONMENT_UUID:
        assert droplet.world.databases[DATABASE].uuid == "theirs"
        assert droplet.world.databases[DATABASE].tag == tag


def test_a_database_that_lost_its_mark_during_a_first_installation_survives_it(droplet):
    def before_call(call):
        if call == "runtime.run halfway":
            droplet.world.databases[DATABASE].tag = OwnerTag(ENVIRONMENT_UUID, 2)

    run_with(droplet, 4, before_call)
    assert DATABASE in droplet.world.databases


def test_a_database_that_cant_be_entered_is_no_empty_one(deployed):
    deployed.world.databases[DATABASE].allows_connections = False
    operation = deployed.operation("plan", 3)
    deployed.workshop.take_on(operation)
    finish = deployed.outcome(operation.id)
    assert finish.outcome == "failed"
    assert "can't be entered" in finish.error.message


@pytest.mark.parametrize("name", ["demo__s12", "demo_prod__x3", "demo_prod_upgrade", "demo\n", "demo__x", "postgres"])
def test_no_database_is_called_like_a_copy_or_a_role(name):
    with pytest.raises(Refused):
        require(DATABASE_NAME, name, "database name")


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"key": "demo-prod/x", "database": {"name": "demo_prod_x", "uuid": None}}, None),
        ({"key": "demo/a-b"}, "The database demo_prod is demo/prod's: give demo/a-b one of its own."),
        (
            {"key": "a-b/c", "database": {"name": "a_b_c", "uuid": None}},
            "a-b/c would have the same containers and networks as a/b-c: rename one of them.",
        ),
    ],
)
def test_two_environments_never_share_a_name(deployed, environment, says):
    deployed.journal.remember_environment("a/b-c", {"database": "a_b_other"})
    error = deployed.plan(1, environment=environment).error
    assert (error and error.message) == says
    assert error is None or error.code == "bad_name"


# -- newer leases


def stolen(droplet):
    droplet.world.databases[DATABASE].tag = OwnerTag(ENVIRONMENT_UUID, 99)


def test_the_way_back_stops_at_a_newer_token(deployed):
    def before_call(call):
        if call == "runtime.run halfway":
            stolen(deployed)

    operation = deployed.deployment(4)
    deployed.world.calls.clear()
    deployed.world.before_call = before_call
    with pytest.raises(LeaseLost):
        deployed.workshop.take_on(operation)
    assert "database.swap" not in deployed.world.calls


def test_the_way_forward_stops_at_a_newer_token(deployed):
    def before_call(call):
        if call == "runtime.execute warm.py":
            stolen(deployed)

    operation = deployed.deployment(3)
    deployed.world.calls.clear()
    deployed.world.before_call = before_call
    with pytest.raises(LeaseLost):
        deployed.workshop.take_on(operation)
    assert "runtime.create cron" not in deployed.world.calls


# -- orders


def test_an_order_to_cancel_does_not_cut_the_way_back_short(deployed):
    """The old web container gets all of its time to come back."""
    asked = []

    def before_call(call):
        if call == "runtime.run":
            deployed.orders.called_off.add(operation.id)
        if call == "runtime.execute healthy.py" and deployed.orders.called_off:
            asked.append(call)
            if len(asked) < 4:
                raise Permanent("Not yet.")

    operation = deployed.deployment(3)
    deployed.world.before_call = before_call
    deployed.workshop.take_on(operation)
    assert deployed.outcome(operation.id).outcome == "cancelled"
    assert len(asked) >= 4
    assert check_safe(deployed, token=operation.token) == digest(1)


def test_an_order_to_cancel_past_the_point_of_no_return_names_no_cancellation(deployed):
    def before_call(call):
        if call == "runtime.create cron":
            deployed.orders.called_off.add(operation.id)
            raise Permanent("No memory is left.")

    operation = deployed.deployment(3)
    deployed.world.before_call = before_call
    deployed.workshop.take_on(operation)
    finish = deployed.outcome(operation.id)
    assert finish.outcome == "indeterminate"
    assert "No memory is left." in finish.error.message


def test_a_drain_past_the_point_of_no_return_is_not_called_off(deployed):
    old = next(one.alias for one in deployed.world.containers.values() if one.role == "web")

    def before_call(call):
        if call == "proxy.ensure_route":
            deployed.orders.called_off.add(operation.id)
            deployed.world.in_flight[old] = 5

    operation = deployed.deployment(2)
    deployed.world.before_call = before_call
    deployed.workshop.take_on(operation)
    assert deployed.outcome(operation.id).outcome == "succeeded"
    assert deployed.world.violations == []


# -- the update


def test_nothing_is_updated_without_its_copy(deployed):
    def before_call(call):
        if call == "filestore.snapshot halfway":
            deployed.world.databases.pop(f"{DATABASE}__s{operation.token}")

    operation = deployed.deployment(3)
    deployed.world.calls.clear()
    deployed.world.before_call = before_call
    deployed.workshop.take_on(operation)
    assert "runtime.run" not in deployed.world.calls


def test_the_old_web_container_gets_time_to_end(deployed, monkeypatch):
    given = []
    runtime = type(deployed.workshop.ports.runtime)
    stop = runtime.stop
    monkeypatch.setattr(runtime, "stop", lambda self, name, seconds: given.append(seconds) or stop(self, name, seconds))
    assert deployed.deploy(3).outcome == "succeeded"
    assert environment.HELD_STOP_SECONDS in given
    assert 0 not in given


def test_the_registry_may_take_as_long_under_a_hold_as_before():
    from odooops_agent.plans import building

    assert building.HELD_WARM_SECONDS >= building.START_SECONDS


def test_postgresql_away_is_waited_for_at_the_plan(deployed):
    calls = []

    def before_call(call):
        if call == "database.facts" and not calls:
            calls.append(call)
            raise Retryable("PostgreSQL is away.")

    assert run_with(deployed, 3, before_call)[1].outcome == "succeeded"


# -- restore sets


def snapshots(droplet):
    return sorted(name for name in droplet.world.databases if "__s" in name)


HOUR = 3600.0


def update_thrice(droplet, hours_between, **changes):
    """Deploy three releases that each leave a set; return the sets' tokens."""
    made = []
    for number, version in ((3, "19.0.1.1.0"), (4, "19.0.1.2.0"), (5, "19.0.1.3.0")):
        droplet.world.images[digest(number)] = Scenario(image(version, version), version)
        operation = droplet.deployment(number, **changes)
        droplet.workshop.take_on(operation)
        assert droplet.outcome(operation.id).outcome == "succeeded"
        made.append(operation.token)
        droplet.world.seconds += hours_between * HOUR
    return made


def policy(keep, keep_hours, **more):
    return {"options": {"restore_sets": {"keep": keep, "keep_hours": keep_hours, **more}}}


@pytest.mark.parametrize(
    ("changes", "hours_between", "kept"),
    [
        ({}, 49, 2),  # the default: two, and all of 48 hours
        ({}, 1, 3),
        (policy(1, 0), 1, 1),
        (policy(1, 1.5), 1, 2),
        (policy(0, 0), 1, 1),  # a deployment without a way back is none
        (policy(5, 0), 49, 3),
    ],
)
def test_restore_sets_stay_by_number_and_by_age(deployed, changes, hours_between, kept):
    made = update_thrice(deployed, hours_between, **changes)
    assert snapshots(deployed) == [f"{DATABASE}__s{token}" for token in made[-kept:]]
    assert sorted(token for _, token in deployed.world.file_snapshots) == made[-kept:]
    check_kept(deployed)


def test_a_young_set_goes_when_the_next_deployment_would_find_no_room(deployed):
    """Each database has 70 MB; with three copies beside the live one the next copy would not fit."""
    deployed.world.database_quota_bytes = 350 << 20
    made = update_thrice(deployed, hours_between=1)
    assert snapshots(deployed) == [f"{DATABASE}__s{token}" for token in made[1:]]
    assert fake_ports(deployed.world).database.free_bytes() >= 84 << 20


@pytest.mark.parametrize("quota_bytes", [None, 350 << 20], ids=["room", "no room"])
def test_a_set_that_a_copy_waits_for_stays(deployed, quota_bytes):
    deployed.world.database_quota_bytes = quota_bytes
    first = deployed.deployment(3).token + 2  # each deployment's plan takes a token too
    made = update_thrice(deployed, 1, **policy(1, 0, wanted=[first]))
    assert made[0] == first
    assert snapshots(deployed) == [f"{DATABASE}__s{token}" for token in (first, made[-1])]


def test_a_copy_that_is_not_provably_the_environments_stays(deployed):
    for token, tag in ((1, None), (2, OwnerTag("somebody-else", 2)), (3, OwnerTag("somebody-else", 3))):
        name = f"{DATABASE}__s{token}"
        deployed.world.databases[name] = FakeDatabase(name, "demo_prod", tag=tag)
    assert deployed.deploy(3).outcome == "succeeded"
    assert {f"{DATABASE}__s{token}" for token in (1, 2, 3)} <= set(snapshots(deployed))


def test_nothing_is_dropped_when_the_own_copy_is_not_found(deployed):
    for token in (1, 2, 3):
        name = f"{DATABASE}__s{token}"
        deployed.world.databases[name] = FakeDatabase(name, "demo_prod", tag=OwnerTag(ENVIRONMENT_UUID, token))

    def before_call(call):
        if call == "database.sets":
            deployed.world.databases.pop(f"{DATABASE}__s{operation.token}", None)

    operation = deployed.deployment(3)
    deployed.world.before_call = before_call
    deployed.workshop.take_on(operation)
    assert deployed.outcome(operation.id).outcome == "succeeded"
    assert len(snapshots(deployed)) == 3


# -- what another agent left half done


@pytest.mark.parametrize("kind", ["plan", "deploy"])
@pytest.mark.parametrize("sign", ["fenced", "aside"])
def test_what_no_journal_knows_is_not_gone_over(deployed, sign, kind):
    operation = deployed.deployment(3) if kind == "deploy" else deployed.operation("plan", 3)
    if sign == "fenced":
        deployed.world.databases[DATABASE].fenced = True
    else:
        deployed.world.databases[f"{DATABASE}__x9"] = FakeDatabase(f"{DATABASE}__x9", "demo_prod")
    deployed.workshop.take_on(operation)
    finish = deployed.outcome(operation.id)
    assert (finish.outcome, finish.error.code) == ("failed", "left_behind")
    assert "does not know" in finish.error.message


def test_a_plan_beside_a_deployment_is_no_alarm(deployed):
    planned = []

    def before_call(call):
        if call == "filestore.snapshot halfway" and not planned:
            planned.append(deployed.operation("plan", 3))
            deployed.workshop.take_on(planned[0])

    assert run_with(deployed, 3, before_call)[1].outcome == "succeeded"
    error = deployed.outcome(planned[0].id).error
    assert error is None or error.code != "left_behind"
