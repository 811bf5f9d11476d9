"""Which addons a repository brings, and from where: decided on its tree, nothing is run.

An addon is a folder with a `__manifest__.py`, or a link to one, anywhere in the repository but
- below `addons/oca/repos/`: there, only what `addons/oca/selected/` links to;
- inside another addon, and in folders named `tests` or `node_modules`;
- in a folder whose name begins with a dot (Odoo.sh's rule), or that holds a file `.odooops-ignore`.

Origins: "oca" is what is really below `addons/oca/` (and must be in allowlist.yaml), wherever it is linked
from; "enterprise" what is in `enterprise/`, `addons/enterprise/` or a second folder; all else is "custom".
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import yaml

from .errors import Refused
from .patterns import MODULE
from .tree import Tree, parents

MANIFEST = "__manifest__.py"
IGNORE_MARKER = ".odooops-ignore"
OCA_REPOS = "addons/oca/repos"
OCA_SELECTED = "addons/oca/selected"
ENTERPRISE_FOLDERS = ("enterprise", "addons/enterprise")
UNSEARCHED = frozenset({"tests", "node_modules"})
ALLOWLIST = "allowlist.yaml"


@dataclass(frozen=True)
class Addon:
    """An addon as the repository has it.

    :ivar place: where it was found, perhaps a link; `folder` is where it really is. Both within `tree`.
    :ivar needs: `external_dependencies` by kind ("python", "bin").
    """

    name: str
    origin: str
    tree: Tree
    place: str
    folder: str
    needs: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Selection:
    """What goes into the image; `unselected` are OCA addons at hand that nobody selected, by name."""

    addons: tuple[Addon, ...]
    unselected: dict[str, str]
    not_installable: tuple[str, ...]


def select(tree: Tree, enterprise: Tree | None = None) -> Selection:
    """Choose the addons of a repository and of a second folder with Enterprise's.

    :raise Refused: with a sentence per addon that can't be used.
    """
    errors: list[str] = []
    found = [*find(tree, errors), *(_find_enterprise(enterprise) if enterprise else ())]
    addons: list[Addon] = []
    not_installable: list[str] = []
    for candidate in found:
        try:
            manifest = read_manifest(candidate)
        except Refused as refused:
            errors += refused.errors
            continue
        if manifest.get("installable", True):
            addons.append(_with_needs(candidate, manifest, errors))
        else:
            not_installable.append(candidate.name)
    errors += _duplicates(addons) + _not_allowed(tree, addons)
    if errors:
        raise Refused(errors)
    addons.sort(key=lambda addon: addon.name)
    return Selection(tuple(addons), _unselected(tree, addons), tuple(sorted(not_installable)))


def find(tree: Tree, errors: list[str]) -> Iterator[Addon]:
    """Yield the addons of a repository, not yet read; what can't be one is told in `errors`."""
    ignored = {PurePosixPath(file).parent.as_posix() for file in tree.files if file.endswith(IGNORE_MARKER)}
    seen: set[tuple[str, str]] = set()
    for place, folder in _candidates(tree, ignored, errors):
        name = PurePosixPath(place).name
        if (name, folder) in seen:
            continue
        seen.add((name, folder))
        if MODULE.fullmatch(name):
            yield Addon(name, _origin(folder), tree, place, folder)
        else:
            errors.append(f"{place} can't be an addon: Odoo takes letters, digits and underscores in a name only.")


def _candidates(tree: Tree, ignored: set[str], errors: list[str]) -> Iterator[tuple[str, str]]:
    """Yield (place, real folder) of what looks like an addon; links first, as somebody chose them."""
    for link in sorted(tree.links):
        if _is_searched(link, ignored) and not _inside_addon(tree, link):
            try:
                yield from _linked(tree, link)
            except Refused as refused:
                errors += refused.errors
    for file in sorted(tree.files):
        folder, _, name = file.rpartition("/")
        if name == MANIFEST and folder and _is_searched(folder, ignored) and not _inside_addon(tree, folder):
            yield folder, folder


def _linked(tree: Tree, link: str) -> Iterator[tuple[str, str]]:
    target = tree.follow(link)
    if target not in tree.folders:
        return
    if _is_addon(tree, target):
        yield link, target
        return
    if link.startswith(f"{OCA_SELECTED}/"):
        raise Refused(f"{link} leads to {target}, which is no addon: it has no {MANIFEST}.")
    for subfolder in tree.subfolders(target):
        if _is_addon(tree, subfolder):
            yield f"{link}/{PurePosixPath(subfolder).name}", subfolder


def _is_addon(tree: Tree, folder: str) -> bool:
    return f"{folder}/{MANIFEST}" in tree.files


def _is_searched(path: str, ignored: set[str]) -> bool:
    parts = PurePosixPath(path).parts
    return (
        not path.startswith(f"{OCA_REPOS}/")
        and not any(part.startswith(".") or part in UNSEARCHED for part in parts)
        and ignored.isdisjoint(parents(path))
    )


def _inside_addon(tree: Tree, path: str) -> bool:
    return any(_is_addon(tree, parent) for parent in parents(path) if parent != ".")


def _origin(folder: str) -> str:
    if folder.startswith((f"{OCA_REPOS}/", f"{OCA_SELECTED}/")):
        return "oca"
    return "enterprise" if folder.startswith(tuple(f"{name}/" for name in ENTERPRISE_FOLDERS)) else "custom"


def _find_enterprise(tree: Tree) -> Iterator[Addon]:
    folders = [folder for folder in tree.subfolders("") if _is_addon(tree, folder)]
    if not folders:
        raise Refused(f"{tree.root} has no addons right below it: name the folder that has Enterprise's.")
    for folder in folders:
        yield Addon(folder, "enterprise", tree, folder, folder)


def read_manifest(addon: Addon) -> dict[str, object]:
    """Return an addon's manifest, evaluated as a literal: nothing of a repository is run here.

    :raise Refused: it is no literal dictionary.
    """
    path = addon.tree.root / addon.tree.real_path(f"{addon.folder}/{MANIFEST}")
    try:
        manifest = ast.literal_eval(path.read_text(encoding="utf-8"))
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        message = str(error).split(" on line")[0].splitlines()[0]
        raise Refused(
            f"Addon {addon.name}: {addon.folder}/{MANIFEST} is not a plain Python literal ({message}): "
            "write values, not code."
        ) from None
    if not isinstance(manifest, dict):
        raise Refused(f"Addon {addon.name}: {addon.folder}/{MANIFEST} holds no dictionary.")
    return manifest


def _with_needs(addon: Addon, manifest: dict[str, object], errors: list[str]) -> Addon:
    external = manifest.get("external_dependencies") or {}
    needs: dict[str, list[str]] = {}
    for kind in ("python", "bin"):
        names = external.get(kind, []) if isinstance(external, dict) else None
        if isinstance(names, (list, tuple)) and all(isinstance(name, str) and _is_need(name) for name in names):
            needs[kind] = list(names)
        else:
            errors.append(f"Addon {addon.name}: external_dependencies must list names under 'python' and 'bin'.")
            break
    return Addon(addon.name, addon.origin, addon.tree, addon.place, addon.folder, needs)


def _is_need(name: str) -> bool:
    # It becomes an argument of pip, so it is no option and is on one line.
    return bool(name) and not name.startswith("-") and name.isprintable()


def _duplicates(addons: Iterable[Addon]) -> list[str]:
    places: dict[str, list[Addon]] = {}
    for addon in addons:
        places.setdefault(addon.name, []).append(addon)
    return [
        f"Addon {name} is there twice or more: {', '.join(_shown(addon) for addon in found)}. Keep one."
        for name, found in sorted(places.items())
        if len({(addon.tree.root, addon.folder) for addon in found}) > 1
    ]


def _shown(addon: Addon) -> str:
    return addon.place if addon.place == addon.folder else f"{addon.place} (really {addon.folder})"


def _not_allowed(tree: Tree, addons: Iterable[Addon]) -> list[str]:
    oca = sorted(addon.name for addon in addons if addon.origin == "oca")
    if not oca:
        return []
    if not tree.has_file(ALLOWLIST):
        return [f"{ALLOWLIST} is missing, and the repository selects OCA addons ({', '.join(oca)}): add it."]
    allowed = allowed_names(tree.root / ALLOWLIST)
    return [
        f"Addon {name} is selected but not in {ALLOWLIST}: add it there, with who audited it."
        for name in oca
        if name not in allowed
    ]


def allowed_names(path: Path) -> frozenset[str]:
    """Return the names in allowlist.yaml: `modules` as a list of names, a list of entries with `name`, or a
    mapping by name; a bare list is taken for `modules`.

    :raise Refused: the file is no YAML or of another form.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise Refused(f"{ALLOWLIST} is not valid YAML: {str(error).splitlines()[0]}.") from None
    modules = content.get("modules") if isinstance(content, dict) else content
    if isinstance(modules, dict):
        return frozenset(map(str, modules))
    entries = modules if isinstance(modules, list) else [None] if modules else []
    names = [entry.get("name") if isinstance(entry, dict) else entry for entry in entries]
    known = frozenset(name for name in names if isinstance(name, str))
    if len(known) < len(set(map(str, names))):
        raise Refused(f"{ALLOWLIST} must have a list 'modules', each with a 'name'.")
    return known


def _unselected(tree: Tree, addons: Iterable[Addon]) -> dict[str, str]:
    taken = {addon.name for addon in addons}
    found = (file.rpartition("/")[0] for file in tree.files if file.endswith(f"/{MANIFEST}"))
    return {
        PurePosixPath(folder).name: folder
        for folder in sorted(found)
        if folder.startswith(f"{OCA_REPOS}/") and PurePosixPath(folder).name not in taken
    }
