"""What the console signs before anything changes a production environment, and how the agent checks it.

The console's database alone proves nothing here: whoever writes it can queue an order, and can't sign one.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from binascii import Error as NotBase64
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct, field
from nacl.encoding import Base64Encoder
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from .errors import Refused
from .protocol import BadMessage, Ceiling, Grant, ImportOrder, Operation, decode

# What a signature is for stands before the text: one made for anything else proves nothing here.
DOMAIN = b"odooops-grant\n"
# How far the droplet's clock may be off.
TOLERANCE = timedelta(minutes=5)
# What changes nothing that serves needs nobody's consent; every other kind does, also one of a later version.
FREE_KINDS = frozenset({"plan", "health", "backup", "restore_test", "rehearse", "inspect", "export"})
_PIN = re.compile(r"odooops_console_([0-9]{1,18})_([A-Za-z0-9_-]{43})")


class Approver(Struct, frozen=True, kw_only=True):
    id: int
    name: str
    login: str


class GrantDocument(Struct, frozen=True, kw_only=True):
    """Who agreed to what; the console's text of it is what is signed."""

    schema: Literal[1]
    id: str
    audience: int  # the agent's number in the console
    environment: str
    kind: str
    digest: str
    plan_hash: str | None
    backup_snapshot: str | None
    approvers: tuple[Approver, ...]
    policy_version: str
    issued_at: datetime
    expires_at: datetime
    includes_revert: bool
    loss_bound: Ceiling | None
    break_glass: bool
    brought: ImportOrder | None = field(name="import", default=None)


@dataclass(frozen=True)
class Pin:
    """The console that this droplet obeys: its public key, and the number under which it knows the droplet."""

    agent: int
    key: VerifyKey
    text: str


def read_pin(text: str) -> Pin:
    """Return the pin that the console shows.

    :raises Refused: it is none
    """
    found = _PIN.fullmatch(text.strip())
    if found is None:
        raise Refused(
            "This is no console's key: it begins with odooops_console_, the droplet's page in the console shows it.",
            code="bad_setting",
        )
    return Pin(int(found[1]), VerifyKey(urlsafe_b64decode(found[2] + "=")), text.strip())


def needs_grant(operation: Operation) -> bool:
    return is_production(operation) and operation.kind not in FREE_KINDS


def is_production(operation: Operation) -> bool:
    """Tell whether production is meant: by its tier, or by the code that nothing else has."""
    return operation.environment.tier == "production" or operation.environment.key.endswith("/prod")


def check_grant(operation: Operation, pin: Pin | None, now: datetime) -> GrantDocument:
    """Return the grant of an operation that needs one.

    :raises Refused: there is none, or it is not by this console, not for this droplet, not about this, or not now
    """
    key, kind = operation.environment.key, operation.kind
    if pin is None:
        raise Refused(
            f"This droplet knows no console's key, so nobody can prove that this {kind} of {key} was agreed to: copy "
            "it from the droplet's page in the console and run odooops-agent pin.",
            code="console_unpinned",
        )
    if not isinstance(operation.grant, Grant):
        raise Refused(f"Nobody signed this {kind} of {key}: ask for it in the console.", code="grant_missing")
    document = _verified(operation.grant, pin)
    _check_address(document, pin, key)
    _check_subject(document, operation)
    _check_time(document, now)
    return document


def _verified(grant: Grant, pin: Pin) -> GrantDocument:
    try:
        pin.key.verify(DOMAIN + grant.document.encode(), Base64Encoder.decode(grant.signature.encode()))
        return decode(grant.document, GrantDocument)
    except (BadSignatureError, NotBase64, ValueError) as error:
        detail = "it can't be read" if isinstance(error, BadMessage) else "its signature is not this console's"
        raise Refused(
            f"The grant proves nothing ({detail}): when the console has a new key, pin it (odooops-agent pin); else "
            "find out who sent this order.",
            code="grant_forged",
        ) from None


def _check_address(document: GrantDocument, pin: Pin, key: str) -> None:
    if document.audience != pin.agent or document.environment != key:
        raise Refused(
            f"The grant is for {document.environment} on droplet {document.audience}, not for {key} on droplet "
            f"{pin.agent}: find out who sent this order.",
            code="grant_foreign",
        )


def _check_subject(document: GrantDocument, operation: Operation) -> None:
    asked: dict[str, object] = {
        "kind": operation.kind,
        "digest": operation.release.digest,
        "plan_hash": operation.plan_hash,
        "backup_snapshot": operation.backup_snapshot,
        "policy_version": operation.policy_version,
        "brought": operation.import_order,
    }
    if operation.way_back is not None:
        asked |= {"loss_bound": operation.way_back.ceiling, "break_glass": operation.way_back.break_glass}
    other = [name for name, value in asked.items() if getattr(document, name) != value]
    if other:
        raise Refused(
            f"The order is another one than was agreed to ({', '.join(other)}): ask for it anew in the console.",
            code="grant_foreign",
        )


def _check_time(document: GrantDocument, now: datetime) -> None:
    if document.issued_at - TOLERANCE <= now <= document.expires_at + TOLERANCE:
        return
    raise Refused(
        f"The grant counts from {document.issued_at:%H:%M} to {document.expires_at:%d.%m. %H:%M} UTC and the droplet's "
        f"clock says {now:%d.%m. %H:%M}: set the clock right (odooops-agent doctor), or ask for it anew.",
        code="grant_expired",
    )
