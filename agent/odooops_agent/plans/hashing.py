"""The plan hash: what the approvers' decision is bound to (vectors: tests/contract/fixtures)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ..protocol import PlanDocument, plain


def canonical_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256_of(value: Any) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def plan_hash(plan: PlanDocument) -> str:
    """Return the SHA-256, as hex, of the plan's canonical JSON."""
    return sha256_of(plain(plan))
