"""This repository passes its own gate, ships OCA modules the golden path's way, and packages what it needs."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys

from .conftest import ROOT


def test_allowlist_of_this_repository_passes():
    argv = [sys.executable, str(ROOT / "scripts/ci/preflight"), "allowlist", "--source", str(ROOT)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 selected OCA modules against 2 entries: nothing found" in done.stdout


def test_linters_have_one_version():
    """The same in the package's extra, in the development requirements and in the pre-commit hooks."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "scripts/ci/setup.cfg")
    packaged = dict(re.findall(r"^([a-z0-9-]+) ==(\S+)$", setup["options.extras_require"]["lint"], re.MULTILINE))
    development = dict(re.findall(r"^([a-z0-9_-]+)==(\S+)$", (ROOT / "scripts/setup/requirements-dev.txt").read_text(),
                                  re.MULTILINE))  # fmt: skip
    assert packaged
    assert packaged == {name: development[name] for name in packaged}
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert all(f"rev: v{version}" in hooks for version in packaged.values())


def test_data_files_are_packaged():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "scripts/ci/setup.cfg")
    patterns = setup["options.package_data"]["odooops_ci.preflight"].split(", ")
    folder = ROOT / "scripts/ci/odooops_ci/preflight"
    packaged = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    data = {
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".py" and not {"__pycache__", ".ruff_cache"} & set(path.parts)
    }
    assert data == packaged
