"""Read risk_rules.yaml. A rule that can't be understood is refused: it would pass everything in silence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .. import git, strict_yaml
from ..errors import Refused
from .allowlist import TIERS
from .facts import Fact

SHIPPED = Path(__file__).parent / "risk_rules.yaml"
OWN = "risk_rules.yaml"
FACTS = frozenset(
    {
        "file",
        "model_added",
        "model_removed",
        "model_changed",
        "field_added",
        "field_removed",
        "field_retyped",
        "field_required",
        "field_changed",
        "field_store_changed",
        "field_recomputed",
        "constraint_added",
        "constraint_changed",
        "python_constraint",
        "constraint_removed",
        "raw_sql",
        "open_route",
        "sudo",
        "model_used",
        "migration",
        "hook_added",
        "depends_added",
        "module_added",
        "module_removed",
        "oca_added",
        "oca_moved",
        "oca_removed",
        "allowlist_changed",
        "size",
    }
)
CONDITIONS = frozenset({"fact", "role", "area", "origin", "status", "stored", "over"})


@dataclass(frozen=True)
class Rule:
    """What to look for, and what follows."""

    id: str
    tier: str
    reason: str
    when: Mapping[str, Any]

    def fires(self, fact: Fact, roles: frozenset[str], areas: frozenset[str]) -> bool:
        return (
            fact.kind in _list(self.when["fact"])
            and ("role" not in self.when or not roles.isdisjoint(_list(self.when["role"])))
            and ("area" not in self.when or not areas.isdisjoint(_list(self.when["area"])))
            and ("origin" not in self.when or fact.origin in _list(self.when["origin"]))
            and ("status" not in self.when or fact.status in _list(self.when["status"]))
            and ("stored" not in self.when or fact.stored == self.when["stored"])
            and ("over" not in self.when or fact.number > self.when["over"])
        )


@dataclass(frozen=True)
class Rules:
    """The whole file."""

    rules: tuple[Rule, ...]
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    areas: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    def roles_of(self, path: str) -> frozenset[str]:
        return frozenset(role for role, globs in self.roles.items() if _matches(f"/{path}", globs))

    def areas_of(self, fact: Fact) -> frozenset[str]:
        return frozenset(
            area
            for area, globs in self.areas.items()
            if any(_matches(name, globs.get("modules", ())) for name in fact.modules)
            or any(_matches(name, globs.get("models", ())) for name in fact.models)
        )


def for_change(root: Path, base: str) -> tuple[Rules, bool]:
    """Return the rules that judge a change, and whether they are the repository's own: those it had before the change.

    A pull request that could bring its own rules would judge itself.

    :raise Refused: the rules that were there can't be understood.
    """
    text = git.text_at(root, base, OWN)
    return (read(SHIPPED), False) if text is None else (parse(text, OWN), True)


def problems(root: Path) -> list[str]:
    """Return what is wrong with the repository's own rules as they are now; they judge the changes after this one."""
    path = root / OWN
    if not path.is_file():
        return []
    try:
        read(path)
    except Refused as refused:
        return refused.errors
    return []


def read(path: Path) -> Rules:
    return parse(path.read_text(encoding="utf-8", errors="replace"), path.name)


def parse(text: str, file: str) -> Rules:
    """Read rules.

    :raise Refused: with a sentence for each thing in them that is not as it must be.
    """
    try:
        content = strict_yaml.load(text)
    except strict_yaml.BadYaml as error:
        raise Refused(f"{file}:{error.line}: {error}: correct the file.") from None
    if not isinstance(content, dict) or content.get("schema") != 1 or not isinstance(content.get("rules"), list):
        raise Refused(f"{file}: it has to have 'schema: 1' and a list 'rules'.")
    errors: list[str] = []
    roles = {name: _texts(value) for name, value in _items(content, "roles")}
    areas = {
        name: {kind: _texts(names) for kind, names in _items(content["areas"], name)}
        for name, _ in _items(content, "areas")
    }
    labels = {str(label): str(tier) for label, tier in _items(content, "labels")}
    errors += [
        f"{file}: label {name!r} raises to {tier!r}, which is no tier: use one of {', '.join(TIERS)}."
        for name, tier in labels.items()
        if tier not in TIERS
    ]
    rules = [rule for value in content["rules"] if (rule := _rule(file, value, roles, areas, errors))]
    ids = [rule.id for rule in rules]
    errors += [f"{file}: two rules are called {name}: rename one." for name in set(ids) if ids.count(name) > 1]
    if not any("file" in _list(rule.when["fact"]) and len(rule.when) == 1 for rule in rules):
        errors.append(f"{file}: no rule fires for every file: add one with 'when: {{fact: file}}'.")
    if errors:
        raise Refused(errors)
    return Rules(tuple(rules), roles, areas, labels)


def _rule(file: str, value: Any, roles: Mapping[str, Any], areas: Mapping[str, Any], errors: list[str]) -> Rule | None:
    if not isinstance(value, dict) or not isinstance(value.get("when"), dict):
        errors.append(f"{file}: a rule has no 'when': write id, when, tier and reason.")
        return None
    where = f"{file}:{strict_yaml.line_of(value)}"
    when = {key: given for key, given in value["when"].items() if key != strict_yaml.LINES}
    wrong = [
        f"{where}: {key!r} is no condition: use {', '.join(sorted(CONDITIONS))}."
        for key in sorted(set(when) - CONDITIONS)
    ]
    for key, known in (("fact", FACTS), ("role", set(roles)), ("area", set(areas))):
        wrong += [
            f"{where}: {name!r} is no {key}: use one of {', '.join(sorted(known))}."
            for name in _list(when.get(key, []))
            if name not in known
        ]
    if not _list(when.get("fact", [])):
        wrong.append(f"{where}: 'when' names no fact.")
    if value.get("tier") not in TIERS:
        wrong.append(f"{where}: tier {value.get('tier')!r} is none: use one of {', '.join(TIERS)}.")
    wrong += [f"{where}: {key!r} is missing." for key in ("id", "reason") if not value.get(key)]
    if "stored" in when and not isinstance(when["stored"], bool):
        wrong.append(f"{where}: 'stored' is true or false.")
    if "over" in when and (not isinstance(when["over"], int) or isinstance(when["over"], bool)):
        wrong.append(f"{where}: 'over' is a whole number.")
    errors += wrong
    return None if wrong else Rule(str(value["id"]), str(value["tier"]), str(value["reason"]), when)


def _items(content: Mapping[str, Any], key: str) -> list[tuple[str, Any]]:
    value = content.get(key)
    return [(name, one) for name, one in value.items() if name != strict_yaml.LINES] if isinstance(value, dict) else []


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _matches(name: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)
