"""What the golden path does with git: submodules made, moved and taken away, and the result put into the index."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from .. import git
from ..addons import ALLOWLIST, OCA_SELECTED
from ..errors import Refused


class Submodules:
    """The submodules of one checkout."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, url: str, path: str, branch: str) -> None:
        """Clone a repository into a folder that is not there yet, at its branch's newest commit."""
        if (self.root / path).exists():
            raise Refused(f"{path} is there and is no submodule: move it away first.")
        self._git("submodule", "--quiet", "add", "--branch", branch, "--", url, path)

    def move(self, path: str, to: str, series: str) -> None:
        """Check out a commit, or the newest of the branch that .gitmodules names (else the series')."""
        section = f"submodule.{path}.branch"
        branch = configured(self.root, section, "--file", ".gitmodules") or series
        self._git("-C", path, "fetch", "--quiet", "origin", to or branch)
        commit = git.commit_of(self.root / path, to) if to else None
        self._git("-C", path, "checkout", "--quiet", "--detach", commit or "FETCH_HEAD")

    def drop(self, path: str) -> None:
        """Remove a submodule and the clone that git keeps of it."""
        self._git("submodule", "--quiet", "deinit", "--force", "--", path)
        self._git("rm", "--quiet", "--force", "--", path)
        common = git.run(self.root, "rev-parse", "--path-format=absolute", "--git-common-dir").strip()
        shutil.rmtree(Path(common) / "modules" / path, ignore_errors=True)

    def forget(self, path: str) -> None:
        """Remove what an `add` that failed has left, however far it came."""
        steps: list[Callable[[], None]] = [
            lambda: self.drop(path),
            lambda: self._git("config", "--file", ".gitmodules", "--remove-section", f"submodule.{path}"),
        ]
        for step in steps:
            try:
                step()
            except Refused:
                continue  # that much of it had not been made
        shutil.rmtree(self.root / path, ignore_errors=True)
        modules = self.root / ".gitmodules"
        if modules.is_file() and not modules.read_text().strip():
            self._git("rm", "--quiet", "--cached", "--ignore-unmatch", "--force", ".gitmodules")
            modules.unlink()

    def stage(self, paths: list[str]) -> None:
        """Put what was done into the index; the commit is the developer's."""
        wanted = [*paths, ALLOWLIST, OCA_SELECTED]
        there = [path for path in wanted if os.path.lexists(self.root / path)]
        tracked = [path for path in wanted if path not in there and git.run(self.root, "ls-files", "--", path)]
        self._git("add", "--all", "--", *there, *tracked)

    def _git(self, *arguments: str) -> None:
        # A repository on this disk is one that the developer named; git refuses those by default since 2.38.1.
        git.run(self.root, "-c", "protocol.file.allow=always", *arguments)


def configured(root: Path, name: str, *where: str) -> str:
    """Return a value of git's configuration, "" where there is none."""
    argv = ["git", "-C", str(root), "config", *where, "--get", name]
    done = subprocess.run(argv, capture_output=True, text=True, env=git.environment(), check=False)
    return done.stdout.strip()
