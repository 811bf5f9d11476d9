"""Find configurations whose addons path would open every module of a repository, audited or not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ..addons import OCA_REPOS, OCA_SELECTED
from .findings import Finding
from .repository import Repository

CONFIGURATIONS = re.compile(
    r"(^|/)([^/]*\.(conf|cfg|ini|rc|env|sh|ya?ml|toml)|\.?odoorc|\.?openerp_serverrc|[^/]*Dockerfile[^/]*|Makefile|\.env)$"
)
ADDONS_PATH = re.compile(r"addons[-_]path", re.IGNORECASE)
MAX_CONFIGURATION_BYTES = 500_000


def reaching(repository: Repository) -> Iterator[Finding]:
    """Yield a finding for each configuration whose addons path reaches into addons/oca/repos."""
    for path in sorted(repository.tree.files - repository.tree.links):
        if CONFIGURATIONS.search(path) and not path.startswith(f"{OCA_REPOS}/"):
            file = repository.root / path
            if file.is_file() and file.stat().st_size < MAX_CONFIGURATION_BYTES:
                yield from _reaching(path, file.read_text(encoding="utf-8", errors="replace"))


def _reaching(path: str, text: str) -> Iterator[Finding]:
    for number, value in _settings(text.splitlines()):
        if re.search(r"oca/repos(?![\w-])", value):
            yield Finding(
                path,
                f"The addons path reaches into {OCA_REPOS}: every module there could be installed, audited or not.",
                f"Name addons/oca/selected in its place ({OCA_SELECTED} has the links).",
                "addons-path",
                number,
            )


def _settings(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of what sets an addons path, lines that go on joined."""
    current: tuple[int, list[str]] | None = None
    for number, line in enumerate(lines, 1):
        goes_on = current and (line[:1].isspace() or current[1][-1].rstrip().endswith((",", "\\"))) and line.strip()
        if goes_on and current:
            current[1].append(line)
            continue
        if current:
            yield current[0], " ".join(current[1])
        current = (number, [line]) if ADDONS_PATH.search(line) and not line.lstrip().startswith(("#", ";")) else None
    if current:
        yield current[0], " ".join(current[1])
