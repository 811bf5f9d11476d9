"""Fetch an OCA addon as PyPI has it, and unpack it: for places that can't reach its repository."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import Refused

MAX_UNPACKED_BYTES = 200_000_000


@dataclass(frozen=True)
class Wheel:
    """A wheel that was fetched: what pip calls it, and its SHA-256."""

    requirement: str
    sha256: str
    path: Path


@contextmanager
def fetch(module: str, version: str) -> Iterator[Wheel]:
    """Lend an addon's wheel, through pip as it is set up here.

    :raise Refused: pip can't get it; its own last line says why.
    """
    requirement = f"odoo-addon-{module.replace('_', '-')}=={version}"
    with tempfile.TemporaryDirectory(prefix="odooops-wheel-") as folder:
        options = ["--quiet", "--disable-pip-version-check", "--retries=2", "--no-deps", "--only-binary=:all:"]
        argv = [sys.executable, "-m", "pip", "download", *options, f"--dest={folder}", requirement]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        found = sorted(Path(folder).glob("*.whl"))
        if done.returncode or not found:
            lines = done.stderr.strip().splitlines() or ["pip said nothing"]
            raise Refused(f"pip can't fetch {requirement}: {lines[-1]}.")
        yield Wheel(requirement, hashlib.sha256(found[0].read_bytes()).hexdigest(), found[0])


def unpack(wheel: Path, module: str, folder: Path) -> None:
    """Write the addon's files into a folder that is not there yet.

    :raise Refused: the wheel holds no such addon, or a name in it leads elsewhere.
    """
    prefix = PurePosixPath("odoo/addons", module)
    with zipfile.ZipFile(wheel) as archive:
        inside = [info for info in archive.infolist() if PurePosixPath(info.filename).is_relative_to(prefix)]
        files = [info for info in inside if not info.is_dir()]
        if not files:
            raise Refused(f"{wheel.name} holds no addon {module}: name the module as its repository does.")
        if any(".." in PurePosixPath(info.filename).parts for info in files):
            raise Refused(f"{wheel.name} has a file that leads out of the addon: do not use it.")
        if sum(info.file_size for info in files) > MAX_UNPACKED_BYTES:
            raise Refused(f"{wheel.name} is larger than {MAX_UNPACKED_BYTES // 1_000_000} MB unpacked: do not use it.")
        for info in files:
            target = folder / PurePosixPath(info.filename).relative_to(prefix)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(info))
