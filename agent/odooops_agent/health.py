"""How an environment is: asked where it serves, not where it is supposed to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .commands import odoo
from .errors import AgentError
from .facts import Container, Identity
from .protocol import EnvironmentReport, Health
from .steps import Ports

ASK_SECONDS = 10


def check_environment(ports: Ports, key: str, known: Mapping[str, Any], at: datetime) -> EnvironmentReport:
    """Return an environment's health.

    :param known: what the agent remembers of it: database, uuid, environment_uuid, host.
    """
    digest = uuid = None
    try:
        containers = ports.runtime.containers(key)
        web = _serving(ports, key, containers)
        digest = web.digest if web else None
        identity = ports.database.identity(known["database"])
        uuid = identity.uuid if identity else None
        health, detail = _judge(ports, known, web, identity, containers)
    except AgentError as error:
        health, detail = "red", error.message
    return EnvironmentReport(key=key, health=health, digest=digest, database_uuid=uuid, detail=detail, checked_at=at)


def _serving(ports: Ports, key: str, containers: tuple[Container, ...]) -> Container | None:
    upstream = ports.proxy.upstream(key)
    webs = [one for one in containers if one.role == "web" and one.running]
    return next((one for one in webs if upstream and ports.runtime.exposed_as(one.name) == upstream), None)


def _judge(
    ports: Ports,
    known: Mapping[str, Any],
    web: Container | None,
    identity: Identity | None,
    containers: tuple[Container, ...],
) -> tuple[Health, str]:
    if web is None:
        return "red", "The proxy's route leads to no running web container."
    if identity is None or identity.uuid != known["uuid"]:
        return "red", f"The database {known['database']} is not the one that was deployed."
    if identity.tag is None or identity.tag.environment_uuid != known["environment_uuid"]:
        return "red", f"The database {known['database']} is not marked as this environment's."
    said: list[str] = []
    if ports.runtime.execute(web.name, odoo.healthy(known["host"], known["database"]), ASK_SECONDS, said.append):
        return "red", said[-1] if said else "/web/health or /web/login does not answer."
    crons = [one for one in containers if one.role == "cron" and one.running]
    if not crons:
        return "yellow", "Pages are served; scheduled jobs do not run."
    if any(one.digest != web.digest for one in crons):
        return "yellow", "Scheduled jobs run another image than the pages."
    return "green", "/web/health and /web/login answer; cron runs"
