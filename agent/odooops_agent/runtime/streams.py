"""Lines out of a stream of bytes, with a deadline and a way to call it off."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

from ..errors import Cancelled as CancelledError
from ..errors import Permanent
from ..ports import Cancelled, OnLine

Chunk = tuple[bytes | None, bytes | None]  # of the standard output, of the standard error
Arrivals = queue.Queue[Chunk | BaseException | None]

ASK_SECONDS = 0.2
LINE_BYTES_MAX = 64 * 1024


class Lines:
    """Cuts chunks into lines; an endless line is cut too, so that no program can fill the memory."""

    def __init__(self, on_line: OnLine) -> None:
        self._on_line = on_line
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        """Pass on the lines that this chunk completes."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        for line in whole:
            self._emit(line)
        if len(self._rest) > LINE_BYTES_MAX:
            self.end()

    def end(self) -> None:
        """Pass on what is left."""
        if self._rest:
            self._emit(self._rest)
        self._rest = b""

    def _emit(self, line: bytes) -> None:
        self._on_line(line.rstrip(b"\r").decode("utf-8", "replace"))


def follow(chunks: Iterator[Chunk], on_line: OnLine, timeout_seconds: float, cancelled: Cancelled) -> None:
    """Read to the end. Raises Cancelled, or Permanent("timed_out"); what the reading raised is raised here."""
    # Each of the two streams has lines of its own: one must not end in the middle of the other's.
    streams, arrived = (Lines(on_line), Lines(on_line)), _read_aside(chunks)
    deadline = time.monotonic() + timeout_seconds
    try:
        while (pair := _next(arrived, deadline, timeout_seconds, cancelled)) is not None:
            for lines, chunk in zip(streams, pair, strict=True):
                lines.feed(chunk or b"")
    finally:
        for lines in streams:
            lines.end()


def merged(output: Iterator[bytes], errors: Iterator[bytes]) -> Iterator[Chunk]:
    """Yield what either of two streams brings, as it comes, until both have ended."""
    parts = (((chunk, None) for chunk in output), ((None, chunk) for chunk in errors))
    arrived: Arrivals = queue.Queue(maxsize=1000)
    for part in parts:
        _read_into(arrived, part)
    open_parts = len(parts)
    while open_parts:
        item = arrived.get()
        if isinstance(item, BaseException):
            raise item
        if item is None:
            open_parts -= 1
        else:
            yield item


def _next(arrived: Arrivals, deadline: float, timeout_seconds: float, cancelled: Cancelled) -> Chunk | None:
    while True:
        if cancelled():
            raise CancelledError("The operation was called off while its container ran; it has been stopped.")
        if time.monotonic() >= deadline:
            raise Permanent(
                f"It did not end within {timeout_seconds:.0f} s; read its last lines, then mend it or allow more.",
                code="timed_out",
            )
        try:
            item = arrived.get(timeout=ASK_SECONDS)
        except queue.Empty:
            continue
        if isinstance(item, BaseException):
            raise item
        return item


def _read_aside(chunks: Iterator[Chunk]) -> Arrivals:
    arrived: Arrivals = queue.Queue(maxsize=1000)
    _read_into(arrived, chunks)
    return arrived


def _read_into(arrived: Arrivals, chunks: Iterator[Chunk]) -> None:
    def read() -> None:
        try:
            for chunk in chunks:
                arrived.put(chunk)
        except Exception as error:  # noqa: BLE001 (raised again where it is waited for)
            arrived.put(error)
        else:
            arrived.put(None)

    threading.Thread(target=read, name="docker-stream", daemon=True).start()
