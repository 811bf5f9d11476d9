"""The agent's key pair for sealed secrets: the control plane seals to the public half and can't read them."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable
from pathlib import Path

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from .errors import Refused
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


def open_recovery(private_key: str, sealed: Iterable[str]) -> Secret:
    """Return the first of these passwords that an offline recovery key opens.

    :raises Refused: it is no key, or opens none of them.
    """
    try:
        box = SealedBox(PrivateKey(b64decode(private_key.strip(), validate=True)))
    except (ValueError, CryptoError) as error:
        raise Refused("This is no recovery key: type it as the console showed it.", code="bad_recovery_key") from error
    for text in sealed:
        try:
            return Secret(box.decrypt(b64decode(text)).decode())
        except (ValueError, CryptoError):
            continue
    raise Refused(
        "This recovery key opens none of the repository's passwords: take the one that was made for it.",
        code="bad_recovery_key",
    )


def seal(secret: Secret, key: PublicKey) -> str:
    """Return what only the private half of `key` opens."""
    return b64encode(SealedBox(key).encrypt(secret.reveal().encode())).decode()
