"""What a pull request changes: from the commit it branched off to the working tree, files and their contents.

A submodule that moved counts with what moved inside it, as far as its repository has both commits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from .. import git
from ..errors import Refused
from ..tree import Tree

# The contents of other files are of no use to any check.
READ_SUFFIXES = (".py", ".xml", ".csv", ".sql", ".txt", ".yaml", ".yml", ".toml", ".cfg")
MAX_READ_BYTES = 2_000_000
ADDED, MODIFIED, DELETED = "added", "modified", "deleted"
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
# What people write for it: nothing was ever released.
NOTHING_BEFORE = "none"
HUNK = re.compile(r"@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@")


@dataclass(frozen=True)
class Change:
    """One file, or one submodule, that is not as it was.

    :ivar status: "added", "modified" or "deleted".
    :ivar before: its text before, None where there was none or it is of no use to read.
    :ivar after: its text now.
    :ivar submodule: the commits before and now, where it is a submodule.
    """

    path: str
    status: str
    before: str | None = None
    after: str | None = None
    submodule: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Changes:
    """All changes since `base`; of them `lines` by path, the numbers of lines that are new or other now."""

    base: str
    items: tuple[Change, ...]
    lines: Mapping[str, frozenset[int]] = field(default_factory=dict)
    removed_lines: int = 0

    @cached_property
    def paths(self) -> frozenset[str]:
        return frozenset(change.path for change in self.items)

    def below(self, folder: str) -> list[Change]:
        return [change for change in self.items if change.path.startswith(f"{folder}/")]

    @property
    def line_count(self) -> int:
        return sum(map(len, self.lines.values())) + self.removed_lines


def read(tree: Tree, base: str) -> Changes:
    """Compare the working tree with a commit.

    :raise Refused: the commit is not in this checkout.
    """
    if base != EMPTY_TREE and not git.has_commit(tree.root, base):
        raise Refused(
            f"Commit {base[:12]} is not in this checkout, so nothing can be compared with it: check out with the "
            "whole history (actions/checkout with fetch-depth: 0)."
        )
    items = _read_one(tree.root, "", base)
    lines, removed = parse_lines(git.changed_lines(tree.root, base, "--ignore-submodules=all"))
    for path in git.untracked_files(tree.root):
        if (change := _untracked(tree.root, path)) is not None:
            items.append(change)
            lines[path] = frozenset(range(1, (change.after or "").count("\n") + 1))
    items += [inner for change in items if change.submodule for inner in _inside(tree, change)]
    return Changes(base, tuple(sorted(items, key=lambda change: change.path)), lines, removed)


def _read_one(root: Path, prefix: str, before: str, *more: str) -> list[Change]:
    found = git.differences(root, before, *more)
    wanted = [one.before_sha for one in found if _is_text(one.path) and one.before_sha != git.NOTHING]
    wanted += [one.after_sha for one in found if more and _is_text(one.path) and one.after_sha != git.NOTHING]
    blobs = git.blobs(root, sorted(set(wanted)))
    return [_change(root, prefix, one, blobs, on_disk=not more) for one in found]


def _change(root: Path, prefix: str, one: git.Difference, blobs: Mapping[str, bytes], *, on_disk: bool) -> Change:
    status = {"A": ADDED, "D": DELETED}.get(one.status, MODIFIED)
    if git.SUBMODULE_MODE in (one.before_mode, one.after_mode):
        before = one.before_sha if one.before_mode == git.SUBMODULE_MODE else git.NOTHING
        after = one.after_sha if one.after_mode == git.SUBMODULE_MODE else git.NOTHING
        if after == git.NOTHING and status != DELETED and git.is_checkout(root / one.path):
            after = git.head_commit(root / one.path)
        return Change(prefix + one.path, status, submodule=(before, after))
    now = _read_file(root / one.path) if on_disk else _text(blobs.get(one.after_sha))
    return Change(prefix + one.path, status, _text(blobs.get(one.before_sha)), None if status == DELETED else now)


def _inside(tree: Tree, change: Change) -> list[Change]:
    """Return what a submodule's move changes in the addons that are selected from it."""
    before, after = change.submodule or (git.NOTHING, git.NOTHING)
    folder = tree.root / change.path
    if git.NOTHING in (before, after) or change.path in tree.absent or not git.is_checkout(folder):
        return []
    if not (git.has_commit(folder, before) and git.has_commit(folder, after)):
        return []
    names = sorted(link.rpartition("/")[2] for link in tree.links if link.startswith("addons/oca/selected/"))
    return _read_one(folder, f"{change.path}/", before, after, "--", *names) if names else []


def _untracked(root: Path, path: str) -> Change | None:
    if path.endswith("/"):  # a git repository that is no submodule
        return None
    return Change(path, ADDED, None, _read_file(root / path))


def _is_text(path: str) -> bool:
    return path.endswith(READ_SUFFIXES)


def _read_file(path: Path) -> str | None:
    if not _is_text(path.name) or path.is_symlink() or not path.is_file():
        return None
    return _text(path.read_bytes())


def _text(content: bytes | None) -> str | None:
    if content is None or len(content) > MAX_READ_BYTES:
        return None
    return content.decode("utf-8", errors="replace")


def parse_lines(diff: str) -> tuple[dict[str, frozenset[int]], int]:
    """Return from a diff without context the numbers of new lines by path, and how many lines went."""
    found: dict[str, set[int]] = {}
    path, removed, left = "", 0, 0
    for line in diff.splitlines():
        if left == 0 and line.startswith("+++ "):
            path = line[6:] if line.startswith("+++ b/") else ""
        elif left == 0 and (hunk := HUNK.match(line)):
            start, count = int(hunk[1]), int(hunk[2] or 1)
            old = re.match(r"@@ -\d+(?:,(\d+))? ", line)
            gone = int(old[1]) if old and old[1] is not None else 1
            left, removed = count + gone, removed + gone
            if path and count:
                found.setdefault(path, set()).update(range(start, start + count))
        elif left and line[:1] in "+-":
            left -= 1
    return {name: frozenset(numbers) for name, numbers in found.items()}, removed


def names_of(paths: Iterable[str], limit: int = 3) -> str:
    """Return some paths as text."""
    shown = sorted(paths)
    return ", ".join(shown[:limit]) + (f" and {len(shown) - limit} more" if len(shown) > limit else "")
