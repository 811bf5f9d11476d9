"""Addons that were unpacked from a wheel instead of coming as a submodule: what their content is, as one hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .tree import Tree

NOT_HASHED = (".pyc", ".pyo")


def content_hash(tree: Tree, folder: str) -> str:
    """Return the SHA-256 of an addon's files as git tracks them: paths and contents, nothing else of them."""
    return _hash(tree.expand(folder))


def folder_hash(folder: Path) -> str:
    """Return the same of a folder that git does not know yet."""
    return _hash({path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()})


def _hash(files: dict[str, Path]) -> str:
    lines = [
        f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n"
        for name, path in sorted(files.items())
        if not name.endswith(NOT_HASHED) and "__pycache__" not in name
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
