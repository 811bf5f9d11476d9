"""Look after the environments between deployments: their health, and what the proxy has forgotten."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from .clock import Clock
from .errors import AgentError
from .health import check_environment
from .journal import Journal
from .protocol import EnvironmentReport
from .steps import Ports

_logger = logging.getLogger(__name__)

HEALTH_SECONDS = 20.0


class Watch:
    """`look` checks every environment the agent has deployed; the heartbeat carries what it saw."""

    def __init__(self, ports: Ports, journal: Journal, clock: Clock, deploying: Callable[[], set[str]]) -> None:
        self._ports = ports
        self._journal = journal
        self._clock = clock
        self._deploying = deploying
        self._lock = threading.Lock()
        self._seen: dict[str, EnvironmentReport] = {}

    def reports(self) -> tuple[EnvironmentReport, ...]:
        with self._lock:
            return tuple(self._seen.values())

    def look(self) -> float:
        """Check all environments once; return the seconds until the next time."""
        self._mend_proxy()
        for key, known in self._journal.environments().items():
            self._note(key, self._check(key, known))
        return HEALTH_SECONDS

    def _check(self, key: str, known: dict[str, object]) -> EnvironmentReport | None:
        if key in self._deploying():
            return None
        report = check_environment(self._ports, key, known, self._clock.now())
        # What was seen in the midst of a switch says nothing about the environment.
        return None if key in self._deploying() else report

    def _note(self, key: str, report: EnvironmentReport | None) -> None:
        with self._lock:
            if report is not None:
                self._seen[key] = report

    def _mend_proxy(self) -> None:
        try:
            self._ports.runtime.reconnect_proxy()
            self._ports.proxy.restore_routes()
        except AgentError as error:
            _logger.warning("The proxy can't be looked after: %s", error.message)
