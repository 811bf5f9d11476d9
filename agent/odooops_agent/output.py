"""Lines of output on their way out: redacted, numbered, gathered, and never more than a reader can take."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from .clock import Clock
from .errors import Unrecorded
from .journal import Journal
from .protocol import LogLine
from .secrets import Redactor

_logger = logging.getLogger(__name__)

LINE_CHARACTERS = 4000
TAIL_LINES = 60
GATHER_SECONDS = 0.3
GATHER_LINES = 200


class Output:
    """The log of one operation. Lines go to the journal in batches, as each write there is synced to disk."""

    def __init__(self, journal: Journal, operation_id: int, clock: Clock, redactor: Redactor) -> None:
        self._journal = journal
        self._operation_id = operation_id
        self._clock = clock
        self._redactor = redactor
        self._lock = threading.Lock()
        self._lines: list[LogLine] = []
        self._seq = journal.last_line(operation_id)
        self._since = clock.monotonic()
        self.step = ""
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    def begin_step(self, name: str) -> None:
        self.step = name
        self.tail.clear()

    def writer(self, stream: str) -> Callable[[str], None]:
        """Return what takes the lines of one stream."""
        return lambda text: self._take(stream, text)

    def _take(self, stream: str, text: str) -> None:
        shown = self._redactor.mask(text.rstrip("\r\n"))[:LINE_CHARACTERS]
        with self._lock:
            self._seq += 1
            line = LogLine(seq=self._seq, step=self.step, stream=stream, at=self._clock.now(), text=shown)
            self._lines.append(line)
            self.tail.append(shown)
            due = self._clock.monotonic() - self._since >= GATHER_SECONDS or len(self._lines) >= GATHER_LINES
        if due:
            self.flush()

    def flush(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, []
            self._since = self._clock.monotonic()
        if not lines:
            return
        try:
            self._journal.put_lines(self._operation_id, lines)
        except Unrecorded as error:
            # Lines are worth less than what they tell of; a journal that takes no step either is noticed there.
            _logger.error("%s lines of operation %s are lost. %s", len(lines), self._operation_id, error.message)
