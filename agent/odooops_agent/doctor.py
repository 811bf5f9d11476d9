"""What the agent needs, looked at before it is missed: one line each, with the mend.

Every check stands alone: one that fails, or can't be made, says so in its own line and stops no other.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import requests
from docker.errors import APIError, DockerException, NotFound

from docker import auth as docker_auth

from .agent_key import AgentKey
from .commands import postgres as build
from .commands.docker import BRIDGE_OPTION
from .commands.firewall import bridge_prefix
from .console_pin import ConsolePin
from .errors import AgentError, Permanent
from .firewall import read_firewall
from .journal import Journal, examine
from .proxy import AdminSocket
from .settings import Settings

CADDY_SINCE = (2, 11, 2)
RESTIC_SINCE = (0, 14)
DOCKER_API_SINCE = (1, 41)
POSTGRES_SINCE = 130000
CLOCK_SKEW_SECONDS = 30
FREE_SHARE = 0.1
FREE_BYTES = 2 << 30
CONTROL_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's; `mend` says what to do when it is not ok."""

    name: str
    ok: bool
    detail: str
    mend: str = ""


class _Failed(Exception):
    """A check's bad end: the detail and its mend."""

    def __init__(self, detail: str, mend: str) -> None:
        super().__init__(detail)
        self.detail, self.mend = detail, mend


def run_checks(settings: Settings) -> list[Check]:
    """Look at everything that the agent needs; takes some seconds and changes nothing."""
    engine = _engine()
    checks: dict[str, tuple[Callable[[], str], str]] = {
        "Docker": (lambda: _docker(engine), "start it: systemctl start docker, and let the agent use its socket"),
        "image registry": (lambda: _registries(engine), "log in again: docker login <registry>"),
        "proxy's container": (lambda: _attached(engine, settings), "start the stack's services: docker compose up -d"),
        "firewall": (lambda: _firewall(engine, settings), "start the stack's service `firewall`: docker compose up -d"),
        "Caddy": (lambda: _caddy(engine, settings), "start Caddy with the configuration in docker/caddy/caddy.json"),
        "routes' folder": (lambda: _targets(engine, settings), "share the folder with Caddy's container, same path"),
        "PostgreSQL": (lambda: _postgres(settings), "see that it is up and that ODOOOPS_PG_DSN_FILE is right"),
        "PostgreSQL rights": (lambda: _rights(settings), "use a role with CREATEDB CREATEROLE and without SUPERUSER"),
        "PostgreSQL members": (lambda: _members(settings), "let the role that made them grant them to the agent's"),
        "database postgres": (lambda: _maintenance(settings), "GRANT CONNECT ON DATABASE postgres TO PUBLIC"),
        "PostgreSQL quota": (lambda: _quota(settings), "set ODOOOPS_PG_QUOTA_BYTES to what the cluster's disk holds"),
        "secrets": (lambda: _secret_files(settings), "keep each in a file that only its owner reads: chmod 600"),
        "state": (lambda: _writable(settings.state_dir), "give the agent a state directory that it may write"),
        "journal": (lambda: _journal(settings.state_dir), "see that the state directory and its disk are well"),
        "audit log": (lambda: _audit(settings.state_dir), "keep the console's database as it is and find out who"),
        "data root": (lambda: _data_root(settings.data_root), "put the whole data root on one mount with hard links"),
        "disk": (lambda: _disk(settings.data_root), "free some of it: old snapshots, docker image prune"),
        "restic": (lambda: _restic(), "install Debian's package restic, 0.14 or later: apt-get install restic"),
        "backups' folder": (lambda: _backups(settings.backup_dir), "make it, or name another in ODOOOPS_BACKUP_DIR"),
        "control plane": (lambda: _control(settings), "see that ODOOOPS_URL is right and leads out of the droplet"),
        "clock": (lambda: _clock(settings), "let the droplet keep its time: timedatectl set-ntp true"),
        "console's key": (
            lambda: _pinned(settings),
            "pin the one on the droplet's page: odooops-agent pin",
        ),
        "agent key": (lambda: _key(settings), "enrol the droplet again in the console"),
    }
    return [_check(name, act, mend) for name, (act, mend) in checks.items()]


def _check(name: str, act: Callable[[], str], mend: str) -> Check:
    try:
        return Check(name, True, act())
    except _Failed as error:
        return Check(name, False, error.detail, error.mend)
    except AgentError as error:
        return Check(name, False, error.message, mend)
    except (OSError, subprocess.SubprocessError, DockerException, psycopg2.Error, requests.RequestException) as error:
        return Check(name, False, str(error).strip().partition("\n")[0] or type(error).__name__, mend)


# -- Docker


def _engine() -> Any:
    import docker

    try:
        return docker.DockerClient.from_env(timeout=20)
    except DockerException:
        return None


def _up(engine: Any) -> Any:
    if engine is None:
        raise OSError("Docker does not answer")
    return engine


def _docker(engine: Any) -> str:
    version = _up(engine).version()
    if _numbers(version["ApiVersion"]) < DOCKER_API_SINCE:
        raise _Failed(f"Engine {version['Version']} is too old", "update it to 20.10 or later")
    return f"Engine {version['Version']}"


def _registries(engine: Any) -> str:
    known = docker_auth.load_config().get_all_credentials()  # type: ignore[no-untyped-call]
    for registry, login in known.items():
        try:
            _up(engine).login(login["Username"], login["Password"], registry=registry, reauth=True)
        except APIError as error:
            raise _Failed(f"{registry} refuses the login", f"docker login {registry}") from error
    return f"logged in to {', '.join(known)}" if known else "no login kept; right for a registry that needs none"


def _attached(engine: Any, settings: Settings) -> str:
    for name in settings.attach:
        try:
            state = _up(engine).api.inspect_container(name)["State"]
        except NotFound as error:
            raise _Failed(f"there is no container {name}", "docker compose up -d") from error
        if not state["Running"]:
            raise _Failed(f"{name} does not run", f"docker start {name}; its log says why it ended")
    return f"{', '.join(settings.attach)} run"


def _firewall(engine: Any, settings: Settings) -> str:
    """Without it every environment's code reaches the cloud's metadata service, the droplet and its neighbours."""
    bridges = _bridges(engine, settings.stack)
    stray = [network for network, bridge in bridges.items() if not bridge.startswith(bridge_prefix(settings.stack))]
    if stray:
        raise _Failed(
            f"the network {stray[0]} was made otherwise, and no rule is for it",
            f"stop its containers, docker network rm {stray[0]}, and deploy its environment again",
        )
    try:
        _check_firewall(engine, f"{settings.stack}-firewall")
    except AgentError as error:
        raise _Failed(
            f"environments reach the droplet and the cloud's metadata service: {error.message}",
            "docker compose up -d firewall; its log says what the kernel refuses",
        ) from error
    return f"{len(bridges)} environments are kept from the droplet and its private neighbours"


def _check_firewall(engine: Any, name: str) -> None:
    """Ask the firewall's container, or the droplet itself where systemd runs it."""
    try:
        code, told = _up(engine).containers.get(name).exec_run(["odooops-agent", "firewall", "--check"])
    except NotFound:
        read_firewall().check()
        return
    except APIError as error:
        raise Permanent(f"{name} does not run") from error
    if code:
        raise Permanent(told.decode(errors="replace").strip().rpartition("\n")[2])


def _bridges(engine: Any, stack: str) -> dict[str, str]:
    networks = _up(engine).api.networks(filters={"label": [f"odooops.stack={stack}", "odooops.environment"]})
    return {str(each["Name"]): str((each["Options"] or {}).get(BRIDGE_OPTION, "")) for each in networks}


# -- Caddy


def _caddy(engine: Any, settings: Settings) -> str:
    admin = AdminSocket(Path(urlsplit(settings.caddy_admin).path), timeout_seconds=5)
    if admin.call("GET", "/config/apps/http/servers/odooops/listen").status != 200:
        raise _Failed("it has no server `odooops`", "start Caddy with the configuration in docker/caddy/caddy.json")
    told = _up(engine).containers.get(settings.caddy_container).exec_run(["caddy", "version"]).output.decode()
    if _numbers(told)[:3] < CADDY_SINCE:
        raise _Failed(f"version {told.split()[0]} is too old", "update Caddy's image to 2.11.2 or later")
    return f"version {told.split()[0]}"


def _targets(engine: Any, settings: Settings) -> str:
    settings.targets_dir.mkdir(parents=True, exist_ok=True)
    with _probe(settings.targets_dir) as probe:
        try:
            _up(engine).api.get_archive(settings.caddy_container, str(probe))
        except NotFound as error:
            raise _Failed(
                f"Caddy's container does not see {settings.targets_dir}",
                "mount one volume at this path into the agent's container and Caddy's",
            ) from error
    return f"Caddy sees {settings.targets_dir}"


# -- PostgreSQL


@contextmanager
def _cursor(settings: Settings) -> Iterator[Any]:
    dsn = settings.pg_dsn.reveal()
    with closing(psycopg2.connect(dsn, connect_timeout=5, application_name="odooops-doctor")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = '10s'")
            yield cursor


def _postgres(settings: Settings) -> str:
    with _cursor(settings) as cursor:
        version = cursor.connection.server_version
        if version < POSTGRES_SINCE:
            raise _Failed(f"server version {version // 10000} is too old for Odoo 19", "update it to 15 or later")
        cursor.execute("SHOW max_connections")
        return f"version {version // 10000}.{version % 10000}, {cursor.fetchone()[0]} connections"


def _rights(settings: Settings) -> str:
    with _cursor(settings) as cursor:
        cursor.execute(
            "SELECT rolname, rolcreatedb, rolcreaterole, rolsuper FROM pg_roles WHERE rolname = current_user"
        )
        role, creates_databases, creates_roles, superuser = cursor.fetchone()
    if superuser:
        raise _Failed(f"{role} is a superuser, which the agent must not be", f'ALTER ROLE "{role}" NOSUPERUSER')
    lacks = [name for name, has in (("CREATEDB", creates_databases), ("CREATEROLE", creates_roles)) if not has]
    if lacks:
        raise _Failed(f"{role} lacks {' and '.join(lacks)}", f'ALTER ROLE "{role}" {" ".join(lacks)}')
    return f"{role} may create databases and roles, and is no superuser"


def _members(settings: Settings) -> str:
    """Without membership in their owners' roles the agent can neither end their sessions nor copy databases."""
    with _cursor(settings) as cursor:
        cursor.execute(
            "SELECT DISTINCT datname, pg_get_userbyid(datdba), shobj_description(oid, 'pg_database') FROM pg_database"
        )
        owners = sorted({owner for _, owner, comment in cursor.fetchall() if build.owner_tag(comment)})
        for owner in owners:
            cursor.execute(build.has_role(owner, cursor.connection.server_version))
            if not cursor.fetchone()[0]:
                options = " WITH INHERIT TRUE, SET TRUE" if cursor.connection.server_version >= 160000 else ""
                raise _Failed(
                    f"the agent's role is not a full member of {owner}", f'GRANT "{owner}" TO CURRENT_USER{options}'
                )
    return f"a full member of the roles of {len(owners)} environments"


def _maintenance(settings: Settings) -> str:
    """Odoo's bus, cron workers and cron triggers listen in the database `postgres`, as the environment's own role."""
    with _cursor(settings) as cursor:
        cursor.execute(
            "SELECT has_database_privilege('public', oid, 'CONNECT') FROM pg_database WHERE datname = 'postgres'"
        )
        row = cursor.fetchone()
    if row is None:
        raise _Failed("there is no database `postgres`, in which Odoo listens", "CREATE DATABASE postgres")
    if not row[0]:
        raise _Failed(
            "environments may not connect to the database `postgres`, in which Odoo's bus and jobs listen",
            "GRANT CONNECT ON DATABASE postgres TO PUBLIC",
        )
    return "Odoo may listen in it"


def _quota(settings: Settings) -> str:
    """A managed cluster that is full stands still: every environment on it, not only the one that is deployed."""
    quota = settings.pg_quota_bytes
    if quota is None:
        raise _Failed(
            "nobody knows how much room the cluster has, so no deployment is refused for want of it",
            "set ODOOOPS_PG_QUOTA_BYTES to what the cluster's disk holds",
        )
    with _cursor(settings) as cursor:
        cursor.execute(build.SIZES)
        used = int(cursor.fetchone()[0])
    told = f"{used / (1 << 30):.1f} of {quota / (1 << 30):.0f} GiB are taken"
    if used > quota * (1 - FREE_SHARE):
        raise _Failed(told, "enlarge the cluster's disk and ODOOOPS_PG_QUOTA_BYTES, or drop old databases")
    return told


# -- files


def _writable(folder: Path) -> str:
    with _probe(folder):
        return f"{folder} takes files"


def _secret_files(settings: Settings) -> str:
    """Compose mounts a secret's file with the mode that it has on the droplet."""
    if settings.pg_dsn_file is None:
        raise _Failed(
            "PostgreSQL's password stands in the agent's environment, which docker inspect shows",
            "put the connection string into a file of mode 600 and name it in ODOOOPS_PG_DSN_FILE",
        )
    files = {"ODOOOPS_PG_DSN_FILE": settings.pg_dsn_file, "ODOOOPS_AGENT_KEY_FILE": settings.key_file}
    for name, path in files.items():
        if path.stat().st_mode & 0o077:
            raise _Failed(f"others than its owner may read {path}", f"on the droplet, chmod 600 the file of {name}")
    return "only their owner reads them"


def _pinned(settings: Settings) -> str:
    pin = ConsolePin(settings.key_file, settings.state_dir)()
    if pin is None:
        raise OSError("none is pinned, so no deployment to production can be proven to be agreed to")
    return f"{pin.text[-12:]}, which knows this droplet as number {pin.agent}"


def _audit(folder: Path) -> str:
    path = folder / "journal.sqlite"
    if not path.exists():
        return "no head of the console's log is held yet"
    with closing(Journal(path)) as journal:
        broken, head = journal.audit_break(), journal.audit_head()
    if broken:
        number, found, at = broken
        raise _Failed(
            f"event {number} of the console's log is {'another' if found else 'not there'} since {at[:16]}: history "
            "was rewritten or cut off",
            "find out who; when the console was restored from an older backup: odooops-agent audit --accept",
        )
    return f"the console's log reaches to event {head.number}" if head else "no head of the console's log is held yet"


def _journal(folder: Path) -> str:
    path = folder / "journal.sqlite"
    if not path.exists():
        return "this agent has not run yet"
    unreadable, refused = examine(path)
    if unreadable:
        raise _Failed(
            f"{unreadable} of its rows can't be read and were set aside",
            f"see what they were (table `unreadable` of {path}), look at those environments, then empty the table",
        )
    return f"it is whole; {refused} reports were refused for good" if refused else "it is whole"


def _data_root(root: Path) -> str:
    with _probe(root) as probe:
        linked = probe.with_name(f"{probe.name}-linked")
        try:
            os.link(probe, linked)
        except OSError as error:
            raise _Failed(f"{root} takes no hard links ({error.strerror})", "use ext4, xfs or btrfs") from error
        linked.unlink()
    apart = [str(path) for path in _folders(root) if path.lstat().st_dev != root.stat().st_dev]
    if apart:
        raise _Failed(f"{apart[0]} is another mount", "snapshots are hard links: keep the data root on one mount")
    return f"{root} takes hard links, {_count(_folders(root))} folders on one mount"


def _folders(root: Path) -> Iterator[Path]:
    for environment in root.glob("*/*"):
        yield from (environment / name for name in ("filestore", "snapshots") if (environment / name).is_dir())


def _count(items: Iterable[object]) -> int:
    return sum(1 for _ in items)


def _disk(root: Path) -> str:
    disk = shutil.disk_usage(root)
    told = f"{disk.free / (1 << 30):.1f} of {disk.total / (1 << 30):.0f} GiB are free"
    if disk.free < FREE_BYTES or disk.free < disk.total * FREE_SHARE:
        raise _Failed(told, "free some of it (old snapshots, docker image prune) or enlarge it")
    return told


def _restic() -> str:
    done = subprocess.run(["restic", "version"], capture_output=True, text=True, timeout=20, check=True)
    version = done.stdout.split()[1]
    if _numbers(version)[:2] < RESTIC_SINCE:
        raise _Failed(f"version {version} is too old", "install 0.14 or later, as Debian 12 has it")
    return f"version {version}"


def _backups(folder: Path) -> str:
    with _probe(folder):
        free = shutil.disk_usage(folder).free / (1 << 30)
        return f"{folder} takes files, {free:.1f} GiB are free; what is to survive the droplet belongs on S3"


@contextmanager
def _probe(folder: Path) -> Iterator[Path]:
    probe = folder / f".doctor-{secrets.token_hex(4)}"
    probe.write_text("")
    try:
        yield probe
    finally:
        with suppress(FileNotFoundError):
            probe.unlink()


# -- control plane


def _ask(settings: Settings, method: str, path: str, **options: Any) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False  # ~/.netrc would replace the key
        session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or True
        options = {"timeout": CONTROL_SECONDS, "allow_redirects": False, **options}
        return session.request(method, settings.url + path, **options)


def _control(settings: Settings) -> str:
    began = time.monotonic()
    answer = _ask(settings, "GET", "/web/health")
    if answer.status_code != 200:
        raise _Failed(f"{settings.url} answers {answer.status_code}", "see that ODOOOPS_URL is the console's address")
    return f"{settings.url} answers in {(time.monotonic() - began) * 1000:.0f} ms"


def _clock(settings: Settings) -> str:
    date = _ask(settings, "GET", "/web/health").headers.get("Date")
    if not date:
        return "the control plane does not tell its time"
    skew = time.time() - parsedate_to_datetime(date).timestamp()
    if abs(skew) > CLOCK_SKEW_SECONDS:
        raise _Failed(f"{abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}", "timedatectl set-ntp true")
    return f"within {max(1, round(abs(skew)))} s of the control plane's"


def _key(settings: Settings) -> str:
    """A heartbeat that says nothing: refused as a bad request by whoever accepted the key."""
    key = AgentKey(settings.key_file, settings.state_dir).current.reveal()
    headers = {"Authorization": f"Bearer {key}"}
    answer = _ask(settings, "POST", "/odooops/agent/v1/heartbeat", json={}, headers=headers)
    if answer.status_code in (401, 403):
        raise _Failed("the control plane refuses the agent's key", "enrol the droplet again in the console")
    if answer.status_code not in (200, 400):
        raise _Failed(
            f"the control plane answers {answer.status_code}", "see that ODOOOPS_URL is the console's address"
        )
    return "the control plane accepts it"


def _numbers(text: str) -> tuple[int, ...]:
    found = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(int(part) for part in found.group().split(".")) if found else ()
