"""A console that signs whatever a test asks for, with a key that everybody knows."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from datetime import datetime, timedelta
from typing import Any

import msgspec
from nacl.signing import SigningKey

from ..grants import DOMAIN, Pin, needs_grant, read_pin
from ..protocol import Grant, Operation, plain

KEY = SigningKey(b"odooops-tests-everybody-knows-it")
AGENT = 3


def pin(key: SigningKey = KEY, agent: int = AGENT) -> Pin:
    text = urlsafe_b64encode(bytes(key.verify_key)).decode().rstrip("=")
    return read_pin(f"odooops_console_{agent}_{text}")


def document(operation: Operation, now: datetime, **changes: Any) -> dict[str, Any]:
    """Return what a console that agrees to an operation would say."""
    way_back = operation.way_back
    said = {
        "schema": 1,
        "id": f"9d1f0c5e-0000-4000-8000-{operation.id:012d}",
        "audience": AGENT,
        "environment": operation.environment.key,
        "kind": operation.kind,
        "digest": operation.release.digest,
        "plan_hash": operation.plan_hash,
        "backup_snapshot": operation.backup_snapshot,
        "approvers": [{"id": 7, "name": "Rita", "login": "rita"}],
        "policy_version": operation.policy_version,
        "issued_at": now,
        "expires_at": now + timedelta(hours=1),
        "includes_revert": True,
        "loss_bound": way_back.ceiling if way_back else None,
        "break_glass": way_back.break_glass if way_back else False,
    }
    if operation.import_order is not None:
        said["import"] = operation.import_order
    made: dict[str, Any] = plain(said | changes)
    return made


def sign(said: dict[str, Any], key: SigningKey = KEY) -> Grant:
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return Grant(document=text, signature=b64encode(key.sign(DOMAIN + text.encode()).signature).decode())


def granted(operation: Operation, now: datetime, **changes: Any) -> Operation:
    """Return the operation with a grant, where it needs one."""
    if not needs_grant(operation):
        return operation
    return msgspec.structs.replace(operation, grant=sign(document(operation, now, **changes)))
