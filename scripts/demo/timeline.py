"""The story's events: printed as they happen, written to `.run/demo.json` at the end."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the timeline; `seconds` is how long it took, None for a mere fact."""

    at: str
    event: str
    environment: str | None
    tag: str | None
    detail: str
    seconds: float | None


class Timeline:
    """Collects events; colours only for a terminal."""

    def __init__(self, path: Path, setup_seconds: float) -> None:
        self._path = path
        self._setup_seconds = setup_seconds
        self._began = time.monotonic()
        self._mark = self._began
        self.events: list[Event] = []

    def tell(
        self, event: str, detail: str, environment: str | None = None, tag: str | None = None, timed: bool = True
    ) -> None:
        """Add an event; a timed one took as long as the time since the event before."""
        now = time.monotonic()
        seconds = round(now - self._mark, 2) if timed else None
        self._mark = now
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.events.append(Event(at, event, environment, tag, detail, seconds))
        self._print(self.events[-1], now - self._began)

    def write(self, **summary: object) -> dict[str, object]:
        """Write the file; returns the summary with the story's own times added."""
        story_seconds = time.monotonic() - self._began
        times = {"setup_seconds": round(self._setup_seconds, 1), "story_seconds": round(story_seconds, 1)}
        whole = {**summary, **times}
        text = json.dumps({"events": [asdict(event) for event in self.events], "summary": whole}, indent=2)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(text + "\n")
        return whole

    def _print(self, event: Event, elapsed: float) -> None:
        where = " ".join(part for part in (event.environment, event.tag) if part)
        took = f"{event.seconds:6.1f} s" if event.seconds is not None else " " * 8
        bold, dim, plain = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")
        name = f"{bold}{event.event:<18}{plain}"
        print(f"{dim}{elapsed:6.1f}{plain} {took}  {name} {where:<14} {event.detail}", flush=True)
