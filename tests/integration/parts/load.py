"""Clients that keep their connection and ask without pause; what they saw, and what they sent."""

from __future__ import annotations

import http.client
import itertools
import random
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType

THINK_SECONDS = 0.004


@dataclass
class Load:
    """Every other client posts; each post carries its own token, so that a lost or doubled one shows."""

    address: tuple[str, int]
    host: str
    clients: int = 16
    path: str = "/"
    posts: bool = True
    failures: list[str] = field(default_factory=list)
    waits: list[tuple[float, float]] = field(default_factory=list)  # sent at, seconds
    posted: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._numbers = itertools.count()
        self._threads = [
            threading.Thread(target=self._ask, args=(self.posts and bool(n % 2),)) for n in range(self.clients)
        ]

    @property
    def longest_seconds(self) -> float:
        return max((seconds for _, seconds in self.waits), default=0.0)

    def longest_between(self, start: float, end: float) -> float:
        return max((seconds for sent, seconds in self.waits if start <= sent <= end), default=0.0)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        time.sleep(0.5)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        time.sleep(0.3)
        self._ended.set()
        for thread in self._threads:
            thread.join(timeout=120)

    def _ask(self, posts: bool) -> None:
        connection = http.client.HTTPConnection(*self.address, timeout=100)
        while not self._ended.is_set():
            began = time.monotonic()
            try:
                self._one(connection, posts)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{type(error).__name__} {error}")
                connection.close()
            self.waits.append((began, time.monotonic() - began))
            time.sleep(random.random() * 2 * THINK_SECONDS)
        connection.close()

    def _one(self, connection: http.client.HTTPConnection, posts: bool) -> None:
        token = f"post-{next(self._numbers)}" if posts else None
        connection.request("POST" if posts else "GET", self.path, token, {"Host": self.host})
        response = connection.getresponse()
        body = response.read()
        if response.status == 200:
            if token:
                self.posted.add(token)
        else:
            self.failures.append(f"{response.status} {body[:60]!r}")
