"""Gather what the addons need besides themselves: requirements.txt, apt.txt, external_dependencies.

Odoo.sh's rule, and one wider: the files are read at the repository's root and in every folder above an
addon, so beside it, beside the folder that holds it, and at the root of the submodule it came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .addons import Addon
from .errors import Refused
from .patterns import DEBIAN_PACKAGE
from .tree import Tree, parents

REQUIREMENTS = "requirements.txt"
APT = "apt.txt"
SECOND = "second/"  # where the second folder's files stand in the build context
INCLUDED = re.compile(r"\s*(?:-r|-c|--requirement|--constraint)(?:\s+|=)(\S+)")
ADDON_REQUIREMENT = re.compile(r"\s*(odoo(?:\d+)?[-_.]addons?[-_.][0-9A-Za-z._-]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Needs:
    """All that is installed before the addons.

    :ivar requirements: the files for pip, relative to the repository, in the order they are given.
    :ivar files: those and what they include, with where to read them.
    :ivar packages: Debian's, sorted.
    :ivar external: addons by what they need, by kind ("python", "bin").
    """

    requirements: tuple[str, ...]
    files: dict[str, Path]
    packages: tuple[str, ...]
    external: dict[str, dict[str, list[str]]]


def gather(tree: Tree, addons: Iterable[Addon], enterprise: Tree | None = None) -> Needs:
    """Read what the addons need, from the repository and from a second folder with Enterprise's.

    :raise Refused: with a sentence per line that can't be used.
    """
    addons = list(addons)
    errors: list[str] = []
    requirements: list[str] = []
    files: dict[str, Path] = {}
    packages: set[str] = set()
    for prefix, source in (("", tree), (SECOND, enterprise)):
        if source is None:
            continue
        for folder in _folders(addon for addon in addons if addon.tree is source):
            if folder + APT in source.files:
                packages |= _read_packages(source, folder + APT, errors)
            if folder + REQUIREMENTS in source.files:
                requirements.append(prefix + folder + REQUIREMENTS)
                read = _read_requirements(source, folder + REQUIREMENTS, errors)
                files |= {prefix + name: path for name, path in read.items()}
    if errors:
        raise Refused(errors)
    return Needs(tuple(requirements), files, tuple(sorted(packages)), external_needs(addons))


def _folders(addons: Iterable[Addon]) -> list[str]:
    """Return every folder to look in, each with a slash at its end, the root first."""
    above = {parent for addon in addons for path in (addon.place, addon.folder) for parent in parents(path)}
    return sorted({"" if parent == "." else f"{parent}/" for parent in above} | {""})


def _read_packages(tree: Tree, path: str, errors: list[str]) -> set[str]:
    packages = set()
    for line in (tree.root / tree.real_path(path)).read_text(encoding="utf-8").splitlines():
        name = line.partition("#")[0].strip()
        if name and not DEBIAN_PACKAGE.fullmatch(name):
            errors.append(f"{path}: {name!r} is no name of a Debian package: write one a line, such as poppler-utils.")
        elif name:
            packages.add(name)
    return packages


def _read_requirements(tree: Tree, path: str, errors: list[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current in files:
            continue
        files[current] = source = tree.root / tree.real_path(current)
        for line in source.read_text(encoding="utf-8").splitlines():
            if addon := ADDON_REQUIREMENT.match(line):
                errors.append(
                    f"{current} names {addon[1]}: an addon from PyPI passes no allowlist; take it as a submodule "
                    "in addons/oca/repos and link it in addons/oca/selected."
                )
            if included := INCLUDED.match(line):
                name = _join(PurePosixPath(current).parent, included[1])
                if name in tree.files:
                    waiting.append(name)
                else:
                    errors.append(f"{current} includes {included[1]}, which git does not track in this repository.")
    return files


def _join(folder: PurePosixPath, name: str) -> str:
    parts: list[str] = []
    for part in (folder / name).parts:
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def external_needs(addons: Iterable[Addon]) -> dict[str, dict[str, list[str]]]:
    """Return the addons' names by what they need, by kind."""
    needs: dict[str, dict[str, list[str]]] = {"python": {}, "bin": {}}
    for addon in addons:
        for kind, names in addon.needs.items():
            for name in names:
                needs[kind].setdefault(name, []).append(addon.name)
    return needs
