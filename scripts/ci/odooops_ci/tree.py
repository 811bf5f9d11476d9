"""The files of a repository as git tracks them, submodules included, with links that can be followed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from . import git
from .errors import Refused

NEVER_COPIED = frozenset({"__pycache__", ".git"})


@dataclass(frozen=True)
class Tree:
    """Files by path, relative to `root`; ignored and untracked ones are not among them.

    :ivar links: those of the files that are symbolic links.
    :ivar submodules: commit that is checked out by path, nested ones too.
    :ivar pinned: the commit that the repository wants there, by path.
    :ivar absent: submodules that are not initialised; only where they were let be.
    """

    root: Path
    files: frozenset[str]
    links: frozenset[str] = frozenset()
    submodules: Mapping[str, str] = field(default_factory=dict)
    pinned: Mapping[str, str] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()

    @cached_property
    def folders(self) -> frozenset[str]:
        """Every folder with a file in it, however deep; the root is ""."""
        return frozenset("" if parent == "." else parent for file in self.files for parent in parents(file))

    @cached_property
    def _by_folder(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for file in sorted(self.files):
            folder, _, _name = file.rpartition("/")
            found.setdefault(folder, []).append(file)
        return found

    @cached_property
    def _subfolders(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for folder in sorted(self.folders - {""}):
            found.setdefault(folder.rpartition("/")[0], []).append(folder)
        return found

    def has_file(self, path: str) -> bool:
        return path in self.files and path not in self.links

    def follow(self, link: str) -> str:
        """Return the real path, within the tree, of what a link leads to.

        :raise Refused: it leads out of the repository, nowhere, round in circles or to what git does
            not track.
        """
        try:
            target = Path(os.path.realpath(self.root / link, strict=True))
        except FileNotFoundError:
            raise Refused(f"The link {link} leads nowhere: remove it or check out what it is for.") from None
        except OSError:  # ELOOP, and names that are too long
            raise Refused(f"The link {link} leads round in circles: remove it.") from None
        try:
            relative = target.relative_to(os.path.realpath(self.root)).as_posix()
        except ValueError:
            raise Refused(f"The link {link} leads out of the repository: link what is in it.") from None
        relative = "" if relative == "." else relative
        if relative not in self.files and relative not in self.folders:
            raise Refused(f"The link {link} leads to {relative or 'nothing'}, which git does not track: add it.")
        return relative

    def real_path(self, path: str) -> str:
        """Return where a file or link of this tree really is."""
        if path in self.links:
            return self.follow(path)
        return path

    def subfolders(self, folder: str) -> list[str]:
        return self._subfolders.get(folder, [])

    def expand(self, folder: str) -> dict[str, Path]:
        """Return what a folder holds, links followed: real files by path relative to `folder`."""
        return dict(self._walk(folder, "", frozenset()))

    def _walk(self, folder: str, prefix: str, above: frozenset[str]) -> Iterator[tuple[str, Path]]:
        if folder in above:
            raise Refused(f"The links below {folder} lead round in circles: remove the one that leads up.")
        above |= {folder}
        for file in self._by_folder.get(folder, []):
            name = prefix + PurePosixPath(file).name
            target = self.real_path(file)
            if target in self.folders:
                yield from self._walk(target, f"{name}/", above)
            else:
                yield name, self.root / target
        for subfolder in self.subfolders(folder):
            if PurePosixPath(subfolder).name not in NEVER_COPIED:
                yield from self._walk(subfolder, f"{prefix}{PurePosixPath(subfolder).name}/", above)


def parents(path: str) -> list[str]:
    """Return the folders above a path, nearest first; the root is "."."""
    return [parent.as_posix() for parent in PurePosixPath(path).parents]


@dataclass
class _Entries:
    """What is gathered while a checkout is read."""

    files: dict[str, str] = field(default_factory=dict)
    submodules: dict[str, str] = field(default_factory=dict)
    pinned: dict[str, str] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)


def read_checkout(root: Path, *, allow_dirty: bool = False, allow_absent: bool = False) -> Tree:
    """Read a git checkout.

    :param allow_dirty: take the working tree as it is, untracked files included.
    :param allow_absent: note submodules that are not initialised instead of refusing them.
    :raise Refused: it has uncommitted changes, or a submodule is not initialised.
    """
    if not git.is_checkout(root):
        raise Refused(f"{root} is not the root of a git checkout: name the folder that has .git in it.")
    entries = _Entries()
    _read_entries(root, "", entries, allow_dirty=allow_dirty, allow_absent=allow_absent)
    if not allow_dirty and (changed := git.changed_paths(root)):
        raise Refused(
            f"The working tree has changes that are not committed ({_some(changed)}): "
            "commit them, or build with --allow-dirty."
        )
    return Tree(
        root=root,
        files=frozenset(entries.files),
        links=frozenset(path for path, mode in entries.files.items() if mode == git.LINK_MODE),
        submodules=entries.submodules,
        pinned=entries.pinned,
        absent=frozenset(entries.absent),
    )


def _read_entries(root: Path, prefix: str, found: _Entries, *, allow_dirty: bool, allow_absent: bool) -> None:
    folder = root / prefix
    for entry in git.index_entries(folder):
        path = prefix + entry.path
        if entry.mode != git.SUBMODULE_MODE:
            if not allow_dirty or os.path.lexists(root / path):
                found.files[path] = entry.mode
            continue
        found.pinned[path] = entry.sha
        if git.is_checkout(root / path):
            found.submodules[path] = git.head_commit(root / path)
            _read_entries(root, f"{path}/", found, allow_dirty=allow_dirty, allow_absent=allow_absent)
        elif allow_absent:
            found.absent.add(path)
        else:
            raise Refused(f"Submodule {path} is not initialised: run git submodule update --init --recursive.")
    if allow_dirty:
        for path in git.untracked_files(folder):
            is_link = os.path.islink(folder / path)
            found.files[prefix + path] = git.LINK_MODE if is_link else "100644"


def read_folder(root: Path) -> Tree:
    """Read a folder that need not be a checkout, such as a second place with Enterprise's addons."""
    if git.is_checkout(root):
        return read_checkout(root, allow_dirty=True)
    if not root.is_dir():
        raise Refused(f"{root} is not a folder.")
    files = set()
    for folder, names, found in os.walk(root):
        names[:] = [name for name in names if name not in NEVER_COPIED]
        links = [name for name in names if os.path.islink(os.path.join(folder, name))]
        files |= {Path(folder, name).relative_to(root).as_posix() for name in [*found, *links]}
    return Tree(root, frozenset(files), frozenset(path for path in files if (root / path).is_symlink()))


def _some(paths: Iterable[str], limit: int = 3) -> str:
    names = sorted(paths)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
