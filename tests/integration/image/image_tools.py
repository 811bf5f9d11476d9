"""Docker's client, and what the build command answered."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.setup import engine

ROOT = Path(__file__).resolve().parents[3]
LABEL = "--label=odooops.test=image"


def docker(*argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([engine.client(), *argv], capture_output=True, text=True)
    if check and done.returncode:
        pytest.fail(f"docker {' '.join(argv[:2])}: {done.stderr.strip()[-1500:]}")
    return done


@dataclass(frozen=True)
class Built:
    """What build_image.py answered."""

    code: int
    errors: str
    result: dict[str, object]

    @property
    def image(self) -> str:
        assert self.code == 0, self.errors[-3000:]
        return str(self.result["image"])


Build = Callable[..., Built]
