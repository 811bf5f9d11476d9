"""A load of keep-alive clients that never stop asking, and what they saw."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Answer:
    """One request: when it was sent (seconds since the load began), how long it took, what came back."""

    sent_at: float
    seconds: float
    status: int | None  # None: no HTTP answer at all
    detail: str = ""

    @property
    def failed(self) -> bool:
        """A visitor saw an error: no answer, or one outside 2xx and 3xx."""
        return self.status is None or not 200 <= self.status < 400


@dataclass
class LoadReport:
    """What all clients saw together."""

    answers: list[Answer] = field(default_factory=list)

    @property
    def failed(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.failed]

    @property
    def longest_wait_seconds(self) -> float:
        return max((answer.seconds for answer in self.answers), default=0.0)

    def longest_silence_seconds(self) -> float:
        """The longest time in which nobody got a good answer."""
        ends = sorted(a.sent_at + a.seconds for a in self.answers if not a.failed)
        return max((late - early for early, late in itertools.pairwise(ends)), default=0.0)


class Load:
    """Ask `path` of one virtual host from `clients` threads until stopped.

    :param address: (host, port) of the proxy; the load never leaves the loopback range.
    :param host: the Host header, which chooses the environment.
    :param timeout_seconds: give a request up after this long; counted as failed.
    """

    def __init__(
        self, address: tuple[str, int], host: str, path: str, clients: int = 8, timeout_seconds: float = 90.0
    ) -> None:
        self._address, self._host, self._path = address, host, path
        self._timeout = timeout_seconds
        self._stop = threading.Event()
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self.report = LoadReport()
        self._threads = [threading.Thread(target=self._ask_until_stopped, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def stop(self) -> LoadReport:
        """Let every client finish the request it is in, then return what they saw."""
        self._stop.set()
        for thread in self._threads:
            thread.join(self._timeout + 5)
        return self.report

    def _ask_until_stopped(self) -> None:
        connection = self._connect()
        while not self._stop.is_set():
            sent = time.monotonic()
            try:
                # No cookie: every request is a stranger's, as a shop's visitors are.
                connection.request("GET", self._path, headers={"Host": self._host})
                response = connection.getresponse()
                body = response.read()
                status, detail = response.status, "" if response.status < 400 else body[:200].decode("utf-8", "replace")
            except (OSError, http.client.HTTPException) as error:
                status, detail = None, repr(error)
                connection.close()
                connection = self._connect()
            self._note(Answer(sent - self._began, time.monotonic() - sent, status, detail))
            # Visitors think between clicks; and a client that fails at once must not spin.
            time.sleep(0.05)
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self._address, timeout=self._timeout)

    def _note(self, answer: Answer) -> None:
        with self._lock:
            self.report.answers.append(answer)
