"""The agent's key pair for sealed secrets: the control plane seals to the public half and can't read them."""

from __future__ import annotations

from base64 import b64decode, b64encode
from pathlib import Path

from nacl.public import PrivateKey, PublicKey, SealedBox

from .secrets import Secret, write_private


class SealingKey:
    """Made at the agent's first start; the private half never leaves its state directory."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            write_private(path, b64encode(bytes(PrivateKey.generate())).decode())
        self._key = PrivateKey(b64decode(path.read_text("utf-8")))

    @property
    def public(self) -> str:
        return b64encode(bytes(self._key.public_key)).decode()

    def open(self, sealed: str) -> Secret:
        return Secret(SealedBox(self._key).decrypt(b64decode(sealed)).decode())


def seal(secret: Secret, key: PublicKey) -> str:
    """Return what only the private half of `key` opens."""
    return b64encode(SealedBox(key).encrypt(secret.reveal().encode())).decode()
