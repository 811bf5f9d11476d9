"""GitHub's own word about the job that runs, in place of a stored key: permissions: id-token: write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

import requests

from .errors import Refused, Unreachable

TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class ActionsToken:
    """Where a job asks for its tokens, and for whom they are.

    :ivar request_token: what GitHub gave the job to ask with; shown to nobody.
    """

    url: str
    audience: str
    request_token: str = field(repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ActionsToken | None:
        """Return what the job's variables say, or None where one is missing."""
        names = ("ACTIONS_ID_TOKEN_REQUEST_URL", "ODOOOPS_OIDC_AUDIENCE", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")
        values = [environment.get(name, "").strip() for name in names]
        return cls(*values) if all(values) else None

    def bearer(self) -> str:
        """Return a new token: the control plane takes each one once.

        :raise Unreachable: GitHub does not answer.
        :raise Refused: it gives no token.
        """
        try:
            response = requests.get(
                f"{self.url}&audience={quote(self.audience, safe='')}",
                headers={"Authorization": f"Bearer {self.request_token}"},
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        except (requests.ConnectionError, requests.Timeout):
            raise Unreachable("GitHub does not answer when asked for the job's token: try again later.") from None
        try:
            value = response.json()["value"] if response.status_code == 200 else None
        except (ValueError, KeyError, TypeError):
            value = None
        if not isinstance(value, str) or not value:
            raise Refused(
                f"GitHub gives the job no token ({response.status_code}): the job needs permissions: id-token: write."
            )
        return value
