"""What is left of an interrupted plan."""

import pytest
from odooops_agent.plans.model import Plan, Step
from odooops_agent.plans.recover import is_committed, remaining

STEPS = (
    Step("prepare", undo="clean_up"),
    Step("hold", undo="resume"),
    Step("update", undo="restore"),
    Step("warm", commits=True),
    Step("release"),
    Step("remove_old"),
)
PLAN = Plan("update", None, "", None, STEPS)


def names(left):
    return left.direction, [step.name for _, step in left.steps]


@pytest.mark.parametrize(
    ("begun", "ended", "undone", "expected"),
    [
        ((), (), (), ("undo", [])),
        ((0,), (), (), ("undo", ["prepare"])),
        ((0, 1), (0,), (), ("undo", ["hold", "prepare"])),
        ((0, 1, 2), (0, 1, 2), (), ("undo", ["update", "hold", "prepare"])),
        ((0, 1, 2, 3), (0, 1, 2), (), ("undo", ["warm", "update", "hold", "prepare"])),
        ((0, 1, 2), (0,), (2,), ("undo", ["hold", "prepare"])),
        ((0, 1, 2), (), (0, 1, 2), ("undo", [])),
        ((0, 1, 2, 3), (0, 1, 2, 3), (), ("forward", ["release", "remove_old"])),
        ((0, 1, 2, 3, 4), (0, 1, 2, 3), (), ("forward", ["release", "remove_old"])),
        ((0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 4), (), ("forward", ["remove_old"])),
        (range(6), range(6), (), ("forward", [])),
    ],
)
def test_remaining(begun, ended, undone, expected):
    assert names(remaining(PLAN, begun, ended, undone)) == expected


def test_the_point_of_no_return_is_an_end_that_was_recorded():
    assert not is_committed(PLAN, {0, 1, 2})
    assert is_committed(PLAN, {0, 1, 2, 3})
