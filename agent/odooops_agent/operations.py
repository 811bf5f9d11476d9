"""The kinds of work, told as stories: plan, deploy, roll back, check. Also what becomes of one that was cut off."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec

from .clock import Clock
from .errors import AgentError, Cancelled, LeaseLost, Permanent, Refused, Retryable, Unrecorded
from .executor import Ending, Executor, Orders
from .facts import EnvironmentFacts, Problem, RollbackFacts
from .grants import Pin
from .health import check_environment
from .journal import Entry, Journal
from .observe import NO_IMAGE, look_back, observe, observe_backup, observe_set
from .output import Output
from .permission import permit
from .plans import checks
from .plans.backup import APART
from .plans.building import Droplet, from_digest
from .plans.deploy import plan_deploy
from .plans.model import Plan
from .plans.rollback import plan_rollback
from .protocol import (
    DeployResult,
    FailedResult,
    FailedRollback,
    Failure,
    FinishRequest,
    Health,
    Inspect,
    InspectResult,
    Loss,
    Operation,
    Outcome,
    PlanResult,
    RestoreSet,
    RollbackPreview,
    RollbackResult,
    SetsResult,
    convert,
)
from .secrets import PasswordStore
from .set_check import check_sets
from .steps import HANDLERS, Context, Ports

_logger = logging.getLogger(__name__)
RECORD_PAUSE_SECONDS = 15.0
Finish = FinishRequest[Any]
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every operation needs."""

    ports: Ports
    droplet: Droplet
    passwords: PasswordStore
    journal: Journal
    clock: Clock
    orders: Orders
    point: Callable[[str], None] = lambda name: None
    console_pin: Callable[[], Pin | None] = lambda: None

    def take_on(self, operation: Operation) -> None:
        """Run a leased operation to its end; its outcome is in the journal's outbox then.

        :raises LeaseLost: it was given on while it ran; the journal has it as suspended.
        """
        self.journal.begin(operation)
        key, tag = operation.environment.key, operation.release.tag
        _logger.info("operation %s: %s %s to %s, token %s", operation.id, operation.kind, tag, key, operation.token)
        job = self._job(operation)
        self._end(operation, job.guarded(job.permitted_work))

    def recover(self, entry: Entry, *, onward: bool = False) -> None:
        """Bring an operation that was cut off to its safe end.

        :param onward: it had stopped between two steps for want of a lease and has one again, so go on.
        :raises LeaseLost: another worker has taken the environment since.
        """
        operation = entry.operation
        if entry.plan is None:
            # Nothing was changed yet: the lease runs out and the operation comes again.
            self.journal.forget(operation.id)
            return
        job = self._job(operation)
        self._end(operation, job.guarded(lambda: job.recover(entry, onward=onward and entry.cause is None)))

    def _job(self, operation: Operation) -> Job:
        from .backups import BackupJob, ExportJob, ImportJob, RestoreJob, RestoreTestJob  # they build on the job below
        from .copies import CloneJob

        special: dict[str, type[Job]] = {
            "backup": BackupJob,
            "restore_test": RestoreTestJob,
            "restore": RestoreJob,
            "clone": CloneJob,
            "import": ImportJob,
            "export": ExportJob,
        }
        return special.get(operation.kind, Job)(self, operation)

    def _end(self, operation: Operation, finish: Finish) -> None:
        self.record(lambda: self.journal.end(operation.id, finish))
        _logger.info(
            "operation %s: %s%s", operation.id, finish.outcome, f": {finish.error.message}" if finish.error else ""
        )

    def record(self, write: Callable[[], None]) -> None:
        """Write down how it ended, waiting for a journal that fails: there is nothing left to be done but this."""
        while True:
            try:
                return write()
            except Unrecorded as error:
                _logger.error("%s How the operation ended waits for that.", error.message)
            self.clock.sleep(RECORD_PAUSE_SECONDS)


class Job:
    """One operation under way."""

    def __init__(self, workshop: Workshop, operation: Operation) -> None:
        self._shop = workshop
        self._operation = operation
        self._facts: EnvironmentFacts | None = None
        self._step = ""
        self._began = False  # something may have been changed
        self._grant: str | None = None  # its number, where one is needed
        self._output = Output(workshop.journal, operation.id, workshop.clock, workshop.passwords.redactor)
        self._context = self._make_context()
        self._executor = Executor(self._context, workshop.journal, self._output, workshop.orders, workshop.point)

    def _make_context(self) -> Context:
        shop, journal, number = self._shop, self._shop.journal, self._operation.id
        kept: dict[str, Any] = {}  # also what the journal did not take

        def keep(name: str, value: Any) -> None:
            kept[name] = value
            self._executor.record(lambda: journal.keep_result(number, name, value), None)

        def result(name: str) -> Any:
            if name in kept:
                return kept[name]
            entry = journal.get(number)
            return entry.results.get(name) if entry else None

        return Context(
            ports=shop.ports,
            droplet=shop.droplet,
            passwords=shop.passwords,
            clock=shop.clock,
            operation=self._operation,
            say=self._output.writer("agent"),
            line=self._output.writer("stdout"),
            cancelled=lambda: shop.orders.cancelled(number),
            result=result,
            keep=keep,
        )

    def guarded(self, work: Callable[[], Finish]) -> Finish:
        """Turn a refusal, before anything was changed, into the operation's outcome."""
        try:
            return work()
        except LeaseLost:
            self._shop.journal.suspend(self._operation.id)
            raise
        except Exception as error:
            if self._began:
                raise
            return self._untouched(self._explain(error))
        finally:
            self._output.flush()

    def _explain(self, error: Exception) -> AgentError:
        if isinstance(error, AgentError):
            return error
        _logger.exception("operation %s failed before anything was changed", self._operation.id)
        return AgentError(f"The agent failed in a way it does not know ({error!r}).", "internal")

    def permitted_work(self) -> Finish:
        """Do the work once it is known that people agreed to it, where they have to."""
        self._step = "check_grant"
        self._grant = permit(self._shop.journal, self._operation, self._shop.console_pin, self._shop.clock.now())
        return self.work()

    def begin(self, plan: Plan) -> None:
        """Record the plan; from here the environment is changed, and brought to a safe end whatever happens."""
        self._shop.journal.set_plan(self._operation.id, plan, self._grant)
        self._began = True

    def work(self) -> Finish:
        kinds = {"plan": self.plan, "deploy": self.deploy, "rollback": self.deploy, "health": self.check_sets}
        kinds["inspect"] = self.inspect
        work = kinds.get(self._operation.kind)
        if work is None:
            raise Refused(f"This agent knows no operation {self._operation.kind!r}: update it.", code="bad_message")
        return work()

    # -- plan

    def plan(self) -> Finish:
        """Tell what a deployment would do, or which ways lead back; changes nothing."""
        if self._operation.way_back is not None:
            return self.preview()
        plan = self._make_plan(execute=False)
        result = PlanResult(plan=plan.document, plan_hash=plan.plan_hash, facts=plan.facts)
        return self._finish("succeeded", result)

    def preview(self) -> Finish:
        """Tell which ways lead back and what each would lose; changes nothing."""
        problem = self._image_problem()
        facts = self._in_step("check_plan", lambda: self._observe_back(problem))
        facts = replace(facts, backup=observe_backup(self._shop.ports, self._operation))
        result = self._in_step("count_loss", lambda: self._look_back(facts))
        return self._finish("succeeded", result)

    def _look_back(self, facts: RollbackFacts) -> RollbackPreview:
        return look_back(self._shop.ports, self._shop.droplet, self._operation, facts)

    def _image_problem(self) -> Problem | None:
        """Have the image here; one that is not to be had closes ways back, which the plan has to tell."""
        try:
            self._pull()
        except (Permanent, Retryable) as error:
            return Problem(error.code, error.message)
        return None

    def _pull(self) -> None:
        runtime, reference = self._shop.ports.runtime, self._operation.release.reference
        self._in_step("pull_image", lambda: runtime.pull(reference, self._context.line))

    def _make_plan(self, *, execute: bool) -> Plan:
        if self._operation.way_back is not None:
            problem = self._image_problem()
            return self._in_step("check_plan", lambda: self._approved(self._plan_back(self._observe_back(problem))))
        self._pull()
        return self._in_step("check_plan", lambda: self._check_plan(execute=execute))

    def _plan_back(self, facts: RollbackFacts) -> Plan:
        rollback = self._operation.way_back
        if rollback is None or rollback.mode is None:
            raise Refused("The rollback does not say in which mode: approve one of its modes.", code="bad_message")
        return plan_rollback(self._operation, facts, self._shop.droplet, rollback.mode)

    def _in_step(self, name: str, act: Callable[[], Value]) -> Value:
        self._step = name
        return self._executor.prelude(name, act)

    def _check_plan(self, *, execute: bool) -> Plan:
        facts = self._observed(lambda: observe(self._shop.ports, self._operation))
        plan = plan_deploy(self._operation, facts, self._shop.droplet, execute=execute)
        return self._approved(plan) if execute else plan

    def _observe_back(self, problem: Problem | None) -> RollbackFacts:
        ports, operation = self._shop.ports, self._operation
        environment = self._observed(lambda: observe(ports, operation, NO_IMAGE if problem else None))
        return RollbackFacts(environment, observe_set(ports, operation), problem)

    def _observed(self, look: Callable[[], EnvironmentFacts]) -> EnvironmentFacts:
        """Look around, and refuse what no plan can make good."""
        alone = not self._others_under_way()  # asked first: one that ends meanwhile leaves nothing behind
        self._facts = facts = look()
        if alone:
            checks.check_left_behind(self._operation, facts)
        known = self._shop.journal.environments()
        checks.check_neighbours(self._operation, {key: one["database"] for key, one in known.items()})
        return facts

    def _approved(self, plan: Plan) -> Plan:
        if plan.plan_hash != self._operation.plan_hash:
            raise Refused(
                "The plan is no longer the one that was approved; nothing was changed. Approve the new plan.",
                code="plan_changed",
            )
        return plan

    def _others_under_way(self) -> bool:
        """Tell whether the journal knows of another operation in the midst of the environment."""
        return bool(self._others())

    def _being_changed(self) -> bool:
        return any(one.plan is not None for one in self._others())

    def _others(self) -> list[Entry]:
        mine = self._operation
        others = [one for one in self._shop.journal.unfinished() if one.operation.id != mine.id]
        changing = [one for one in others if one.operation.kind not in APART]
        return [one for one in changing if one.operation.environment.key == mine.environment.key]

    # -- check

    def check_sets(self) -> Finish:
        """Tell which restore sets could be put back, and keep what they need from being pruned."""
        result = self._in_step("check_sets", self._checked_sets)
        return self._finish("succeeded", result)

    def _checked_sets(self) -> SetsResult:
        if self._being_changed():
            raise Refused("The environment is being changed: check its restore sets when that has ended.", code="busy")
        result = check_sets(self._shop.ports, self._operation)
        arguments = {
            "database": self._operation.environment.database.name,
            "image": self._operation.release.image,
        }
        HANDLERS["keep_images"](self._context, arguments)
        return result

    # -- inspect

    def inspect(self) -> Finish:
        """Tell what was configured by hand; changes nothing."""
        return self._finish("succeeded", self._in_step("inspect", self._inspected))

    def _inspected(self) -> InspectResult:
        environment, asked = self._operation.environment, self._operation.inspect
        identity = self._shop.ports.database.identity(environment.database.name)
        if identity is None or identity.uuid is None:
            raise Refused(f"{environment.key} has no Odoo database yet: deploy to it first.", code="no_database")
        if identity.tag is None or identity.tag.environment_uuid != environment.uuid:
            raise Refused(
                f"The database {environment.database.name} is not marked as {environment.key}'s: point the "
                "environment at its own database.",
                code="identity_mismatch",
            )
        since = asked.since if isinstance(asked, Inspect) else None
        return self._shop.ports.database.inspect(environment.database.name, since)

    # -- deploy and roll back

    def deploy(self) -> Finish:
        """Bring the release into the environment, or leave everything as it was."""
        plan = self._make_plan(execute=True)
        self._keep_before()
        self.begin(plan)
        return self._conclude(plan, self._executor.run(plan))

    def recover(self, entry: Entry, *, onward: bool) -> Finish:
        assert entry.plan is not None
        self._began = True
        ending = self._executor.run(entry.plan) if onward else self._executor.resume(entry)
        return self._conclude(entry.plan, ending)

    def _keep_before(self) -> None:
        """Keep what the environment was, for the reports and the restore set."""
        facts = self._facts
        assert facts is not None
        database = facts.database
        serving = [one for one in facts.containers if one.role == "web" and one.running]
        before = {
            "digest": from_digest(facts),
            "config_hash": serving[-1].config_hash if serving else None,
            "database_uuid": database.uuid if database else None,
            "database_bytes": database.bytes if database else 0,
            "module_versions": {
                name: module.version
                for name, module in sorted(database.modules.items() if database else ())
                if module.state == "installed" and module.version and not module.imported
            },
        }
        self._shop.journal.keep_result(self._operation.id, "before", before)

    def _conclude(self, plan: Plan, ending: Ending) -> Finish:
        if ending.error is None:
            return self._succeeded(plan)
        if ending.committed:
            return self._stuck_forward(ending)
        if ending.undo_error is not None:
            return self._stuck_back(ending)
        return self._reverted(ending)

    def _succeeded(self, plan: Plan) -> Finish:
        uuid = self._database_uuid()
        self._remember(uuid)
        if plan.rollback is not None:
            return self._finish("succeeded", self._rollback_result(plan, uuid))
        result = DeployResult(
            digest=self._operation.release.digest,
            database_uuid=uuid,
            plan_hash=plan.plan_hash,
            held_seconds=self._held_seconds(),
            update_seconds=float(self._context.result("update_seconds") or 0.0),
            health=self._health(),
            modules=plan.document.modules,
            restore_set=self._restore_set(plan),
        )
        return self._finish("succeeded", result)

    def _rollback_result(self, plan: Plan, uuid: str | None) -> RollbackResult:
        assert plan.rollback is not None
        lost = self._context.result("lost")
        return RollbackResult(
            digest=self._operation.release.digest,
            database_uuid=uuid,
            plan_hash=plan.plan_hash,
            mode=plan.rollback.mode,
            held_seconds=self._held_seconds(),
            health=self._health(),
            restore_set=self._restore_set(plan),
            lost=convert(lost, Loss) if lost else None,
        )

    def _database_uuid(self) -> str | None:
        try:
            identity = self._shop.ports.database.identity(self._operation.environment.database.name)
        except AgentError:
            # The deployment is done; that PostgreSQL went away just now does not undo it.
            before: str | None = self._context.result("before")["database_uuid"]
            return before
        return identity.uuid if identity else None

    def _restore_set(self, plan: Plan) -> RestoreSet | None:
        before, taken_at = self._context.result("before"), self._context.result("snapshot_at")
        if plan.shape not in ("update", "restore", "clone") or not taken_at:
            return None
        names = self._context.names
        return RestoreSet(
            from_digest=before["digest"],
            config_hash=before["config_hash"],
            database_snapshot=names.snapshot,
            filestore_snapshot=f"snapshots/{names.token}/filestore",
            database_bytes=before["database_bytes"],
            module_versions=before["module_versions"],
            taken_at=taken_at,
        )

    def _remember(self, uuid: str | None) -> None:
        environment = self._operation.environment
        document = {
            "database": environment.database.name,
            "uuid": uuid,
            "environment_uuid": environment.uuid,
            "host": environment.domains.main,
            "digest": self._operation.release.digest,
            "token": self._operation.token,
        }
        self._shop.record(lambda: self._shop.journal.remember_environment(environment.key, document))

    def _reverted(self, ending: Ending) -> Finish:
        assert ending.error is not None
        where = self._shown_before()
        message = f"{sentence(ending.error)} {where}"
        outcome: Outcome = (
            "cancelled" if isinstance(ending.error, Cancelled) or ending.error.code == "cancelled" else "failed"
        )
        return self._unsuccessful(outcome, ending.error, ending.step, message, reverted=True)

    def _shown_before(self) -> str:
        digest = (self._context.result("before") or {}).get("digest")
        key = self._operation.environment.key
        if digest is None:
            return f"{key} is empty as before."
        return f"{key} is back on {digest[:15]}… with its data as before."

    def _stuck_forward(self, ending: Ending) -> Finish:
        assert ending.error is not None
        key, tag = self._operation.environment.key, self._operation.release.tag
        message = (
            f"{key} is on {tag}, but {ending.step} did not succeed: {sentence(ending.error)} "
            "Mend it, then force a repair."
        )
        return self._unsuccessful("indeterminate", ending.error, ending.step, message, reverted=False)

    def _stuck_back(self, ending: Ending) -> Finish:
        assert ending.error is not None
        assert ending.undo_error is not None
        message = (
            f"The agent cannot prove the state of {self._operation.environment.key}: after {ending.step} failed "
            f"({ending.error.message.rstrip('.')}), {ending.undo_step} failed too: {sentence(ending.undo_error)} "
            "Repair it by hand, then force a repair."
        )
        error = AgentError(message, "undo_failed", ending.undo_error.log_tail)
        return self._unsuccessful("indeterminate", error, ending.undo_step, message, reverted=False)

    def _unsuccessful(self, outcome: Outcome, error: AgentError, step: str, message: str, *, reverted: bool) -> Finish:
        before = self._context.result("before") or {}
        result = FailedResult(
            reverted=reverted,
            digest=before.get("digest") if reverted else None,
            database_uuid=before.get("database_uuid") if reverted else None,
            held_seconds=self._held_seconds(),
            health=self._health(),
        )
        if self._operation.kind == "rollback":
            result = self._failed_rollback(result, error, reverted=reverted)
        result = self._told(result)
        return self._finish(
            outcome, result, Failure(code=error.code, step=step, message=message, log_tail=error.log_tail)
        )

    def _told(self, result: FailedResult) -> FailedResult:
        """Add what a failure of this kind tells beside."""
        return result

    def _failed_rollback(self, result: FailedResult, error: AgentError, *, reverted: bool) -> FailedRollback:
        """Add what going back would cost by now, when that was more than was approved."""
        asks_again = reverted and error.code == "loss_above_ceiling"
        return FailedRollback(**msgspec.structs.asdict(result), preview=self._preview_anew() if asks_again else None)

    def _preview_anew(self) -> RollbackPreview | None:
        ports, operation = self._shop.ports, self._operation
        try:
            found = observe_set(ports, operation)
            backup = observe_backup(ports, operation)
            return self._look_back(RollbackFacts(observe(ports, operation), found, backup=backup))
        except AgentError as away:
            self._context.say(f"There is no new preview: {away.message}")
            return None

    def _untouched(self, error: AgentError) -> Finish:
        facts = self._facts
        database = facts.database if facts else None
        result = FailedResult(
            reverted=True,
            digest=from_digest(facts) if facts else None,
            database_uuid=database.uuid if database else None,
            held_seconds=0.0,
            health=self._health() if self._operation.kind in ("deploy", "rollback") else "unknown",
        )
        if self._operation.kind == "rollback":
            result = self._failed_rollback(result, error, reverted=True)
        result = self._told(result)
        outcome: Outcome = "cancelled" if isinstance(error, Cancelled) else "failed"
        tail = error.log_tail or (() if isinstance(error, Refused) else tuple(self._output.tail))
        failure = Failure(code=error.code, step=self._step, message=error.message, log_tail=tail)
        return self._finish(outcome, result, failure)

    # -- shared

    def _held_seconds(self) -> float:
        return float(self._context.result("held_seconds") or 0.0)

    def _health(self) -> Health:
        key = self._operation.environment.key
        known = self._shop.journal.environments().get(key)
        if known is None:
            return "unknown"
        return check_environment(self._shop.ports, key, known, self._shop.clock.now()).health

    def _finish(self, outcome: Outcome, result: Any, error: Failure | None = None) -> Finish:
        self._output.flush()
        if error is not None:
            mask = self._shop.passwords.redactor.mask
            tail = tuple(mask(line) for line in error.log_tail)
            error = msgspec.structs.replace(error, message=mask(error.message), log_tail=tail)
        entry = self._shop.journal.get(self._operation.id)
        return FinishRequest(
            operation_id=self._operation.id,
            # The lease may have been renewed under a newer token while the operation ran.
            token=entry.token if entry else self._operation.token,
            outcome=outcome,
            finished_at=self._shop.clock.now(),
            error=error,
            result=result,
        )


def sentence(error: AgentError) -> str:
    return error.message if error.message.endswith((".", "!", "?", "…")) else f"{error.message}."
