"""Deliver what the journal's outbox holds, in order, for as long as it takes."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

from .control_plane import ControlPlane
from .errors import LeaseLost, Permanent, Retryable, Unauthorized, UnknownOperation
from .journal import Journal, Report

_logger = logging.getLogger(__name__)

IDLE_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0


class Reporter:
    """`deliver` sends all that is queued and says when to come again."""

    def __init__(
        self,
        journal: Journal,
        control: ControlPlane,
        on_stale: Callable[[int, int], None],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._journal = journal
        self._control = control
        self._on_stale = on_stale
        self._jitter = jitter
        self._pause = FIRST_PAUSE_SECONDS

    def deliver(self) -> float:
        """Deliver until the outbox is empty or the control plane away; return the seconds to wait."""
        while (report := self._journal.next_report()) is not None:
            if not self._send(report):
                pause = self._pause * (0.5 + self._jitter())
                self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
                return pause
            self._pause = FIRST_PAUSE_SECONDS
        return IDLE_SECONDS

    def _send(self, report: Report) -> bool:
        try:
            self._control.report(report.kind, report.body)
        except Retryable as error:
            _logger.info("%s Reports wait in the journal.", error.message)
            return False
        except Unauthorized as error:
            _logger.warning("%s Reports wait in the journal.", error.message)
            return False
        except LeaseLost:
            self._on_stale(report.operation_id, report.token)
            self._journal.discard_reports(report)
        except UnknownOperation as error:
            count = self._journal.discard_reports(report)
            _logger.warning("%s %s reports are dropped.", error.message, count)
        except Permanent as error:
            # It would be refused for ever and hold up all that follow.
            _logger.warning("A report of operation %s was refused: %s", report.operation_id, error.message)
            self._journal.acknowledge(report.id)
        else:
            self._journal.acknowledge(report.id)
        return True
