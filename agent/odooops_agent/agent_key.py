"""The agent's key: where it comes from, and how a renewed one is kept."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from pathlib import Path

from .errors import Permanent
from .secrets import Secret, write_private

KEY = re.compile(r"odooops_agent_[0-9]{1,18}_[A-Za-z0-9_-]{43}")


class AgentKey:
    """The key in use. A renewed one goes to the state directory: the key file is often a read-only secret."""

    def __init__(self, file: Path, state: Path) -> None:
        self._file = file
        self._renewed = state / "agent-key.json"
        self._lock = threading.Lock()
        self._current = self._read_renewed() or self._read_file()

    @property
    def current(self) -> Secret:
        with self._lock:
            return self._current

    def renew(self, text: str) -> None:
        """Take over a key that the control plane sent; the old one stays valid until this one is used."""
        if not KEY.fullmatch(text):
            raise Permanent("The control plane sent a new key that is none; the old one stays in use.")
        write_private(self._renewed, json.dumps({"enrolled": self._enrolled(), "key": text}))
        with self._lock:
            self._current = Secret(text)

    def fall_back(self) -> bool:
        """Use the key file again after a refusal; tells whether that is another key than before."""
        with self._lock:
            before, self._current = self._current, self._read_file()
            return before != self._current

    def _read_file(self) -> Secret:
        try:
            words = self._file.read_text("utf-8").split()
        except OSError as error:
            raise Permanent(
                f"The agent's key {self._file} can't be read ({error.strerror}): enrol the droplet in the console "
                "and save the key there.",
                code="no_key",
            ) from None
        # The console's own key may follow: see console_pin.
        if not 1 <= len(words) <= 2 or not KEY.fullmatch(words[0]):
            raise Permanent(
                f"{self._file} holds no agent key: save there what the enrolment showed, and nothing else.",
                code="no_key",
            )
        return Secret(words[0])

    def _read_renewed(self) -> Secret | None:
        try:
            given = json.loads(self._renewed.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        # A droplet that was enrolled anew has another key in the file: then that one counts.
        return Secret(given["key"]) if given.get("enrolled") == self._enrolled() else None

    def _enrolled(self) -> str:
        return hashlib.sha256(self._read_file().reveal().encode()).hexdigest()
