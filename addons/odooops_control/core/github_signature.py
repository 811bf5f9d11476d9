"""GitHub's proof that a delivery is its own: HMAC-SHA256 over the raw body."""

import hashlib
import hmac
import re

# A shorter secret can be guessed from one signed delivery.
MIN_SECRET_CHARACTERS = 16
_SIGNATURE = re.compile(r"sha256=[0-9a-f]{64}")


def signature(secret, body):
    """Return what GitHub sends as ``X-Hub-Signature-256``.

    :param str secret: the webhook's secret
    :param bytes body: the body as it came
    """
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def is_wellformed(given):
    """Return whether ``given`` may be a signature at all, before anything is computed."""
    return isinstance(given, str) and bool(_SIGNATURE.fullmatch(given))


def signer(secrets, body, given):
    """Return the owner of the secret that signed ``body``, None when none of them did.

    All secrets are tried whatever fits, so that the time tells nothing.

    :param secrets: pairs of owner and secret
    """
    if not is_wellformed(given):
        return None
    owners = [owner for owner, secret in secrets if hmac.compare_digest(signature(secret, body), given)]
    return owners[0] if owners else None
