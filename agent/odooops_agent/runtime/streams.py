"""Lines out of a stream of bytes, with a deadline and a way to call it off."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Literal

from ..errors import Cancelled as CancelledError
from ..errors import Permanent
from ..ports import Cancelled, OnLine

Stream = Literal["stdout", "stderr"]
STREAMS: tuple[Stream, ...] = ("stdout", "stderr")
Chunk = tuple[Stream, bytes]
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
    streams, arrived = {stream: Lines(on_line) for stream in STREAMS}, _read_aside(chunks)
    deadline = time.monotonic() + timeout_seconds
    try:
        while (arrival := _next(arrived, deadline, timeout_seconds, cancelled)) is not None:
            stream, chunk = arrival
            streams[stream].feed(chunk)
    finally:
        for lines in streams.values():
            lines.end()


def demultiplexed(pairs: Iterator[tuple[bytes | None, bytes | None]]) -> Iterator[Chunk]:
    """Tell docker-py's pairs (of standard output and standard error) by their streams."""
    for pair in pairs:
        for stream, chunk in zip(STREAMS, pair, strict=True):
            if chunk:
                yield stream, chunk


def after(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Leave out the first `count` bytes."""
    for chunk in chunks:
        rest = chunk[count:]
        count = max(0, count - len(chunk))
        if rest:
            yield rest


def merged(sources: Mapping[Stream, Iterator[bytes]]) -> Iterator[Chunk]:
    """Yield what either stream brings, as it comes, until all have ended."""
    arrived: Arrivals = queue.Queue(maxsize=1000)
    for stream, source in sources.items():
        _read_into(arrived, _told(stream, source))
    open_parts = len(sources)
    while open_parts:
        item = arrived.get()
        if isinstance(item, BaseException):
            raise item
        if item is None:
            open_parts -= 1
        else:
            yield item


def _told(stream: Stream, chunks: Iterator[bytes]) -> Iterator[Chunk]:
    for chunk in chunks:
        yield stream, chunk


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
