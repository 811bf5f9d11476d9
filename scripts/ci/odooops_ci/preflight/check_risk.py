"""`preflight risk`: how risky is this change, and which rule says so where?

The tier is a fact for whoever approves, not a fault: this check fails only when the risk can't be told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from . import facts as facts_of
from . import rules as rule_files
from .allowlist import TIERS
from .changes import Changes
from .facts import Fact
from .findings import NOTICE, Finding, Report, ordered
from .repository import Repository
from .rules import Rule, Rules

PLACES_SHOWN = 20
MIGHT_BE_RISK = ("risk", "tier")


@dataclass
class Fired:
    """A rule and where it fired."""

    rule: Rule
    places: list[Fact] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        shown = [{"file": fact.file, "line": fact.line, "what": fact.text} for fact in self.places[:PLACES_SHOWN]]
        return {
            "rule": self.rule.id,
            "tier": self.rule.tier,
            "reason": self.rule.reason,
            "count": len(self.places),
            "places": shown,
        }


def check(repository: Repository, changes: Changes, labels: Iterable[str] = ()) -> Report:
    rules, own = rule_files.for_change(repository.root, changes.base)
    found = facts_of.gather(repository, changes)
    fired = judge(rules, found)
    computed = highest(one.rule.tier for one in fired)
    raised_by = [name for name in labels if rules.labels.get(plain(name), "low") != "low"]
    tier = highest([computed, *(rules.labels[plain(name)] for name in raised_by)])
    findings = facts_of.unparsed(changes) + [_notice(one) for one in fired if one.rule.tier != "low"]
    findings += [
        Finding(rule_files.OWN, error, "Correct it: these rules judge the changes after this one.", "risk-rules")
        for error in rule_files.problems(repository.root)
    ]
    findings += [_powerless(name) for name in labels if _is_powerless(name, rules)]
    return Report(
        "risk",
        ordered(findings),
        checked=f"Risk {tier} (of {len(changes.items)} changed paths)",
        facts={
            "tier": tier,
            "computed_tier": computed,
            "raised_by": raised_by,
            "rules": "own" if own else "shipped",
            "fired": [one.as_json() for one in fired],
            "lines": changes.line_count,
            "paths": len(changes.items),
        },
    )


def judge(rules: Rules, found: Iterable[Fact]) -> list[Fired]:
    """Return the rules that fire, the most serious first, each with where."""
    fired: dict[str, Fired] = {}
    for fact in found:
        roles, areas = rules.roles_of(fact.file), rules.areas_of(fact)
        for rule in rules.rules:
            if rule.fires(fact, roles, areas):
                fired.setdefault(rule.id, Fired(rule)).places.append(fact)
    return sorted(fired.values(), key=lambda one: (-TIERS.index(one.rule.tier), one.rule.id))


def plain(label: str) -> str:
    """Return a label as the rules write it: "Risk/High" is "risk: high"."""
    return re.sub(r"\s*[:/-]\s*", ": ", label.strip().lower(), count=1)


def highest(tiers: Iterable[str]) -> str:
    return max(tiers, key=TIERS.index, default=TIERS[0])


def _notice(one: Fired) -> Finding:
    first, more = one.places[0], len(one.places) - 1
    rest = f" and {more} more place{'s' if more > 1 else ''}" if more else ""
    return Finding(
        first.file,
        f"{one.rule.tier.capitalize()} risk, {one.rule.id}: {first.text}{rest}.",
        one.rule.reason,
        f"risk-{one.rule.id}",
        first.line,
        NOTICE,
    )


def _is_powerless(label: str, rules: Rules) -> bool:
    name = plain(label)
    return name.startswith(MIGHT_BE_RISK) and rules.labels.get(name, "low") == "low"


def _powerless(label: str) -> Finding:
    return Finding(
        ".",
        f"The label {label!r} does not change the tier: a label may only raise it.",
        "Leave it, or use one that risk_rules.yaml names.",
        "risk-label",
        level=NOTICE,
    )
