"""Agent keys: ``odooops_agent_<key id>_<43 url-safe characters>``, kept as a hash only."""

import hashlib
import hmac
import re
import secrets

PREFIX = "odooops_agent_"
PATTERN = re.compile(r"odooops_agent_([1-9][0-9]{0,17})_([A-Za-z0-9_-]{43})")


def new_secret():
    """Return 256 random bits as 43 url-safe characters."""
    return secrets.token_urlsafe(32)


def compose(key_id, secret):
    """Return the text of a key."""
    return f"{PREFIX}{key_id}_{secret}"


def parse(text):
    """Return ``(key id, secret)``, or None when ``text`` is no agent key."""
    match = PATTERN.fullmatch(text) if isinstance(text, str) else None
    return (int(match[1]), match[2]) if match else None


def hashed(secret):
    """Return what is stored; the secret has 256 random bits, so a plain hash does."""
    return hashlib.sha256(secret.encode()).hexdigest()


def matches(secret, stored):
    """Compare in constant time."""
    return hmac.compare_digest(hashed(secret), stored or "")


def bearer(header):
    """Return the token of an ``Authorization: Bearer`` header, or None."""
    scheme, _space, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
