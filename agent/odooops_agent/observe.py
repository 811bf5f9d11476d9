"""Read the world: the facts a deployment is decided from."""

from __future__ import annotations

from .facts import EnvironmentFacts
from .plans.modules import plan_modules
from .protocol import Operation
from .steps import Ports


def observe(ports: Ports, operation: Operation) -> EnvironmentFacts:
    """Return the facts; the release's image has to be here already.

    :raises Retryable: a part is away.
    """
    environment, release = operation.environment, operation.release
    containers = ports.runtime.containers(environment.key)
    exposed = {one.name: ports.runtime.exposed_as(one.name) for one in containers if one.role == "web"}
    image, database = ports.runtime.read_manifest(release.reference), ports.database.facts(environment.database.name)
    changes = plan_modules(image, database, environment.modules).changes
    return EnvironmentFacts(
        digest=release.digest,
        image=image,
        database=database,
        containers=containers,
        exposed={name: alias for name, alias in exposed.items() if alias},
        upstream=ports.proxy.upstream(environment.key),
        disk_free_bytes=ports.filestore.free_bytes(environment.key),
        # Adding up a cluster's sizes takes longer than all the rest, and only what changes modules makes a copy.
        database_free_bytes=ports.database.free_bytes() if changes else None,
    )
