"""Where each environment's route leads, as small files that Caddy reads at every try.

A route's upstream is the placeholder `{file.<root>/<slug>/web}`, so moving an environment is one atomic rename and
no change of Caddy's configuration. That matters: under 16 kept-alive clients, 100 changes through the admin API cut
467 client connections (each change makes Caddy close its idle ones) and fail every held request; 100 renames, none.

    <root>/<slug>                    symlink to by-alias/<alias>
    <root>/by-alias/<alias>/web      host:8069 of whoever answers the alias, or an address nobody answers
    <root>/by-alias/<alias>/websocket
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .errors import Permanent

PORTS = {"websocket": 8072, "web": 8069}  # written in this order: who is let in by `web` finds the bus there
ALIASES = "by-alias"


def slug(environment: str) -> str:
    """Return the name of an environment `<project>/<code>` in routes, networks and containers."""
    return environment.replace("/", "-")


class Targets:
    """The folder that the agent writes and Caddy reads, at the same path in both containers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # A socket that does not exist refuses at once; a name nobody has would ask the network's DNS at each try.
        self.nobody = f"unix/{root}/nobody"

    def placeholder(self, slug: str, part: str) -> str:
        """Return what a route dials: resolved by Caddy at each try, so that held requests follow a change."""
        return f"{{file.{self.root}/{slug}/{part}}}"

    def point(self, slug: str, alias: str) -> None:
        """Lead a route to an alias, whether or not somebody answers it yet."""
        self._ensure_alias(alias)
        passing = self.root / f".{slug}"
        passing.unlink(missing_ok=True)
        passing.symlink_to(f"{ALIASES}/{alias}")
        passing.replace(self.root / slug)
        self._persist(self.root)

    def unpoint(self, slug: str) -> None:
        """Lead a route nowhere any more."""
        alias = self.alias_of(slug)
        (self.root / slug).unlink(missing_ok=True)
        if alias and self._read(alias) is None:
            self._retire(alias)

    def alias_of(self, slug: str) -> str | None:
        """Return the alias a route leads to."""
        try:
            return os.path.basename(os.readlink(self.root / slug))
        except FileNotFoundError:
            return None

    def answer(self, alias: str, host: str) -> None:
        """Let `host` answer an alias, and no other that it answered before."""
        self._write(alias, {part: f"{host}:{port}" for part, port in PORTS.items()})
        for other in self._answered_by(host):
            if other != alias:
                self._retire(other)

    def answered_as(self, host: str) -> str | None:
        """Return the alias that `host` answers."""
        return next(iter(self._answered_by(host)), None)

    def address(self, alias: str) -> str | None:
        """Return `host:8069` of whoever answers the alias."""
        return self._read(alias)

    def silence(self, alias: str) -> None:
        """Let nobody answer an alias, whoever did."""
        if self._read(alias) is not None:
            self._write(alias, dict.fromkeys(PORTS, self.nobody))

    def forget(self, host: str) -> None:
        """Let a container that is going away answer nothing."""
        for alias in self._answered_by(host):
            self._retire(alias)

    def _answered_by(self, host: str) -> tuple[str, ...]:
        wanted = f"{host}:{PORTS['web']}"
        return tuple(alias for alias in self._aliases() if self._read(alias) == wanted)

    def _aliases(self) -> list[str]:
        try:
            return sorted(os.listdir(self.root / ALIASES))
        except FileNotFoundError:
            return []

    def _retire(self, alias: str) -> None:
        if alias in self._pointed_at():
            self.silence(alias)
        else:
            shutil.rmtree(self.root / ALIASES / alias, ignore_errors=True)

    def _pointed_at(self) -> set[str]:
        links = (path for path in self.root.iterdir() if path.is_symlink())
        return {os.path.basename(os.readlink(path)) for path in links}

    def _ensure_alias(self, alias: str) -> None:
        if self._read(alias) is None and not (self.root / ALIASES / alias / "web").exists():
            self._write(alias, dict.fromkeys(PORTS, self.nobody))

    def _read(self, alias: str) -> str | None:
        try:
            text = (self.root / ALIASES / alias / "web").read_text().strip()
        except FileNotFoundError:
            return None
        return None if text == self.nobody else text

    def _write(self, alias: str, addresses: dict[str, str]) -> None:
        folder = self.root / ALIASES / alias
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for part, address in addresses.items():
                passing = folder / f".{part}"
                passing.write_text(address)
                passing.chmod(0o644)  # nothing secret, and Caddy may run as another user
                passing.replace(folder / part)
            for each in (self.root, self.root / ALIASES, folder):
                each.chmod(0o755)
        except OSError as error:
            raise Permanent(
                f"The routes' folder {self.root} can't be written ({error.strerror}); "
                "make it a volume that the agent and Caddy share."
            ) from error
        self._persist(folder)

    @staticmethod
    def _persist(folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
