"""The public keys of a token issuer, fetched and kept for a while in each process."""

import logging
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests

_logger = logging.getLogger(__name__)

KEEP_SECONDS = 3600
# While the issuer does not answer, keys that are known stay good this long.
STALE_SECONDS = 24 * 3600
# A key that nobody knows makes us look for it, but not at every token that names one.
ASK_AGAIN_SECONDS = 10
TIMEOUT_SECONDS = 3
MAX_BYTES = 512 * 1024


class Unavailable(Exception):
    """The issuer's keys can't be had now: 503."""


@dataclass
class _Known:
    keys: dict = field(default_factory=dict)
    fetched_at: float = float("-inf")
    asked_at: float = float("-inf")
    asking: threading.Lock = field(default_factory=threading.Lock)


class KeyStore:
    """The keys of each issuer.

    :param fetch: returns an issuer's keys as a list of JWK
    """

    def __init__(self, fetch, clock=time.monotonic):
        self._fetch, self._clock = fetch, clock
        self._known, self._lock = {}, threading.Lock()

    def key(self, issuer, kid):
        """Return a key by its id, None when the issuer has none of that id.

        :raises Unavailable: when that can't be known now
        """
        with self._lock:
            known = self._known.setdefault(issuer, _Known())
        age = self._clock() - known.fetched_at
        if kid in known.keys and age < KEEP_SECONDS:
            return known.keys[kid]
        # Who comes while another asks waits for that answer.
        with known.asking:
            if self._clock() - known.asked_at >= ASK_AGAIN_SECONDS:
                self._ask(issuer, known)
        if self._clock() - known.fetched_at > STALE_SECONDS:
            raise Unavailable(f"The keys of {issuer} can't be fetched: try again later.")
        return known.keys.get(kid)

    def _ask(self, issuer, known):
        known.asked_at = self._clock()
        try:
            keys = self._fetch(issuer)
        except (requests.RequestException, ValueError) as error:
            _logger.warning("The keys of %s can't be fetched: %s.", issuer, type(error).__name__)
            return
        known.keys = {key["kid"]: key for key in keys if isinstance(key, dict) and isinstance(key.get("kid"), str)}
        known.fetched_at = self._clock()


def fetch(issuer):
    """Return the issuer's keys, from where its configuration says.

    :raises requests.RequestException: when it does not answer
    :raises ValueError: when it answers something else
    """
    configuration = _get(f"{issuer}/.well-known/openid-configuration")
    address = configuration.get("jwks_uri")
    if not isinstance(address, str) or urlsplit(address)[:2] != urlsplit(issuer)[:2]:
        raise ValueError("The issuer's keys are on another host.")
    keys = _get(address).get("keys")
    if not isinstance(keys, list):
        raise ValueError("The issuer lists no keys.")
    return keys


def _get(address):
    response = requests.get(address, timeout=TIMEOUT_SECONDS, allow_redirects=False, stream=True)
    with response:
        response.raise_for_status()
        if response.status_code != 200:
            raise ValueError("The issuer redirects.")
        body = response.raw.read(MAX_BYTES + 1, decode_content=True)
    if len(body) > MAX_BYTES:
        raise ValueError("The issuer's answer is too large.")
    found = requests.compat.json.loads(body)
    if not isinstance(found, dict):
        raise ValueError("The issuer's answer is no object.")
    return found


STORE = KeyStore(fetch)
