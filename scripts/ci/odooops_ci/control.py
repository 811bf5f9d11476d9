"""Call the control plane's public methods: `POST /json/2/<model>/<method>` with a bearer key."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests

from .errors import InvalidInput, NotYet, Refused, Unreachable

RETRIED_STATUSES = frozenset({502, 503, 504})  # a proxy's word that the control plane did not answer
PAUSES_SECONDS = (1, 2, 4, 8, 15)
TIMEOUT_SECONDS = 30
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
ENDS = {
    "live": True, "superseded": True,
    "rejected": False, "cancelled": False, "failed": False, "rolled_back": False, "indeterminate": False,
}  # fmt: skip


class Key(str):
    """An API key: a string that shows itself to nobody."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Key(…)"


@dataclass(frozen=True)
class Control:
    """Where the control plane is and with which key to come."""

    url: str
    key: Key = field(repr=False)
    database: str | None = None
    sleep: Callable[[float], None] = field(default_factory=lambda: time.sleep)

    def call(self, model: str, method: str, **arguments: object) -> object:
        """Return the method's result.

        Tried again only where nobody answered: the methods are idempotent, but an answer is an answer.

        :raise Unreachable: nobody answered in all tries.
        :raise Refused: the control plane said no; its sentence.
        """
        problem = ""
        for pause in (*PAUSES_SECONDS, None):
            try:
                response = self._post(f"/json/2/{model}/{method}", arguments)
            except (requests.ConnectionError, requests.Timeout) as error:
                problem = _connection_problem(error)
            else:
                if response.status_code not in RETRIED_STATUSES:
                    return _result(response)
                problem = f"it answers {response.status_code}"
            if pause is not None:
                self.sleep(pause)
        raise Unreachable(f"The control plane at {self.url} can't be reached ({problem}): try again later.")

    def _post(self, path: str, arguments: Mapping[str, object]) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.key!s}"}
        if self.database:
            headers["X-Odoo-Database"] = self.database
        # Not redirected: the key is for this host.
        return requests.post(
            self.url + path, json=arguments, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False
        )


def from_environment(environment: Mapping[str, str] = os.environ) -> Control:
    """Return the control plane named by ODOOOPS_URL, ODOOOPS_API_KEY and, if need be, ODOOOPS_DATABASE.

    :raise InvalidInput: a variable is missing, or the key would travel unencrypted.
    """
    missing = [name for name in ("ODOOOPS_URL", "ODOOOPS_API_KEY") if not environment.get(name, "").strip()]
    if missing:
        raise InvalidInput(f"The variable {missing[0]} is not set: set it in the workflow's environment.")
    url = environment["ODOOOPS_URL"].strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query:
        raise InvalidInput("ODOOOPS_URL must be the control plane's address, such as https://console.example.com.")
    allowed = environment.get("ODOOOPS_ALLOW_HTTP") == "1" or parts.hostname in LOOPBACK
    if parts.scheme == "http" and not allowed:
        raise InvalidInput(
            "ODOOOPS_URL must begin with https://, or the key can be read on its way "
            "(ODOOOPS_ALLOW_HTTP=1 for a network of your own)."
        )
    key = environment["ODOOOPS_API_KEY"].strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidInput("ODOOOPS_API_KEY is not a key as Odoo makes them: copy it again.")
    return Control(url, Key(key), environment.get("ODOOOPS_DATABASE") or None)


def wait_for_end(
    control: Control, deployment: int, seconds: float, clock: Callable[[], float] = time.monotonic
) -> str:
    """Return the state in which a deployment ended well.

    :param seconds: how long to wait.
    :raise Refused: it ended otherwise.
    :raise NotYet: it has not ended in time.
    """
    deadline = clock() + seconds
    while True:
        status = control.call("odooops.deployment", "status", id=deployment)
        if not isinstance(status, dict) or not isinstance(state := status.get("state"), str):
            raise Refused(f"The control plane tells no state of deployment {deployment}.")
        if ENDS.get(state):
            return state
        if state in ENDS:
            raise Refused(f"Deployment {deployment} ended as {state}: {_reason(status)}.")
        where = status.get("console_url") or control.url
        pause = min(max(float(status.get("ask_again_seconds") or 5), 1), 60)
        if clock() + pause > deadline:
            raise NotYet(f"Deployment {deployment} is still {state} after {seconds:.0f} s: see {where}.")
        control.sleep(pause)


def _reason(status: Mapping[str, object]) -> str:
    error = status.get("error")
    message = str(error.get("message") or "").rstrip(".") if isinstance(error, dict) else ""
    return message or f"see {status.get('console_url') or 'the console'}"


def _result(response: requests.Response) -> object:
    if response.status_code == 200:
        try:
            return response.json()
        except ValueError:
            raise Refused("The control plane's answer is no JSON: is ODOOOPS_URL an Odoo 19?") from None
    hint = {401: "the key is wrong or has expired", 403: "the key's user may not do this", 404: "no such thing"}
    raise Refused(_sentence(response) or f"The control plane answers {response.status_code}: "
                  f"{hint.get(response.status_code, 'see its log')}.")  # fmt: skip


def _sentence(response: requests.Response) -> str:
    """Return the error message of /json/2, one line; "" where there is none."""
    try:
        answer = response.json()
    except ValueError:
        return ""
    message = answer.get("message") if isinstance(answer, dict) else None
    text = " ".join(str(message or "").split())
    return f"{text} ({response.status_code})" if text else ""


def _connection_problem(error: Exception) -> str:
    # requests' own text has the whole URL and objects in it.
    return "no answer in time" if isinstance(error, requests.Timeout) else "no connection"
