"""What a policy asks for, and which of two policies' words count: the stricter ones."""

from . import rollback
from .checks import RISKS


def _shorter(one, other):
    """Return the shorter of two limits, of which 0 is none."""
    return min(one, other) if one and other else one or other


def _all_of(one, other):
    return sorted({*one, *other})


# How the stricter of two values is found, by the rule's name.
STRICTER = {
    "approvals_needed": max,
    "high_approvals_needed": max,
    "critical_approvals_needed": max,
    "staging_soak_minutes": max,
    "soak_minutes": max,
    # To lose data without asking is a permission: the stricter word is the one that allows less.
    "soak_rolls_back": lambda one, other: one and other,
    "soak_loss_minutes": min,
    "soak_loss_records": min,
    "soak_loss_posted": min,
    "approval_hours": _shorter,
    "backup_max_age_hours": _shorter,
    "proven_max_age_hours": _shorter,
    "group_ids": _all_of,
    "second_group_ids": _all_of,
    "required_checks": _all_of,
    "backup_first": lambda one, other: one or other,
    "business_freeze": lambda one, other: one or other,
    "rehearsal": lambda one, other: one or other,
    "hotfix": lambda one, other: one and other,
    "customer_approves": lambda one, other: one and other,
}
HOTFIX_RISKS = ("low", "medium")
# For how long a watched environment is red before it goes back: six looks of its agent, not one that failed.
RED_MINUTES = 2


def stricter(kept, now):
    """Return, rule by rule, the stricter of what counted before and what the policy says now.

    A policy that is weakened while a decision is pending changes nothing about that decision.

    :param kept: rules by their names, or None when none were kept; a rule that is missing did not exist then
    """
    kept = kept or {}
    return {name: STRICTER[name](kept.get(name, value), value) for name, value in now.items()}


def approvals(rules, risk, least=0, hotfix=False):
    """Return how many people have to approve a release of this risk.

    :param least: the fewest, whatever the policy says
    :param hotfix: whether one other person is enough
    """
    asked = rules["approvals_needed"]
    if RISKS.index(risk) >= RISKS.index("high"):
        asked = max(asked, rules["high_approvals_needed"])
    if risk == "critical":
        asked = max(asked, rules["critical_approvals_needed"], 2 if rules["second_group_ids"] else 0)
    return max(least, min(asked, 1) if hotfix else asked)


def soak_bound(rules):
    """Return up to which loss a failed watch goes back by itself, None when people decide."""
    if not rules["soak_rolls_back"]:
        return None
    return rollback.bound(rules["soak_loss_minutes"], rules["soak_loss_records"], rules["soak_loss_posted"])


def hotfix_refusal(name, rules, risk):
    """Return why this can't be a hotfix, or None."""
    if not rules["hotfix"]:
        return f"The approval policy of {name} knows no hotfix: wait for its time on staging, or ask for an override."
    if risk not in HOTFIX_RISKS:
        return f"The risk of {name} is {risk}, and a hotfix's is low or medium: it goes the long way."
    return None
