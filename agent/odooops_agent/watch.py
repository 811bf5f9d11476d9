"""Look after the environments between deployments: their health, and what the proxy has forgotten."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import UNSET, UnsetType, structs

from .clock import Clock
from .errors import AgentError
from .health import check_environment
from .journal import Journal
from .protocol import Busy, EnvironmentReport
from .steps import Ports

_logger = logging.getLogger(__name__)

HEALTH_SECONDS = 20.0
# In large tables it takes a moment, so not at every look.
BUSINESS_EVERY = timedelta(minutes=1)


class Watch:
    """`look` checks every environment the agent has deployed; the heartbeat carries what it saw."""

    def __init__(
        self,
        ports: Ports,
        journal: Journal,
        clock: Clock,
        deploying: Callable[[], set[str]],
        gather: Callable[[], None] = lambda: None,
    ) -> None:
        """`gather` asks for the facts of the host that the heartbeat carries."""
        self._ports = ports
        self._journal = journal
        self._clock = clock
        self._deploying = deploying
        self._gather = gather
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[int, EnvironmentReport]] = {}
        self._business: dict[str, tuple[datetime, tuple[Busy, ...] | UnsetType]] = {}

    def reports(self) -> tuple[EnvironmentReport, ...]:
        """Return what was seen, but not of an environment that an operation has touched since."""
        tokens = self._journal.tokens()
        with self._lock:
            return tuple(report for token, report in self._seen.values() if token == tokens.get(report.key, 0))

    def look(self) -> float:
        """Check all environments once; return the seconds until the next time."""
        self._gather()
        self.mend_proxy()
        for key, known in self._journal.environments().items():
            token = self._journal.tokens().get(key, 0)
            self._note(token, self._check(key, known))
        return HEALTH_SECONDS

    def _check(self, key: str, known: dict[str, object]) -> EnvironmentReport | None:
        if key in self._deploying():
            return None
        report = check_environment(self._ports, key, known, self._clock.now())
        if self._journal.tier(key) == "production":
            report = structs.replace(report, busy=self._busy(key, str(known["database"])))
        # What was seen in the midst of a switch says nothing about the environment.
        return None if key in self._deploying() else report

    def _busy(self, key: str, database: str) -> tuple[Busy, ...] | UnsetType:
        """Return what people are in the midst of, as it was seen at most a minute ago."""
        now = self._clock.now()
        seen = self._business.get(key)
        if seen is None or now - seen[0] >= BUSINESS_EVERY:
            try:
                seen = now, self._ports.database.business(database, now.date())
            except AgentError as error:
                _logger.info("Nobody can see what goes on in %s: %s", key, error.message)
                seen = now, UNSET
            self._business[key] = seen
        return seen[1]

    def _note(self, token: int, report: EnvironmentReport | None) -> None:
        with self._lock:
            if report is not None:
                self._seen[report.key] = (token, report)

    def mend_proxy(self) -> None:
        """Give the proxy back what it has lost; that it is away is no failure."""
        try:
            self._ports.runtime.reconnect_proxy()
            self._ports.proxy.restore_routes()
        except AgentError as error:
            _logger.warning("The proxy can't be looked after: %s", error.message)
