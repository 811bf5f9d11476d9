"""The linters' settings as they were before the change: what is judged must not choose its judge.

A pull request that brings settings of its own is linted with those of the commit it is compared with; its own count
from the next change on. pylint runs code that its settings name, on the machine that lints: that is refused whoever
wrote it.
"""

from __future__ import annotations

import configparser
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from .. import git
from .changes import EMPTY_TREE, Changes
from .findings import NOTICE, Finding

PYLINT, OCA = ".pylintrc", ".oca_hooks.cfg"
RUFF = ("ruff.toml", ".ruff.toml", "pyproject.toml")
PLUGINS = ("pylint_odoo", "pylint.extensions.")


@contextlib.contextmanager
def before(root: Path, changes: Changes) -> Iterator[Path]:
    """Give the folder in which the settings are as they were: the checkout itself where none of them changed."""
    if not changed(changes) or changes.base == EMPTY_TREE:
        yield root
        return
    with tempfile.TemporaryDirectory(prefix="preflight-settings-") as name:
        # As the tools print it.
        folder = Path(name).resolve()
        for path in _all(root, changes.base):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(git.text_at(root, changes.base, path) or "", encoding="utf-8")
        yield folder


def changed(changes: Changes) -> list[str]:
    """Return the settings that the change brings or takes away."""
    return sorted(path for path in changes.paths if _is_settings(path))


def notices(changes: Changes) -> list[Finding]:
    if changes.base == EMPTY_TREE:
        return []
    return [
        Finding(path, "It was left alone here, as a change does not choose its own linters.",
                "These settings count once they are on main.", "lint-settings", level=NOTICE)
        for path in changed(changes)
    ]  # fmt: skip


def pylint_refusals(root: Path) -> list[Finding]:
    """Return what in .pylintrc would run code of the repository's."""
    # As pylint itself reads it.
    parser = configparser.ConfigParser(inline_comment_prefixes=("#", ";"), interpolation=None, strict=False)
    try:
        parser.read(root / PYLINT, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        return [_refusal(f"can't be read: {' '.join(str(error).split())}")]
    options = [
        (key.replace("_", "-"), value) for section in parser.sections() for key, value in parser[section].items()
    ]
    return [_refusal(f"has {key}") for key, value in options if _runs_code(key, value)]


def _runs_code(key: str, value: str) -> bool:
    # pylint understands options that are cut short, too.
    if key.startswith("load"):
        return any(not name.startswith(PLUGINS) for name in value.replace(",", " ").split())
    return key.startswith(("init-h", "unsafe-"))


def _refusal(what: str) -> Finding:
    return Finding(
        PYLINT, f"It {what}, which pylint would run on the machine that lints.",
        f"Take it out; of load-plugins, {PLUGINS[0]} and {PLUGINS[1]}* are fine.", "lint-settings-run-code",
    )  # fmt: skip


def _all(root: Path, commit: str) -> list[str]:
    listed = git.run(root, "ls-tree", "-r", "-z", "--name-only", commit).split("\0")
    return [path for path in listed if path and _is_settings(path)]


def _is_settings(path: str) -> bool:
    return path in (PYLINT, OCA) or PurePosixPath(path).name in RUFF
