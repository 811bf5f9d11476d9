"""Every name that the agent gives to something, in one place.

An environment's key is `<project>/<code>`; what is made from it goes into Docker, PostgreSQL, paths and
URLs, so it is checked by `fullmatch` before anything is built (a `$` would let a newline through).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import Refused

PROJECT = re.compile(r"[a-z][a-z0-9-]{0,30}")
CODE = re.compile(r"[a-z][a-z0-9-]{0,20}")
# `__` is in the names of copies and `_upgrade` ends a role's: no environment's own may look like another's.
DATABASE = re.compile(r"(?!.*__)(?!.*_upgrade\Z)(?!(?:postgres|template[01])\Z)[a-z][a-z0-9_]{0,54}")
ROLE = re.compile(r"[a-z][a-z0-9_]{0,62}")
MODULE = re.compile(r"[a-z][a-z0-9_]{0,99}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
LANGUAGE = re.compile(r"[a-z]{2,3}(?:_[A-Z]{2}|_[0-9]{3})?(?:@[a-z]+)?")
REPOSITORY = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9.-]{0,200}[a-z0-9])?(?::[0-9]{1,5})?/)?"
    r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*){0,6}"
)
HOST = re.compile(r"(?=.{1,253})[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")

DATA_DIR = "/var/lib/odoo"
CONFIG_FILE = "/etc/odoo/odoo.conf"
HELPERS = "/usr/local/lib/odooops"
NOWHERE = "_closed"  # ends a network's name; no environment's own has the character
BASELINE = "log-baseline.txt"
STANDBY_READY = "/tmp/odooops-standby"  # noqa: S108 within the container
ADMIN_PASSWORD = "admin-password"  # noqa: S105 a file's name


def require(pattern: re.Pattern[str], value: str, what: str) -> str:
    """Return `value` if all of it matches.

    :raises Refused: it does not.
    """
    if not pattern.fullmatch(value):
        raise Refused(f"{value!r} is no {what}: correct it in the control plane.", code="bad_name")
    return value


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one environment's things, for one fencing token."""

    stack: str
    key: str
    database: str
    token: int

    @property
    def slug(self) -> str:
        project, _, code = self.key.partition("/")
        return f"{require(PROJECT, project, 'project')}-{require(CODE, code, 'environment')}"

    @property
    def network(self) -> str:
        return f"{self.stack}-{self.slug}"

    def network_of(self, tier: str) -> str:
        """Return the network of an environment's containers; but for production's it is one that leads nowhere."""
        return self.network if tier == "production" else f"{self.network}{NOWHERE}"

    @property
    def alias(self) -> str:
        return f"{self.slug}-r{self.token}"

    def container(self, role: str) -> str:
        return f"{self.stack}-{self.slug}-{role}-{self.token}"

    @property
    def app_role(self) -> str:
        return require(DATABASE, self.database, "database name")

    @property
    def upgrade_role(self) -> str:
        return f"{self.app_role}_upgrade"

    @property
    def snapshot(self) -> str:
        return self.snapshot_of(self.token)

    def snapshot_of(self, token: int) -> str:
        return f"{self.app_role}__s{int(token)}"

    @property
    def aside(self) -> str:
        return f"{self.app_role}__x{self.token}"

    @property
    def copy(self) -> str:
        """Another environment's data on their way here, until they are proven safe."""
        return self.copy_of(self.token)

    def copy_of(self, token: int) -> str:
        return f"{self.app_role}__c{int(token)}"

    @property
    def config(self) -> str:
        return f"odoo-{self.token}.conf"

    @property
    def upgrade_config(self) -> str:
        return f"odoo-{self.token}-upgrade.conf"

    @property
    def gate(self) -> str:
        """The file for whose end a web container in waiting waits."""
        return f"standby-{self.token}"

    @property
    def update_gate(self) -> str:
        """The file for whose end an update in waiting waits."""
        return f"standby-{self.token}-update"

    @property
    def labels(self) -> dict[str, str]:
        return {"odooops.stack": self.stack, "odooops.environment": self.key}
