"""Seal what only an agent, or the holder of an offline key, may read."""

import json
from base64 import b64decode, b64encode

from nacl.public import PrivateKey, PublicKey, SealedBox


def seal(document, public_key):
    """Return ``document`` as JSON that only the private half of ``public_key`` (base64) opens."""
    box = SealedBox(PublicKey(b64decode(public_key)))
    return b64encode(box.encrypt(json.dumps(document).encode())).decode()


def make_recovery_key():
    """Return a new key pair as ``(private, public)``, in base64."""
    key = PrivateKey.generate()
    return b64encode(bytes(key)).decode(), b64encode(bytes(key.public_key)).decode()
