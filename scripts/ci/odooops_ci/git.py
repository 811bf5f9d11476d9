"""Ask git about a checkout: argv lists, NUL-separated answers, and no shell."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import Refused

# Set while git runs a hook, for the outer repository: with them `git -C <submodule>` would look at that one.
HOOK_VARIABLES = frozenset({
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH",
})  # fmt: skip
MAX_ANCESTORS = 2000  # of 41 bytes; the releases in between tell what lies further back
SUBMODULE_MODE = "160000"
LINK_MODE = "120000"


@dataclass(frozen=True)
class Entry:
    """What the index says of one path."""

    mode: str
    sha: str
    path: str


def environment() -> dict[str, str]:
    """Return this process's variables for git, wherever it is called from."""
    return {name: value for name, value in os.environ.items() if name not in HOOK_VARIABLES}


def run(folder: Path, *arguments: str) -> str:
    """Return what git prints.

    :raise Refused: git failed; its own last line says why.
    """
    argv = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(argv, capture_output=True, env=environment(), check=False)
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


def ancestors(folder: Path) -> list[str] | None:
    """Return the commits before HEAD, newest first and bounded, or None where the checkout does not have them.

    They tell the console which releases contain one that was rolled back. A shallow clone would tell that none do.
    """
    if run(folder, "rev-parse", "--is-shallow-repository").strip() != "false":
        return None
    return run(folder, "rev-list", f"--max-count={MAX_ANCESTORS + 1}", "HEAD").split()[1:]


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


NOTHING = "0" * 40


@dataclass(frozen=True)
class Difference:
    """One path that two states differ in; a mode or sha of zeros stands for "not there" or "on disk"."""

    before_mode: str
    after_mode: str
    before_sha: str
    after_sha: str
    status: str
    path: str


def differences(folder: Path, before: str, *more: str) -> list[Difference]:
    """Return what differs between a commit and the working tree, or another commit; renames are a D and an A.

    :param more: the other commit, and after "--" the paths to look at.
    """
    words = _split(run(folder, "diff", "--raw", "-z", "--no-abbrev", "--no-renames", before, *more))
    found = []
    for facts, path in zip(words[::2], words[1::2], strict=True):
        before_mode, after_mode, before_sha, after_sha, status = facts.removeprefix(":").split(" ")
        found.append(Difference(before_mode, after_mode, before_sha, after_sha, status[0], path))
    return found


def changed_lines(folder: Path, before: str, *more: str) -> str:
    """Return the diff without context, from which the numbers of the changed lines are read."""
    return run(folder, "diff", "--unified=0", "--no-renames", "--no-color", "--no-ext-diff", "--src-prefix=a/",
               "--dst-prefix=b/", before, *more)  # fmt: skip


def merge_base(folder: Path, one: str, other: str) -> str | None:
    """Return the newest commit that both come from; None where they share none that is at hand."""
    try:
        return run(folder, "merge-base", one, other).strip() or None
    except Refused:
        return None


def contains(folder: Path, commit: str) -> bool:
    """Tell whether HEAD came from a commit, or is it; not when the commit is not at hand."""
    try:
        run(folder, "merge-base", "--is-ancestor", commit, "HEAD")
    except Refused:
        return False
    return True


def has_commit(folder: Path, commit: str) -> bool:
    """Tell whether a commit is at hand; a shallow checkout lacks most."""
    try:
        run(folder, "cat-file", "-e", f"{commit}^{{commit}}")
    except Refused:
        return False
    return True


def blobs(folder: Path, shas: list[str]) -> dict[str, bytes]:
    """Return the contents of objects, all read by one process."""
    if not shas:
        return {}
    request = "".join(f"{sha}\n" for sha in shas).encode()
    argv = ["git", "-C", str(folder), "cat-file", "--batch"]
    done = subprocess.run(argv, input=request, capture_output=True, env=environment(), check=False)
    if done.returncode:
        raise Refused(f"git cat-file fails in {folder}: {done.stderr.decode(errors='replace').strip()}.")
    found, rest = {}, done.stdout
    for sha in shas:
        header, _, rest = rest.partition(b"\n")
        words = header.decode().split(" ")
        if words[-1] == "missing":
            continue
        size = int(words[2])
        found[sha], rest = rest[:size], rest[size + 1 :]
    return found


def text_at(folder: Path, commit: str, path: str) -> str | None:
    """Return a file's text as a commit has it; None where it has none."""
    try:
        return run(folder, "cat-file", "blob", f"{commit}:{path}")
    except Refused:
        return None


def submodule_urls(folder: Path) -> dict[str, str]:
    """Return the addresses in .gitmodules by path.

    :raise Refused: the file can't be read as git's configuration.
    """
    if not (folder / ".gitmodules").is_file():
        return {}
    facts: dict[str, dict[str, str]] = {}
    for item in _split(run(folder, "config", "--file", ".gitmodules", "--null", "--list")):
        name, _, value = item.partition("\n")
        if name.startswith("submodule."):
            section, _, key = name.removeprefix("submodule.").rpartition(".")
            facts.setdefault(section, {})[key] = value
    return {values["path"]: values.get("url", "") for values in facts.values() if "path" in values}
