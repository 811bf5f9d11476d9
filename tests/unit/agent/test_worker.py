"""The agent's loops on a fake control plane: leases, orders, outages, and what comes back after them."""

import threading
import time
from unittest.mock import Mock

import msgspec
import pytest
from msgspec import UNSET
from odooops_agent import doctor, protocol
from odooops_agent.agent import Agent
from odooops_agent.clock import SystemClock
from odooops_agent.errors import LeaseLost, Permanent, Retryable, UnreadableOperation
from odooops_agent.heartbeat import Heartbeat, HostFacts
from odooops_agent.journal import Journal
from odooops_agent.leases import Leases
from odooops_agent.operations import Workshop
from odooops_agent.output import Output
from odooops_agent.protocol import Ordered, plain
from odooops_agent.reporter import Reporter
from odooops_agent.testing.control import FakeControlPlane
from odooops_agent.testing.droplet import DROPLET, KEY, FakeDroplet, digest
from odooops_agent.testing.grants import pin
from odooops_agent.testing.world import Killed, Outage
from odooops_agent.watch import Watch
from odooops_agent.worker import Worker

from .oracle import check_safe


class RunningAgent:
    """The agent's parts without its endless threads: a test turns each wheel itself."""

    def __init__(self, droplet, control):
        self.droplet, self.control = droplet, control
        self.clock = SystemClock()
        self.leases = Leases(self.clock)
        shop = droplet.workshop
        ports = shop.ports
        self.workshop = Workshop(
            ports, DROPLET, shop.passwords, droplet.journal, droplet.world, self.leases, shop.point, pin
        )
        self.renewed = []
        self.lost = threading.Event()
        self.watch = Watch(ports, droplet.journal, self.clock, self.leases.deploying)
        self.host = HostFacts(ports)
        self.heartbeat = Heartbeat(
            control, droplet.journal, self.leases, self.clock, self.host, self.watch.reports,
            self.renewed.append, self.lost.set, "public",
        )  # fmt: skip
        self.reporter = Reporter(droplet.journal, control, self.leases.lose, lambda: 0.5, droplet.world)
        self.worker = Worker(control, self.workshop, self.leases, self.heartbeat, jitter=lambda: 0.5)

    def round(self):
        """Lease, run to the end, report."""
        self.worker.work()
        assert self.worker.finish_running(30)
        self.worker._taking = True
        self.reporter.deliver()


@pytest.fixture
def control():
    return FakeControlPlane()


@pytest.fixture
def agent(deployed, control):
    forget_reports(deployed)
    return RunningAgent(deployed, control)


def forget_reports(droplet):
    """Drop what the set-up reported: this control plane knows nothing of it."""
    while (report := droplet.journal.next_report()) is not None:
        droplet.journal.acknowledge(report.id)


def deployment(agent, number=3):
    operation = agent.droplet.deployment(number)
    forget_reports(agent.droplet)
    return operation


def wait_until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def pause_at(droplet, call):
    """Make the operation wait at a call; returns the events `reached` and `go_on`."""
    reached, go_on = threading.Event(), threading.Event()

    def before_call(name):
        if name == call and not reached.is_set():
            reached.set()
            assert go_on.wait(10)

    droplet.world.before_call = before_call
    return reached, go_on


def test_an_operation_is_leased_run_and_reported_in_order(agent, control):
    operation = deployment(agent)
    control.queue(operation)
    agent.round()
    kinds = [kind for kind, body in control.reports if body["operation_id"] == operation.id]
    assert kinds[0] == "steps"
    assert kinds[-1] == "finish"
    assert "logs" in kinds
    steps = [(s["name"], s["state"]) for kind, body in control.reports if kind == "steps" for s in body["steps"]]
    assert steps[:2] == [("pull_image", "running"), ("pull_image", "succeeded")]
    assert steps[-1] == ("remove_old", "succeeded")
    assert control.outcomes() == {operation.id: "succeeded"}
    assert control.leases[0].tokens == {KEY: 13}
    assert agent.droplet.journal.next_report() is None


def test_every_report_carries_the_lease_s_token(agent, control):
    operation = deployment(agent)
    control.queue(operation)
    agent.round()
    assert {body["token"] for _, body in control.reports} == {operation.token}


def test_it_works_on_while_the_control_plane_is_away_and_reports_later(agent, control):
    operation = deployment(agent)
    control.queue(operation)
    reached, go_on = pause_at(agent.droplet, "proxy.hold")
    agent.worker.work()
    assert reached.wait(10)
    control.away = True
    go_on.set()
    assert agent.worker.finish_running(30)
    assert agent.heartbeat.beat() > 0
    assert agent.reporter.deliver() == pytest.approx(1)
    assert control.outcomes() == {}
    assert check_safe(agent.droplet, token=operation.token) == digest(3)
    control.away = False
    agent.droplet.world.sleep(1)
    agent.reporter.deliver()
    assert control.outcomes() == {operation.id: "succeeded"}


def test_a_cancelled_operation_stops_and_says_so(agent, control):
    operation = deployment(agent)
    control.queue(operation)
    reached, go_on = pause_at(agent.droplet, "runtime.run halfway")
    agent.worker.work()
    assert reached.wait(10)
    control.order(operation.id, "cancel")
    agent.heartbeat.beat()
    go_on.set()
    assert agent.worker.finish_running(30)
    agent.reporter.deliver()
    assert control.outcomes() == {operation.id: "cancelled"}
    assert check_safe(agent.droplet, token=0) == digest(1)


def test_a_lease_that_ran_out_in_an_outage_is_taken_again_and_the_work_goes_on(agent, control):
    """The agent may be deploying the control plane itself: its absence must not cost the deployment."""
    operation = deployment(agent)
    control.queue(operation)
    reached, go_on = pause_at(agent.droplet, "runtime.run halfway")
    agent.worker.work()
    assert reached.wait(10)
    control.expire(operation.id)
    agent.heartbeat.beat()
    assert agent.lost.is_set()
    assert agent.leases.lost(operation.id)
    agent.worker.work()
    assert not agent.leases.lost(operation.id)
    go_on.set()
    assert agent.worker.finish_running(30)
    agent.worker._taking = True
    agent.reporter.deliver()
    assert control.outcomes() == {operation.id: "succeeded"}
    assert check_safe(agent.droplet, token=operation.token) == digest(3)


def test_an_operation_that_stopped_for_want_of_a_lease_goes_on_under_the_next(agent, control):
    operation = deployment(agent)
    control.queue(operation)
    reached, go_on = pause_at(agent.droplet, "database.fence")
    agent.worker.work()
    assert reached.wait(10)
    control.expire(operation.id)
    agent.heartbeat.beat()
    go_on.set()
    assert agent.worker.finish_running(30)
    assert agent.droplet.journal.get(operation.id).suspended
    assert KEY in agent.droplet.world.held
    agent.worker._taking = True
    agent.round()
    assert control.outcomes() == {operation.id: "succeeded"}
    assert check_safe(agent.droplet, token=operation.token) == digest(3)


def test_an_operation_nobody_gives_back_is_brought_to_a_safe_end(agent, control, monkeypatch):
    operation = deployment(agent)
    control.queue(operation)
    reached, go_on = pause_at(agent.droplet, "database.fence")
    agent.worker.work()
    assert reached.wait(10)
    control._leased.clear()
    agent.heartbeat.beat()
    go_on.set()
    assert agent.worker.finish_running(30)
    assert KEY in agent.droplet.world.held
    agent.droplet.world.seconds += 120
    agent.round()
    assert check_safe(agent.droplet, token=0) == digest(1)
    assert control.outcomes() == {}, "its reports are stale and dropped"
    assert agent.droplet.journal.next_report() is None


def test_a_stale_report_stops_the_operation(agent, control):
    operation = deployment(agent)
    control.queue(operation)
    reached, go_on = pause_at(agent.droplet, "database.fence")
    agent.worker.work()
    assert reached.wait(10)
    control.expire(operation.id)
    agent.reporter.deliver()
    assert agent.leases.lost(operation.id)
    go_on.set()
    assert agent.worker.finish_running(30)
    assert agent.droplet.journal.get(operation.id).suspended


def test_an_outcome_that_never_arrived_is_reported_with_the_next_lease(agent, control):
    operation = deployment(agent)
    control.queue(operation)
    agent.worker.work()
    assert agent.worker.finish_running(30)
    agent.worker._taking = True
    control.expire(operation.id)
    agent.round()
    agent.reporter.deliver()
    assert control.outcomes() == {operation.id: "succeeded"}
    finish = [body for kind, body in control.reports if kind == "finish"]
    assert len(finish) == 1
    assert finish[0]["token"] == operation.token + 1
    assert agent.droplet.world.calls.count("proxy.hold") == 1


def killed_in_a_deployment(folder, control, call="database.snapshot halfway"):
    """Return an agent that was killed at a call and started anew, and the operation."""
    droplet = FakeDroplet(folder)
    droplet.deploy(1)
    droplet.world.watched = KEY
    operation = droplet.deployment(3)
    forget_reports(droplet)
    control.queue(operation)
    leased = control.lease(Mock(kinds=("deploy",), tokens={})).operation
    droplet.world.before_call = lambda name: kill_at(name, call)
    with pytest.raises(Killed):
        droplet.workshop.take_on(leased)
    droplet.world.before_call = lambda call: None
    control.leases.clear()
    return RunningAgent(droplet, control), leased


def test_an_agent_that_was_killed_recovers(tmp_path, control):
    agent, _ = killed_in_a_deployment(tmp_path, control)
    agent.worker.recover()
    assert agent.worker.finish_running(30)
    assert control.leases == []
    assert check_safe(agent.droplet, token=0) == digest(1)
    agent.reporter.deliver()
    finish = next(body for kind, body in control.reports if kind == "finish")
    assert (finish["outcome"], finish["error"]["code"]) == ("failed", "interrupted")
    assert finish["error"]["step"] == "snapshot_database"


def test_a_recovery_that_waits_hinders_no_other_environment(tmp_path, control):
    agent, operation = killed_in_a_deployment(tmp_path, control)
    reached, go_on = pause_at(agent.droplet, "database.unfence")
    agent.worker.recover()
    assert reached.wait(10)
    elsewhere = [agent.droplet.operation("plan", 3, environment={"key": "other/prod"}) for _ in range(4)]
    for plan in elsewhere:
        control.queue(plan)
    agent.worker.work()
    wait_until(lambda: set(agent.droplet.journal.undelivered()) == {one.id for one in elsewhere})
    agent.heartbeat.beat()
    assert (operation.id, operation.token) in {(one.id, one.token) for one in control.heartbeats[-1].operations}
    go_on.set()
    assert agent.worker.finish_running(30)
    assert check_safe(agent.droplet, token=0) == digest(1)


def test_an_environment_is_closed_until_it_is_recovered(tmp_path, control):
    agent, operation = killed_in_a_deployment(tmp_path, control)
    reached, go_on = pause_at(agent.droplet, "database.unfence")
    agent.worker.recover()
    assert reached.wait(10)
    later = agent.droplet.operation("deploy", 2, plan_hash="0" * 64)
    control.queue(later)
    agent.worker.work()
    wait_until(lambda: agent.leases.working(later.id))
    time.sleep(0.05)
    assert agent.droplet.journal.get(later.id) is None
    go_on.set()
    assert agent.worker.finish_running(30)
    assert agent.droplet.outcome(operation.id).error.code == "interrupted"
    assert agent.droplet.outcome(later.id).error.code == "plan_changed"


def test_every_lease_of_what_was_cut_off_is_held_from_the_start(tmp_path, control):
    """Both wait for PostgreSQL; the second one's lease must not run out until the first is done."""
    agent, operation = killed_in_a_deployment(tmp_path, control)
    reached, go_on = pause_at(agent.droplet, "database.unfence")
    second = agent.droplet.operation("deploy", 2)
    agent.droplet.journal.begin(second)
    agent.worker.recover()
    assert reached.wait(10)
    agent.heartbeat.beat()
    assert {one.id for one in control.heartbeats[-1].operations} == {operation.id, second.id}
    go_on.set()
    assert agent.worker.finish_running(30)


def test_what_ended_is_held_until_its_outcome_is_delivered(agent, control):
    operation = deployment(agent)
    control.queue(operation)
    agent.worker.work()
    assert agent.worker.finish_running(30)
    agent.heartbeat.beat()
    assert [(one.id, one.token) for one in control.heartbeats[-1].operations] == [(operation.id, operation.token)]
    assert agent.leases.busy() == 0
    agent.reporter.deliver()
    agent.heartbeat.beat()
    assert control.heartbeats[-1].operations == ()


def test_a_lease_given_anew_at_the_very_end_is_reported_under_its_token(agent, control):
    """The operation ends between the lease's arrival and its being noted."""
    operation = deployment(agent)
    control.queue(operation)
    agent.worker.work()
    assert agent.worker.finish_running(30)
    control.expire(operation.id)
    newer = control.lease(Mock(kinds=("deploy",), tokens={KEY: operation.token})).operation
    agent.leases.take(operation)
    agent.worker._start(newer)
    agent.leases.drop(operation.id)
    agent.reporter.deliver()
    assert control.outcomes() == {operation.id: "succeeded"}


def kill_at(call, wanted):
    if call == wanted:
        raise Killed(call)


@pytest.mark.parametrize("kind", ["plan", "health"])
def test_what_changes_nothing_runs_beside_a_deployment(agent, control, kind):
    deployed = deployment(agent)
    plan = agent.droplet.operation(kind, 3)
    control.queue(deployed)
    control.queue(plan)
    reached, go_on = pause_at(agent.droplet, "runtime.run halfway")
    agent.worker.work()
    assert reached.wait(10)
    wait_until(lambda: agent.droplet.journal.get(plan.id) and agent.droplet.journal.get(plan.id).finish)
    assert agent.droplet.journal.get(deployed.id).finish is None
    go_on.set()
    assert agent.worker.finish_running(30)


def test_of_two_rollbacks_at_once_the_second_finds_another_environment_than_was_approved(agent, control):
    assert agent.droplet.deploy(3).outcome == "succeeded"
    target = agent.droplet.target(1)
    first = agent.droplet.going_back(1, "full")
    second = agent.droplet.operation("rollback", 1, plan_hash=first.plan_hash, rollback=plain(first.way_back))
    assert second.way_back.restore_set.token == target["token"]
    for one in (first, second):
        control.queue(one)
    agent.worker.work()
    assert agent.worker.finish_running(30)
    ended = [agent.droplet.outcome(one.id) for one in (first, second)]
    assert [one.outcome for one in ended] == ["succeeded", "failed"]
    assert ended[1].error.code in ("plan_changed", "set_gone")
    assert agent.droplet.world.answering(KEY).digest == digest(1)


def test_no_work_and_no_control_plane_are_waited_out(agent, control):
    control.poll_seconds = 15
    assert agent.worker.work() == pytest.approx(15)
    control.away = True
    assert agent.worker.work() == pytest.approx(15)


def test_a_surprise_in_an_operation_leaves_it_for_recovery(agent, control):
    operation = deployment(agent)
    control.queue(operation)
    agent.droplet.point = lambda name: (
        (_ for _ in ()).throw(OSError("no space left")) if name == "after:hold_requests" else None
    )
    agent.workshop = agent.droplet.workshop
    agent.worker._workshop = Workshop(
        agent.workshop.ports, DROPLET, agent.workshop.passwords, agent.droplet.journal, agent.droplet.world,
        agent.leases, agent.droplet.point, pin,
    )  # fmt: skip
    agent.worker.work()
    assert agent.worker.finish_running(30)
    assert agent.droplet.outcome(operation.id).outcome == "failed"
    assert check_safe(agent.droplet, token=0) == digest(1)


# -- reports


def queue_steps(agent, control, names=("one", "two", "three")):
    """Lease an operation and queue a report of each step's start."""
    operation = agent.droplet.operation("plan", 1)
    control.queue(operation)
    control.lease(Mock(kinds=("plan",), tokens={}))
    agent.droplet.journal.begin(operation)
    for place, name in enumerate(names):
        agent.droplet.journal.step_began(operation.id, name, agent.droplet.world.now(), place)
    return operation


def steps_told(control, operation):
    return [body["steps"][0]["name"] for _, body in control.reports if body["operation_id"] == operation.id]


def choke_on(control, error, *operations):
    """Have the control plane fail at every report of these operations."""
    take, tries = control.report, []

    def report(kind, body):
        if msgspec.json.decode(body)["operation_id"] in {one.id for one in operations}:
            tries.append(body)
            raise error
        take(kind, body)

    control.report = report
    return tries, take


def test_a_report_that_the_control_plane_chokes_on_delays_its_own_operation_only(agent, control, caplog):
    poisoned, well = queue_steps(agent, control), queue_steps(agent, control)
    tries, take = choke_on(control, Retryable("The control plane answers 500."), poisoned)
    pauses = []
    for _ in range(7):
        pauses.append(agent.reporter.deliver())
        agent.droplet.world.sleep(pauses[-1])
    assert steps_told(control, well) == ["one", "two", "three"]
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 30, 30])
    assert len(set(tries)) == 1, "its later reports wait for the first"
    assert f"Operation {poisoned.id}'s reports wait" in caplog.text
    assert "answers 500" in caplog.text
    control.report = take
    agent.reporter.deliver()
    assert steps_told(control, poisoned) == ["one", "two", "three"]


def test_a_new_report_does_not_shorten_the_pause(agent, control):
    poisoned = queue_steps(agent, control)
    tries, _ = choke_on(control, Retryable("The control plane answers 500."), poisoned)
    agent.reporter.deliver()
    agent.droplet.journal.step_began(poisoned.id, "four", agent.droplet.world.now(), 4)
    assert 0 < agent.reporter.deliver() <= 1
    assert len(tries) == 1


def test_nothing_is_waited_for_once_the_reports_are_gone(agent, control):
    poisoned = queue_steps(agent, control)
    choke_on(control, Retryable("The control plane answers 500."), poisoned)
    agent.reporter.deliver()
    agent.droplet.journal.forget(poisoned.id)
    agent.droplet.world.sleep(5)
    assert agent.reporter.deliver() == 30


def test_a_report_that_is_refused_for_good_is_set_aside(agent, control):
    refused, well = queue_steps(agent, control), queue_steps(agent, control)
    choke_on(control, Permanent("`steps` has 900 entries, up to 100 are taken."), refused)
    agent.reporter.deliver()
    assert steps_told(control, well) == ["one", "two", "three"]
    assert agent.droplet.journal.next_report() is None
    assert (
        agent.droplet.journal.refused_reports()
        == [(refused.id, "steps", "`steps` has 900 entries, up to 100 are taken.")] * 3
    )


# -- heartbeat


def test_the_heartbeat_says_what_is_worked_on_and_how_all_is(agent, control):
    operation = deployment(agent)
    control.queue(operation)
    reached, go_on = pause_at(agent.droplet, "runtime.run halfway")
    agent.worker.work()
    assert reached.wait(10)
    agent.host.gather()
    agent.heartbeat.beat()
    beat = control.heartbeats[-1]
    assert [(one.id, one.token, one.step) for one in beat.operations] == [
        (operation.id, operation.token, "update_modules")
    ]
    assert beat.tokens == {KEY: operation.token}
    assert beat.host.postgresql == "15.18"
    assert beat.host.disk_total_bytes == 100 << 30
    assert beat.sealing_public_key == "public"
    go_on.set()
    assert agent.worker.finish_running(30)
    agent.watch.look()
    agent.heartbeat.beat()
    assert [(one.key, one.health, one.digest) for one in control.heartbeats[-1].environments] == [
        (KEY, "green", digest(3))
    ]


def test_a_new_key_is_taken_over(agent, control):
    control.key = "odooops_agent_8_" + "k" * 43
    agent.heartbeat.beat()
    assert agent.renewed == ["odooops_agent_8_" + "k" * 43]


def test_the_control_plane_sets_the_pace(agent, control):
    control.poll_seconds = 42
    agent.heartbeat.beat()
    assert agent.heartbeat.poll_seconds == 42


# -- health


@pytest.mark.parametrize(
    ("harm", "health", "says"),
    [
        (lambda w: None, "green", "cron runs"),
        (lambda w: w.containers.pop("odooops-demo-prod-cron-12"), "yellow", "do not run"),
        (lambda w: setattr(w.containers["odooops-demo-prod-web-12"], "running", False), "red", "no running web"),
        (lambda w: w.upstreams.update({KEY: "demo-prod-r9"}), "red", "no running web"),
        (lambda w: setattr(w.databases["demo_prod"], "uuid", "another"), "red", "not the one"),
        (lambda w: setattr(w.databases["demo_prod"], "tag", None), "red", "not marked"),
        (lambda w: setattr(w.images[digest(1)], "never_healthy", True), "red", "/web/login answers 500"),
        (lambda w: w.databases.clear(), "red", "not the one"),
    ],
    ids=[
        "well",
        "no cron",
        "web stopped",
        "route elsewhere",
        "other database",
        "no mark",
        "broken pages",
        "no database",
    ],
)
def test_health(agent, harm, health, says):
    agent.droplet.world.watched = None
    harm(agent.droplet.world)
    agent.watch.look()
    report = agent.watch.reports()[0]
    assert report.health == health
    assert says in report.detail


def test_nothing_is_said_of_an_environment_that_is_being_changed(agent, control):
    agent.watch.look()
    assert len(agent.watch.reports()) == 1
    control.queue(deployment(agent))
    reached, go_on = pause_at(agent.droplet, "runtime.run halfway")
    agent.worker.work()
    assert reached.wait(10)
    agent.watch.look()
    assert agent.watch.reports() == ()
    go_on.set()
    assert agent.worker.finish_running(30)


def test_a_part_that_is_away_is_no_surprise(agent):
    agent.droplet.world.before_call = Outage(
        Retryable("Docker does not answer."), lambda call: call.startswith("runtime")
    )
    agent.watch.look()
    assert agent.watch.reports()[0].health == "red"
    assert agent.watch.reports()[0].detail == "Docker does not answer."


# -- leases


def test_an_order_that_answers_an_older_token_is_ignored(deployed):
    leases = Leases(deployed.world)
    operation = deployed.operation("deploy", 3)
    assert leases.take(operation)
    assert not leases.obey((Ordered(id=operation.id, order="lost"),), {operation.id: operation.token - 1})
    assert not leases.lost(operation.id)


def test_a_lease_runs_out_by_the_agent_s_own_clock(deployed):
    leases = Leases(deployed.world)
    operation = deployed.operation("deploy", 3)
    leases.take(operation)
    assert leases.overdue() == []
    deployed.world.seconds += 31
    assert leases.overdue() == [operation.id]
    leases.obey((Ordered(id=operation.id, order="continue"),), {operation.id: operation.token})
    assert leases.overdue() == []


def test_an_operation_of_another_worker_is_forgotten(agent, control):
    operation = deployment(agent)
    control.queue(operation)
    agent.droplet.world.before_call = Outage(
        LeaseLost("A newer token is there."), lambda call: call == "database.write_tag"
    )
    agent.worker.work()
    assert agent.worker.finish_running(30)
    agent.worker._taking = True
    agent.droplet.world.before_call = Outage(
        LeaseLost("A newer token is there."), lambda call: call == "database.identity"
    )
    agent.droplet.world.seconds += 120
    control._leased.clear()
    agent.worker.work()
    assert agent.worker.finish_running(30)
    assert agent.droplet.journal.get(operation.id) is None


def test_the_journal_survives_what_two_threads_do_at_once(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite", durable=False)
    droplet = FakeDroplet(tmp_path / "..")
    operations = [droplet.operation("plan", 1) for _ in range(8)]

    def write(operation):
        journal.begin(operation)
        for number in range(20):
            seq = journal.step_began(operation.id, f"step{number}", droplet.world.now(), number)
            journal.step_ended(operation.id, seq, "succeeded", droplet.world.now())

    threads = [threading.Thread(target=write, args=(one,)) for one in operations]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(journal.places(one.id)["succeeded"]) == 20 for one in operations)


def test_a_report_of_the_old_token_leaves_the_new_lease_alone(agent, control):
    operation = deployment(agent)
    assert agent.leases.take(operation)
    agent.leases.lose(operation.id, operation.token - 1)
    assert not agent.leases.lost(operation.id)
    agent.leases.lose(operation.id, operation.token)
    assert agent.leases.lost(operation.id)


def test_a_key_that_cant_be_kept_costs_no_order(agent, control):
    def full(key):
        raise OSError("No space left on device")

    operation = deployment(agent)
    agent.leases.take(operation)
    control.key = "odooops_agent_2_x"
    agent.heartbeat._renew_key = full
    with pytest.raises(OSError, match="space"):
        agent.heartbeat.beat()
    assert agent.leases.lost(operation.id), "the control plane knows of no such lease, and that was obeyed"


def test_an_operation_that_cant_be_read_is_refused_and_the_next_one_taken(agent, control):
    operation = deployment(agent)
    control.queue(operation)
    lease, unreadable = control.lease, [UnreadableOperation("`str`, got `null` at `$.operation.url`", 900, 7)]

    def poisoned(request):
        if unreadable:
            control._leased[900] = msgspec.structs.replace(operation, id=900, token=7)
            raise unreadable.pop()
        return lease(request)

    control.lease = poisoned
    agent.round()
    agent.round()
    assert control.outcomes() == {900: "failed", operation.id: "succeeded"}
    refusal = next(body for kind, body in control.reports if kind == "finish" and body["operation_id"] == 900)
    assert (refusal["error"]["code"], refusal["token"]) == ("bad_message", 7)
    assert "$.operation.url" in refusal["error"]["message"]


def test_lines_of_a_recovery_have_numbers_of_their_own(agent):
    droplet = agent.droplet
    operation = droplet.deployment(4)

    def before_call(call):
        if call == "database.swap":
            raise Killed(call)

    droplet.world.before_call = before_call
    with pytest.raises(Killed):
        droplet.workshop.take_on(operation)
    before = droplet.journal.last_line(operation.id)
    assert before > 0
    forget_reports(droplet)
    droplet.world.before_call = lambda call: None
    droplet.orders.called_off.clear()
    droplet.restart()
    again = Output(droplet.journal, operation.id, droplet.world, droplet.workshop.passwords.redactor)
    again.writer("agent")("and more")
    again.flush()
    assert droplet.journal.last_line(operation.id) > before
    droplet.journal.forget(operation.id)
    droplet.journal.compact()
    assert droplet.journal.last_line(operation.id) > before, "a new try of the same operation goes on counting"


def test_the_heartbeat_asks_no_part_and_tells_the_clock_s_offset(agent, control):
    agent.host.gather()
    agent.droplet.world.calls.clear()
    agent.heartbeat.beat()
    agent.heartbeat.beat()
    assert [call for call in agent.droplet.world.calls if call.startswith(("runtime.", "proxy.", "filestore."))] == []
    told = control.heartbeats[-1].host
    assert (told.docker, told.postgresql, told.caddy) == ("20.10.24", "15.18", "2.11.4")
    assert told.clock_offset_seconds is not None


def test_the_proxy_is_mended_before_anything_is_recovered(monkeypatch):
    parts = Mock()
    agent = object.__new__(Agent)
    monkeypatch.setattr("odooops_agent.agent.signal.signal", lambda *args: None)
    agent._watch, agent._worker = parts.watch, parts.worker
    agent._beating, agent._reporting, agent._watching, agent._wakeup = Mock(), Mock(), Mock(), Mock()
    agent._mailing = Mock()
    agent._stop = threading.Event()
    agent._stop.set()
    assert agent.run() == 0
    names = [call[0] for call in parts.mock_calls]
    assert names.index("watch.mend_proxy") < names.index("worker.recover")


HEADS = [protocol.AuditHead(number=number, hash=f"{number:064x}") for number in (5, 9, 12)]


def told(control, head, held=None):
    """Have the console tell this head, and that the event which the agent holds has this hash."""
    control.audit = lambda request: {"audit_head": head, "audit_held": held(request) if held else None}


def as_it_was(request):
    return request.audit_head.hash if request.audit_head else None


def test_the_console_s_audit_head_is_kept_and_shown_with_the_next_heartbeat(agent, control):
    for head in HEADS:
        told(control, head, as_it_was)
        agent.heartbeat.beat()
    agent.heartbeat.beat()
    assert [one.audit_head for one in control.heartbeats] == [UNSET, *HEADS]
    journal = agent.droplet.journal
    assert journal.audit_break() is None
    assert [number for number, _hash, _at in journal.audit_heads()] == [12], "of one day the last is enough"


@pytest.mark.parametrize(
    ("held", "words"), [(lambda request: "f" * 64, "another"), (lambda request: None, "not there")]
)
def test_a_history_that_does_not_extend_what_is_held_is_told_and_never_believed(agent, control, caplog, held, words):
    told(control, HEADS[1], as_it_was)
    agent.heartbeat.beat()
    told(control, HEADS[2], held)
    for _ in range(3):
        agent.heartbeat.beat()
    assert agent.droplet.journal.audit_head() == HEADS[1], "the memory stays as it was"
    check = doctor._check("audit log", lambda: doctor._audit(agent.droplet.folder), "")
    assert not check.ok
    assert words in check.detail
    assert "event 9 " in check.detail
    assert len([one for one in caplog.records if "rewritten or cut off" in one.message]) == 1
    agent.droplet.journal.accept_audit()
    told(control, HEADS[2], as_it_was)
    agent.heartbeat.beat()
    assert agent.droplet.journal.audit_head() == HEADS[2]
    assert doctor._audit(agent.droplet.folder) == "the console's log reaches to event 12"


def test_a_console_that_tells_no_head_changes_nothing(agent, control):
    agent.heartbeat.beat()
    assert agent.droplet.journal.audit_heads() == []
    assert "yet" in doctor._audit(agent.droplet.folder)
