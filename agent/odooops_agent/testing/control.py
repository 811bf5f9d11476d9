"""A control plane in memory, and the same behind HTTP: leases with tokens and expiry, orders, reports."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from ..errors import AgentError, LeaseLost, Retryable, Unauthorized, UnknownOperation
from ..protocol import (
    Accepted,
    CaughtMail,
    ErrorDetail,
    ErrorResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    LeaseRequest,
    LeaseResponse,
    MailsRequest,
    MailsResponse,
    Operation,
    Order,
    Ordered,
    decode,
    encode,
)

STATUS = {Unauthorized: 401, UnknownOperation: 404, LeaseLost: 409, Retryable: 503}


class FakeControlPlane:
    """Implements the port; a test queues operations and reads what was reported."""

    def __init__(self) -> None:
        self.away = False
        self.poll_seconds = 0.05
        self.key: str | None = None
        self.audit: Callable[[HeartbeatRequest], dict[str, Any]] = lambda request: {}
        self.heartbeats: list[HeartbeatRequest] = []
        self.leases: list[LeaseRequest] = []
        self.reports: list[tuple[str, dict[str, Any]]] = []
        self.mail_requests: list[MailsRequest] = []
        self.taken: dict[str, tuple[str, CaughtMail]] = {}
        self._lock = threading.RLock()
        self._queued: list[Operation] = []
        self._leased: dict[int, Operation] = {}
        self._orders: dict[int, Order] = {}

    # -- what a test does

    def queue(self, operation: Operation) -> None:
        with self._lock:
            self._queued.append(operation)

    def order(self, operation_id: int, order: Order) -> None:
        with self._lock:
            self._orders[operation_id] = order

    def expire(self, operation_id: int) -> None:
        """Take a lease back and queue the operation again, as after a silence."""
        with self._lock:
            self._queued.append(self._leased.pop(operation_id))

    def outcomes(self) -> dict[int, str]:
        with self._lock:
            return {body["operation_id"]: body["outcome"] for kind, body in self.reports if kind == "finish"}

    # -- the port

    def lease(self, request: LeaseRequest) -> LeaseResponse:
        with self._at_work():
            self.leases.append(request)
            fitting = [one for one in self._queued if one.kind in request.kinds]
            if not fitting:
                return LeaseResponse(poll_seconds=self.poll_seconds)
            self._queued.remove(fitting[0])
            return LeaseResponse(operation=self._give(fitting[0], request.tokens), poll_seconds=self.poll_seconds)

    def heartbeat(self, request: HeartbeatRequest) -> HeartbeatResponse:
        with self._at_work():
            self.heartbeats.append(request)
            orders = tuple(Ordered(id=one.id, order=self._answer(one.id, one.token)) for one in request.operations)
            key, self.key = self.key, None
            return HeartbeatResponse(
                operations=orders, poll_seconds=self.poll_seconds, key=key, now=datetime.now(UTC), **self.audit(request)
            )

    def mails(self, request: MailsRequest) -> MailsResponse:
        with self._at_work():
            self.mail_requests.append(request)
            new = [one for one in request.mails if one.id not in self.taken]
            self.taken |= {one.id: (request.environment, one) for one in new}
            return MailsResponse(accepted=tuple(one.id for one in request.mails))

    def report(self, kind: str, body: bytes) -> None:
        given = msgspec.json.decode(body)
        with self._at_work():
            leased = self._leased.get(given["operation_id"])
            if leased is None and not any(one.id == given["operation_id"] for one in self._queued):
                raise UnknownOperation(f"There is no operation {given['operation_id']}.")
            if leased is None or leased.token != given["token"]:
                raise LeaseLost("The lease was given on with a newer token.")
            self.reports.append((kind, given))

    def _give(self, operation: Operation, seen: dict[str, int]) -> Operation:
        key = operation.environment.key
        token = max(operation.token, seen.get(key, 0) + 1)
        given = msgspec.structs.replace(operation, token=token, attempt=operation.attempt + 1)
        self._leased[operation.id] = given
        return given

    def _answer(self, operation_id: int, token: int) -> Order:
        leased = self._leased.get(operation_id)
        if leased is None or leased.token != token:
            return "lost"
        return self._orders.get(operation_id, "continue")

    def _at_work(self) -> threading.RLock:
        if self.away:
            raise Retryable("The control plane does not answer.")
        return self._lock


class HttpServer:
    """Serves a control plane on 127.0.0.1; `url` is its address."""

    def __init__(self, control: FakeControlPlane, key: str) -> None:
        self.control = control
        self.keys = {key}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.before_answer: Callable[[str], None] = lambda route: None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, route: str, authorization: str, body: bytes) -> tuple[int, bytes]:
        try:
            self.before_answer(route)
            if authorization.removeprefix("Bearer ") not in self.keys:
                raise Unauthorized("This key is unknown, expired or revoked: enrol the droplet again.")
            return 200, encode(self._act(route, body))
        except AgentError as error:
            code = "stale_token" if isinstance(error, LeaseLost) else error.code
            return STATUS.get(type(error), 400), encode(
                ErrorResponse(error=ErrorDetail(code=code, message=error.message))
            )

    def _act(self, route: str, body: bytes) -> object:
        if route == "lease":
            return self.control.lease(decode(body, LeaseRequest))
        if route == "heartbeat":
            return self.control.heartbeat(decode(body, HeartbeatRequest))
        self.control.report(route, body)
        return Accepted()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.requests.append((self.path, dict(self.headers)))
                status, answer = server.answer(
                    self.path.rpartition("/")[2], self.headers.get("Authorization", ""), body
                )
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: object) -> None:
                """Say nothing: the test reads `requests`."""

        return Handler
