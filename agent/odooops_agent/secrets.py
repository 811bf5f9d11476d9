"""Secrets that do not print, where they are kept, and a redactor for what leaves the agent."""

from __future__ import annotations

import base64
import json
import logging
import os
import secrets
import threading
import traceback
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, quote_plus

MASK = "••••"
# Shorter ones would mask half of every line; nothing the agent makes is that short.
SHORTEST = 6


class Secret:
    """A text that shows itself only when asked by name."""

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        return self.__value

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and secrets.compare_digest(self.__value.encode(), other.reveal().encode())

    def __hash__(self) -> int:
        return hash((Secret, self.__value))

    def __reduce__(self) -> str:
        raise TypeError("A secret is not pickled.")


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically by one that only its owner reads."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def disguises(secret: str) -> set[str]:
    """Return the forms in which a secret shows up in logs: as is, encoded for URLs, in base64, in JSON."""
    raw = secret.encode()
    found = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), *secret.splitlines()}
    found |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    for shift in range(3):
        # Base64 of a text that contains the secret: the middle is the same for one of three alignments.
        for encoder in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encoder(b"\0" * shift + raw).decode()
            start = (shift * 8 + 5) // 6
            end = len(encoded.rstrip("=")) - (1 if (shift + len(raw)) % 3 else 0)
            found.add(encoded[start:end])
    return {form for form in found if len(form) >= SHORTEST}


class Redactor:
    """Masks known secrets in texts, or in a stream of them, also where a chunk's border cuts one in two."""

    def __init__(self, known: Iterable[Secret] = ()) -> None:
        self._forms: tuple[str, ...] = ()
        self._pending = ""
        for secret in known:
            self.learn(secret)

    def learn(self, secret: Secret) -> None:
        forms = {*self._forms, *disguises(secret.reveal())}
        # The longest first, or a secret that contains another would be masked in part only.
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    def mask(self, text: str) -> str:
        """Mask a text that is complete in itself."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text

    def feed(self, chunk: str) -> str:
        """Take the next chunk and return what is safe to show already."""
        text = self.mask(self._pending + chunk)
        keep = max((self._overlap(text, form) for form in self._forms), default=0)
        self._pending = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        rest, self._pending = self._pending, ""
        return self.mask(rest)

    @staticmethod
    def _overlap(text: str, form: str) -> int:
        """Return how many characters at the end of `text` begin `form`."""
        for length in range(min(len(form) - 1, len(text)), 0, -1):
            if text.endswith(form[:length]):
                return length
        return 0


class PasswordStore:
    """Passwords that the agent made, in its state directory; they never leave the droplet.

    Its redactor knows all of them, and whatever else the agent teaches it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._values: dict[str, str] = json.loads(path.read_text("utf-8")) if path.exists() else {}
        self.redactor = Redactor(self.all())

    def get(self, name: str) -> Secret:
        """Return the password called `name`; the first call makes it."""
        with self._lock:
            if name not in self._values:
                values = {**self._values, name: secrets.token_urlsafe(24)}
                write_private(self._path, json.dumps(values))
                self._values = values
                self.redactor.learn(Secret(values[name]))
            return Secret(self._values[name])

    def find(self, name: str) -> Secret | None:
        value = self._values.get(name)
        return None if value is None else Secret(value)

    def all(self) -> list[Secret]:
        return [Secret(value) for value in dict(self._values).values()]


class RedactingFilter(logging.Filter):
    """Masks secrets in the agent's own log."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self._redactor.mask(record.getMessage()), ()
        if record.exc_info:
            text = "".join(traceback.format_exception(*record.exc_info))
            record.exc_info, record.exc_text = None, self._redactor.mask(text.rstrip())
        return True
