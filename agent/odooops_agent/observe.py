"""Read the world: the facts a deployment or a rollback is decided from."""

from __future__ import annotations

from datetime import UTC, datetime

from .commands.restic import require_snapshot
from .errors import Permanent, Refused, Retryable
from .facts import BackupFacts, EnvironmentFacts, ImageManifest, Problem, RollbackFacts, SetFacts
from .plans.backup import order
from .plans.building import Droplet
from .plans.loss import preview_seconds, unknown
from .plans.modules import plan_modules
from .plans.rollback import counted_since, data_since, preview, set_number
from .protocol import Loss, Mode, Operation, RollbackPreview
from .steps import Ports

# What is known of an image that is not to be had; the problem beside it closes every mode that needs one.
NO_IMAGE = ImageManifest("", "", 0, 0, (), {})
COUNT_TABLE_SECONDS = 4.0  # for all of them: plans.loss.preview_seconds
NEWEST_SHOWN = 50


def observe(ports: Ports, operation: Operation, image: ImageManifest | None = None) -> EnvironmentFacts:
    """Return the facts; the release's image has to be here already, unless its manifest is given.

    :raises Retryable: a part is away.
    """
    environment, release = operation.environment, operation.release
    containers = ports.runtime.containers(environment.key)
    exposed = {one.name: ports.runtime.exposed_as(one.name) for one in containers if one.role == "web"}
    image = image or ports.runtime.read_manifest(release.reference)
    database = ports.database.facts(environment.database.name)
    changes = plan_modules(image, database, environment.modules).changes
    return EnvironmentFacts(
        digest=release.digest,
        image=image,
        database=database,
        containers=containers,
        exposed={name: alias for name, alias in exposed.items() if alias},
        upstream=ports.proxy.upstream(environment.key),
        disk_free_bytes=ports.filestore.free_bytes(environment.key),
        # Adding up a cluster's sizes takes longer than all the rest: asked where one more database is made.
        database_free_bytes=ports.database.free_bytes() if changes or _may_load(operation) else None,
    )


def observe_set(ports: Ports, operation: Operation) -> SetFacts | None:
    """Return what there is of the restore set that a rollback names; None where it names none."""
    rollback, environment = operation.way_back, operation.environment
    if rollback is None or rollback.restore_set is None:
        return None
    try:
        number = set_number(rollback.restore_set)
    except Refused:
        return None  # the plan says so
    found = {one.token: one for one in ports.database.sets(environment.database.name, environment.uuid)}
    return SetFacts(
        database=number in found,
        filestore=ports.filestore.has_snapshot(environment.key, number),
        since=found[number].since if number in found else None,
    )


def observe_backup(ports: Ports, operation: Operation) -> BackupFacts | None:
    """Return what the rollback's backup would take, reading only; None where it names none."""
    if not _may_load(operation):
        return None
    try:
        asked = order(operation)
        snapshot = require_snapshot(asked.snapshot)
    except Refused:
        return None  # the plan says so
    try:
        ports.vault.ensure(asked.repository, make=False)
        return BackupFacts(ports.vault.size(asked.repository, snapshot))
    except (Permanent, Retryable) as error:
        return BackupFacts(problem=Problem(error.code, error.message))


def _may_load(operation: Operation) -> bool:
    back = operation.way_back
    return back is not None and back.backup is not None and back.mode in (None, "backup")


def _count_loss(ports: Ports, name: str, since: datetime, seconds: float) -> Loss:
    """Count it; where that fails altogether the ways stay open, and what is not known is told."""
    try:
        return ports.database.count_loss(name, since, COUNT_TABLE_SECONDS, seconds, NEWEST_SHOWN)
    except (Permanent, Retryable) as error:
        return unknown(since, datetime.now(UTC), error.message)


def look_back(ports: Ports, droplet: Droplet, operation: Operation, facts: RollbackFacts) -> RollbackPreview:
    """Return the ways back, with what each would lose by now."""
    name, losses = operation.environment.database.name, dict[Mode, Loss | None]()
    moments: dict[Mode, datetime | None] = {"full": data_since(operation, facts), "backup": counted_since(operation)}
    hold = operation.options.hold_limit_seconds
    for mode, since in moments.items():
        if since is not None and facts.environment.database is not None:
            losses[mode] = _count_loss(ports, name, since, preview_seconds(hold))
    return preview(operation, facts, droplet, losses)
