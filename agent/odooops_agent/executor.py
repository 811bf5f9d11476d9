"""Carry out a plan step by step; on failure take back what was done.

Before and after every act the journal is written, so that a process killed anywhere knows, started again,
what may have been done. Failures are handled at one level: `Executor.run`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from .errors import AgentError, Cancelled, LeaseLost, Permanent, Retryable, Unrecorded
from .journal import Entry, Journal
from .output import Output
from .plans.backup import APART
from .plans.checks import check_token
from .plans.model import Plan, Step
from .plans.recover import is_committed, remaining
from .protocol import StepState
from .steps import HANDLERS, Context, Handler

_logger = logging.getLogger(__name__)
Value = TypeVar("Value")

# How long a part that is away is waited for. Going forward visitors may be waiting, so not for long; on the way
# back and past the point of no return there is nothing better to do than to wait.
FORWARD_PATIENCE_SECONDS = 15.0
OPTIONAL_PATIENCE_SECONDS = 120.0
BACKWARD_PATIENCE_SECONDS = 1800.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
INTERRUPTED = "The agent was stopped in the middle of the {noun}"
NOUNS = {
    "backup": "backup",
    "clone": "copy",
    "export": "download",
    "import": "import",
    "restore": "restore",
    "restore_test": "restore test",
    "rollback": "rollback",
}


class Orders(Protocol):
    """What the control plane says about the operation while it runs."""

    def cancelled(self, operation_id: int) -> bool: ...

    def lost(self, operation_id: int) -> bool: ...


@dataclass(frozen=True, slots=True)
class Ending:
    """How a plan ended; `error` is why it did not succeed, `undo_error` why it could not be taken back."""

    error: AgentError | None = None
    step: str = ""
    undo_error: AgentError | None = None
    undo_step: str = ""
    committed: bool = False


class Executor:
    """Runs one plan in one context."""

    def __init__(
        self,
        context: Context,
        journal: Journal,
        output: Output,
        orders: Orders,
        point: Callable[[str], None] = lambda name: None,
    ) -> None:
        """`point` is called before and after every act and every record; tests stop the process there."""
        self._obeying = True  # until the way back or the point of no return: from there nothing is called off
        self._context = replace(context, cancelled=self._called_off)
        self._journal = journal
        self._output = output
        self._orders = orders
        self._point = point
        self._id = context.operation.id

    def prelude(self, name: str, act: Callable[[], Value]) -> Value:
        """Run something that changes nothing as a step of its own on the timeline."""
        self._check_orders()
        seq = self._journal.step_began(self._id, name, self._context.clock.now())
        self._output.begin_step(name)
        try:
            value = self._patiently(act, FORWARD_PATIENCE_SECONDS)
        except Exception:
            self._journal.step_ended(self._id, seq, "failed", self._context.clock.now())
            raise
        self._journal.step_ended(self._id, seq, "succeeded", self._context.clock.now())
        return value

    def run(self, plan: Plan) -> Ending:
        """Carry the plan out from its start.

        :raises LeaseLost: another worker owns the environment; nothing more was touched.
        """
        return self._carry_on(plan)

    def resume(self, entry: Entry) -> Ending:
        """Bring an interrupted plan to its safe end.

        :raises LeaseLost: another worker has been there since.
        """
        assert entry.plan is not None
        step = self._journal.current_step(self._id)
        noun = NOUNS.get(self._context.operation.kind, "deployment")
        cause = entry.cause or {"code": "interrupted", "message": INTERRUPTED.format(noun=noun), "step": step}
        error = AgentError(str(cause["message"]), str(cause["code"]), tuple(cause.get("log_tail", ())))
        committed = self._is_committed(entry.plan)
        try:
            self._check_token(BACKWARD_PATIENCE_SECONDS)
        except Retryable as away:
            return Ending(error, str(cause["step"]), away, "resume", committed)
        return self._carry_on(entry.plan) if committed else self._take_back(entry.plan, error, str(cause["step"]))

    # -- forward

    def _carry_on(self, plan: Plan) -> Ending:
        step = plan.steps[0]
        try:
            for place, step in enumerate(plan.steps):
                if place not in self._ended():
                    self._take(plan, place, step)
        except LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001 whatever it was, the environment has to be brought to safety
            committed = self._is_committed(plan)
            failure = self._explain(error)
            if committed:
                return Ending(failure, step.name, committed=True)
            return self._take_back(plan, failure, step.name)
        return Ending(committed=True)

    def _take(self, plan: Plan, place: int, step: Step) -> None:
        committed = self._is_committed(plan)
        if not committed:
            self._check_orders()
            self._check_token(FORWARD_PATIENCE_SECONDS)
        elif self._orders.lost(self._id):
            raise LeaseLost("The lease was given on; the deployment stops where it is.")
        seq = self.record(lambda: self._journal.step_began(self._id, step.name, self._context.clock.now(), place), None)
        self._output.begin_step(step.name)
        self._point(f"before:{step.name}")
        try:
            act = HANDLERS[step.name]
            detail = self._patiently(
                lambda: self._act(act, step, look_first=committed), _patience(step, committed), for_room=committed
            )
        except Exception as error:
            self._point(f"failed:{step.name}")
            failure = self._explain(error)
            self._end_step(seq, "failed", failure.message)
            if step.optional and not isinstance(error, LeaseLost):
                self._context.say(f"{step.name} failed and the deployment goes on: {failure.message}")
                return
            raise
        self._point(f"acted:{step.name}")
        self._end_step(seq, "succeeded", detail or "")
        self._point(f"after:{step.name}")

    def _act(self, act: Handler, step: Step, *, look_first: bool) -> str | None:
        """Act, once it is known that nobody with a newer token has been there since."""
        if look_first:
            self._look_for_newer_token()
        return act(self._context, step.arguments)

    # -- back

    def _take_back(self, plan: Plan, error: AgentError, failed_step: str) -> Ending:
        self._obeying = False
        cause = {"code": error.code, "message": error.message, "step": failed_step, "log_tail": list(error.log_tail)}
        self.record(lambda: self._journal.set_cause(self._id, cause), None)
        places = self._journal.places(self._id)
        begun = {place for state in places.values() for place in state}
        back = remaining(plan, begun, self._ended(), places.get("undone", {}))
        numbers = {place: seq for state in places.values() for place, seq in state.items()}
        for place, step in back.steps:
            try:
                self._undo(step, numbers[place])
            except LeaseLost:
                raise
            except Exception as undo_error:  # noqa: BLE001 told as it is, and nothing more is touched
                return Ending(error, failed_step, self._explain(undo_error), step.undo or step.name)
        return Ending(error, failed_step)

    def _undo(self, step: Step, seq: int) -> None:
        detail = ""
        if step.undo:
            self._output.begin_step(step.undo)
            handler = HANDLERS[step.undo]
            self._point(f"before:{step.undo}")
            act = lambda: self._act(handler, step, look_first=True)  # noqa: E731
            detail = self._patiently(act, BACKWARD_PATIENCE_SECONDS, for_room=True) or ""
            self._point(f"acted:{step.undo}")
        self._end_step(seq, "undone", detail)
        self._point(f"after:{step.undo or step.name}")

    # -- both

    def _patiently(self, act: Callable[[], Value], patience_seconds: float, *, for_room: bool = False) -> Value:
        """Do it, and again while a part is away, until the patience ends.

        :param for_room: again, too, while a disk is full. Where there is but one way left, giving up between two
            halves is worse than waiting until somebody frees some; every act taken twice has one effect.
        """
        deadline = self._context.clock.monotonic() + patience_seconds
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return act()
            except AgentError as error:
                away = isinstance(error, Retryable) or (for_room and error.code == "disk_full")
                if not away or self._context.clock.monotonic() + pause > deadline:
                    raise
                self._context.say(f"{error.message} Trying again in {pause:.0f} s.")
                self._output.flush()
            self._context.clock.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _check_orders(self) -> None:
        if self._orders.lost(self._id):
            raise LeaseLost("The lease was given on; the deployment stops where it is.")
        if self._called_off():
            raise Cancelled("The deployment was called off.")

    def _called_off(self) -> bool:
        return self._obeying and self._orders.cancelled(self._id)

    def _check_token(self, patience_seconds: float) -> None:
        """Look for a newer token on what the operation touches: a lock alone excludes nobody."""
        self._patiently(self._look_for_newer_token, patience_seconds)

    def _look_for_newer_token(self) -> None:
        context = self._context
        if context.operation.kind in APART:
            return  # it changes nothing there, and a deployment that began since is no reason to stop
        tokens = [one.token for one in context.ports.runtime.containers(context.key)]
        identity = context.ports.database.identity(context.names.database)
        if identity and identity.tag:
            tokens.append(identity.tag.token)
        check_token(context.key, context.operation.token, tokens)

    def _ended(self) -> set[int]:
        places = self._journal.places(self._id)
        return set(places.get("succeeded", {}))

    def _is_committed(self, plan: Plan) -> bool:
        committed = is_committed(plan, self._ended())
        self._obeying = self._obeying and not committed
        return committed

    def _end_step(self, seq: int | None, state: StepState, detail: str) -> None:
        self._output.flush()
        if seq is None:
            return
        shown = self._context.passwords.redactor.mask(detail)
        self.record(lambda: self._journal.step_ended(self._id, seq, state, self._context.clock.now(), shown), None)

    def record(self, write: Callable[[], Value], otherwise: Value) -> Value:
        """Write to the journal. On the way back and past the point of no return one that fails holds up nothing.

        What is not recorded there is done again after a crash, and has one effect; visitors who are held wait now.
        """
        try:
            return write()
        except Unrecorded as error:
            if self._obeying:
                raise
            _logger.error("Operation %s goes on without its journal. %s", self._id, error.message)
            return otherwise

    def _explain(self, error: Exception) -> AgentError:
        """Return the error as one the control plane can show, with the output that led to it."""
        if not isinstance(error, AgentError):
            _logger.exception("A step failed in a way the agent does not know", exc_info=error)
            error = Permanent(
                f"The agent failed in a way it does not know ({type(error).__name__}: {error}).", code="internal"
            )
        elif not isinstance(error, Cancelled) and self._called_off():
            error = Cancelled("The deployment was called off.")
        if not error.log_tail:
            error.log_tail = tuple(self._output.tail)
        return error


def _patience(step: Step, committed: bool) -> float:
    if step.optional:
        return OPTIONAL_PATIENCE_SECONDS
    return BACKWARD_PATIENCE_SECONDS if committed else FORWARD_PATIENCE_SECONDS
