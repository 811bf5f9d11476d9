"""Read allowlist.yaml: which OCA modules may be installed, where each is from, and who audited it.

    policy:                        # optional; what stands here are the defaults
      series: "19.0"
      licences: [AGPL-3, LGPL-3, GPL-3, GPL-3 or any later version]
      provided: []                 # modules that come from elsewhere, such as Enterprise's
    modules:
      - name: queue_job
        repository: https://github.com/OCA/queue
        commit: <40 hexadecimal digits>      # of the submodule
        licence: LGPL-3
        tier: medium               # low, medium, high or critical: how much a fault in it would hurt
        audited_by: ada@example.com
        audited_on: 2026-11-20

A module that was unpacked from a wheel of PyPI into `addons/oca/repos/<repository>/` (where GitHub can't be
reached) has, in the place of `commit`, `wheel` ("odoo-addon-…==version"), `wheel_sha256` and `content_sha256`,
which `odooops oca` fills in: a change by hand is found.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import strict_yaml
from ..addons import ALLOWLIST
from ..patterns import COMMIT, MODULE
from .findings import Finding

TIERS = ("low", "medium", "high", "critical")
LICENCES = ("AGPL-3", "LGPL-3", "GPL-3", "GPL-3 or any later version")
WHEEL = re.compile(r"odoo-addon-[a-z0-9-]+==[0-9][0-9A-Za-z.]*")
SHA256 = re.compile(r"[0-9a-f]{64}")
REQUIRED = ("name", "repository", "licence", "tier", "audited_by", "audited_on")
SUBMODULE = ("commit",)
VENDORED = ("wheel", "wheel_sha256", "content_sha256")
OPTIONAL = ("note",)
REPOSITORY_URL = re.compile(r"(https://[^\s/@]+/|git@[^\s:/]+:|ssh://[^\s]+/|file:///|\.\.?/)[^\s]+")


@dataclass(frozen=True)
class Entry:
    """One module that may be installed; `line` is where it begins in allowlist.yaml."""

    name: str
    line: int
    repository: str = ""
    commit: str = ""
    licence: str = ""
    tier: str = ""
    audited_by: str = ""
    audited_on: str = ""
    wheel: str = ""
    wheel_sha256: str = ""
    content_sha256: str = ""

    @property
    def is_vendored(self) -> bool:
        return bool(self.wheel or self.content_sha256)


@dataclass(frozen=True)
class Policy:
    """What the project accepts."""

    series: str = "19.0"
    licences: tuple[str, ...] = LICENCES
    provided: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Allowlist:
    """The file's content; `is_there` is False where the repository has none."""

    policy: Policy = Policy()
    entries: Mapping[str, Entry] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    is_there: bool = True


def read(root: Path, today: datetime.date) -> Allowlist:
    path = root / ALLOWLIST
    if not path.is_file() or path.is_symlink():
        return Allowlist(is_there=False)
    return parse(path.read_text(encoding="utf-8", errors="replace"), today)


def parse(text: str, today: datetime.date) -> Allowlist:
    """Return what the text says, and a finding for each thing in it that is not as it must be."""
    findings: list[Finding] = []
    try:
        content = strict_yaml.load(text)
    except strict_yaml.BadYaml as error:
        return Allowlist(findings=(_finding(error.line, f"{error}.", "Correct the file.", "allowlist-yaml"),))
    if not isinstance(content, dict) or not isinstance(content.get("modules", []), list):
        where = "The file has to be a mapping with a list 'modules'."
        return Allowlist(findings=(_finding(1, where, "Write entries as the README shows.", "allowlist-form"),))
    findings += _unknown_keys(content, "the file", ("policy", "modules"))
    policy = _policy(content, findings)
    entries: dict[str, Entry] = {}
    for value in content.get("modules") or []:
        entry = _entry(value, today, findings)
        if entry is None:
            continue
        if entry.name in entries:
            findings.append(
                _finding(
                    entry.line,
                    f"{entry.name} stands twice, before in line {entries[entry.name].line}.",
                    "Remove one of the entries.",
                    "allowlist-duplicate",
                )
            )
        entries.setdefault(entry.name, entry)
    return Allowlist(policy, entries, tuple(findings))


def _policy(content: Mapping[str, Any], findings: list[Finding]) -> Policy:
    value = content.get("policy")
    if value is None:
        return Policy()
    line = strict_yaml.line_of(content, "policy")
    if not isinstance(value, dict):
        findings.append(_finding(line, "'policy' has to be a mapping.", "See the README.", "allowlist-form"))
        return Policy()
    known = ("series", "licences", "provided")
    findings += _unknown_keys(value, "the policy", known)
    series = value.get("series", Policy.series)
    if not isinstance(series, str) or not re.fullmatch(r"\d{1,2}\.\d", series):
        findings.append(
            _finding(
                strict_yaml.line_of(value, "series"),
                f"The series {series!r} is no Odoo series.",
                'Write it in quotes, such as "19.0".',
                "allowlist-form",
            )
        )
        series = Policy.series
    return Policy(
        series, _names(value, "licences", findings) or LICENCES, frozenset(_names(value, "provided", findings) or ())
    )


def _names(value: Mapping[str, Any], key: str, findings: list[Finding]) -> tuple[str, ...] | None:
    names = value.get(key)
    if names is None:
        return None
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return tuple(names)
    line = strict_yaml.line_of(value, key)
    findings.append(_finding(line, f"{key!r} has to be a list of names.", "Write one a line.", "allowlist-form"))
    return None


def _entry(value: object, today: datetime.date, findings: list[Finding]) -> Entry | None:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        line = strict_yaml.line_of(value) if isinstance(value, dict) else 1
        what = "An entry has no 'name'." if isinstance(value, dict) else f"The entry {str(value)[:60]!r} is no mapping."
        mend = f"Write it with {', '.join(REQUIRED)} and commit; odooops oca add does it."
        findings.append(_finding(line, what, mend, "allowlist-form"))
        return Entry(value, line) if isinstance(value, str) else None
    line, name = strict_yaml.line_of(value), value["name"]
    known = REQUIRED + SUBMODULE + VENDORED + OPTIONAL
    findings += _unknown_keys(value, f"the entry {name}", known)
    kept = {key: str(value[key]) for key in known if key in value and key not in OPTIONAL and value[key] is not None}
    findings += [
        _finding(strict_yaml.line_of(value, key), f"{name}: {what}", mend, "allowlist-entry")
        for key, what, mend in _wrong(kept, today)
    ]
    return Entry(line=line, **kept)


def _wrong(entry: Mapping[str, str], today: datetime.date) -> list[tuple[str, str, str]]:
    """Return (key, what is wrong, mend) of an entry."""
    wrong = [(key, f"{key!r} is missing.", "Fill it in: see the README.") for key in REQUIRED if not entry.get(key)]
    forms = {
        "name": (MODULE, "a module's name"),
        "repository": (REPOSITORY_URL, "an address such as https://github.com/OCA/server-tools"),
        "commit": (COMMIT, "a commit of 40 hexadecimal digits (a branch or a tag moves)"),
        "wheel": (WHEEL, "a wheel with its version, such as odoo-addon-queue-job==19.0.2.4.0"),
        "wheel_sha256": (SHA256, "a SHA-256"),
        "content_sha256": (SHA256, "a SHA-256"),
    }
    for key, (pattern, what) in forms.items():
        if entry.get(key) and not pattern.fullmatch(entry[key]):
            wrong.append((key, f"{key} {entry[key]!r} is not {what}.", "Correct it; odooops oca update fills it in."))
    if entry.get("tier") and entry["tier"] not in TIERS:
        wrong.append(("tier", f"tier {entry['tier']!r} is none.", f"Use one of {', '.join(TIERS)}."))
    if entry.get("audited_on"):
        wrong += _wrong_date(entry["audited_on"], today)
    return wrong + _wrong_source(entry)


def _wrong_date(text: str, today: datetime.date) -> list[tuple[str, str, str]]:
    try:
        date = datetime.date.fromisoformat(text)
    except ValueError:
        return [("audited_on", f"audited_on {text!r} is no date.", "Write it as 2026-11-20.")]
    if date > today:
        return [("audited_on", f"audited_on {text} lies in the future.", "Write the day on which it was audited.")]
    return []


def _wrong_source(entry: Mapping[str, str]) -> list[tuple[str, str, str]]:
    vendored = [key for key in VENDORED if entry.get(key)]
    if entry.get("commit") and vendored:
        what = f"'commit' and {vendored[0]!r} can't both be there."
        return [("commit", what, "A submodule has 'commit', what was unpacked from a wheel has the others.")]
    if vendored:
        return [(key, f"{key!r} is missing.", "Run odooops oca update.") for key in VENDORED if not entry.get(key)]
    if not entry.get("commit"):
        return [("commit", "'commit' is missing.", "Write the submodule's commit that was audited.")]
    return []


def _unknown_keys(mapping: Mapping[str, Any], where: str, known: tuple[str, ...]) -> list[Finding]:
    mend = f"Remove it, or use one of {', '.join(known)}."
    return [
        _finding(strict_yaml.line_of(mapping, key), f"{key!r} in {where} is no key.", mend, "allowlist-unknown-key")
        for key in sorted(map(str, strict_yaml.keys_of(mapping) - set(known)))
    ]


def _finding(line: int, message: str, mend: str, code: str) -> Finding:
    return Finding(ALLOWLIST, message, mend, code, line)
