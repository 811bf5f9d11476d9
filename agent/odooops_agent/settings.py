"""The agent's settings, all from environment variables; one clear sentence for each that is wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from psycopg2 import ProgrammingError
from psycopg2.extensions import parse_dsn

from .commands.odoo_conf import Cluster
from .errors import Refused
from .plans.deploy import Droplet
from .secrets import Secret

_STACK = re.compile(r"[a-z][a-z0-9-]{0,30}")


@dataclass(frozen=True, slots=True)
class Settings:
    """Where everything is."""

    url: str
    key_file: Path
    state_dir: Path
    data_root: Path
    stack: str
    pg_dsn: Secret
    pg_dsn_file: Path | None  # None: the environment gave it, which `docker inspect` and /proc show
    pg_quota_bytes: int | None
    caddy_admin: str
    caddy_container: str
    targets_dir: Path
    tls: bool
    cluster: Cluster
    attach: tuple[str, ...]
    backup_dir: Path = Path("/srv/odooops-backups")
    public_addresses: tuple[str, ...] = ()

    @property
    def import_dir(self) -> Path:
        """Where an operator puts what is to be imported."""
        return self.state_dir / "imports"

    @property
    def pg_password(self) -> Secret:
        return Secret(str(parse_dsn(self.pg_dsn.reveal()).get("password") or ""))

    @property
    def droplet(self) -> Droplet:
        return Droplet(self.stack, str(self.data_root), self.cluster, self.tls)


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings.

    :raises Refused: one is missing or wrong; the sentence names the variable.
    """
    stack = stack_name(environ)
    dsn_file, dsn = _pg_dsn(environ)
    caddy = environ.get("ODOOOPS_CADDY_CONTAINER") or f"{stack}-caddy"
    admin = environ.get("ODOOOPS_CADDY_ADMIN") or "unix:///run/caddy/admin.sock"
    return Settings(
        url=_url(_required(environ, "ODOOOPS_URL", "the address of the control plane")),
        key_file=_path(environ, "ODOOOPS_AGENT_KEY_FILE", "/etc/odooops/agent.key"),
        state_dir=_path(environ, "ODOOOPS_STATE_DIR", "/var/lib/odooops-agent"),
        data_root=_path(environ, "ODOOOPS_DATA_ROOT", "/srv/odooops"),
        stack=stack,
        pg_dsn=Secret(dsn),
        pg_dsn_file=dsn_file,
        pg_quota_bytes=_quota(environ),
        caddy_admin=admin,
        caddy_container=caddy,
        targets_dir=_path(environ, "ODOOOPS_TARGETS_DIR", "/run/caddy/targets"),
        tls=_switch(environ, "ODOOOPS_TLS"),
        cluster=_cluster(dsn, environ),
        attach=(caddy, *_listed(environ, "ODOOOPS_ATTACH")),
        backup_dir=_path(environ, "ODOOOPS_BACKUP_DIR", "/srv/odooops-backups"),
        public_addresses=_listed(environ, "ODOOOPS_PUBLIC_ADDRESSES"),
    )


def stack_name(environ: Mapping[str, str] = os.environ) -> str:
    stack = environ.get("ODOOOPS_STACK") or "odooops"
    if not _STACK.fullmatch(stack):
        raise Refused(f"ODOOOPS_STACK={stack!r}: use lower-case letters, digits and dashes.", code="bad_setting")
    return stack


def mails_root(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder in which the catcher keeps what the console has not fetched yet."""
    return _path(environ, "ODOOOPS_MAILS_DIR", "/var/lib/odooops-mails")


def exceptions_root(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder in which the agent says what which copy may reach; the firewall reads it."""
    return _path(environ, "ODOOOPS_EGRESS_DIR", "/var/lib/odooops-egress")


def egress_hosts(environ: Mapping[str, str]) -> list[tuple[str, int]]:
    """Return what environments may reach wherever it stands: PostgreSQL, and what ODOOOPS_EGRESS_ALLOW names."""
    _, dsn = _pg_dsn(environ)
    cluster = _cluster(dsn, environ)
    hosts = [(cluster.host, cluster.port)]
    for each in _listed(environ, "ODOOOPS_EGRESS_ALLOW"):
        host, _, port = each.rpartition(":")
        if not host or not _is_port(port):
            raise Refused(
                f"ODOOOPS_EGRESS_ALLOW={each!r}: give host:port, separated by commas, such as 10.0.0.5:587.",
                code="bad_setting",
            )
        hosts.append((host, int(port)))
    return hosts


def public_ports(environ: Mapping[str, str]) -> tuple[int, ...]:
    """Return the droplet's ports on which the proxy serves everybody."""
    ports = []
    for name, default in (("ODOOOPS_HTTP_PORT", "80"), ("ODOOOPS_HTTPS_PORT", "443")):
        text = environ.get(name) or default
        if not _is_port(text):
            raise Refused(f"{name}={text!r}: give a port's number.", code="bad_setting")
        ports.append(int(text))
    return tuple(ports)


def _is_port(text: str) -> bool:
    return text.isdecimal() and 0 < int(text) < 65536


def _listed(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(filter(None, (each.strip() for each in (environ.get(name) or "").split(","))))


def _required(environ: Mapping[str, str], name: str, what: str) -> str:
    value = (environ.get(name) or "").strip()
    if not value:
        raise Refused(f"{name} is not set: give {what}.", code="bad_setting")
    return value


def _pg_dsn(environ: Mapping[str, str]) -> tuple[Path | None, str]:
    name = "ODOOOPS_PG_DSN_FILE"
    if not environ.get(name):
        what = f"the connection string of the agent's role, or better {name}, a file that holds it"
        return None, _required(environ, "ODOOOPS_PG_DSN", what)
    if environ.get("ODOOOPS_PG_DSN"):
        raise Refused(f"ODOOOPS_PG_DSN and {name} are both set: keep the file.", code="bad_setting")
    path = _path(environ, name, "")
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise Refused(
            f"{name}: {path} can't be read ({reason}): save the connection string of the agent's role there.",
            code="bad_setting",
        ) from None
    if not text:
        raise Refused(f"{name}: {path} is empty: save the agent's connection string there.", code="bad_setting")
    return path, text


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise Refused("ODOOOPS_URL is no address: give https://host without a user name.", code="bad_setting")
    return value.rstrip("/")


def _path(environ: Mapping[str, str], name: str, default: str) -> Path:
    path = Path(environ.get(name) or default)
    if not path.is_absolute():
        raise Refused(f"{name}={path}: give an absolute path.", code="bad_setting")
    return path


def _switch(environ: Mapping[str, str], name: str) -> bool:
    value = (environ.get(name) or "off").lower()
    if value not in ("on", "off"):
        raise Refused(f"{name}={value!r}: say on or off.", code="bad_setting")
    return value == "on"


def _quota(environ: Mapping[str, str]) -> int | None:
    text = environ.get("ODOOOPS_PG_QUOTA_BYTES") or ""
    if not text:
        return None
    if not text.isdecimal():
        raise Refused(f"ODOOOPS_PG_QUOTA_BYTES={text!r}: give a number of bytes.", code="bad_setting")
    return int(text)


def _cluster(dsn: str, environ: Mapping[str, str]) -> Cluster:
    """Odoo's containers reach PostgreSQL as the agent does, unless told otherwise."""
    try:
        parts = parse_dsn(dsn)
    except ProgrammingError:
        raise Refused(
            "ODOOOPS_PG_DSN is no connection string: give postgresql://role:password@host:port/database.",
            code="bad_setting",
        ) from None
    host = environ.get("ODOOOPS_PG_ODOO_HOST") or str(parts.get("host") or "")
    if not host:
        raise Refused("ODOOOPS_PG_DSN names no host: give one that Odoo's containers reach too.", code="bad_setting")
    port = environ.get("ODOOOPS_PG_ODOO_PORT") or str(parts.get("port") or 5432)
    return Cluster(host, int(port), str(parts.get("sslmode") or "prefer"))
