"""Tell a person what the set-up is doing, step by step, with times."""

import sys
import time
from contextlib import contextmanager


class Progress:
    """Numbered steps on the terminal; `seconds` is what all of them took."""

    def __init__(self, out=None, clock=time.monotonic):
        self._out, self._clock = out or sys.stdout, clock
        self._started = clock()
        self._number = 0

    @property
    def seconds(self):
        """Return the seconds since the first step began."""
        return self._clock() - self._started

    @contextmanager
    def step(self, title):
        """Show a step while its block runs; the block says how it went with `note(...)`."""
        self._number += 1
        began, notes = self._clock(), []
        tty = self._out.isatty()
        if tty:
            self._write(f"{self._number:>2}. {title} …")
        try:
            yield notes.append
        except BaseException:
            self._end(tty, title, "FAILED", began)
            raise
        self._end(tty, title, "; ".join(notes) or "done", began)

    def say(self, text):
        """Write one line that is no step."""
        self._write(f"    {text}\n")

    def _end(self, tty, title, note, began):
        start = "\r\033[K" if tty else ""
        self._write(f"{start}{self._number:>2}. {title}: {note} ({self._clock() - began:.1f} s)\n")

    def _write(self, text):
        self._out.write(text)
        self._out.flush()
