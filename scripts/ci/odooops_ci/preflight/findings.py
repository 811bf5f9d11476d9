"""What a check found, as data: the outputs for people, for GitHub and for the control plane are made from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

ERROR, WARNING, NOTICE = "error", "warning", "notice"
LEVELS = (ERROR, WARNING, NOTICE)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (error), doubtful (warning) or worth knowing (notice).

    :ivar file: relative to the repository's root.
    :ivar line: from 1; None for the file as a whole.
    :ivar message: what is so, in one sentence.
    :ivar mend: what to do about it, in one sentence.
    :ivar code: a short stable name of the rule.
    """

    file: str
    message: str
    mend: str
    code: str
    line: int | None = None
    level: str = ERROR

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file

    def __str__(self) -> str:
        return f"{self.place}: {self.message} {self.mend}".rstrip()


@dataclass(frozen=True)
class Report:
    """One check's result.

    :ivar checked: how many things of which kind were looked at ("3 addons"); a check that looked at nothing
        says why in `idle`, or it has failed: a renamed folder must not pass for a clean one.
    :ivar facts: what the control plane keeps, such as the risk's tier.
    """

    check: str
    findings: tuple[Finding, ...] = ()
    checked: str = ""
    idle: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return not self.errors and bool(self.checked or self.idle)

    @property
    def errors(self) -> list[Finding]:
        return self.of(ERROR)

    def of(self, level: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == level]

    @property
    def summary(self) -> str:
        """One sentence: what was checked and how that ended."""
        if not self.passed and not self.errors:
            return "Nothing was checked, and nobody said why: that is no pass."
        counts = [_count(len(found), level) for level in LEVELS if (found := self.of(level))]
        ended = ", ".join(counts) or "nothing found"
        return f"{self.idle or self.checked or 'Stopped'}: {ended}."

    def as_json(self) -> dict[str, object]:
        return {
            "check": self.check,
            "status": "passed" if self.passed else "failed",
            "summary": self.summary,
            "seconds": round(self.seconds, 2),
            "facts": dict(self.facts),
            "findings": [asdict(finding) for finding in self.findings],
        }


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings as people read them: the worst first, then by place."""
    unique = dict.fromkeys(findings)
    return tuple(sorted(unique, key=lambda one: (LEVELS.index(one.level), one.file, one.line or 0, one.message)))


def _count(number: int, level: str) -> str:
    return f"{number} {level}{'s' if number > 1 else ''}"
