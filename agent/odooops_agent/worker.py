"""The agent at work: lease, run, report; and what keeps it alive beside that."""

from __future__ import annotations

import logging
import random
import threading
from collections import defaultdict
from collections.abc import Callable
from functools import partial

from .background import Repeating
from .clock import Clock
from .control_plane import ControlPlane
from .errors import AgentError, LeaseLost, Retryable, UnreadableOperation
from .heartbeat import CAPABILITIES, Heartbeat, agent_info
from .journal import Entry, Journal
from .leases import BESIDE, Leases
from .operations import Workshop
from .plans.backup import APART
from .protocol import FailedResult, Failure, FinishRequest, LeaseRequest, Operation

_logger = logging.getLogger(__name__)

# The control plane allows one heavy operation at a time by default; plans run beside it.
PARALLEL_OPERATIONS = 4
PAUSE_AFTER_REFUSAL_SECONDS = 15.0
# How long an operation whose lease was lost waits for another lease before it is brought to a safe end.
ABANDONED_SECONDS = 60.0


class Worker:
    """Leases operations one by one and runs each in a thread of its own."""

    def __init__(
        self,
        control: ControlPlane,
        workshop: Workshop,
        leases: Leases,
        heartbeat: Heartbeat,
        on_ended: Callable[[], None] = lambda: None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`on_ended` is called after every operation, however it ended."""
        self._control = control
        self._workshop = workshop
        self._journal: Journal = workshop.journal
        self._clock: Clock = workshop.clock
        self._leases = leases
        self._heartbeat = heartbeat
        self._on_ended = on_ended
        self._jitter = jitter
        self._agent = agent_info()
        self._suspended: dict[int, float] = {}
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        # One operation at a time may change an environment, in the order in which they came.
        self._environments: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._taking = True
        self.loop = Repeating("worker", self.work)

    # -- the life of the process

    def recover(self) -> None:
        """Begin to bring to an end what an earlier process left; to be called before any lease is asked for.

        Each environment is recovered in a thread of its own, as it may have to wait for a part that is away; until it
        is done nothing else changes it. All leases are held from the start.
        """
        left: dict[str, list[Entry]] = {}
        for entry in self._journal.unfinished():
            self._leases.resume(entry.operation, entry.token)
            left.setdefault(self._place(entry.operation), []).append(entry)
        self._journal.compact()
        for key, entries in left.items():
            self._environments[key].acquire()
            self._in_thread(f"recovery-{key}", partial(self._recover_environment, key, entries))

    def _recover_environment(self, key: str, entries: list[Entry]) -> None:
        try:
            for entry in entries:
                _logger.info("operation %s was cut off: bringing it to a safe end", entry.operation.id)
                self._run(entry.operation.id, partial(self._workshop.recover, entry))
        finally:
            self._environments[key].release()

    def _in_thread(self, name: str, act: Callable[[], None]) -> None:
        thread = threading.Thread(target=act, name=name, daemon=True)
        with self._lock:
            self._threads = {one for one in self._threads if one.is_alive()} | {thread}
            thread.start()  # within the lock: one that has not begun is not alive either

    def finish_running(self, seconds: float) -> bool:
        """Take no more work and wait for what runs; tells whether all of it ended."""
        self._taking = False
        deadline = self._clock.monotonic() + seconds
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, deadline - self._clock.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    # -- one round

    def work(self) -> float:
        """Lease and start what there is; return the seconds until the next look."""
        self._end_abandoned()
        try:
            while self._taking and self._leases.busy() < PARALLEL_OPERATIONS and self._lease():
                pass
        except LeaseLost:
            return 1.0
        except AgentError as error:
            _logger.info("No work can be leased: %s", error.message)
            pause = self._heartbeat.poll_seconds if isinstance(error, Retryable) else PAUSE_AFTER_REFUSAL_SECONDS
            return pause * (0.5 + self._jitter())
        return self._heartbeat.poll_seconds * (0.75 + 0.5 * self._jitter())

    def _lease(self) -> bool:
        request = LeaseRequest(agent=self._agent, kinds=CAPABILITIES, tokens=self._journal.tokens())
        try:
            response = self._control.lease(request)
        except UnreadableOperation as error:
            self._refuse(error)
            return False
        self._heartbeat.poll_seconds = response.poll_seconds
        if response.operation is None:
            return False
        self._start(response.operation)
        return True

    def _refuse(self, error: UnreadableOperation) -> None:
        """Report as failed what can't be read; silent, the control plane would give it out for ever."""
        _logger.warning("operation %s is refused: %s", error.operation_id, error.message)
        if self._journal.get(error.operation_id) is not None:
            return  # under way or ended here, and read in a better day
        finish = FinishRequest(
            operation_id=error.operation_id,
            token=error.token,
            outcome="failed",
            finished_at=self._clock.now(),
            error=Failure(code=error.code, step="lease", message=error.message),
            result=FailedResult(reverted=True, digest=None, database_uuid=None, held_seconds=0.0, health="unknown"),
        )
        self._journal.refuse(finish)

    def _start(self, operation: Operation) -> None:
        """Run a leased operation, or carry on with what the journal knows of it."""
        if not self._leases.take(operation):
            _logger.info("operation %s goes on under a new lease", operation.id)
            self._journal.set_token(operation.id, operation.token)
            return
        self._suspended.pop(operation.id, None)
        act = partial(self._run, operation.id, partial(self._carry_out, operation))
        self._in_thread(f"operation-{operation.id}", act)

    def _carry_out(self, operation: Operation) -> None:
        if operation.kind in BESIDE - APART:
            self._work_on(operation)
            return
        with self._environments[self._place(operation)]:
            self._work_on(operation)

    @staticmethod
    def _place(operation: Operation) -> str:
        """Return what an operation has to itself: the environment, or its own kind's room beside it."""
        key = operation.environment.key
        return f"{key} {operation.kind}" if operation.kind in APART else key

    def _work_on(self, operation: Operation) -> None:
        known = self._journal.get(operation.id)
        if known is None or (known.plan is None and known.finish is None):
            self._workshop.take_on(operation)
            return
        self._journal.set_token(operation.id, operation.token)
        if known.finish is not None:
            _logger.info("operation %s has ended here before: reporting that", operation.id)
            return
        entry = self._journal.get(operation.id)
        assert entry is not None
        self._workshop.recover(entry, onward=known.suspended)

    def _run(self, operation_id: int, act: Callable[[], None]) -> None:
        try:
            act()
        except LeaseLost as error:
            _logger.warning("operation %s: %s", operation_id, error.message)
            self._suspended[operation_id] = self._clock.monotonic()
        except Exception:
            _logger.exception("operation %s stopped in a way the agent does not know", operation_id)
            self._suspended[operation_id] = self._clock.monotonic()
        finally:
            self._leases.drop(operation_id)
            self._on_ended()
            self.loop.now()

    def _end_abandoned(self) -> None:
        """Bring to a safe end what lost its lease and got no other: an environment must not stay held for ever."""
        for operation_id, since in list(self._suspended.items()):
            if self._clock.monotonic() - since < ABANDONED_SECONDS or self._leases.working(operation_id):
                continue
            del self._suspended[operation_id]
            entry = self._journal.get(operation_id)
            if entry is None or entry.finish is not None:
                continue
            self._leases.resume(entry.operation, entry.token)
            self._in_thread(f"recovery-{operation_id}", partial(self._end_one, entry))

    def _end_one(self, entry: Entry) -> None:
        operation_id = entry.operation.id
        try:
            with self._environments[self._place(entry.operation)]:
                self._workshop.recover(entry)
        except LeaseLost:
            _logger.warning("operation %s is another worker's: forgotten here", operation_id)
            self._journal.forget(operation_id)
        except Exception:
            _logger.exception("operation %s can't be brought to an end yet", operation_id)
            self._suspended[operation_id] = self._clock.monotonic()
        finally:
            self._leases.drop(operation_id)
            self._on_ended()
            self.loop.now()
