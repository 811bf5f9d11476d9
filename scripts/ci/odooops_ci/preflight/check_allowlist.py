"""`preflight allowlist`: only audited OCA modules, pinned, selected by links, whole and installable."""

from __future__ import annotations

import datetime

from ..addons import OCA_SELECTED
from . import addons_paths, selected
from . import allowlist as allowlists
from .findings import Finding, Report, ordered
from .repository import Repository


def check(repository: Repository, today: datetime.date) -> Report:
    allowlist = allowlists.read(repository.root, today)
    state = selected.Selected(repository, allowlist)
    findings = [
        *allowlist.findings,
        *state.check(),
        *(finding for finding in repository.broken if finding.code != "manifest-not-literal" or _is_oca(finding.file)),
        *addons_paths.reaching(repository),
    ]
    chosen = sorted(state.links)
    return Report(
        "allowlist",
        ordered(_told_once(findings, state.blocked)),
        checked=f"{len(chosen)} selected OCA modules against {len(allowlist.entries)} entries",
        facts={"selected": chosen, "entries": len(allowlist.entries)},
    )


def _is_oca(path: str) -> bool:
    return path.startswith("addons/oca/")


def _told_once(findings: list[Finding], blocked: set[str]) -> list[Finding]:
    """Leave out what the general search for addons says of a link that the golden path's check told better."""
    told = {finding.file for finding in findings if finding.code != "no-addon"}
    told |= {f"{OCA_SELECTED}/{name}" for name in blocked}
    return [finding for finding in findings if finding.code != "no-addon" or finding.file not in told]
