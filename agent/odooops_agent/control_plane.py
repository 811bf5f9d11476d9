"""What the agent asks of the control plane; `control_plane_http` is the adapter, `testing/control.py` the fake.

Every call raises `Retryable` when the control plane is away, `Unauthorized` when it refuses the key, `LeaseLost`
for a stale token, `UnknownOperation`, and `Permanent` when it refuses the message as such.
"""

from __future__ import annotations

from typing import Protocol

from .protocol import (
    HeartbeatRequest,
    HeartbeatResponse,
    LeaseRequest,
    LeaseResponse,
    MailsRequest,
    MailsResponse,
)


class ControlPlane(Protocol):
    def lease(self, request: LeaseRequest) -> LeaseResponse:
        """Ask for work; at once, whether there is some or not. Raises UnreadableOperation."""

    def heartbeat(self, request: HeartbeatRequest) -> HeartbeatResponse: ...

    def mails(self, request: MailsRequest) -> MailsResponse:
        """Bring caught mails; the answer names those that are there to stay."""

    def report(self, kind: str, body: bytes) -> None:
        """Deliver a `steps`, `logs` or `finish` report as the journal has it."""
