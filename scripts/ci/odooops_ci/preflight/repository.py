"""A checkout with its addons read: what every check looks at, made once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .. import addons, tree
from ..errors import Refused
from .changes import Changes
from .findings import Finding

LINE = re.compile(r"\(.*?line (\d+)\)|on line (\d+)")


@dataclass(frozen=True)
class Module:
    """An addon whose manifest could be read."""

    name: str
    origin: str
    place: str
    folder: str
    manifest: Mapping[str, object]

    @property
    def manifest_file(self) -> str:
        return f"{self.folder}/{addons.MANIFEST}"

    @property
    def version(self) -> str:
        return str(self.manifest.get("version", ""))

    @property
    def depends(self) -> tuple[str, ...]:
        return names_in(self.manifest, "depends")

    @property
    def installable(self) -> bool:
        return bool(self.manifest.get("installable", True))


@dataclass(frozen=True)
class Repository:
    """A checkout as it lies on disk.

    :ivar modules: by name.
    :ivar broken: findings of addons that can't be read at all.
    """

    tree: tree.Tree
    modules: Mapping[str, Module]
    broken: tuple[Finding, ...] = ()
    series: str = "19.0"
    by_folder: Mapping[str, Module] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.tree.root

    def owner(self, path: str) -> Module | None:
        """Return the addon that a file belongs to."""
        for parent in tree.parents(path):
            if module := self.by_folder.get(parent):
                return module
        return None

    def changed_modules(self, changes: Changes) -> list[Module]:
        """Return the addons with changed files, and the OCA's that were newly selected."""
        touched = {module.name for change in changes.items if (module := self.owner(change.path))}
        touched |= {name for name, module in self.modules.items() if module.place in changes.paths}
        return [self.modules[name] for name in sorted(touched)]

    def dependents(self, names: Iterable[str]) -> set[str]:
        """Return these addons and all that depend on them, however far away."""
        found = set(names)
        while True:
            more = {module.name for module in self.modules.values() if not found.isdisjoint(module.depends)}
            if more <= found:
                return found
            found |= more


def read(root: Path) -> Repository:
    """Read a checkout; nothing of it is run.

    :raise Refused: it is no git checkout.
    """
    checkout = tree.read_checkout(root, allow_dirty=True, allow_absent=True)
    problems: list[str] = []
    modules: dict[str, Module] = {}
    broken: list[Finding] = []
    for addon in addons.find(checkout, problems):
        try:
            manifest = addons.read_manifest(addon)
        except Refused as refused:
            broken.append(unreadable_manifest(f"{addon.folder}/{addons.MANIFEST}", str(refused)))
            continue
        if addon.name in modules:
            broken.append(_twice(modules[addon.name], addon))
            continue
        modules[addon.name] = Module(addon.name, addon.origin, addon.place, addon.folder, manifest)
    broken += [_problem(text) for text in problems]
    by_folder = {module.folder: module for module in modules.values()}
    return Repository(checkout, modules, tuple(broken), by_folder=by_folder)


def names_in(manifest: Mapping[str, object], key: str) -> tuple[str, ...]:
    """Return the names that a key of a manifest lists."""
    value = manifest.get(key)
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, (list, tuple)) else ()


def unreadable_manifest(path: str, message: str) -> Finding:
    line = LINE.search(message)
    what, _, _mend = message.partition(": write values")
    return Finding(
        path,
        f"{what.rstrip('.')}.",
        "Write values, not code: a dictionary of strings, numbers, lists and booleans.",
        "manifest-not-literal",
        int(line[1] or line[2]) if line else 1,
    )


def _twice(first: Module, second: addons.Addon) -> Finding:
    return Finding(
        f"{second.folder}/{addons.MANIFEST}",
        f"Addon {first.name} is there twice: {first.place} and {second.place}.",
        "Keep one of them: Odoo takes whichever comes first in its addons path.",
        "addon-twice",
    )


def _problem(text: str) -> Finding:
    """Make a finding of a sentence about a link or a folder, which names the path and says the mend."""
    what, _, mend = text.partition(": ")
    path = next((word for word in what.split() if "/" in word), what.split()[0])
    return Finding(path, f"{what}.", f"{mend[:1].upper()}{mend[1:]}" if mend else "", "no-addon")
