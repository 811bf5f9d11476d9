"""The customer's workflows: the scripts of `scripts/ci`, run as GitHub Actions would run them.

Each is a process of its own with the API key in its environment; what it prints is what a workflow gets.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.setup import paths

from .sample_repository import Commit, SampleRepository

SCRIPTS = paths.ROOT / "scripts" / "ci"
MAIN = "refs/heads/main"
# Of preflight's checks, what runs without a developer's tools; the policy "demo" requires these.
CHECKS = ("risk", "version")
# What a workflow's step gets from its machine, and nothing of ours.
INHERITED = ("PATH", "HOME", "LANG", "DOCKER_HOST", "TMPDIR")


class WorkflowError(Exception):
    """A step of a workflow ended with an error; the text is what it wrote, `exit_code` how it ended."""

    def __init__(self, step: str, exit_code: int, text: str) -> None:
        super().__init__(f"{step} ended with {exit_code}: {text}")
        self.exit_code = exit_code
        self.text = text


@dataclass(frozen=True)
class Built:
    """A commit of main as CI pushed and registered it."""

    sha: str
    image: str
    release: int
    manifest: dict[str, Any]
    seconds: float
    output: Path

    @property
    def digest(self) -> str:
        return self.image.partition("@")[2]


class Workflow:
    """One repository's workflows.

    :param console_url: where the control Odoo is
    :param key: the CI user's API key
    :param image_repository: where images go, without a tag
    :param secrets: build secrets of this machine, by name
    """

    def __init__(
        self,
        repository: SampleRepository,
        folder: Path,
        project: str,
        console_url: str,
        key: str,
        image_repository: str,
        secrets: dict[str, Path],
    ) -> None:
        self.repository, self.project, self.image_repository = repository, project, image_repository
        self._folder, self._secrets = folder, secrets
        self._environment = {"ODOOOPS_URL": console_url, "ODOOOPS_API_KEY": key}
        self._folder.mkdir(parents=True, exist_ok=True)

    def push_main(self, commit: Commit) -> Built:
        """Do what the workflow of a push to main does: check, build once, push by digest, register."""
        output = self._folder / f"{commit.sha}.json"
        began = time.monotonic()
        checks = self.check(commit)
        built = self.build(commit, output)
        release = self.register(output, MAIN, checks)
        return Built(commit.sha, built["image"], release["id"], built["manifest"], time.monotonic() - began, output)

    def push_tag(self, built: Built, tag: str) -> int:
        """Do what the workflow of a tag does first: name what was built of its commit. Returns the release's id."""
        ref = f"refs/tags/{tag}"
        argv = ("--project", self.project, "--ref", ref, "--commit-sha", built.sha)
        return int(self.run("register_release.py", *argv)["id"])

    def check(self, commit: Commit) -> Path:
        """Run the checks that need no linter, no server and no OCA repository of their own; return their results."""
        output = self._folder / f"{commit.sha}.checks.json"
        self._run("preflight", *CHECKS, "--source", str(self.repository.path), "--json", str(output))
        return output

    def build(self, commit: Commit, output: Path) -> dict[str, Any]:
        secrets = [f"--secret={name}={path}" for name, path in sorted(self._secrets.items())]
        return self.run(
            "build_image.py", "--source", str(self.repository.path), "--repository", self.image_repository,
            "--output", str(output), *secrets,
        )  # fmt: skip

    def register(self, output: Path, ref: str, checks: Path | None = None) -> dict[str, Any]:
        argv = ["--project", self.project, "--ref", ref, "--build", str(output)]
        return self.run("register_release.py", *argv, *(["--checks", str(checks)] if checks else []))

    def request(self, environment: str, ref: str, sha: str) -> int:
        """Ask for a deployment; returns its id."""
        name = f"{self.project}/{environment}"
        return int(self.run("request_deployment.py", "--environment", name, "--ref", ref, "--commit-sha", sha)["id"])

    def run(self, script: str, *arguments: str) -> dict[str, Any]:
        """Run one script and return the JSON it prints."""
        return dict(json.loads(self._run(script, *arguments).strip().splitlines()[-1]))

    def _run(self, script: str, *arguments: str) -> str:
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        done = subprocess.run(
            [sys.executable, str(SCRIPTS / script), *arguments], env={**inherited, **self._environment},
            capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        if done.returncode:
            raise WorkflowError(script, done.returncode, (done.stderr or done.stdout)[-4000:].strip())
        return done.stdout
