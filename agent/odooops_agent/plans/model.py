"""A plan: frozen steps that name what to do, with what, and what takes it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..protocol import PlanDocument, PlanFacts, RollbackPlanDocument

Shape = Literal["install", "update", "switch", "restore", "backup", "restore_test", "clone", "import", "export"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step; its arguments are plain JSON, so that the journal can hold it."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    undo: str | None = None
    commits: bool = False  # once this has ended there is only the way forward
    optional: bool = False  # its failure is told and does not fail the deployment


@dataclass(frozen=True, slots=True)
class Plan:
    """What a deployment or a rollback will do: the document that is approved, and the steps that carry it out."""

    shape: Shape
    document: PlanDocument
    plan_hash: str  # of the rollback's document where there is one
    facts: PlanFacts
    steps: tuple[Step, ...]
    rollback: RollbackPlanDocument | None = None
