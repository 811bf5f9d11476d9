"""Manifests of images that were read before. A digest names one content for ever, so they never go stale."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ..names import DIGEST, require


class Shelf:
    """A folder with one file for each digest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, digest: str) -> bytes | None:
        """Return what was kept; None when nothing was, or the image is not named by a digest."""
        if not digest:
            return None
        with suppress(FileNotFoundError):
            return self._path(digest).read_bytes()
        return None

    def keep(self, digest: str, text: bytes) -> None:
        """Keep it; whoever is killed here leaves nothing or all of it."""
        if not digest:
            return
        path = self._path(digest)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        passing = path.with_suffix(".new")
        passing.write_bytes(text)
        passing.replace(path)

    def _path(self, digest: str) -> Path:
        return self._folder / f"{require(DIGEST, digest, 'digest').replace(':', '-')}.json"
