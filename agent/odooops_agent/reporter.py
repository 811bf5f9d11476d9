"""Deliver what the journal's outbox holds, each operation's reports in order, for as long as it takes."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from .clock import Clock, SystemClock
from .control_plane import ControlPlane
from .errors import LeaseLost, Permanent, Retryable, Unauthorized, UnknownOperation
from .journal import Journal, Report

_logger = logging.getLogger(__name__)

IDLE_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _Delay:
    """An operation's reports wait, as the first of them was not taken."""

    until: float  # monotonic
    pause_seconds: float  # before the jitter


class Reporter:
    """`deliver` sends all that is queued and says when to come again.

    A report that fails delays the later ones of its own operation only: one that the control plane chokes on for
    ever must not keep from it how all other operations end.
    """

    def __init__(
        self,
        journal: Journal,
        control: ControlPlane,
        on_stale: Callable[[int, int], None],
        jitter: Callable[[], float] = random.random,
        clock: Clock | None = None,
    ) -> None:
        self._journal = journal
        self._control = control
        self._on_stale = on_stale
        self._jitter = jitter
        self._clock: Clock = clock or SystemClock()
        self._delays: dict[int, _Delay] = {}

    def deliver(self) -> float:
        """Deliver all that is not delayed; return the seconds to wait."""
        while True:
            waiting = self._waiting()
            report = self._journal.next_report(waiting)
            if report is None:
                break
            if self._send(report):
                self._delays.pop(report.operation_id, None)
            else:
                self._delay(report)
        # The others have no reports left, as when they were dropped.
        self._delays = {operation_id: self._delays[operation_id] for operation_id in waiting}
        now = self._clock.monotonic()
        return min((max(0.0, one.until - now) for one in self._delays.values()), default=IDLE_SECONDS)

    def _waiting(self) -> set[int]:
        now = self._clock.monotonic()
        return {operation_id for operation_id, delay in self._delays.items() if delay.until > now}

    def _delay(self, report: Report) -> None:
        known = self._delays.get(report.operation_id)
        pause = min(known.pause_seconds * 2, LONGEST_PAUSE_SECONDS) if known else FIRST_PAUSE_SECONDS
        wait = pause * (0.5 + self._jitter())
        self._delays[report.operation_id] = _Delay(self._clock.monotonic() + wait, pause)

    def _send(self, report: Report) -> bool:
        try:
            self._control.report(report.kind, report.body)
        except (Retryable, Unauthorized) as error:
            _logger.warning(
                "Operation %s's reports wait in the journal, the first is a %s report: %s",
                report.operation_id, report.kind, error.message,
            )  # fmt: skip
            return False
        except LeaseLost:
            self._on_stale(report.operation_id, report.token)
            self._journal.discard_reports(report)
        except UnknownOperation as error:
            count = self._journal.discard_reports(report)
            _logger.warning("%s %s reports are dropped.", error.message, count)
        except Permanent as error:
            # It would be refused for ever and hold up all that follow.
            _logger.warning(
                "A %s report of operation %s was refused: %s", report.kind, report.operation_id, error.message
            )
            self._journal.set_aside(report, error.message)
        else:
            self._journal.acknowledge(report.id)
        return True
