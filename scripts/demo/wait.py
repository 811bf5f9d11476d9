"""Wait for something that others do: ask again and again, never longer than a limit, and say what for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
TELL_AFTER_SECONDS = 3.0


class WaitError(Exception):
    """What was waited for did not happen in time."""


def until(what: str, ask: Callable[[], T], timeout_seconds: float, every_seconds: float = 0.4) -> T:
    """Ask until the answer is true and return it.

    :param what: completes "waiting for …"; shown when it takes a while
    :raises WaitError: the answer is still not true after `timeout_seconds`
    """
    began, told = time.monotonic(), False
    while not (answer := ask()):
        waited = time.monotonic() - began
        if waited > timeout_seconds:
            raise WaitError(f"Waited {waited:.0f} s in vain for {what}.")
        if not told and waited > TELL_AFTER_SECONDS:
            told = True
            _tell(f"waiting for {what} (at most {timeout_seconds:.0f} s)")
        time.sleep(every_seconds)
    return answer


def _tell(text: str) -> None:
    dim, plain = ("\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"{dim}{'':17}  … {text}{plain}", flush=True)
