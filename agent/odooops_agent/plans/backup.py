"""How a backup is taken, and how one is proven. Pure.

Neither changes the environment: whatever happens, taking back is removing the workspace, the one-off and the disposable
database. So every prefix is a safe place to crash, and both run beside a deployment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ..commands import dump
from ..commands.restic import require_snapshot
from ..errors import Refused
from ..facts import EnvironmentFacts
from ..names import Names
from ..protocol import BackupOrder, BadMessage, Operation, PlanDocument, PlanFacts, convert
from . import checks
from .building import PRELUDE, Droplet, from_digest
from .hashing import plan_hash
from .model import Plan, Shape, Step

# What runs beside everything else, one of a kind at a time: it holds no environment, and no token there stops it.
APART = frozenset({"backup", "restore_test", "export"})
BOOT_SECONDS = 300
DUMP_SECONDS = 6 * 3600
# The dump and, until it is removed, nothing else; the filestore is linked.
DUMP_FACTOR = 1.2


def plan_backup(operation: Operation, facts: EnvironmentFacts, droplet: Droplet) -> Plan:
    """Return the plan of a backup.

    :raises Refused: there is nothing to back up, or no room to gather it.
    """
    checks.check_names(operation)
    checks.check_identity(operation, facts)
    database = facts.database
    if database is None or database.uuid is None:
        raise Refused(
            f"{operation.environment.key} has no Odoo database yet: deploy to it, then back it up.", code="no_database"
        )
    needed = int(database.bytes * DUMP_FACTOR) + operation.options.disk_reserve_bytes
    if facts.disk_free_bytes is not None and facts.disk_free_bytes < needed:
        raise Refused(
            f"The droplet has {checks.size(facts.disk_free_bytes)} free and the dump of {database.name} needs "
            f"{checks.size(needed)} with its reserve: free some space.",
            code="disk_too_small",
        )
    return _plan("backup", operation, facts, tuple(_backup(operation, facts, droplet)))


def plan_restore_test(operation: Operation, facts: EnvironmentFacts, droplet: Droplet) -> Plan:
    """Return the plan of a restore test.

    :raises Refused: it is not said which backup is to be tested.
    """
    checks.check_names(operation)
    require_snapshot(order(operation).snapshot)
    return _plan("restore_test", operation, facts, tuple(_restore_test(operation, facts, droplet)))


def plan_export(operation: Operation, facts: EnvironmentFacts, droplet: Droplet) -> Plan:
    """Return the plan of handing a backup to the console as a zip that Odoo's database manager takes.

    :raises Refused: it is not said which backup.
    """
    checks.check_names(operation)
    require_snapshot(order(operation).snapshot)
    return _plan("export", operation, facts, tuple(_export(operation, facts, droplet)))


def order(operation: Operation) -> BackupOrder:
    """Return what an operation says about its backup, a rollback to one too. Raises Refused when it says nothing."""
    if operation.backup:
        return operation.backup
    back, environment = operation.way_back, operation.environment
    if back is None or back.backup is None:
        raise Refused("The operation does not say which backup it is about.", code="bad_message")
    given = {
        "backup": back.backup.get("id"),
        "repository": back.backup.get("repository"),
        "snapshot": back.backup.get("snapshot"),
        "source": {
            "environment": environment.key,
            "tier": environment.tier,
            "database_uuid": environment.database.uuid,
        },
    }
    try:
        return convert(given, BackupOrder)
    except BadMessage as error:
        raise Refused(f"What the rollback says of its backup can't be read ({error}).", code="bad_message") from None


def disposable(names: Names) -> str:
    """Return the database in which backups of an environment are proven; one at a time."""
    return f"{names.app_role}__t1"


def _backup(operation: Operation, facts: EnvironmentFacts, droplet: Droplet) -> Iterator[Step]:
    names = _names(operation, droplet)
    room = {"workspace": "backup"}
    dumping = one_off(operation, facts, droplet, "backup", "dump", dump.dump(names.database, names.app_role))
    yield Step("open_repository", {"make": True})
    yield make_room(facts, "backup")
    # Twice: the files before the dump, or Odoo may collect one that the dump still names; those since, after it.
    yield Step("collect_files", {**room, "database": names.database})
    yield Step("dump_database", {**room, **dumping, "database": names.database}, undo="remove_one_off")
    yield Step("collect_files", {**room, "database": names.database})
    yield Step("describe_backup", room)
    yield Step("store_backup", room)
    yield Step("check_repository")
    # What is kept too long, as when another droplet has the repository locked, makes no backup a bad one.
    yield Step("apply_retention", optional=True)
    yield Step("remove_workspace", room)


def _restore_test(operation: Operation, facts: EnvironmentFacts, droplet: Droplet) -> Iterator[Step]:
    names, image = _names(operation, droplet), facts.image
    room, target = {"workspace": "restore_test"}, disposable(names)
    loading = one_off(operation, facts, droplet, "restore_test", "load", dump.load(target, names.upgrade_role))
    serving = one_off(operation, facts, droplet, "restore_test", "proof", dump.serve(), config=True)
    yield Step("open_repository", {"make": False})
    yield make_room(facts, "restore_test")
    yield Step("fetch_backup", room)
    yield Step("create_disposable", {"database": target, "owner": names.app_role}, undo="drop_disposable")
    yield Step("load_dump", {**room, **loading, "database": target}, undo="remove_one_off")
    proof = {"addons_paths": list(image.addons_paths), "host": operation.environment.domains.main}
    yield Step(
        "prove_backup",
        {**room, **serving, **proof, "database": target, "start_seconds": BOOT_SECONDS},
        undo="remove_one_off",
    )
    yield Step("drop_disposable", {"database": target})
    yield Step("remove_workspace", room)


def _export(operation: Operation, facts: EnvironmentFacts, droplet: Droplet) -> Iterator[Step]:
    room = {"workspace": "export"}
    turning = one_off(operation, facts, droplet, "export", "plain", dump.as_text())
    yield Step("open_repository", {"make": False})
    yield make_room(facts, "export")
    # Its dump is there twice for a moment, and no cluster takes it in.
    yield Step("fetch_backup", {**room, "copies": 2, "loads": False})
    yield Step("plain_dump", {**room, **turning}, undo="remove_one_off")
    yield Step("upload_backup", room)
    yield Step("remove_workspace", room)


def make_room(facts: EnvironmentFacts, name: str) -> Step:
    arguments = {"workspace": name, "uid": facts.image.uid, "gid": facts.image.gid}
    return Step("make_workspace", arguments, undo="remove_workspace")


def one_off(
    operation: Operation,
    facts: EnvironmentFacts,
    droplet: Droplet,
    room: str,
    name: str,
    argv: tuple[str, ...],
    *,
    config: bool = False,
) -> dict[str, Any]:
    spec = dump.tool(
        _names(operation, droplet),
        operation.environment,
        operation.release.reference,
        f"{facts.image.uid}:{facts.image.gid}",
        f"{droplet.data_root}/{operation.environment.key}/work/{room}/io",
        # A restore and a restore test run at once, and whoever begins removes what has its own container's name.
        f"{room}-{name}",
        argv,
        config=config,
    )
    return {"spec": asdict(spec), "timeout_seconds": DUMP_SECONDS}


def _names(operation: Operation, droplet: Droplet) -> Names:
    environment = operation.environment
    return Names(droplet.stack, environment.key, environment.database.name, operation.token)


def _plan(shape: Shape, operation: Operation, facts: EnvironmentFacts, steps: tuple[Step, ...]) -> Plan:
    database = facts.database
    document = PlanDocument(
        environment=operation.environment.key,
        database_uuid=database.uuid if database else None,
        from_digest=from_digest(facts),
        to_digest=operation.release.digest,
        config_hash="",
        modules=(),
        migrations=(),
        policy_version=operation.policy_version,
    )
    told = PlanFacts(
        database_bytes=database.bytes if database else None,
        free_bytes=facts.disk_free_bytes,
        snapshot_strategy=None,
        dependents=(),
        steps=(*PRELUDE, *(step.name for step in steps)),
        warnings=(),
        needs_hold=False,
    )
    return Plan(shape, document, plan_hash(document), told, steps)
