"""The control plane over HTTPS: JSON over POST with real status codes."""

from __future__ import annotations

import threading
from typing import TypeVar

import requests

from . import __version__
from .agent_key import AgentKey
from .errors import (
    AgentError,
    LeaseLost,
    Permanent,
    Retryable,
    Unauthorized,
    UnknownOperation,
    UnreadableOperation,
)
from .protocol import (
    BadMessage,
    ErrorResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    LeaseEnvelope,
    LeaseRequest,
    LeaseResponse,
    MailsRequest,
    MailsResponse,
    OperationEnvelope,
    UploadRequest,
    decode,
    encode,
)

Answer = TypeVar("Answer")

# To connect, and to wait between two bytes: a half-open connection must not hang the agent for ever.
TIMEOUT_SECONDS = (5.0, 20.0)
BODY_LIMIT_BYTES = 4 << 20


class HttpControlPlane:
    """One session per thread, as requests' own are not made to be shared."""

    def __init__(self, url: str, key: AgentKey) -> None:
        self._url = f"{url.rstrip('/')}/odooops/agent/v1/"
        self._key = key
        self._local = threading.local()

    def lease(self, request: LeaseRequest) -> LeaseResponse:
        content = self._post("lease", encode(request))
        try:
            return self._read(content, LeaseResponse)
        except Permanent as error:
            given = _envelope(content)
            if given is None:
                raise
            raise UnreadableOperation(error.message, given.id, given.token) from None

    def heartbeat(self, request: HeartbeatRequest) -> HeartbeatResponse:
        return self._read(self._post("heartbeat", encode(request)), HeartbeatResponse)

    def mails(self, request: MailsRequest) -> MailsResponse:
        return self._read(self._post("mails", encode(request)), MailsResponse)

    def report(self, kind: str, body: bytes) -> None:
        self._post(kind, body)

    def send(self, operation_id: int, token: int, offset: int, data: bytes) -> None:
        """The port for uploads."""
        self._post("upload", encode(UploadRequest(operation_id=operation_id, token=token, offset=offset, data=data)))

    def _post(self, route: str, body: bytes) -> bytes:
        response = self._send(route, body)
        if response.status_code == 401 and self._key.fall_back():
            response = self._send(route, body)
        if response.status_code >= 300:
            raise _refusal(response)
        return response.content

    def _send(self, route: str, body: bytes) -> requests.Response:
        headers = {"Authorization": f"Bearer {self._key.current.reveal()}", "Content-Type": "application/json"}
        try:
            # A redirect would carry the key to wherever it leads.
            return self._session().post(
                self._url + route, data=body, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False
            )
        except requests.RequestException as error:
            raise Retryable(f"The control plane at {self._url} does not answer ({type(error).__name__}).") from None

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.headers["User-Agent"] = f"odooops-agent/{__version__}"
            # ~/.netrc would replace the key.
            self._local.session.trust_env = False
            self._local.session.verify = ca_bundle()
        session: requests.Session = self._local.session
        return session

    def _read(self, content: bytes, kind: type[Answer]) -> Answer:
        try:
            return decode(content[:BODY_LIMIT_BYTES], kind)
        except BadMessage as error:
            raise Permanent(f"The control plane's answer can't be read: {error}", code="bad_message") from None


def _envelope(content: bytes) -> OperationEnvelope | None:
    try:
        return decode(content[:BODY_LIMIT_BYTES], LeaseEnvelope).operation
    except BadMessage:
        return None


def ca_bundle() -> str | bool:
    import os

    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or True


def _refusal(response: requests.Response) -> AgentError:
    """Return the error that drives what happens next; never quotes the request, which carries the key."""
    status = response.status_code
    try:
        said = decode(response.content, ErrorResponse).error.message
    except BadMessage:
        said = f"The control plane answers {status} {response.reason}."
        if status in (404, 409):  # of a proxy before it, or of a database that is being restored: it says nothing
            return Retryable(said)
    if status in (401, 403):
        return Unauthorized(said)
    if status == 404:
        return UnknownOperation(said)
    if status == 409:
        return LeaseLost(said)
    if status >= 500 or status in (408, 425, 429) or 300 <= status < 400:
        return Retryable(said)
    return Permanent(said, code="too_large" if status == 413 else "bad_request")
