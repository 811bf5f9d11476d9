"""What is left to do for an operation that was cut off, from its journal. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from .model import Plan, Step

Direction = Literal["forward", "undo"]


@dataclass(frozen=True, slots=True)
class Remaining:
    """The direction, and the steps with their place in the plan, in the order in which to take them."""

    direction: Direction
    steps: tuple[tuple[int, Step], ...]


def remaining(plan: Plan, begun: Collection[int], ended: Collection[int], undone: Collection[int]) -> Remaining:
    """Return how an interrupted plan comes to a safe end.

    :param begun: places of the steps whose start the journal has, in 0…n.
    :param ended: places of those whose end it has as well.
    :param undone: places of those that were taken back.

    Up to the point of no return every step that began is taken back, the one that was cut off too: it may
    have acted. After it, all steps that have not ended are taken; a step taken twice has one effect.
    """
    if is_committed(plan, ended):
        left = [(place, step) for place, step in enumerate(plan.steps) if place not in ended]
        return Remaining("forward", tuple(left))
    back = [(place, plan.steps[place]) for place in sorted(begun, reverse=True) if place not in undone]
    return Remaining("undo", tuple(back))


def is_committed(plan: Plan, ended: Collection[int]) -> bool:
    return any(step.commits and place in ended for place, step in enumerate(plan.steps))
