"""A repository in a few lines, as the image's tests have it, and the gate run on it in this process."""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT / "scripts/ci") not in sys.path:
    sys.path.append(str(ROOT / "scripts/ci"))

_SPEC = importlib.util.spec_from_file_location("image_conftest", ROOT / "tests/unit/image/conftest.py")
_IMAGE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_IMAGE)
Repository = _IMAGE.Repository
TODAY = datetime.date(2026, 11, 23)


class Gate:
    """A repository with a first commit on main; what is written after it is what a pull request changes."""

    def __init__(self, folder: Path) -> None:
        from odooops_ci.preflight import cli

        self._cli = cli
        self.folder = folder
        self.repository = Repository(folder / "customer")
        self.write, self.git, self.link = self.repository.write, self.repository.git, self.repository.link
        self.path = self.repository.path

    def addon(self, path: str, files: dict[str, str] | None = None, **manifest: object) -> None:
        self.repository.addon(path, **{"license": "LGPL-3", "depends": ["base"], **manifest})
        for name, text in (files or {}).items():
            self.write(f"{path}/{name}", text)

    def commit(self) -> str:
        return self.repository.commit()

    def branch(self) -> None:
        """Commit what is there to main, and begin the pull request."""
        self.commit()
        self.git("checkout", "--quiet", "-b", "feature")

    def oca(self, name: str, **addons: dict[str, object]) -> Repository:
        """Make a repository of the OCA with these addons."""
        repository = Repository(self.folder / "oca" / name)
        for addon, manifest in addons.items():
            repository.addon(addon, **{"license": "AGPL-3", "depends": ["base"], **manifest})
        repository.commit()
        return repository

    def submodule(self, source: Repository) -> str:
        path = f"addons/oca/repos/{source.path.name}"
        self.git("submodule", "--quiet", "add", f"file://{source.path}", path)
        return path

    def select(self, source: Repository, module: str) -> None:
        self.link(f"addons/oca/selected/{module}", f"../repos/{source.path.name}/{module}")

    def allow(self, *entries: str, policy: str = "") -> None:
        self.write("allowlist.yaml", f"{policy}modules:\n{''.join(entries) or '  []'}\n")

    def report(self, check: str, *arguments: str, environment: dict[str, str] | None = None):
        parser = argparse.ArgumentParser()
        self._cli.add_arguments(parser)
        options = parser.parse_args([check, "--source", str(self.path), *arguments])
        job = self._cli.prepare(options, environment or {})
        return self._cli.run_checks(job, [check])[0]


def entry(source: Repository, module: str, **other: object) -> str:
    """Return an entry of allowlist.yaml that is right, but for `other` (None leaves a key out)."""
    values = {
        "name": module, "repository": f"file://{source.path}",
        "commit": source.git("rev-parse", "HEAD"), "licence": "AGPL-3", "tier": "low",
        "audited_by": "ada@example.com", "audited_on": "2026-11-01", **other,
    }  # fmt: skip
    lines = [f"{key}: {value}" for key, value in values.items() if value is not None]
    return "  - " + "\n    ".join(lines) + "\n"


@pytest.fixture
def gate(tmp_path) -> Gate:
    return Gate(tmp_path)
