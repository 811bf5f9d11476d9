"""Image manifest against database: what to update or install, decided without starting Odoo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..facts import Addon, DatabaseFacts, ImageManifest, InstalledModule, RecordedModule
from ..protocol import ModuleChange
from .migrations import scripts_to_run
from .versions import parse_version

# Odoo's own come in nightly builds whose files change without a meaning: only a new version counts.
BY_HASH = frozenset({"custom", "oca"})
PRESENT = frozenset({"installed", "to upgrade", "to remove"})
UNFINISHED = frozenset({"to install", "to upgrade", "to remove"})


@dataclass(frozen=True, slots=True)
class Moved:
    """A module that the image has in an older version than the database."""

    name: str
    installed: str
    in_image: str


@dataclass(frozen=True, slots=True)
class ModulePlan:
    """What a deployment does to the modules, and what forbids it."""

    changes: tuple[ModuleChange, ...]
    dependents: tuple[str, ...]
    migrations: tuple[str, ...]
    missing: tuple[str, ...]
    backwards: tuple[Moved, ...]
    unfinished: tuple[str, ...]

    @property
    def to_update(self) -> tuple[str, ...]:
        return tuple(change.name for change in self.changes if change.action == "update")

    @property
    def to_install(self) -> tuple[str, ...]:
        return tuple(change.name for change in self.changes if change.action == "install")


NO_CHANGES = ModulePlan((), (), (), (), (), ())


def plan_modules(image: ImageManifest, database: DatabaseFacts | None, wanted: Iterable[str]) -> ModulePlan:
    """Compare the image with what the database says is installed.

    :param database: None, or one without modules, for a first installation.
    :param wanted: modules that the environment lists; only these are ever installed anew.
    """
    installed = _installed(database)
    changes = _updates(image, database, installed) + _installs(image, installed, wanted)
    changes.sort(key=lambda change: change.name)
    updated = [change.name for change in changes if change.action == "update"]
    return ModulePlan(
        changes=tuple(changes),
        dependents=_dependents(image.addons, installed, updated),
        migrations=_migrations(image, changes),
        missing=_missing(image.addons, installed, wanted),
        backwards=_backwards(image.addons, installed),
        unfinished=_unfinished(database),
    )


def _installed(database: DatabaseFacts | None) -> dict[str, InstalledModule]:
    if database is None:
        return {}
    return {
        name: module for name, module in database.modules.items() if module.state in PRESENT and not module.imported
    }


def _updates(
    image: ImageManifest, database: DatabaseFacts | None, installed: Mapping[str, InstalledModule]
) -> list[ModuleChange]:
    if database is None:
        return []
    return [
        ModuleChange(name=name, from_version=module.version, to_version=image.addons[name].version, action="update")
        for name, module in installed.items()
        if name in image.addons
        and _differs(image.addons[name], module, database.recorded.get(name), database.languages)
    ]


def _differs(addon: Addon, module: InstalledModule, recorded: RecordedModule | None, languages: Iterable[str]) -> bool:
    if module.state == "to upgrade" or _is_newer(addon.version, module.version):
        return True
    if addon.origin not in BY_HASH:
        return False
    if recorded is None or recorded.hash is None:
        return True
    return recorded.hash != addon.hash or _translations_differ(addon, recorded, languages)


def _is_newer(version: str, installed: str | None) -> bool:
    return installed is None or parse_version(version) > parse_version(installed)


def _translations_differ(addon: Addon, recorded: RecordedModule, languages: Iterable[str]) -> bool:
    files = {file for language in languages for file in translation_files(language)}
    return any(addon.i18n.get(file) != recorded.i18n.get(file) for file in files)


def translation_files(language: str) -> tuple[str, ...]:
    """Return the names of the .po files that Odoo loads for a language: `fr` and `fr_BE` for fr_BE."""
    base, at, variant = language.partition("@")
    names = [base.split("_")[0], base]
    if at:
        names += [f"{names[0]}@{variant}", language]
    return tuple(dict.fromkeys(names))


def _installs(
    image: ImageManifest, installed: Mapping[str, InstalledModule], wanted: Iterable[str]
) -> list[ModuleChange]:
    names = set(wanted) if installed else {"base", *wanted}
    return [
        ModuleChange(name=name, from_version=None, to_version=image.addons[name].version, action="install")
        for name in names
        if name not in installed and name in image.addons
    ]


def in_loading_order(addons: Mapping[str, Addon], names: Iterable[str]) -> tuple[str, ...]:
    """Return the modules with all that they depend on, dependencies first."""
    ordered: dict[str, None] = {}

    def visit(name: str, path: frozenset[str]) -> None:
        if name in ordered or name in path or name not in addons:
            return
        for dependency in sorted(addons[name].depends):
            visit(dependency, path | {name})
        ordered[name] = None

    for name in sorted(names):
        visit(name, frozenset())
    return tuple(ordered)


def loaded_modules(image: ImageManifest, database: DatabaseFacts | None, wanted: Iterable[str]) -> tuple[str, ...]:
    """Return what Odoo will load after the deployment, dependencies first."""
    return in_loading_order(image.addons, {*_installed(database), *wanted})


def _missing(
    addons: Mapping[str, Addon], installed: Mapping[str, InstalledModule], wanted: Iterable[str]
) -> tuple[str, ...]:
    """Return what is installed, wanted or depended on and not in the image."""
    seen: set[str] = set()
    queue = [*installed, *wanted]
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in addons:
            queue.extend(addons[name].depends)
    return tuple(sorted(seen - addons.keys()))


def _backwards(addons: Mapping[str, Addon], installed: Mapping[str, InstalledModule]) -> tuple[Moved, ...]:
    return tuple(
        Moved(name, module.version, addons[name].version)
        for name, module in sorted(installed.items())
        if name in addons and module.version and parse_version(addons[name].version) < parse_version(module.version)
    )


def _dependents(
    addons: Mapping[str, Addon], installed: Mapping[str, InstalledModule], updated: Iterable[str]
) -> tuple[str, ...]:
    """Return the installed modules that `-u` will take along because they depend on an updated one."""
    changed = set(updated)
    reached = set(changed)
    grew = bool(changed)
    while grew:
        found = {
            name
            for name in installed
            if name in addons and name not in reached and not reached.isdisjoint(addons[name].depends)
        }
        reached |= found
        grew = bool(found)
    return tuple(sorted(reached - changed))


def _migrations(image: ImageManifest, changes: Iterable[ModuleChange]) -> tuple[str, ...]:
    found = []
    for change in changes:
        if change.action == "update" and change.from_version:
            scripts = scripts_to_run(
                image.addons[change.name].migrations, change.from_version, change.to_version, image.series
            )
            found += [_shown(change.name, script) for script in scripts]
    return tuple(found)


def _shown(module: str, script: str) -> str:
    folder = "" if script.startswith(("migrations/", "upgrades/")) else "migrations/"
    return f"{module}/{folder}{script}"


def _unfinished(database: DatabaseFacts | None) -> tuple[str, ...]:
    if database is None:
        return ()
    return tuple(
        f"{name} ({module.state})" for name, module in sorted(database.modules.items()) if module.state in UNFINISHED
    )
