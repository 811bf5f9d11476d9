"""Render an environment's odoo.conf from what the control plane says and what the droplet knows. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import Refused
from ..facts import ImageManifest
from ..names import DATA_DIR, DATABASE, HOST, ROLE, require
from ..neutralise import MAIL_HOST, MAIL_PORT
from ..plans.hashing import sha256_of
from ..protocol import Environment, Mail
from ..secrets import Secret

HTTP_PORT = 8069
GEVENT_PORT = 8072
# The `invalid` domain never resolves (RFC 2606), so mail from a copy fails at once and goes nowhere.
NO_MAIL_HOST = "mail-disabled.invalid"
# Odoo kills a cron worker whose job runs longer; Odoo.sh's limit, in seconds.
CRON_JOB_SECONDS = 900
# A request uses one cursor and now and then a second; a cron worker one to listen, one for the queue, one for
# the job; the gevent process one to listen and one at least for all websockets.
PER_REQUEST_WORKER = 2
PER_CRON_WORKER = 3
GEVENT_MINIMUM = 2
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029%]")


@dataclass(frozen=True, slots=True)
class Cluster:
    """How Odoo's containers reach PostgreSQL."""

    host: str
    port: int = 5432
    sslmode: str = "prefer"


@dataclass(frozen=True, slots=True)
class OdooSecrets:
    """What is in odoo.conf and in no hash."""

    database_password: Secret
    master_password: Secret


@dataclass(frozen=True, slots=True)
class Connections:
    """The share of an environment's connection budget per process."""

    web: int
    gevent: int
    cron: int


@dataclass(frozen=True, slots=True)
class OdooConfig:
    """An odoo.conf without its secrets, and the hash that names it."""

    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def config_hash(self) -> str:
        return sha256_of(dict(self.options))

    def render(self, secrets: OdooSecrets) -> str:
        """Return the file's text; the only place where a password is written out."""
        options = dict(self.options)
        options["db_password"] = _safe("db_password", secrets.database_password.reveal())
        options["admin_passwd"] = _safe("admin_passwd", secrets.master_password.reveal())
        lines = [f"{name} = {value}" for name, value in sorted(options.items())]
        return "\n".join(["[options]", *lines, ""])


def odoo_config(environment: Environment, image: ImageManifest, cluster: Cluster, user: str) -> OdooConfig:
    """Return the configuration of an environment.

    :param user: the role that Odoo connects as.
    :raises Refused: a value can't stand in the file, or the limits leave Odoo no room.
    """
    options = {
        **_database(environment, cluster, user),
        **_serving(environment),
        **_limits(environment),
        **_mail(environment),
        "addons_path": ",".join(image.addons_paths),
        "data_dir": DATA_DIR,
        "logfile": "",
    }
    return OdooConfig({name: _safe(name, value) for name, value in options.items()})


def share_connections(environment: Environment) -> Connections:
    """Split the budget; web counts twice, as two generations overlap during a switch.

    :raises Refused: the budget is too small for the workers.
    """
    cron = PER_CRON_WORKER * environment.cron_workers
    generation = (environment.database_connections_max - cron) // 2
    per_worker = (generation - GEVENT_MINIMUM) // max(environment.workers, 1)
    if per_worker < PER_REQUEST_WORKER:
        least = 2 * (PER_REQUEST_WORKER * environment.workers + GEVENT_MINIMUM) + cron
        raise Refused(
            f"{environment.key} may open {environment.database_connections_max} database connections and needs "
            f"{least} for {environment.workers} workers: raise its connection limit or take workers away.",
            code="too_few_connections",
        )
    return Connections(web=per_worker, gevent=generation - per_worker * environment.workers, cron=PER_CRON_WORKER)


def _database(environment: Environment, cluster: Cluster, user: str) -> dict[str, str]:
    name = require(DATABASE, environment.database.name, "database name")
    shares = share_connections(environment)
    return {
        "db_host": cluster.host,
        "db_port": str(cluster.port),
        "db_sslmode": cluster.sslmode,
        "db_user": require(ROLE, user, "database role"),
        "db_name": name,
        "dbfilter": f"^{re.escape(name)}$",
        "db_maxconn": str(shares.web),
        "db_maxconn_gevent": str(shares.gevent),
        "list_db": "False",
    }


def _serving(environment: Environment) -> dict[str, str]:
    if environment.workers < 1:
        raise Refused(
            f"{environment.key} needs one worker at least: without, Odoo has no websocket process.",
            code="too_few_workers",
        )
    return {
        "http_port": str(HTTP_PORT),
        "gevent_port": str(GEVENT_PORT),
        "proxy_mode": "True",
        "workers": str(environment.workers),
        "max_cron_threads": str(environment.cron_workers),
    }


def _limits(environment: Environment) -> dict[str, str]:
    limits = environment.limits
    return {
        "limit_memory_soft": str(limits.memory_soft_bytes),
        "limit_memory_hard": str(limits.memory_hard_bytes),
        "limit_time_cpu": str(limits.request_cpu_seconds),
        "limit_time_real": str(limits.request_seconds),
        "limit_time_real_cron": str(CRON_JOB_SECONDS),
    }


def _mail(environment: Environment) -> dict[str, str]:
    """Only production may reach a mail server; every other tier's mail is caught on its own network."""
    if environment.tier == "production":
        mail = environment.mail or Mail(host=NO_MAIL_HOST)
    else:
        mail = Mail(host=MAIL_HOST, port=MAIL_PORT)
    if mail.encryption == "ssl":  # odoo.conf knows STARTTLS alone, and without it mail would go in the clear
        raise Refused(
            f"{environment.key}'s mail server {mail.host} is to be spoken to over TLS from the first byte, which "
            "odoo.conf can't say: choose STARTTLS (mostly port 587).",
            code="bad_config",
        )
    return {
        "smtp_server": require(HOST, mail.host, "mail server's name"),
        "smtp_port": str(mail.port),
        "smtp_ssl": str(mail.encryption == "starttls"),
        "from_filter": mail.from_filter or "",
    }


def _safe(name: str, value: str) -> str:
    """Refuse what could end a line or, as a percent sign in dbfilter, mean something else."""
    if _UNSAFE.search(value):
        raise Refused(
            f"The value of {name} has a line break, a control character or a percent sign: "
            "correct it in the control plane.",
            code="bad_config",
        )
    return value
