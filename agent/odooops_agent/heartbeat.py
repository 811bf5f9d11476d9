"""The sign of life: renews leases, carries health and host facts, brings orders and a new key."""

from __future__ import annotations

import logging
import os
import random
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from msgspec import UNSET, structs

from . import __version__
from .clock import Clock
from .control_plane import ControlPlane
from .errors import AgentError, Retryable, Unauthorized, Unrecorded
from .journal import Journal
from .leases import Leases
from .protocol import (
    AgentInfo,
    AuditHead,
    EnvironmentReport,
    HeartbeatRequest,
    HeartbeatResponse,
    Host,
    WorkedOn,
)
from .steps import Ports

_logger = logging.getLogger(__name__)
Fact = TypeVar("Fact")

HEARTBEAT_SECONDS = 10.0
# Versions hardly ever change: asked once in that many heartbeats.
VERSIONS_EVERY = 60
CAPABILITIES = (
    "plan",
    "deploy",
    "rollback",
    "health",
    "backup",
    "restore_test",
    "restore",
    "import",
    "export",
    "clone",
    "inspect",
)


def agent_info() -> AgentInfo:
    return AgentInfo(version=__version__, host=socket.gethostname(), boot_id=_boot_id(), capabilities=CAPABILITIES)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return str(uuid4())


class Heartbeat:
    """`beat` sends one; the control plane notices a silent agent within 30 s, so it never waits for long."""

    def __init__(
        self,
        control: ControlPlane,
        journal: Journal,
        leases: Leases,
        clock: Clock,
        host: Callable[[], Host],
        environments: Callable[[], tuple[EnvironmentReport, ...]],
        renew_key: Callable[[str], None],
        on_lost: Callable[[], None],
        sealing_public_key: str | None = None,
    ) -> None:
        self._control = control
        self._journal = journal
        self._leases = leases
        self._clock = clock
        self._host = host
        self._environments = environments
        self._renew_key = renew_key
        self._on_lost = on_lost
        self._sealing_public_key = sealing_public_key
        self._agent = agent_info()
        self.poll_seconds = 15.0
        self.offset_seconds: float | None = None

    def beat(self) -> float:
        """Send a heartbeat and obey its answer; return the seconds until the next."""
        request = self._request()
        try:
            response = self._control.heartbeat(request)
        except (Retryable, Unauthorized) as error:
            _logger.info("%s %s", error.message, self._overdue())
            return HEARTBEAT_SECONDS * (0.8 + 0.4 * random.random())  # noqa: S311 no secret
        self._obey(request, response)
        return HEARTBEAT_SECONDS

    def _overdue(self) -> str:
        overdue = self._leases.overdue()
        return f"Operation {overdue[0]} goes on: nobody else can get it while nobody asks." if overdue else ""

    def _request(self) -> HeartbeatRequest:
        return HeartbeatRequest(
            agent=self._agent,
            at=self._clock.now(),
            operations=self._held(),
            tokens=self._journal.tokens(),
            host=structs.replace(self._host(), clock_offset_seconds=self.offset_seconds),
            environments=self._environments(),
            sealing_public_key=self._sealing_public_key,
            audit_head=self._journal.audit_head() or UNSET,
        )

    def _held(self) -> tuple[WorkedOn, ...]:
        """Return what is worked on, and what has ended and is not reported yet.

        Its lease running out meanwhile would have the control plane give it out again, as if it had never ended.
        """
        # The outcomes are asked for last: what ends meanwhile is among them by then.
        steps = {one.id: self._journal.current_step(one.id) for one in self._leases.worked_on({})}
        worked_on = self._leases.worked_on(steps)
        known = {one.id for one in worked_on}
        ended = {number: token for number, token in self._journal.undelivered().items() if number not in known}
        return (
            *worked_on,
            *(WorkedOn(id=one, token=token, step=self._journal.current_step(one)) for one, token in ended.items()),
        )

    def _obey(self, request: HeartbeatRequest, response: HeartbeatResponse) -> None:
        self.poll_seconds = response.poll_seconds
        if response.now is not None:
            self.offset_seconds = round((response.now - datetime.now(UTC)).total_seconds(), 1)
        asked = {one.id: one.token for one in request.operations}
        if self._leases.obey(response.operations, asked):
            self._on_lost()
        self._watch_history(request, response)
        if response.key:  # last: a key that can't be kept must not cost the orders
            self._renew_key(response.key)

    def _watch_history(self, request: HeartbeatRequest, response: HeartbeatResponse) -> None:
        """Keep the audit log's head while it extends the one that is held; else nobody may change that memory."""
        held, head = request.audit_head, response.audit_head
        if not isinstance(head, AuditHead) and not isinstance(held, AuditHead):
            return  # a console that tells none yet
        try:
            if isinstance(held, AuditHead) and response.audit_held != held.hash:
                self._on_rewritten(held, response.audit_held if isinstance(response.audit_held, str) else None)
            elif isinstance(head, AuditHead) and head != held:
                self._journal.keep_audit_head(head, self._clock.now())
        except Unrecorded as error:
            _logger.warning("The audit log's head can't be kept. %s", error.message)

    def _on_rewritten(self, held: AuditHead, found: str | None) -> None:
        if self._journal.note_audit_break(held, found, self._clock.now()):
            _logger.error(
                "The console's audit log was rewritten or cut off: event %s is %s there. See odooops-agent doctor.",
                held.number,
                "another" if found else "not",
            )


class HostFacts:
    """What the droplet says of itself; a part that is away is told as unknown."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._versions: tuple[str | None, str | None, str | None] = (None, None, None)
        self._asked = 0
        self._known = Host()

    def __call__(self) -> Host:
        """Return what was known last, at once: a part that hangs must not silence the heartbeat."""
        return self._known

    def gather(self) -> None:
        """Ask every part."""
        if self._asked % VERSIONS_EVERY == 0 or None in self._versions:
            parts = (self._ports.runtime, self._ports.database, self._ports.proxy)
            self._versions = (_try(parts[0].version), _try(parts[1].version), _try(parts[2].version))
        self._asked += 1
        docker, postgresql, caddy = self._versions
        self._known = Host(
            disk_free_bytes=_try(lambda: self._ports.filestore.free_bytes("a/a")),
            disk_total_bytes=_try(self._ports.filestore.total_bytes),
            load_1m=round(os.getloadavg()[0], 2),
            docker=docker,
            postgresql=postgresql,
            caddy=caddy,
        )


def _try(ask: Callable[[], Fact]) -> Fact | None:
    try:
        return ask()
    except AgentError:
        return None
