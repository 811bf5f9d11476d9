"""Ask git about a checkout: argv lists, NUL-separated answers, and no shell."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import Refused

SUBMODULE_MODE = "160000"
LINK_MODE = "120000"


@dataclass(frozen=True)
class Entry:
    """What the index says of one path."""

    mode: str
    sha: str
    path: str


def run(folder: Path, *arguments: str) -> str:
    """Return what git prints.

    :raise Refused: git failed; its own last line says why.
    """
    argv = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(argv, capture_output=True, check=False)
    except FileNotFoundError:
        raise Refused("The program git is not installed, and the build reads the repository with it.") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise Refused(f"git {arguments[0]} fails in {folder}: {lines[0].removeprefix('fatal: ')}.")
    return done.stdout.decode(errors="surrogateescape")


def is_checkout(folder: Path) -> bool:
    return (folder / ".git").exists()


def head_commit(folder: Path) -> str:
    return run(folder, "rev-parse", "--verify", "HEAD^{commit}").strip()


def author_and_subject(folder: Path) -> tuple[str, str]:
    """Return the author's address and the first line of HEAD: nobody may approve a commit of their own."""
    email, _, subject = run(folder, "log", "-1", "--format=%ae%x00%s").strip("\n").partition("\0")
    return email, subject[:200]


def commit_of(folder: Path, ref: str) -> str | None:
    """Return the commit that a ref names here, or None: a CI checkout need not have its branch."""
    try:
        return run(folder, "rev-parse", "--quiet", "--verify", f"{ref}^{{commit}}").strip()
    except Refused:
        return None


def index_entries(folder: Path) -> list[Entry]:
    """Return what is tracked, submodules as one entry each."""
    entries = []
    for line in _split(run(folder, "ls-files", "-z", "--stage")):
        facts, _, path = line.partition("\t")
        mode, sha, _stage = facts.split(" ")
        entries.append(Entry(mode, sha, path))
    return entries


def untracked_files(folder: Path) -> list[str]:
    return _split(run(folder, "ls-files", "-z", "--others", "--exclude-standard"))


def changed_paths(folder: Path) -> list[str]:
    """Return what differs from the commit, submodules included."""
    output = run(folder, "status", "--porcelain=v1", "-z", "--no-renames", "--ignore-submodules=none")
    return [line[3:] for line in _split(output)]


def _split(output: str) -> list[str]:
    return [part for part in output.split("\0") if part]
