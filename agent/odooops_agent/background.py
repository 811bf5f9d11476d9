"""A thread that does something again and again, and survives what goes wrong in it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_logger = logging.getLogger(__name__)


class Repeating(threading.Thread):
    """Calls `act` until stopped; `act` returns after how many seconds it wants to be called again."""

    def __init__(self, name: str, act: Callable[[], float], pause_after_error_seconds: float = 5.0) -> None:
        super().__init__(name=name, daemon=True)
        self._act = act
        self._pause_after_error_seconds = pause_after_error_seconds
        self._stopping = threading.Event()
        self._wanted = threading.Event()

    def run(self) -> None:
        while not self._stopping.is_set():
            self._wanted.clear()
            try:
                seconds = self._act()
            except Exception:
                # The agent's threads must outlive any surprise: a silent one looks like a dead droplet.
                _logger.exception("%s failed and tries again", self.name)
                seconds = self._pause_after_error_seconds
            self._wanted.wait(seconds)

    def now(self) -> None:
        """Call `act` at once."""
        self._wanted.set()

    def stop(self) -> None:
        self._stopping.set()
        self._wanted.set()
