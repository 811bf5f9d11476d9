"""Eight visitors who never stop asking, and what each of them saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scripts.demo.load import Answer, Load

CLIENTS = 8


@dataclass(frozen=True)
class Visit:
    """What all visitors saw together.

    :ivar longest_wait_seconds: from a request to the visitor's next good answer. A visitor who sees an error
        asks again, so a refusal that comes at once does not make the wait short.
    """

    requests: int
    failed: int
    longest_wait_seconds: float
    first_failure: str

    def sentence(self) -> str:
        failures = f" ({self.first_failure})" if self.failed else ""
        wait = f"longest wait {self.longest_wait_seconds:.2f} s"
        return f"{self.failed} of {self.requests} requests failed{failures}, {wait}"


class Visitors:
    """Runs the visitors while its block runs; `visit` is what they saw, known after the block."""

    def __init__(self, address: tuple[str, int], host: str, path: str, clients: int = CLIENTS) -> None:
        # One load each: only then is it known whose answers they are.
        self._loads = [Load(address, host, path, clients=1) for _ in range(clients)]

    def __enter__(self) -> Visitors:
        for load in self._loads:
            load.__enter__()
        return self

    def __exit__(self, *_exc: object) -> None:
        for load in self._loads:
            load.stop()

    @property
    def visit(self) -> Visit:
        return summarise([load.report.answers for load in self._loads])


def summarise(answers_by_visitor: Sequence[Sequence[Answer]]) -> Visit:
    """Add up what visitors saw."""
    failures = [answer for answers in answers_by_visitor for answer in answers if answer.failed]
    return Visit(
        requests=sum(len(answers) for answers in answers_by_visitor),
        failed=len(failures),
        longest_wait_seconds=max((longest_wait(answers) for answers in answers_by_visitor), default=0.0),
        first_failure=f"{failures[0].status} {failures[0].detail}"[:160].strip() if failures else "",
    )


def longest_wait(answers: Sequence[Answer]) -> float:
    """Return the longest time in seconds that one visitor waited for a good answer, tries that failed included."""
    longest, since = 0.0, None
    for answer in answers:
        since = answer.sent_at if since is None else since
        longest = max(longest, answer.sent_at + answer.seconds - since)
        if not answer.failed:
            since = None
    return longest
