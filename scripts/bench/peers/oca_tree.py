"""This repository with forty real OCA addons selected: their repositories are submodules, made from PyPI's wheels."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

from scripts.setup import paths

REQUIREMENTS = Path(__file__).with_name("oca_addons.txt")
WHO = "bench@example.com"


def make(folder: Path) -> Path:
    """Make the tree in a folder and return where it is, with its last commit on a branch of its own.

    :raises RuntimeError: pip or the golden path can't do their part
    """
    wheels = download(paths.STATE / "bench" / "oca-wheels")
    tree = folder / "repository"
    git(folder, "clone", "--quiet", "--no-hardlinks", str(paths.ROOT), str(tree))
    git(tree, "checkout", "--quiet", "-B", "main")
    git(tree, "rm", "-r", "--quiet", "addons/oca/repos", "addons/oca/selected")
    (tree / "allowlist.yaml").write_text("modules: []\n")
    commit(tree, "No OCA modules")
    for name, modules in repositories(wheels, folder / "oca").items():
        for module in modules:
            golden_path(tree, "add", f"file://{folder / 'oca' / name}", module, f"--by={WHO}")
    commit(tree, "Forty OCA modules")
    return tree


def download(folder: Path) -> list[Path]:
    """Return the wheels, from PyPI if they are not here yet."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [line for line in REQUIREMENTS.read_text().splitlines() if "==" in line]
    if len(list(folder.glob("*.whl"))) < len(wanted):
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
                f"--dest={folder}", f"--requirement={REQUIREMENTS}"]  # fmt: skip
        subprocess.run(argv, check=True)
    return sorted(folder.glob("*.whl"))


def repositories(wheels: list[Path], folder: Path) -> Mapping[str, list[str]]:
    """Unpack the wheels into a git repository for each of the OCA's; return modules by repository."""
    found: dict[str, list[str]] = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.startswith("odoo/addons/") and not name.endswith("/")]
            metadata = next(name for name in archive.namelist() if name.endswith("/METADATA"))
            page = next(line for line in archive.read(metadata).decode().splitlines() if line.startswith("Home-page:"))
            repository = page.rpartition("/")[2]
            for name in names:
                target = folder / repository / name.removeprefix("odoo/addons/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
        found.setdefault(repository, []).append(names[0].split("/")[2])
    for repository in found:
        git(folder / repository, "init", "--quiet", "--initial-branch=19.0")
        commit(folder / repository, "As PyPI has it")
    return found


def remove(tree: Path, module: str) -> None:
    golden_path(tree, "remove", module)


def golden_path(tree: Path, *arguments: str) -> None:
    argv = [sys.executable, str(paths.ROOT / "scripts/ci/odooops"), "oca", *arguments]
    done = subprocess.run(argv, cwd=tree, env=environment(), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"odooops oca {' '.join(arguments)}: {done.stderr.strip()}")


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", f"--message={message}")


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, env=environment(), check=True, capture_output=True)


def environment() -> dict[str, str]:
    identity = {f"GIT_{who}_{what}": WHO for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull}
