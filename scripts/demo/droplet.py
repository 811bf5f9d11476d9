"""What stands on the droplet for an environment, as Docker's own labels tell it."""

from __future__ import annotations

import json
from typing import Any

from scripts.setup import engine

ROLE, DIGEST, ENVIRONMENT, STACK = "odooops.role", "odooops.digest", "odooops.environment", "odooops.stack"


def containers(stack: str, environment: str, everything: bool = False) -> list[dict[str, Any]]:
    """Return the environment's running containers as `docker inspect` has them; `everything`: stopped ones too."""
    filters = [f"--filter=label={STACK}={stack}", f"--filter=label={ENVIRONMENT}={environment}"]
    ids = engine.docker("ps", "--quiet", "--no-trunc", *(["--all"] if everything else []), *filters).split()
    return list(json.loads(engine.docker("container", "inspect", *ids))) if ids else []


def digests(stack: str, environment: str) -> set[str]:
    """Return the digests that the environment's containers run."""
    return {one["Config"]["Labels"][DIGEST] for one in containers(stack, environment)}


def by_role(stack: str, environment: str) -> dict[str, list[dict[str, Any]]]:
    """Return the running containers by what they do: web, cron, update."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in containers(stack, environment):
        found.setdefault(one["Config"]["Labels"][ROLE], []).append(one)
    return found


def administrator_password(agent_container: str, environment: str) -> str:
    """Return the first password of a customer's administrator, which the agent made and keeps on the droplet."""
    return engine.docker("exec", agent_container, "odooops-agent", "admin-password", environment).strip()


def networks(container: dict[str, Any]) -> set[str]:
    return set(container["NetworkSettings"]["Networks"])
