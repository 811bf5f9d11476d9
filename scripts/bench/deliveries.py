"""Clients that send requests over connections they keep, as fast as they can or at a rate, and time the answers."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass
class Answers:
    """What all clients saw.

    :ivar seconds: of each request; at a given rate from when it was due, so that waiting in line counts
    :ivar statuses: how many answers had each status; 0 where nobody answered
    """

    seconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    lasted: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.seconds) / self.lasted

    def only(self, status: int) -> bool:
        return set(self.statuses) == {status}


def send(
    url: str, requests: Iterator[Request], clients: int, seconds: float, per_second: float | None = None
) -> Answers:
    """Send requests for some seconds.

    :param per_second: the rate at which all clients together send; None for as fast as answers come
    """
    answers, lock = Answers(), threading.Lock()
    began = time.monotonic()
    due = _due(began, per_second, lock)
    threads = [
        threading.Thread(target=_client, args=(url, requests, answers, lock, due, began + seconds), daemon=True)
        for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 2 * TIMEOUT_SECONDS)
    answers.lasted = time.monotonic() - began
    return answers


def _due(began: float, per_second: float | None, lock: threading.Lock) -> Callable[[], float]:
    """Return a function that says when the next request has to be sent."""
    count = iter(range(1 << 40))

    def due() -> float:
        if per_second is None:
            return time.monotonic()
        with lock:
            return began + next(count) / per_second

    return due


def _client(
    url: str,
    requests: Iterator[Request],
    answers: Answers,
    lock: threading.Lock,
    due: Callable[[], float],
    until: float,
) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
    while (sent_at := due()) < until:
        time.sleep(max(0.0, sent_at - time.monotonic()))
        with lock:
            request = next(requests)
        status = _ask(connection, request)
        took = time.monotonic() - sent_at
        with lock:
            answers.seconds.append(took)
            answers.statuses[status] = answers.statuses.get(status, 0) + 1
    connection.close()


def _ask(connection: http.client.HTTPConnection, request: Request) -> int:
    try:
        connection.request(request.method, request.path, body=request.body, headers=request.headers)
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return 0
    return response.status
