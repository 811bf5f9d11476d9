"""Why a command of the CI stops. The message is what the person reads: one sentence that says what to do."""

from __future__ import annotations

from collections.abc import Iterable


class Refused(Exception):
    """The input can't be used, or the other side said no: the same call would fail again."""

    exit_code = 1

    def __init__(self, errors: str | Iterable[str]) -> None:
        self.errors = [errors] if isinstance(errors, str) else list(errors)
        super().__init__("\n".join(self.errors))


class InvalidInput(Refused):
    """An argument or a variable is missing or not of the form it must have."""

    exit_code = 2


class Unreachable(Refused):
    """Nobody answered, or a proxy in between did: the same call may work later."""

    exit_code = 3


class NotYet(Refused):
    """The time to wait passed before an end was reached."""

    exit_code = 4
