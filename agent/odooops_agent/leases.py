"""What this process works on, and what the control plane says about it."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from .clock import Clock
from .plans.backup import APART
from .protocol import Operation, Ordered, WorkedOn

# Kinds that change nothing that serves, and run beside what does.
BESIDE = frozenset({"plan", "health", "inspect"}) | APART


@dataclass
class Lease:
    """One operation under way."""

    operation_id: int
    environment: str
    kind: str
    token: int
    lease_seconds: float
    renewed_at: float  # monotonic
    cancelled: bool = False
    lost: bool = False
    recovering: bool = False


class Leases:
    """Thread-safe; the executor reads its orders here, the heartbeat writes them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._leases: dict[int, Lease] = {}

    def take(self, operation: Operation) -> bool:
        """Note a lease; False when the operation is under way here already and only its lease is new."""
        with self._lock:
            known = self._leases.get(operation.id)
            if known is None:
                self._leases[operation.id] = Lease(
                    operation.id, operation.environment.key, operation.kind, operation.token,
                    operation.lease_seconds, self._clock.monotonic(),
                )  # fmt: skip
                return True
            known.token, known.lost, known.renewed_at = operation.token, False, self._clock.monotonic()
            return False

    def resume(self, operation: Operation, token: int) -> None:
        """Note an operation that is being recovered under the lease it had."""
        with self._lock:
            self._leases[operation.id] = Lease(
                operation.id, operation.environment.key, operation.kind, token,
                operation.lease_seconds, self._clock.monotonic(), recovering=True,
            )  # fmt: skip

    def drop(self, operation_id: int) -> None:
        with self._lock:
            self._leases.pop(operation_id, None)

    def obey(self, orders: tuple[Ordered, ...], asked: dict[int, int]) -> bool:
        """Take the control plane's orders; tells whether a lease was lost.

        :param asked: the tokens the orders answer to; a lease renewed meanwhile has another one.
        """
        lost = False
        with self._lock:
            for order in orders:
                lease = self._leases.get(order.id)
                if lease is None or lease.token != asked.get(order.id):
                    continue
                lease.cancelled = lease.cancelled or order.order == "cancel"
                lease.lost = order.order == "lost"
                lost = lost or lease.lost
                if not lease.lost:
                    lease.renewed_at = self._clock.monotonic()
        return lost

    def lose(self, operation_id: int, token: int) -> None:
        """Note that a report under `token` was refused as stale; a lease renewed meanwhile has another one."""
        with self._lock:
            lease = self._leases.get(operation_id)
            if lease is not None and lease.token == token:
                lease.lost = True

    def cancelled(self, operation_id: int) -> bool:
        with self._lock:
            lease = self._leases.get(operation_id)
            return lease is not None and lease.cancelled

    def lost(self, operation_id: int) -> bool:
        with self._lock:
            lease = self._leases.get(operation_id)
            return lease is not None and lease.lost

    def busy(self) -> int:
        """Return how many operations run; one that waits to be brought to a safe end keeps none from running."""
        with self._lock:
            return sum(not one.recovering for one in self._leases.values())

    def working(self, operation_id: int) -> bool:
        with self._lock:
            return operation_id in self._leases

    def deploying(self) -> set[str]:
        """Return the environments that are being changed."""
        with self._lock:
            return {one.environment for one in self._leases.values() if one.kind not in BESIDE}

    def overdue(self) -> list[int]:
        """Return the operations whose lease has run out by this agent's own clock."""
        now = self._clock.monotonic()
        with self._lock:
            return [one.operation_id for one in self._leases.values() if now - one.renewed_at > one.lease_seconds]

    def worked_on(self, steps: dict[int, str]) -> tuple[WorkedOn, ...]:
        with self._lock:
            return tuple(
                WorkedOn(id=one.operation_id, token=one.token, step=steps.get(one.operation_id, ""))
                for one in self._leases.values()
            )
