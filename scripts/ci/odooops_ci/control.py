"""Call the control plane's public methods: `POST /json/2/<model>/<method>` with a bearer key or a job's token."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests

from .errors import InvalidInput, NotYet, Refused, Unreachable
from .oidc import ActionsToken

RETRIED_STATUSES = frozenset({502, 503, 504})  # a proxy's word that the control plane did not answer
PAUSES_SECONDS = (1, 2, 4, 8, 15)
TIMEOUT_SECONDS = 30
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
ENDS = {
    "live": True, "superseded": True, "done": True,
    "rejected": False, "cancelled": False, "failed": False, "rolled_back": False, "indeterminate": False,
}  # fmt: skip


class Key(str):
    """An API key: a string that shows itself to nobody."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Key(…)"

    def bearer(self) -> str:
        return str.__str__(self)


@dataclass(frozen=True)
class Control:
    """Where the control plane is and with which key, or which job's token, to come."""

    url: str
    key: Key | ActionsToken = field(repr=False)
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
        headers = {"Authorization": f"Bearer {self.key.bearer()}"}
        if self.database:
            headers["X-Odoo-Database"] = self.database
        # Not redirected: the key is for this host.
        return requests.post(
            self.url + path, json=arguments, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False
        )


def from_environment(environment: Mapping[str, str] = os.environ) -> Control:
    """Return the control plane named by ODOOOPS_URL, ODOOOPS_API_KEY and, if need be, ODOOOPS_DATABASE.

    Without a key, a job that may ask GitHub for a token (permissions: id-token: write) comes with that, once
    ODOOOPS_OIDC_AUDIENCE says for whom it is.

    :raise InvalidInput: a variable is missing, or the key would travel unencrypted.
    """
    url = _checked_url(environment)
    return Control(url, _credential(environment), environment.get("ODOOOPS_DATABASE") or None)


def _checked_url(environment: Mapping[str, str]) -> str:
    url = environment.get("ODOOOPS_URL", "").strip().rstrip("/")
    if not url:
        raise InvalidInput("The variable ODOOOPS_URL is not set: set it in the workflow's environment.")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query:
        raise InvalidInput("ODOOOPS_URL must be the control plane's address, such as https://console.example.com.")
    allowed = environment.get("ODOOOPS_ALLOW_HTTP") == "1" or parts.hostname in LOOPBACK
    if parts.scheme == "http" and not allowed:
        raise InvalidInput(
            "ODOOOPS_URL must begin with https://, or the key can be read on its way "
            "(ODOOOPS_ALLOW_HTTP=1 for a network of your own)."
        )
    return url


def _credential(environment: Mapping[str, str]) -> Key | ActionsToken:
    key = environment.get("ODOOOPS_API_KEY", "").strip()
    if not key:
        if token := ActionsToken.from_environment(environment):
            return token
        raise InvalidInput(
            "The variable ODOOOPS_API_KEY is not set: set it in the workflow's environment, or ODOOOPS_OIDC_AUDIENCE "
            "where the console believes GitHub's tokens."
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidInput("ODOOOPS_API_KEY is not a key as Odoo makes them: copy it again.")
    return Key(key)


def wait_for_end(
    control: Control,
    deployment: int,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    *,
    model: str = "odooops.deployment",
    what: str = "Deployment",
    tell: Callable[[str], None] = lambda _sentence: None,
) -> dict[str, object]:
    """Return the status of a deployment, or of another model's work of this kind, that ended well.

    :param seconds: how long to wait.
    :param tell: is given a sentence each time something changed.
    :raise Refused: it ended otherwise.
    :raise NotYet: it has not ended in time.
    """
    deadline, told = clock() + seconds, ""
    while True:
        status = control.call(model, "status", id=deployment)
        if not isinstance(status, dict) or not isinstance(state := status.get("state"), str):
            raise Refused(f"The control plane tells no state of {what.lower()} {deployment}.")
        if (sentence := _progress(status)) != told:
            told = sentence
            tell(sentence)
        if ENDS.get(state):
            return status
        if state in ENDS:
            raise Refused(f"{what} {deployment} ended as {state}: {_reason(status)}.")
        where = status.get("console_url") or control.url
        pause = min(max(float(status.get("ask_again_seconds") or 5), 1), 60)
        if clock() + pause > deadline:
            raise NotYet(f"{what} {deployment} is still {state} after {seconds:.0f} s: see {where}.")
        control.sleep(pause)


def _progress(status: Mapping[str, object]) -> str:
    """Return how the work is, in one line; the same line while nothing changes."""
    text = f"{status.get('environment') or ''} {status.get('tag') or ''}".strip()
    text = f"{text}: {status.get('state_label') or status['state']}".removeprefix(": ")
    approvals = status.get("approvals")
    if status["state"] == "awaiting_approval" and isinstance(approvals, dict):
        text += f" ({approvals.get('given')} of {approvals.get('needed')} given): {status.get('console_url')}"
    if status["state"] in ("planned", "approved") and status.get("waits_for"):
        text += f". {status['waits_for']} See {status.get('console_url')}"
    if status.get("step"):
        text += f", {status['step']}"
    return f"{text} ({status['agent']})" if status.get("agent") else text


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
