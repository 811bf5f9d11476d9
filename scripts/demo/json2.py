"""A machine's calls of `/json/2` with an API key, as a workflow makes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests

TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    """What came back: HTTP status, and the result or the sentence of the error."""

    status: int
    body: Any

    @property
    def sentence(self) -> str:
        return str(self.body.get("message", self.body)) if isinstance(self.body, dict) else str(self.body)


class Api:
    """One service user's access."""

    def __init__(self, url: str, key: str, database: str) -> None:
        self._url = url.rstrip("/")
        self._session = requests.Session()
        # The machine's proxy settings are for the world outside.
        self._session.trust_env = False
        # Caddy closes idle connections when a route is added; nothing may be sent twice, so none is kept.
        headers = {"Authorization": f"Bearer {key}", "X-Odoo-Database": database, "Connection": "close"}
        self._session.headers.update(headers)

    def call(self, model: str, method: str, **arguments: Any) -> Answer:
        response = self._session.post(f"{self._url}/json/2/{model}/{method}", json=arguments, timeout=TIMEOUT_SECONDS)
        try:
            return Answer(response.status_code, response.json())
        except ValueError:
            return Answer(response.status_code, response.text)
