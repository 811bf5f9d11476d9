from dataclasses import replace

import pytest
from core import policy, rules

NOW = {
    "approvals_needed": 1, "high_approvals_needed": 1, "critical_approvals_needed": 2, "staging_soak_minutes": 120,
    "soak_minutes": 15, "approval_hours": 24, "backup_max_age_hours": 24, "proven_max_age_hours": 0, "group_ids": [7],
    "second_group_ids": [9], "required_checks": ["lint"], "backup_first": False, "rehearsal": False, "hotfix": True,
    "customer_approves": True, "business_freeze": True, "soak_rolls_back": True, "soak_loss_minutes": 30,
    "soak_loss_records": 100, "soak_loss_posted": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "before", "after", "counts"),
    [
        ("approvals_needed", 2, 1, 2),
        ("approvals_needed", 1, 2, 2),
        ("staging_soak_minutes", 120, 0, 120),
        ("approval_hours", 24, 72, 24),
        ("approval_hours", 24, 0, 24),
        ("approval_hours", 0, 24, 24),
        ("backup_max_age_hours", 0, 0, 0),
        ("group_ids", [7], [8], [7, 8]),
        ("second_group_ids", [9], [], [9]),
        ("required_checks", ["lint", "tests"], ["lint"], ["lint", "tests"]),
        ("backup_first", True, False, True),
        ("hotfix", False, True, False),
        ("business_freeze", True, False, True),
        ("hotfix", True, False, False),
        ("customer_approves", False, True, False),
        ("soak_rolls_back", False, True, False),
        ("soak_rolls_back", True, False, False),
        ("soak_loss_minutes", 30, 600, 30),
        ("soak_loss_records", 100, 10, 10),
        ("soak_loss_posted", 0, 5, 0),
    ],
)
def test_the_stricter_counts(name, before, after, counts):
    found = rules.stricter({**NOW, name: before}, {**NOW, name: after})
    assert found == {**NOW, name: counts}
    # What was kept once stays as strict, however often it is compared.
    assert rules.stricter(found, {**NOW, name: after}) == found


def test_every_rule_can_be_compared():
    assert NOW.keys() == rules.STRICTER.keys()
    assert rules.stricter(None, NOW) == NOW


@pytest.mark.parametrize(
    ("risk", "values", "least", "hotfix", "needed"),
    [
        ("unknown", {}, 1, False, 1),
        ("low", {"approvals_needed": 0}, 0, False, 0),
        ("low", {"approvals_needed": 0}, 1, False, 1),
        ("high", {"high_approvals_needed": 3}, 1, False, 3),
        ("critical", {"high_approvals_needed": 3}, 1, False, 3),
        ("critical", {}, 1, False, 2),
        ("critical", {"critical_approvals_needed": 0}, 1, False, 2),
        ("critical", {"critical_approvals_needed": 0, "second_group_ids": []}, 1, False, 1),
        ("medium", {"approvals_needed": 3}, 1, True, 1),
    ],
)
def test_how_many_approve(risk, values, least, hotfix, needed):
    assert rules.approvals({**NOW, **values}, risk, least, hotfix) == needed


@pytest.mark.parametrize(
    ("risk", "allowed", "said"),
    [("low", True, None), ("medium", True, None), ("unknown", True, "is unknown"), ("high", True, "is high"),
     ("low", False, "knows no hotfix")],
)  # fmt: skip
def test_hotfixes(risk, allowed, said):
    found = rules.hotfix_refusal("v1", {**NOW, "hotfix": allowed}, risk)
    assert found is None if said is None else said in found


QUESTION = policy.Question("v1", "awaiting_approval", "Awaiting approval", "a" * 64, True, needed=2)


@pytest.mark.parametrize(
    ("approved", "first", "second", "enough"),
    [
        ({1, 2}, set(), None, True),
        ({1}, {1}, {1}, False),
        ({1, 2}, {1, 2}, set(), False),
        ({1, 2}, set(), {1, 2}, False),
        ({1, 2}, {1}, {2}, True),
        # Who is of both groups stands for one of them only.
        ({1, 2}, {1}, {1}, False),
        ({1, 2}, {1, 2}, {1}, True),
        ({1, 2}, {1, 2}, {1, 2}, True),
        ({1, 5}, {1}, {5}, False),
    ],
)
def test_two_of_different_groups(approved, first, second, enough):
    asked = replace(
        QUESTION,
        authors=frozenset({5}),
        approved_by=frozenset(approved),
        first=frozenset(first),
        second=None if second is None else frozenset(second),
    )
    assert policy.is_approved(asked) is enough
    assert (policy.missing(asked) is None) is enough
