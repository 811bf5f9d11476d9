"""The console's public key as this droplet keeps it: it came with the enrolment, or was pinned by hand since."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from .grants import Pin, read_pin
from .secrets import write_private


class ConsolePin:
    """The second word of the key file, unless another one was pinned by hand after that enrolment."""

    def __init__(self, key_file: Path, state: Path) -> None:
        self._key_file = key_file
        self._by_hand = state / "console-pin.json"

    def __call__(self) -> Pin | None:
        text = self._pinned_by_hand() or self._enrolled()
        return read_pin(text) if text else None

    def pin(self, text: str) -> Pin:
        """Take this console's key and no other from now on."""
        pin = read_pin(text)
        write_private(self._by_hand, json.dumps({"enrolment": self._enrolment(), "pin": pin.text}))
        return pin

    def _pinned_by_hand(self) -> str | None:
        try:
            given = json.loads(self._by_hand.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        # A droplet that was enrolled anew has another file: then its word counts.
        return str(given["pin"]) if given.get("enrolment") == self._enrolment() else None

    def _enrolled(self) -> str | None:
        words = self._read().split()
        return words[1] if len(words) > 1 else None

    def _enrolment(self) -> str:
        return hashlib.sha256(self._read().encode()).hexdigest()

    def _read(self) -> str:
        try:
            return self._key_file.read_text("utf-8")
        except OSError:
            return ""  # the agent's key itself says what is wrong with the file
