"""A customer's repository in a few lines, and the modules under test on the path."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
for folder in ("scripts/ci", "docker/odoo/rootfs/usr/local/lib/odooops", "docker/odoo/build"):
    if str(ROOT / folder) not in sys.path:
        sys.path.append(str(ROOT / folder))


class Repository:
    """A git repository for a test; paths are relative to it."""

    def __init__(self, path: Path, *, new: bool = True) -> None:
        self.path = path
        if new:
            path.mkdir(parents=True)
            self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        identity = {
            f"GIT_{who}_{what}": "t@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        environment = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", *arguments],
            cwd=self.path, env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.strip()

    def write(self, path: str, text: str = "") -> None:
        (self.path / path).parent.mkdir(parents=True, exist_ok=True)
        (self.path / path).write_text(text)

    def addon(self, path: str, **manifest: object) -> None:
        name = path.rpartition("/")[2]
        self.write(f"{path}/__manifest__.py", repr({"name": name, "version": "19.0.1.0.0", **manifest}))
        self.write(f"{path}/__init__.py")

    def link(self, path: str, target: str) -> None:
        (self.path / path).parent.mkdir(parents=True, exist_ok=True)
        (self.path / path).symlink_to(target)

    def commit(self, message: str = "change") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def make_repository(tmp_path):
    return lambda name: Repository(tmp_path / name)


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """A repository with a custom addon and one of the OCA's that came the golden path."""
    folder = tmp_path_factory.mktemp("template")
    oca = Repository(folder / "partner-contact")
    oca.addon("partner_firstname", depends=["base_setup"])
    oca.addon("partner_ref")
    oca.commit()
    customer = Repository(folder / "customer")
    customer.git("submodule", "--quiet", "add", str(oca.path), "addons/oca/repos/partner-contact")
    customer.link("addons/oca/selected/partner_firstname", "../repos/partner-contact/partner_firstname")
    customer.write("allowlist.yaml", "modules:\n  - name: partner_firstname\n    tier: low\n")
    customer.addon("addons/custom/workshop", depends=["mail"])
    customer.commit("first")
    return folder


@pytest.fixture
def repository(template, tmp_path) -> Repository:
    """A copy of the template for one test."""
    shutil.copytree(template, tmp_path, symlinks=True, dirs_exist_ok=True)
    return Repository(tmp_path / "customer", new=False)
