"""Write the build context: a folder whose content depends on the repository alone.

Permissions are made equal and a file's time is made from its content: Odoo versions its asset bundles by
the files' times, so with those of a checkout every deployment would make every visitor's browser and the
server build all of them anew, and with one time for all, a change would not be seen.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from .addons import Addon, Selection
from .requirements import Needs

ORIGINS = ("custom", "oca", "enterprise")
IMAGE_FOLDER = Path(__file__).resolve().parents[3] / "docker" / "odoo"
FIRST_TIME = 978_307_200  # 2001-01-01; the last is 8.5 years later, so always in the past
NOT_COPIED = (".pyc", ".pyo")


def write(folder: Path, selection: Selection, needs: Needs, build: Mapping[str, object]) -> None:
    """Write the context for `docker build` into an empty folder.

    :param build: what the image's manifest is to say of this build (commit_sha, submodules, base_image …).
    """
    folder.mkdir(parents=True, exist_ok=True)
    for source in sorted(path for path in IMAGE_FOLDER.rglob("*") if path.is_file()):
        if "__pycache__" not in source.parts:
            copy_file(source, folder / source.relative_to(IMAGE_FOLDER))
    for origin in ORIGINS:
        (folder / origin).mkdir()
    write_addons(folder, selection.addons)
    write_text(folder / "apt.txt", "".join(f"{name}\n" for name in needs.packages))
    write_text(folder / "requirements/files.txt", "".join(f"{name}\n" for name in needs.requirements))
    write_json(folder / "requirements/external.json", needs.external)
    for name, source in needs.files.items():
        copy_file(source, folder / "requirements/files" / name)
    write_json(folder / "build.json", {**build, "unselected": selection.unselected})
    for path in folder.rglob("*/"):
        path.chmod(0o755)  # whatever this user's umask is


def write_addons(folder: Path, addons: Iterable[Addon]) -> None:
    for addon in addons:
        for name, source in addon.tree.expand(addon.folder).items():
            if not name.endswith(NOT_COPIED):
                copy_file(source, folder / addon.origin / addon.name / name)


def copy_file(source: Path, target: Path) -> None:
    """Copy content and the right to execute; nothing else of the file."""
    _write(target, source.read_bytes(), executable=os.access(source, os.X_OK))


def write_text(path: Path, text: str) -> None:
    _write(path, text.encode(), executable=False)


def write_json(path: Path, value: object) -> None:
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n")


def _write(path: Path, content: bytes, *, executable: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755 if executable else 0o644)
    time = FIRST_TIME + int(hashlib.sha256(content).hexdigest()[:7], 16)
    os.utime(path, (time, time))
