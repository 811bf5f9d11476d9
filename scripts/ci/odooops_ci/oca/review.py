"""What somebody who audits a module should look at, found by parsing it: SQL, routes, sudo, hooks, crons, needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..preflight import models_ast
from ..preflight.allowlist import TIERS
from ..preflight.facts import Fact
from ..preflight.repository import names_in
from ..preflight.rules import SHIPPED, read

AREA_TIERS = {
    "payments": "critical",
    "accounting": "high",
    "payroll": "high",
    "authentication": "high",
    "stock": "medium",
}
SHOWN = 8
REACHES_OUT = re.compile(
    r"^\s*(?:import|from) (requests|urllib3?|http\.client|socket|subprocess|ftplib|paramiko)\b", re.M
)


@dataclass(frozen=True)
class Sheet:
    """One module's review: `points` are (what, places)."""

    name: str
    lines: int
    points: tuple[tuple[str, tuple[str, ...]], ...]
    suggested_tier: str

    def text(self) -> str:
        head = f"{self.name}: {self.lines} lines of Python; tier {self.suggested_tier} by what it touches."
        rows = [f"  - {what}: {', '.join(places[:SHOWN])}{' …' if len(places) > SHOWN else ''}"
                for what, places in self.points]  # fmt: skip
        return "\n".join([head, *(rows or ["  - nothing that stands out; read it all the same"])])


def inspect(folder: Path, manifest: dict[str, object]) -> Sheet:
    """Read an addon; nothing of it is run."""
    found: dict[str, list[str]] = {}
    models: set[str] = set()
    lines = 0
    for path in sorted(folder.rglob("*.py")):
        relative = path.relative_to(folder).as_posix()
        if relative.startswith("tests/"):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        lines += text.count("\n")
        for what, place in _points(text, relative, models):
            found.setdefault(what, []).append(place)
    for what, places in _of_manifest(manifest):
        found.setdefault(what, []).extend(places)
    for csv in sorted(folder.glob("security/*.csv")):
        found.setdefault("access rights", []).append(csv.relative_to(folder).as_posix())
    depends = frozenset(names_in(manifest, "depends"))
    tier = _tier(Fact("file", folder.name, "", models=frozenset(models), modules=depends | {folder.name}))
    return Sheet(folder.name, lines, tuple((what, tuple(places)) for what, places in sorted(found.items())), tier)


def _points(text: str, path: str, models: set[str]) -> Iterator[tuple[str, str]]:
    try:
        source = models_ast.parse(text)
    except SyntaxError as error:
        yield "does not parse as Python", f"{path}:{error.lineno or 1}"
        return
    models |= source.models.keys() | source.used_models.keys()
    for line in source.sql.values():
        yield "SQL past the ORM", f"{path}:{line}"
    for line in source.open_routes.values():
        yield "routes open to anybody", f"{path}:{line}"
    for line in source.sudo:
        yield "sudo()", f"{path}:{line}"
    for match in REACHES_OUT.finditer(text):
        yield "reaches out of Odoo", f"{path}:{text[: match.start()].count(chr(10)) + 1} ({match[1]})"
    extended = sorted(name for name, model in source.models.items() if not model.defines)
    for name in extended:
        yield "changes models of others", f"{name} ({path})"


def _of_manifest(manifest: dict[str, object]) -> Iterator[tuple[str, list[str]]]:
    hooks = [key for key in ("pre_init_hook", "post_init_hook", "uninstall_hook", "post_load") if manifest.get(key)]
    if hooks:
        yield "runs at the installation", hooks
    external = manifest.get("external_dependencies")
    for kind, names in external.items() if isinstance(external, dict) else ():
        yield f"needs from outside ({kind})", [str(name) for name in names]
    crons = [name for name in names_in(manifest, "data") if "cron" in name]
    if crons:
        yield "scheduled actions", crons


def _tier(fact: Fact) -> str:
    areas = read(SHIPPED).areas_of(fact)
    return max((AREA_TIERS.get(area, "low") for area in areas), key=TIERS.index, default="low")
