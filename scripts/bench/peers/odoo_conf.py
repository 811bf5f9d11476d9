"""The files of an Odoo that runs beside ours: the same settings as the customer's own, another database."""

from __future__ import annotations

import configparser
import os
import secrets
import shutil
from pathlib import Path

from scripts.bench.site import Site

UID = GID = 10019


class PeerFiles:
    """`odoo.conf` and a data directory for one database, which is named like its role."""

    def __init__(self, site: Site, database: str) -> None:
        self._site, self._database = site, database
        self.folder = site.folder / database
        self.password = secrets.token_urlsafe(16)

    def write(self) -> None:
        """Write both anew; the customer's files go along as a copy."""
        world = self._site.customer
        project, environment = world.key("prod").split("/")
        theirs = Path(self._site.stack.data_root) / project / environment
        shutil.rmtree(self.folder, ignore_errors=True)
        data = self.folder / "data"
        shutil.copytree(theirs / "filestore" / world.database("prod").name, data / "filestore" / self._database)
        # One file a deployment, by its token; an update's own is gone when the update is over.
        newest = max(theirs.glob("odoo-*.conf"), key=lambda path: path.stat().st_mtime)
        self._write_conf(newest)
        for path in (data, *data.rglob("*"), self.folder / "odoo.conf"):
            os.chown(path, UID, GID)

    def mounts(self) -> list[str]:
        volumes = {self.folder / "odoo.conf": "/etc/odoo/odoo.conf:ro", self.folder / "data": "/var/lib/odoo"}
        return [f"--volume={source}:{target}" for source, target in volumes.items()]

    def _write_conf(self, theirs: Path) -> None:
        conf = configparser.RawConfigParser()
        conf.read(theirs)
        own = {
            "db_user": self._database,
            "db_password": self.password,
            "db_name": self._database,
            "dbfilter": f"^{self._database}$",
            "proxy_mode": "False",
            "data_dir": "/var/lib/odoo",
        }
        conf["options"].update(own)
        with (self.folder / "odoo.conf").open("w") as file:
            conf.write(file)
        (self.folder / "odoo.conf").chmod(0o600)
