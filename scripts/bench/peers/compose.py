"""`docker compose up -d --force-recreate` and `odoo -u`, on a copy of the customer's database and the same images.

Its visitors reach Odoo at the container's own published port: no proxy that could answer 502 in its place. Same
PostgreSQL, workers and limits as ours; no hold, no drain, no copy to go back to.
"""

from __future__ import annotations

import shutil
import socket
import tarfile
from pathlib import Path

from scripts.bench import postgres
from scripts.bench.peers.odoo_conf import PeerFiles
from scripts.bench.site import Site, ask, wait_for_release
from scripts.setup import engine, shell

ROLE = "bench_compose"
HOST = "localhost"
FILE = Path(__file__).with_name("compose.yaml")
WARM_REQUESTS = 24


class ComposePeer:
    """One Odoo under Compose, on ROLE's database."""

    def __init__(self, site: Site, source: str) -> None:
        """`source` is the database that each start begins with, as it was before the change."""
        self._site, self.stack, self._source = site, site.stack, source
        self._files = PeerFiles(site, ROLE)
        self._image = ""
        self.address = ("127.0.0.1", _free_port())

    @property
    def folder(self) -> Path:
        return self._files.folder

    @property
    def filestore(self) -> Path:
        return self.folder / "data" / "filestore"

    def unpack(self, archive: Path) -> None:
        """Put an archived filestore in the place of the present one."""
        shutil.rmtree(self.filestore)
        with tarfile.open(archive) as tar:
            tar.extractall(self.filestore.parent, filter="tar")

    def prepare(self) -> None:
        postgres.make_role(self._site, ROLE, self._files.password)
        self._files.write()

    def start(self, image: str, release: str) -> None:
        """Start on a fresh copy of the database, and warm it."""
        self.stop()
        postgres.copy_by_template(self.stack, self._source, ROLE, ROLE)
        self.recreate(image)
        wait_for_release(self.address, HOST, release)
        for _ in range(WARM_REQUESTS):
            ask(self.address, HOST, "/workshop/status")

    def recreate(self, image: str) -> None:
        """Do what a person does who changed the image in compose.yaml."""
        self._image = image
        self._compose("up", "--detach", "--force-recreate")

    def update(self, module: str) -> None:
        """Update within the running container; Odoo's workers notice and load their registry anew."""
        self._compose("exec", "-T", "odoo", *self._update(module))

    def update_aside(self, image: str, module: str) -> None:
        """Update in a container of its own, with the new image, while the old one serves."""
        self._run_aside(image, *self._update(module))

    def neutralise(self, image: str) -> None:
        """Neutralise ROLE's database with Odoo's own command, before Odoo starts."""
        self._run_aside(image, "odoo", "neutralize", "--config=/etc/odoo/odoo.conf", f"--database={ROLE}")

    def duplicate(self, image: str) -> None:
        """Make ROLE's database a neutralised copy of the source with Odoo's own command."""
        self._run_aside(
            image, "odoo", "db", "--config=/etc/odoo/odoo.conf", "duplicate", "--neutralize", self._source, ROLE
        )

    def stop(self) -> None:
        if self._image:
            self._compose("down", "--timeout=5")
        engine.docker("rm", "--force", f"{self.stack.name}-bench-compose")

    def _run_aside(self, image: str, *argv: str) -> None:
        self._image = image
        self._compose("run", "--rm", "--no-deps", "-T", "odoo", *argv)

    @staticmethod
    def _update(module: str) -> list[str]:
        return ["odoo", "--config=/etc/odoo/odoo.conf", f"--database={ROLE}", "--update", module,
                "--stop-after-init", "--no-http", "--workers=0", "--max-cron-threads=0"]  # fmt: skip

    def _compose(self, *argv: str) -> None:
        variables = {
            "PEER_IMAGE": self._image,
            "PEER_STACK": self.stack.name,
            "PEER_PORT": str(self.address[1]),
            "PEER_FOLDER": str(self._files.folder),
        }
        own = [*engine.compose_argv(), f"--file={FILE}", f"--project-name={self.stack.name}-bench", "--progress=quiet"]
        shell.run([*own, *argv], env=variables)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
