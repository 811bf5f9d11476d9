"""The hashes that the approvers' decision is bound to (vectors: tests/contract/fixtures)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ..protocol import Loss, PlanDocument, RollbackPlanDocument, plain


def canonical_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256_of(value: Any) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def plan_hash(plan: PlanDocument | RollbackPlanDocument) -> str:
    """Return the SHA-256, as hex, of the plan's canonical JSON."""
    return sha256_of(plain(plan))


def preview_hash(plan_hash: str, loss: Loss | None) -> str:
    """Return what an approval of a rollback is bound to: the plan, and the loss that was shown with it."""
    return sha256_of({"plan_hash": plan_hash, "loss": plain(loss)})
