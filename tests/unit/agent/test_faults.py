"""Parts that are away, that refuse, and orders that come at a bad moment; on the shipped fakes."""

import itertools
from contextlib import nullcontext

import pytest
from odooops_agent.errors import LeaseLost, Permanent, Retryable
from odooops_agent.facts import OwnerTag, Session
from odooops_agent.testing.droplet import DATABASE, ENVIRONMENT_UUID, KEY, digest
from odooops_agent.testing.world import FakeDatabase, Killed, Outage

from .oracle import check_empty, check_safe
from .test_crash import STORIES, Stage, sets_after

SHAPES = {name: STORIES[name] for name in ("update", "switch", "install", "rollback_full")}
# What is recorded as ended when this has: from here on only forward.
FORWARD_ONLY = {"release_requests", "start_cron", "publish_route", "drain_requests", "record_manifest", "remove_old"}


def sound(droplet, operation, shape):
    """Assert that the outcome and the world agree, and return the outcome."""
    story, outcome = SHAPES[shape], droplet.outcome(operation.id).outcome
    went = outcome == "succeeded"
    if shape == "install" and not went:
        check_empty(droplet)
        return outcome
    sets = sets_after(story, operation, went=went) if story.mode else None
    now = check_safe(droplet, token=operation.token, sets=sets)
    assert now == digest(story.number if went else story.base)
    return outcome


def count_calls(stage, story):
    droplet, operation = stage.play_story(story)
    droplet.workshop.take_on(operation)
    return list(droplet.world.calls)


@pytest.fixture(params=SHAPES)
def shape(request):
    return request.param


@pytest.fixture
def stage(shape, tmp_path):
    return Stage(tmp_path, *SHAPES[shape].before)


def calls_from(droplet, first):
    """Return what tells the calls from the `first` on."""
    numbers = itertools.count(1)
    return lambda call: next(numbers) >= first


def test_a_hiccup_at_any_call_is_waited_out(shape, stage):
    """Each part may be away for a moment at any time; the deployment waits and succeeds."""
    story = SHAPES[shape]
    for first, _ in enumerate(count_calls(stage, story), 1):
        droplet, operation = stage.play_story(story)
        droplet.world.before_call = Outage(Retryable("PostgreSQL is away."), calls_from(droplet, first), times=1)
        droplet.workshop.take_on(operation)
        assert sound(droplet, operation, shape) == "succeeded", first


@pytest.mark.parametrize("part", ["database", "runtime", "proxy"])
def test_a_part_away_for_five_minutes_from_any_call_on(shape, stage, part):
    """Longer than anybody wants to wait: taken back before the point of no return, carried through after it."""
    story = SHAPES[shape]
    outcomes = set()
    for first, call in enumerate(count_calls(stage, story), 1):
        if not call.startswith(f"{part}."):
            continue
        droplet, operation = stage.play_story(story)
        droplet.world.before_call = away_for(droplet, part, first, seconds=300)
        droplet.workshop.take_on(operation)
        if "remove_old failed" in said(droplet):
            # What replaced nothing stays until the next deployment clears it away.
            assert droplet.outcome(operation.id).outcome == "succeeded"
            droplet.world.before_call = lambda call: None
            replay = droplet.deployment(story.number)
            droplet.workshop.take_on(replay)
            left = {operation.token: "two" if story.mode else "one"} if shape != "switch" else {}
            check_safe(droplet, token=replay.token, sets=left if shape != "install" else {})
            outcomes.add("succeeded")
            continue
        outcomes.add(sound(droplet, operation, shape))
    assert outcomes == {"succeeded", "failed"}


def said(droplet):
    """Return all that the agent wrote into the operations' logs."""
    return str(droplet.journal._all("SELECT body FROM outbox WHERE kind = 'logs'"))


def away_for(droplet, part, first, seconds):
    numbers = itertools.count(1)
    began = []

    def before_call(call):
        if next(numbers) == first:
            began.append(droplet.world.seconds)
        if began and call.startswith(f"{part}.") and droplet.world.seconds < began[0] + seconds:
            raise Retryable(f"The {part} is away.")

    return before_call


def test_a_refusal_at_any_call_has_one_clear_end(shape, stage):
    """Before the point of no return nothing remains; after it the sentence says what is missing."""
    story = SHAPES[shape]
    for first, _ in enumerate(count_calls(stage, story), 1):
        droplet, operation = stage.play_story(story)
        droplet.world.before_call = Outage(Permanent("It can't be done."), calls_from(droplet, first), times=1)
        droplet.workshop.take_on(operation)
        finish = droplet.outcome(operation.id)
        if finish.outcome == "indeterminate":
            assert finish.error.step in FORWARD_ONLY, first
            assert "force a repair" in finish.error.message
        elif finish.outcome == "failed":
            assert "It can't be done." in finish.error.message or finish.error.code != "failed"
            sound(droplet, operation, shape)


def test_an_undo_that_fails_is_told_and_touches_nothing_more(deployed):
    operation = deployed.deployment(4)

    def before_call(call):
        if call == "database.swap":
            raise Permanent("The database demo_prod and its snapshot are both absent.")

    deployed.world.before_call = before_call
    deployed.workshop.take_on(operation)
    finish = deployed.outcome(operation.id)
    assert finish.outcome == "indeterminate"
    assert (finish.error.code, finish.error.step) == ("undo_failed", "restore_data")
    assert "after update_modules failed (" in finish.error.message
    assert "both absent" in finish.error.message
    assert finish.result == {
        "reverted": False, "digest": None, "database_uuid": None,
        "held_seconds": 0.0, "health": "red",
    }  # fmt: skip
    assert KEY in deployed.world.held, "visitors wait or see the maintenance page rather than a broken database"


# -- the failures that a release brings itself


@pytest.mark.parametrize(
    ("number", "code", "step", "says"),
    [
        (4, "update_failed", "update_modules", "order 7 has no customer"),
        (5, "verdict_failed", "verify_update", "a field without a model"),
        (7, "not_healthy", "warm_web", "/web/login answers 500"),
        (8, "not_warm", "warm_web", "not all of its workers"),
    ],
)
def test_a_release_that_fails_is_taken_back(deployed, number, code, step, says):
    finish = deployed.deploy(number)
    assert finish.outcome == "failed"
    assert (finish.error.code, finish.error.step) == (code, step)
    assert says in finish.error.message
    assert finish.error.message.endswith("demo/prod is back on sha256:11111111… with its data as before.")
    assert finish.result["reverted"]
    assert finish.result["health"] == "green"
    assert finish.result["held_seconds"] > 0
    assert check_safe(deployed, token=0) == digest(1)


def test_code_that_can_t_be_imported_is_found_before_anybody_waits(deployed):
    operation = deployed.deployment(9)
    deployed.world.calls.clear()
    deployed.workshop.take_on(operation)
    finish = deployed.outcome(operation.id)
    assert (finish.outcome, finish.error.code, finish.error.step) == ("failed", "not_loadable", "preload_web")
    assert "Addon workshop can't be imported: SyntaxError()" in finish.error.message
    assert "proxy.hold" not in deployed.world.calls
    assert (
        "runtime.stop cron" not in deployed.world.calls[: deployed.world.calls.index("runtime.execute odooops-standby")]
    )
    assert check_safe(deployed, token=0) == digest(1)


def test_the_log_of_a_failure_comes_along(deployed):
    finish = deployed.deploy(4)
    assert finish.error.log_tail[-1] == "ValueError: order 7 has no customer"


def test_an_image_that_is_gone(deployed):
    operation = deployed.deployment(3)
    del deployed.world.images[digest(3)]
    deployed.workshop.take_on(operation)
    finish = deployed.outcome(operation.id)
    assert (finish.outcome, finish.error.code, finish.error.step) == ("failed", "image_gone", "pull_image")
    assert finish.result["reverted"]
    assert check_safe(deployed, token=0) == digest(1)


def test_a_plan_that_changed_since_it_was_approved_touches_nothing(deployed):
    operation = deployed.operation("deploy", 3, plan_hash="0" * 64)
    before = list(deployed.world.containers)
    deployed.workshop.take_on(operation)
    finish = deployed.outcome(operation.id)
    assert (finish.outcome, finish.error.code, finish.error.step) == ("failed", "plan_changed", "check_plan")
    assert finish.result["digest"] == digest(1)
    assert finish.result["health"] == "green"
    assert list(deployed.world.containers) == before
    assert "proxy.hold" not in deployed.world.calls


def test_a_disk_too_small(deployed):
    operation = deployed.deployment(3)
    deployed.world.database_free_bytes = 1 << 20
    deployed.workshop.take_on(operation)
    assert deployed.outcome(operation.id).error.code == "disk_too_small"
    assert check_safe(deployed, token=0) == digest(1)


def test_another_database_under_the_same_name(deployed):
    operation = deployed.deployment(3)
    deployed.world.databases[DATABASE].uuid = "another"
    deployed.workshop.take_on(operation)
    finish = deployed.outcome(operation.id)
    assert finish.error.code == "identity_mismatch"
    assert finish.result["health"] == "red"


def test_a_session_that_cant_be_ended_is_named_before_the_hold(deployed):
    operation = deployed.deployment(3)
    deployed.world.sessions.append(Session(7, "metabase", "Metabase", "10.0.0.9", can_end=False))
    deployed.world.calls.clear()
    deployed.workshop.take_on(operation)
    finish = deployed.outcome(operation.id)
    assert finish.error.code == "foreign_sessions"
    assert "metabase (Metabase from 10.0.0.9)" in finish.error.message
    assert "proxy.hold" not in deployed.world.calls


def test_a_session_that_comes_between_the_check_and_the_fence(deployed):
    operation = deployed.deployment(3)

    def before_call(call):
        if call == "database.fence" and not deployed.world.sessions:
            deployed.world.sessions.append(Session(7, "metabase", "Metabase", "10.0.0.9", can_end=False))

    deployed.world.before_call = before_call
    deployed.workshop.take_on(operation)
    deployed.world.sessions.clear()
    finish = deployed.outcome(operation.id)
    assert (finish.outcome, finish.error.step) == ("failed", "fence_database")
    assert check_safe(deployed, token=0) == digest(1)


def test_a_database_that_is_somebody_elses_is_never_dropped(droplet):
    """The undo of a first installation looks again at whose database it is about to drop."""
    operation = droplet.deployment(4)

    def before_call(call):
        if call == "runtime.run halfway":
            droplet.world.databases[DATABASE].tag = OwnerTag("somebody-else", 1)

    droplet.world.before_call = before_call
    droplet.workshop.take_on(operation)
    assert droplet.outcome(operation.id).outcome == "indeterminate"
    assert DATABASE in droplet.world.databases


# -- orders


def test_called_off_at_any_call(shape, stage):
    """Up to the point of no return a deployment that is called off leaves nothing; after it, it is carried through."""
    story = SHAPES[shape]
    outcomes = set()
    for first, _ in enumerate(count_calls(stage, story), 1):
        droplet, operation = stage.play_story(story)
        calls = itertools.count(1)

        def before_call(call, droplet=droplet, operation=operation, calls=calls, first=first):
            if next(calls) == first:
                droplet.orders.called_off.add(operation.id)

        droplet.world.before_call = before_call
        droplet.workshop.take_on(operation)
        outcome = droplet.outcome(operation.id).outcome
        outcomes.add(outcome)
        assert outcome in ("succeeded", "cancelled")
        sound(droplet, operation, shape)
    assert outcomes == {"succeeded", "cancelled"}


def test_a_lost_lease_stops_at_the_next_step_without_undoing(shape, stage):
    story = SHAPES[shape]
    for first, _ in enumerate(count_calls(stage, story), 1):
        droplet, operation = stage.play_story(story)
        calls = itertools.count(1)

        def before_call(call, droplet=droplet, operation=operation, calls=calls, first=first):
            if next(calls) == first:
                droplet.orders.given_on.add(operation.id)

        droplet.world.before_call = before_call
        try:
            droplet.workshop.take_on(operation)
        except LeaseLost:
            entry = droplet.journal.get(operation.id)
            assert entry.suspended
            assert entry.cause is None
            assert droplet.journal.next_report().kind != "finish"
            again(droplet, operation)
        assert sound(droplet, operation, shape) == "succeeded"


def again(droplet, operation):
    """Give the operation out once more, with a newer token: it goes on where it stopped."""
    droplet.world.before_call = lambda call: None
    droplet.orders.given_on.clear()
    entry = droplet.journal.get(operation.id)
    if entry.plan is None:
        droplet.workshop.take_on(operation)
        return
    droplet.journal.set_token(operation.id, operation.token + 1)
    droplet.workshop.recover(droplet.journal.get(operation.id), onward=True)
    assert droplet.outcome(operation.id).token == operation.token + 1


@pytest.mark.parametrize("where", ["container", "database"])
def test_a_newer_token_on_a_resource_stops_the_worker(deployed, where):
    operation = deployed.deployment(3)

    def before_call(call):
        if call == "database.fence":
            mark(deployed.world, where, operation.token + 5)

    deployed.world.before_call = before_call
    with pytest.raises(LeaseLost):
        deployed.workshop.take_on(operation)
    calls = deployed.world.calls
    after = calls[calls.index("database.fence") + 1 :]
    assert not {call for call in after if call.startswith(("database.snapshot", "filestore.", "proxy."))}
    assert not {call for call in after if call.startswith("runtime.") and call != "runtime.containers"}


def mark(world, where, token):
    if where == "database":
        world.databases[DATABASE].tag = OwnerTag(ENVIRONMENT_UUID, token)
    else:
        web = next(one for one in world.containers.values() if one.role == "web")
        web.spec.labels["odooops.token"] = str(token)


def test_a_worker_from_the_dead_finds_the_newer_token_when_it_recovers(deployed):
    operation = deployed.deployment(3)
    deployed.world.before_call = Outage(LeaseLost("as if killed"), lambda call: call == "runtime.run")
    with pytest.raises(LeaseLost):
        deployed.workshop.take_on(operation)
    deployed.world.before_call = lambda call: None
    mark(deployed.world, "database", operation.token + 5)
    with pytest.raises(LeaseLost):
        deployed.restart()
    assert "database.swap" not in deployed.world.calls


def test_a_first_installation_over_a_database_without_a_mark_is_refused(droplet):
    droplet.world.databases[DATABASE] = FakeDatabase(DATABASE, "somebody")
    planned = droplet.plan(1)
    assert planned.error.code == "identity_mismatch"


@pytest.mark.parametrize("killed", [False, True], ids=["the update fails", "the agent is killed as well"])
def test_stopped_containers_that_somebody_pruned_are_made_anew(deployed, killed):
    """`docker system prune` in the midst of a deployment: it removes what stands by for the way back."""
    operation, world = deployed.deployment(4), deployed.world

    def before_call(call):
        if call == "runtime.run halfway":
            stopped = [name for name, one in world.containers.items() if not one.running]
            assert len(stopped) == 2
            for name in stopped:
                del world.containers[name]
            if killed:
                raise Killed(call)

    world.before_call = before_call
    with pytest.raises(Killed) if killed else nullcontext():
        deployed.workshop.take_on(operation)
    world.before_call = lambda call: None
    deployed.restart()
    assert deployed.outcome(operation.id).outcome == "failed"
    assert check_safe(deployed, token=operation.token) == digest(1)
