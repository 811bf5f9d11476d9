"""Results of preflight checks: what CI may report, what hinders production, and which risk tier follows."""

import json
import re
from dataclasses import dataclass

from .names import BadName, require, shown

STATUSES = ("queued", "in_progress", "success", "failure", "neutral", "cancelled", "skipped", "timed_out")
# As other tools say it.
_ALIASES = {
    "pass": "success", "passed": "success", "ok": "success", "completed": "success",
    "fail": "failure", "failed": "failure", "error": "failure",
    "pending": "queued", "running": "in_progress",
}  # fmt: skip
_UNFINISHED = ("queued", "in_progress")
BAD = ("failure", "cancelled", "timed_out")
# What preflight checks: production asks for all of it where its policy says nothing else.
REQUIRED = ("lint", "tests", "allowlist", "risk", "version")
RISKS = ("unknown", "low", "medium", "high", "critical")
RISK_CHECK = "risk"
RISK_LABEL = re.compile(r"risk\s*[:/-]\s*(low|medium|high|critical)", re.IGNORECASE)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:/()+-]{0,79}")
MAX_SUMMARY = 1000
MAX_DETAILS_BYTES = 512 * 1024


@dataclass(frozen=True)
class Check:
    """One check's result for one commit."""

    name: str
    status: str
    summary: str
    details: dict

    @property
    def risk(self):
        """The risk tier that a risk check found, None for any other check."""
        facts = self.details.get("facts")
        tier = self.details.get("tier") or (facts.get("tier") if isinstance(facts, dict) else None)
        return tier if self.name == RISK_CHECK and tier in RISKS else None


def parse(name, status, summary="", details=None):
    """Return the :class:`Check` that CI reports.

    :raises BadName: with a sentence that says what to give instead
    """
    _check_name(name)
    found = _ALIASES.get(status, status) if isinstance(status, str) else None
    if found not in STATUSES:
        raise BadName(f"{shown(status)!r} is no status of a check: give one of {', '.join(STATUSES)}.")
    if not isinstance(summary or "", str):
        raise BadName("The summary of a check has to be a text.")
    details = {} if details is None else details
    if not isinstance(details, dict):
        raise BadName("The details of a check have to be an object.")
    if len(json.dumps(details)) > MAX_DETAILS_BYTES:
        raise BadName(f"The details of {name} are larger than {MAX_DETAILS_BYTES // 1024} KB: give the findings only.")
    check = Check(name, found, " ".join((summary or "").split())[:MAX_SUMMARY], details)
    if name == RISK_CHECK and found == "success" and check.risk in (None, "unknown"):
        raise BadName(f"The check {RISK_CHECK} has to say its tier: one of {', '.join(RISKS[1:])}, as details.tier.")
    return check


def parse_all(given):
    """Return the checks of a list as preflight writes it.

    :raises BadName: when it is no list of checks
    """
    if not given:
        return []
    if isinstance(given, dict):
        given = given.get("checks")
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise BadName("The checks have to be a list of objects, each with name, status and summary.")
    return [_parse_one(one) for one in given]


def _parse_one(given):
    details = given.get("details")
    if details is None:
        details = {name: given[name] for name in ("facts", "findings", "seconds") if name in given}
    return parse(given.get("name", given.get("check")), given.get("status"), given.get("summary", ""), details)


def higher(risk, other):
    """Return the higher of two risk tiers: a tier is raised, never lowered."""
    return max(risk, other, key=RISKS.index)


def risk_of_labels(labels):
    """Return the highest tier that labels such as ``risk: high`` name, ``unknown`` without any."""
    found = [match[1].lower() for label in labels if (match := RISK_LABEL.fullmatch(label.strip()))]
    return max(found, key=RISKS.index, default="unknown")


def parse_required(text):
    """Return the names in a comma-separated list of checks, each once.

    :raises BadName: when one of them is no name of a check
    """
    given = dict.fromkeys(name.strip() for name in (text or "").split(","))
    return tuple(_check_name(name) for name in given if name)


def _check_name(name):
    return require(
        NAME, name, f"{shown(name)!r} is no name of a check: give one such as lint or tests, of at most 80 characters."
    )


def refusal(tag, results, required=()):
    """Return why checks stand against production, or None.

    :param results: pairs of a check's name and its status
    :param required: names of the checks that have to have passed
    """
    results = dict(results)
    bad, unfinished = _with_status(results, BAD), _with_status(results, _UNFINISHED)
    if bad:
        return f"{bad} of {tag} did not pass: mend the commit and release a new one."
    if unfinished:
        return f"{unfinished} of {tag} has not ended: wait for it."
    missing = [f"{name} ({results.get(name, 'missing')})" for name in required if results.get(name) != "success"]
    if missing:
        return (
            f"{tag} lacks checks that its approval policy requires: {', '.join(missing)}. Let preflight check its "
            "commit and report what it finds (scripts/ci/report_checks.py), or correct the policy."
        )
    return None


def is_overruled(before, after, same_reporter, is_ci):
    """Tell whether a person would turn round what somebody else found: CI may look again, people may not overrule it.

    :param before: the status that is recorded
    :param after: the one that is reported now
    """
    return before in BAD and after not in BAD and not same_reporter and not is_ci


def is_finished(status):
    """Tell whether a check with this status has ended."""
    return status not in _UNFINISHED


def _with_status(results, statuses):
    return ", ".join(sorted(name for name, status in results.items() if status in statuses))
