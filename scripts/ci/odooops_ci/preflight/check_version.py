"""`preflight version`: does every change that a database must hear of come with a version that says so?

Needs a higher version: data, views, security, and models as the database sees them (models, fields,
constraints, hooks, dependencies). Needs none: a method's body, static files, tests, documentation,
translations: a restart is enough for those.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from .. import odoo_versions
from ..addons import MANIFEST
from . import facts as schema
from .changes import ADDED, DELETED, Change, Changes
from .findings import WARNING, Finding, Report, ordered
from .repository import Module, Repository, names_in

MIGRATIONS = ("migrations", "upgrades")
# Every addon would pass for a new one.
_UNKNOWN = Finding(
    ".",
    "Nobody knows which commit to compare with, so whether versions rose can't be told.",
    "Run it again where the console did not answer; where main was rewritten, merge the commit that was released last "
    "(git merge --strategy=ours); elsewhere name a commit with --base (the workflow's input base), or none where "
    "nothing was ever released.",
    "version-no-base",
)
MANIFEST_KEYS = ("data", "depends", "pre_init_hook", "post_init_hook", "uninstall_hook", "auto_install")


def check(repository: Repository, changes: Changes, *, base_known: bool = True) -> Report:
    """:param base_known: False where there is nothing to compare with, and nobody said that there can't be."""
    modules = [module for module in repository.changed_modules(changes) if module.origin != "enterprise"]
    findings = [finding for module in modules for finding in _check_module(repository, module, changes)]
    if modules and not base_known:
        findings.append(_UNKNOWN)
    names = [module.name for module in modules]
    checked = f"{len(names)} changed addon{'s' if len(names) != 1 else ''}"
    return Report("version", ordered(findings), checked=checked, facts={"addons": names})


def _check_module(repository: Repository, module: Module, changes: Changes) -> Iterator[Finding]:
    series = repository.series
    try:
        after = odoo_versions.adapt(module.version or "1.0", series)
    except ValueError as error:
        yield _at(
            module, repository, f"{module.name}: version {error}.", f'Write it as "{series}.1.0.0".', "version-form"
        )
        return
    before = _version_before(changes, module, series)
    if before and odoo_versions.parse(after) < odoo_versions.parse(before):
        yield _at(
            module,
            repository,
            f"{module.name} goes back from {before} to {after}; Odoo never updates backwards.",
            f"Give it a version above {before}; to take a change back, release it as a new version.",
            "version-backwards",
        )
        return
    rose = not before or odoo_versions.parse(after) > odoo_versions.parse(before)
    if before and not rose and module.origin == "custom" and (why := list(_reasons(module, changes))):
        shown = "; ".join(f"{path} ({what})" for path, what in why[:3]) + ("; …" if len(why) > 3 else "")
        yield _at(
            module,
            repository,
            f"{module.name} changes what a database holds and stays at {after}: {shown}.",
            f'Raise its version, for example to "{_next(after)}".',
            "version-not-raised",
        )
    yield from _check_migrations(repository, module, changes, before, after)


def _version_before(changes: Changes, module: Module, series: str) -> str:
    """Return the version that the addon had, as Odoo recorded it; "" for a new addon."""
    manifest = manifest_before(changes, module)
    if manifest is None:
        return ""
    try:
        return odoo_versions.adapt(str(manifest.get("version", "1.0")), series)
    except ValueError:
        return ""


def manifest_before(changes: Changes, module: Module) -> Mapping[str, object] | None:
    """Return what the manifest said, or what it says if it did not change; None for a new addon."""
    change = next((one for one in changes.items if one.path == module.manifest_file), None)
    if change is None:
        return module.manifest
    if change.before is None:
        return None
    try:
        manifest = ast.literal_eval(change.before)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return manifest if isinstance(manifest, dict) else None


def _reasons(module: Module, changes: Changes) -> Iterator[tuple[str, str]]:
    """Yield (file, what it holds) of what a database would have to be told."""
    loaded = set(names_in(module.manifest, "data"))
    loaded |= set(names_in(manifest_before(changes, module) or {}, "data"))
    for change in changes.below(module.folder):
        relative = change.path.removeprefix(f"{module.folder}/")
        first = relative.partition("/")[0]
        if relative in loaded:
            kind = "security" if first == "security" else "view" if first in ("view", "views") else "data"
            yield change.path, kind
        elif first == "security" and PurePosixPath(relative).suffix in (".xml", ".csv"):
            yield change.path, "security"
        elif relative == MANIFEST:
            yield from _manifest_reasons(module, changes, change)
    for fact in schema.of_models(module, changes):
        if fact.kind != "python_constraint":  # code alone: the database hears nothing of it
            yield fact.file, fact.text


def _manifest_reasons(module: Module, changes: Changes, change: Change) -> Iterator[tuple[str, str]]:
    before = manifest_before(changes, module) or {}
    for key in MANIFEST_KEYS:
        if before.get(key) != module.manifest.get(key):
            yield change.path, f"{key} in the manifest"


def _check_migrations(
    repository: Repository, module: Module, changes: Changes, before: str, after: str
) -> Iterator[Finding]:
    series = repository.series
    touched = {change.path: change for change in changes.below(module.folder)}
    for folder, files in sorted(_migration_folders(repository, module).items()):
        version = PurePosixPath(folder).name
        new = [path for path in files if path in touched and touched[path].status == ADDED]
        if version == "tests":
            continue
        if not odoo_versions.FOLDER.fullmatch(version):
            yield Finding(
                folder,
                f"Odoo passes over {folder}: {version} is no version.",
                f'Name it for the version that brings it, such as "{after}".',
                "migration-form",
            )
            continue
        yield from _check_scripts(repository, touched, files)
        if module.origin != "custom":
            continue
        if odoo_versions.is_newer(version, after):
            yield Finding(
                folder,
                f"No update runs {folder}: {module.name} is at {after}, and the folder is for later.",
                f'Raise the version in {module.manifest_file} to "{_full(version, series)}", or rename the '
                f"folder to {after}.",
                "migration-not-run",
            )
        elif before and new and not odoo_versions.runs(version, before, after, series):
            yield Finding(
                folder,
                f"No update runs {folder}: databases are at {before} already, and go to {after}.",
                f"Rename the folder to a version above {before}, and raise the manifest's to it.",
                "migration-not-run",
            )


def _migration_folders(repository: Repository, module: Module) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in MIGRATIONS:
        prefix = f"{module.folder}/{name}/"
        for path in repository.tree.files:
            if path.startswith(prefix) and path.removeprefix(prefix).count("/") == 1 and path.endswith(".py"):
                found.setdefault(path.rpartition("/")[0], []).append(path)
    return found


def _check_scripts(repository: Repository, touched: Mapping[str, Change], files: list[str]) -> Iterator[Finding]:
    """Judge the scripts that this change brings or alters."""
    for path in sorted(files):
        change = touched.get(path)
        name = PurePosixPath(path).name
        if change is None or change.status == DELETED or name == "__init__.py":
            continue
        if not odoo_versions.SCRIPT.fullmatch(name):
            if "def migrate" in (change.after or ""):
                yield Finding(
                    path,
                    f"Odoo passes over {name}: a script's name begins with pre-, post- or end-.",
                    f"Rename it, for example to post-{name}.",
                    "migration-name",
                )
            continue
        if change.status != ADDED:
            yield Finding(
                path,
                "This script has run already where its version was installed, and does not run again.",
                "If those databases need the change too, put it into a new migration folder.",
                "migration-changed",
                level=WARNING,
            )
        yield from _check_migrate(path, change.after or "")


def _check_migrate(path: str, text: str) -> Iterator[Finding]:
    try:
        functions = {node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
        names = {
            target.id
            for node in ast.parse(text).body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        imported = {
            alias.asname or alias.name
            for node in ast.parse(text).body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        yield schema.unparsable(path, error)
        return
    if "migrate" not in functions | names | imported:
        yield Finding(
            path,
            "The script has no function migrate(cr, version), which is what Odoo calls.",
            "Write one.",
            "migration-no-function",
        )


def _next(version: str) -> str:
    head, _, last = version.rpartition(".")
    return f"{head}.{int(last) + 1}"


def _full(folder: str, series: str) -> str:
    return folder if folder.count(".") > 2 else f"{series}.{folder}"


def _at(module: Module, repository: Repository, message: str, mend: str, code: str) -> Finding:
    """Return a finding in the manifest's line of the version."""
    text = (repository.root / module.manifest_file).read_text(encoding="utf-8", errors="replace")
    line = next((number for number, one in enumerate(text.splitlines(), 1) if "version" in one), 1)
    return Finding(module.manifest_file, message, mend, code, line)
