"""Speak to GitHub's API as a project: with its token, or as a GitHub App."""

import logging
import time
from urllib.parse import urlsplit

import jwt
import requests

from . import secret_files
from .core import github_out

_logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10
MAX_BYTES = 5 * 1024 * 1024
_APP_LIFE_SECONDS = 540
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Tokens of installations, by API, app and repository: GitHub's live for an hour.
_installations = {}


class Failed(Exception):
    """GitHub did not take a call.

    :ivar status: of its answer, None when nobody answered
    :ivar retry_after: how many seconds it asks to wait
    :ivar remaining: how many calls it still takes
    """

    def __init__(self, sentence, status=None, retry_after=None, remaining=None):
        super().__init__(sentence)
        self.status, self.retry_after, self.remaining = status, retry_after, remaining


def is_configured(code):
    """Return whether a project has what it takes to speak to GitHub."""
    token, app = (secret_files.of_project(code, name) for name in ("token", "app_id"))
    return bool(token or (app and secret_files.of_project(code, "app_private_key.pem")))


class GithubClient:
    """One project's way to GitHub.

    :param str api: such as https://api.github.com
    :raises ValueError: when a token would travel unencrypted
    """

    def __init__(self, api, full_name, code):
        parts = urlsplit(api)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise ValueError("The parameter odooops_control.github_api has to begin with https://.")
        self._api, self._full_name, self._code = api.rstrip("/"), full_name, code

    def send(self, wanted):
        """Send a request and return the JSON of the answer, None where it has none.

        :raises Failed: when GitHub refuses it or does not answer
        """
        return self._send(wanted, self._token())

    def _send(self, wanted, token):
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {token!s}",
            "X-GitHub-Api-Version": github_out.VERSION,
            "User-Agent": "odooops-control",
        }
        try:
            response = requests.request(
                wanted.method,
                self._api + wanted.path,
                json=wanted.body,
                params=wanted.query,
                headers=headers,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            # Its text has the whole address in it.
            raise Failed(f"GitHub does not answer ({type(error).__name__}).") from None
        if not 200 <= response.status_code < 300:
            raise _failure(response)
        return response.json() if response.content else None

    def _token(self):
        token = secret_files.of_project(self._code, "token")
        return token or self._installation_token()

    def _installation_token(self):
        app_id = secret_files.of_project(self._code, "app_id")
        pem = secret_files.of_project(self._code, "app_private_key.pem")
        if not app_id or not pem:
            raise Failed("No token of GitHub's is set: put one into the console's folder of GitHub secrets.", 401)
        key = (self._api, str(app_id), self._full_name.lower())
        token, expires_at = _installations.get(key, (None, 0))
        if time.time() > expires_at:
            token = self._new_installation_token(app_id, pem)
            # Half of an hour: GitHub says when it ends, and this is before.
            _installations[key] = (token, time.time() + 1800)
        return token

    def _new_installation_token(self, app_id, pem):
        now = int(time.time())
        claims = {"iat": now - 60, "exp": now + _APP_LIFE_SECONDS, "iss": str(app_id)}
        try:
            proof = jwt.encode(claims, str(pem), algorithm="RS256")
        except (jwt.PyJWTError, ValueError, TypeError):
            raise Failed("The App's private key is none: download it again from GitHub.", 401) from None
        path = github_out.repository_path(self._full_name)
        installation = self._send(github_out.Request("GET", f"{path}/installation"), proof)
        number = int(installation["id"])
        body = {"repositories": [self._full_name.partition("/")[2]]}
        answer = self._send(github_out.Request("POST", f"/app/installations/{number}/access_tokens", body), proof)
        return secret_files.Secret(answer["token"])


def _failure(response):
    if response.status_code == 401:
        _installations.clear()
    try:
        answer = response.json()
    except ValueError:
        answer = None
    message = answer.get("message") if isinstance(answer, dict) else None
    sentence = f"GitHub answers {response.status_code}" + (f": {message}" if message else "")
    headers = response.headers
    return Failed(
        " ".join(sentence.split())[:300],
        response.status_code,
        retry_after=_number(headers.get("Retry-After")) if "Retry-After" in headers else _until_reset(headers),
        remaining=_number(headers.get("X-RateLimit-Remaining")),
    )


def _until_reset(headers):
    """Return how many seconds until GitHub takes calls again, None while it does."""
    if headers.get("X-RateLimit-Remaining") != "0":
        return None
    return max(0, (_number(headers.get("X-RateLimit-Reset")) or 0) - int(time.time()))


def _number(value):
    return int(value) if value and value.isascii() and value.isdigit() else None
