"""Facts to plans: how an environment goes back to a release it was on. Pure.

`code` brings the older image to the data as they are, as a deployment would. `full` puts image, database and files of
a restore set in the place of the present ones, which become a set themselves: by renames, so it takes as long for a
terabyte as for a megabyte. Where a mode is closed, the reason says what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from ..commands.odoo_conf import odoo_config
from ..commands.restic import require_snapshot
from ..errors import Refused
from ..facts import EnvironmentFacts, RollbackFacts
from ..names import Names
from ..protocol import (
    Loss,
    Mode,
    ModePreview,
    Operation,
    Rollback,
    RollbackPlanDocument,
    RollbackPreview,
    TargetSet,
    plain,
)
from . import building as build
from . import checks
from .backup import order
from .building import Droplet, Job
from .deploy import plan_deploy
from .hashing import plan_hash, preview_hash
from .model import Plan, Step
from .modules import NO_CHANGES, in_loading_order, plan_modules
from .restore import exchange

DATA_MODES: tuple[Mode, ...] = ("full", "backup")  # they lose what was written since
# What visitors wait for: Odoo loads its registry in about this time, and an update in as much again.
REGISTRY_SECONDS = 4.0
UPDATE_SECONDS = 8.0
COPIED_BYTES_PER_SECOND = 200 << 20
# What a transaction wrote that was open when the dump began is not in the dump, though its rows bear the time at which
# it began, by a clock that may not be the agent's. A restore set is taken when nobody writes.
OPEN_AT_THE_DUMP = timedelta(minutes=15)
SNAPSHOT = re.compile(r".*__s([1-9][0-9]{0,9})")


def plan_rollback(
    operation: Operation, facts: RollbackFacts, droplet: Droplet, mode: Mode, *, execute: bool = True
) -> Plan:
    """Return the plan of one mode.

    :param execute: as for `plan_deploy`.
    :raises Refused: the mode is not possible as things stand; its code says of what kind the reason is.
    :raises LeaseLost: something in the environment carries a newer token (only with `execute`).
    """
    checks.check_names(operation)
    checks.check_bucket(operation)
    if execute:
        checks.check_lease(operation, facts.environment)
    checks.check_identity(operation, facts.environment)
    _check_installed(operation, facts.environment)
    return _MODES[mode](operation, facts, droplet, execute)


def preview(
    operation: Operation, facts: RollbackFacts, droplet: Droplet, losses: Mapping[Mode, Loss | None]
) -> RollbackPreview:
    """Return every way back: which are open, why the others are not, and what each costs.

    :param losses: what each of `DATA_MODES` would lose.
    """
    shown = [_preview_mode(operation, facts, droplet, mode, losses.get(mode)) for mode in ("code", "full", "backup")]
    shown.append(_fix_forward(shown))
    database = facts.environment.database
    return RollbackPreview(
        modes=tuple(shown),
        recommended=next(one.mode for one in shown if one.possible),
        running_digest=build.from_digest(facts.environment),
        database_uuid=database.uuid if database else None,
        database_bytes=database.bytes if database else None,
    )


def data_since(operation: Operation, facts: RollbackFacts) -> datetime | None:
    """Return from when on what was written would be lost with the restore set; None without one."""
    target = _rollback(operation).restore_set
    if target is None or facts.restore_set is None or not facts.restore_set.database:
        return None
    return facts.restore_set.since or target.taken_at


def set_number(target: TargetSet) -> int:
    """Return the number that a set's database and files are named by. Raises Refused when they disagree."""
    found = SNAPSHOT.fullmatch(target.database_snapshot)
    if found is None or target.filestore_snapshot != f"snapshots/{found.group(1)}/filestore":
        raise Refused(
            f"The restore set names {target.database_snapshot!r} and {target.filestore_snapshot!r}, which do not "
            "belong together: choose another set.",
            code="mode_impossible",
        )
    return int(found.group(1))


# -- what the preview shows


def _preview_mode(
    operation: Operation, facts: RollbackFacts, droplet: Droplet, mode: Mode, loss: Loss | None
) -> ModePreview:
    try:
        plan = plan_rollback(operation, facts, droplet, mode, execute=False)
    except Refused as refused:
        return _closed(mode, refused.message)
    lost = loss if mode in DATA_MODES else None
    return ModePreview(
        mode=mode,
        possible=True,
        reason=_reason(operation, plan),
        plan=plan.rollback,
        plan_hash=plan.plan_hash,
        hold_seconds=_hold_seconds(plan),
        loss=lost,
        preview_hash=preview_hash(plan.plan_hash, lost),
    )


def _closed(mode: Mode, reason: str, *, possible: bool = False) -> ModePreview:
    return ModePreview(
        mode=mode,
        possible=possible,
        reason=reason,
        plan=None,
        plan_hash=None,
        hold_seconds=None,
        loss=None,
        preview_hash=None,
    )


def _fix_forward(others: list[ModePreview]) -> ModePreview:
    open_modes = [one.mode for one in others if one.possible]
    why = "Mend the release and deploy it: nothing is lost."
    return _closed("fix_forward", why if open_modes else f"No way leads back, see the reasons. {why}", possible=True)


def _reason(operation: Operation, plan: Plan) -> str:
    tag = operation.release.tag
    if plan.shape == "switch":
        return f"Only the code goes back to {tag}: no request waits and nothing is lost."
    if plan.shape == "update":
        names = ", ".join(change.name for change in plan.document.modules)
        return f"The code goes back to {tag}, which updates {names} once more; nothing that people entered is lost."
    if plan.rollback and plan.rollback.mode == "backup":
        at = f"{backed_up_at(operation):%Y-%m-%d %H:%M}"
        return (
            f"Image, database and files of {tag} as they were backed up on {at} UTC. The loss is counted from "
            f"{OPEN_AT_THE_DUMP.total_seconds() / 60:.0f} minutes earlier: what was being written then is not in it."
        )
    target = _rollback(operation).restore_set
    assert target is not None
    return f"Image, database and files of {tag} as they were on {target.taken_at:%Y-%m-%d %H:%M} UTC."


def _hold_seconds(plan: Plan) -> float:
    if plan.shape == "switch":
        return 0.0
    if plan.shape == "restore":
        return REGISTRY_SECONDS
    copied = (plan.facts.database_bytes or 0) / COPIED_BYTES_PER_SECOND
    return round(REGISTRY_SECONDS + UPDATE_SECONDS + copied, 1)


# -- the modes


def _plan_code(operation: Operation, facts: RollbackFacts, droplet: Droplet, execute: bool) -> Plan:
    """As a deployment of the older image, which refuses when the data are too new for it."""
    _check_image_here(facts)
    if build.from_digest(facts.environment) == operation.release.digest:
        raise Refused(
            f"{operation.environment.key} runs {operation.release.tag} already: choose another release.",
            code="mode_impossible",
        )
    plan = plan_deploy(operation, facts.environment, droplet, execute=execute)
    document = _document(operation, facts, "code", plan.document.config_hash)
    return replace(plan, rollback=document, plan_hash=plan_hash(document))


def _plan_full(operation: Operation, facts: RollbackFacts, droplet: Droplet, execute: bool) -> Plan:
    """Image, database and files of the restore set; what is there now becomes a set of its own."""
    target = _target_set(operation, droplet)
    _check_image_here(facts)
    _check_set_there(target, facts)
    environment, observed = operation.environment, facts.environment
    config = odoo_config(environment, observed.image, droplet.cluster, environment.database.name)
    _check_fits(operation, observed, target)
    checks.check_disk(operation, observed, snapshot=False)
    if execute:
        checks.check_sessions(operation, observed)
    # Of now: only what a reader is told of the present is made of it.
    modules = replace(plan_modules(observed.image, observed.database, ()), changes=(), dependents=(), migrations=())
    loaded = in_loading_order(observed.image.addons, target.module_versions) or None
    job = Job(operation, observed, droplet, modules, config, loaded)
    steps = tuple(_restore(job, target, data_since(operation, facts) or target.taken_at))
    document = _document(operation, facts, "full", config.config_hash)
    return Plan("restore", build.document(job), plan_hash(document), build.plan_facts(job, steps), steps, document)


def _plan_backup(operation: Operation, facts: RollbackFacts, droplet: Droplet, execute: bool) -> Plan:
    """The same as `full` from an off-host backup: fetched and loaded beside the site, exchanged under the hold."""
    since = backed_up_at(operation)
    if since is None:
        raise Refused(f"No backup of {operation.release.tag} was given: make backups.", code="mode_impossible")
    try:
        snapshot = require_snapshot(order(operation).snapshot)
    except Refused as refused:
        raise Refused(refused.message, code="mode_impossible") from refused
    _check_image_here(facts)
    environment, observed = operation.environment, facts.environment
    config = odoo_config(environment, observed.image, droplet.cluster, environment.database.name)
    checks.check_image(operation, observed, NO_CHANGES)
    checks.check_disk(operation, observed, snapshot=False)
    _check_room(operation, facts)
    if execute:
        checks.check_sessions(operation, observed)
    modules = replace(plan_modules(observed.image, observed.database, ()), changes=(), dependents=(), migrations=())
    job = Job(operation, observed, droplet, modules, config)
    steps = tuple(exchange(job, since.isoformat(), _count_loss(job, since - OPEN_AT_THE_DUMP)))
    document = _document(operation, facts, "backup", config.config_hash, snapshot)
    return Plan("restore", build.document(job), plan_hash(document), build.plan_facts(job, steps), steps, document)


def _check_room(operation: Operation, facts: RollbackFacts) -> None:
    """Refuse what could not be fetched or loaded; where the console does not know the dump, as large as the present."""
    observed, found = facts.environment, facts.backup
    if found is not None and found.problem is not None:
        raise Refused(found.problem.message, code=found.problem.code)
    free = observed.disk_free_bytes
    missing = checks.no_disk_for_backup(operation, free, found.bytes) if found is not None and free is not None else ""
    present = observed.database.bytes / checks.LOADED_FACTOR if observed.database else 0
    missing = missing or checks.no_room_for_dump(observed.database_free_bytes, _dump_bytes(operation) or int(present))
    if missing:
        raise Refused(missing, code="disk_too_small")


def _dump_bytes(operation: Operation) -> int:
    told = (_rollback(operation).backup or {}).get("database_bytes")
    return int(told) if isinstance(told, int | float) else 0


def _count_loss(job: Job, since: datetime) -> Step:
    ceiling = _rollback(job.operation).ceiling
    arguments = {"database": job.names.database, "since": since.isoformat()}
    return Step("count_loss", {**arguments, "ceiling": plain(ceiling) if ceiling else None})


def counted_since(operation: Operation) -> datetime | None:
    """Return from when on losses are counted for a rollback to a backup; see OPEN_AT_THE_DUMP."""
    at = backed_up_at(operation)
    return at - OPEN_AT_THE_DUMP if at else None


def backed_up_at(operation: Operation) -> datetime | None:
    """Return up to when the rollback's backup reaches; None without one, or where that can't be read."""
    given = _rollback(operation).backup
    try:
        at = datetime.fromisoformat(str((given or {})["taken_at"]))
    except (KeyError, ValueError):
        return None
    return at if at.tzinfo else None


_MODES: dict[str, Callable[[Operation, RollbackFacts, Droplet, bool], Plan]] = {
    "code": _plan_code,
    "full": _plan_full,
    "backup": _plan_backup,
}


def _restore(job: Job, target: TargetSet, since: datetime) -> Iterator[Step]:
    """Nobody writes from the fence to the release, and all that is exchanged is exchanged by renames."""
    names, database = job.names, build.database(job)
    number = set_number(target)
    exchange = {
        "database": names.database,
        "snapshot": names.snapshot_of(number),
        "present": names.snapshot,
        "set_token": number,
        "target_digest": target.digest,
        "since": since.isoformat(),
        **build.given_up(job),
    }
    yield build.prepare(job)
    yield build.claim(job)
    yield build.create_web(job, standby=True)
    # Somebody waits for the whole of it, so jobs come to their end while Python reads.
    yield build.start_standby(job)
    yield build.stop_cron(job)
    yield build.preload_web(job)
    yield from build.hold_and_fence(job)
    yield _count_loss(job, since)
    yield Step("swap_database", exchange, undo="swap_database_back")
    yield Step("swap_filestore", exchange, undo="swap_filestore_back")
    yield Step("verify_restored", _expected(job, target))
    yield Step("open_database", database, undo="fence_database")
    yield build.open_gate(job)
    yield build.warm_web(job, commits=True, websocket=False)
    yield build.release(job)
    yield build.start_cron(job)
    yield build.publish(job)
    yield from build.tidy_sets(job)
    yield build.remove_old(job)


def _expected(job: Job, target: TargetSet) -> dict[str, object]:
    database = job.facts.database
    return {
        "database": job.names.database,
        "uuid": database.uuid if database else None,
        "target_digest": target.digest,
        "parameters": build.parameters(job),
    }


def _document(
    operation: Operation, facts: RollbackFacts, mode: Mode, config_hash: str, snapshot: str | None = None
) -> RollbackPlanDocument:
    rollback, database = _rollback(operation), facts.environment.database
    target = rollback.restore_set if mode == "full" else None
    return RollbackPlanDocument(
        environment=operation.environment.key,
        database_uuid=database.uuid if database else None,
        from_digest=build.from_digest(facts.environment),
        to_digest=operation.release.digest,
        config_hash=config_hash,
        mode=mode,
        restore_set_token=target.token if target else None,
        backup_snapshot=snapshot,
        policy_version=operation.policy_version,
    )


# -- what closes a mode


def _rollback(operation: Operation) -> Rollback:
    rollback = operation.way_back
    if rollback is None:
        raise Refused("The operation does not say what to go back to: ask for the rollback again.", code="bad_message")
    return rollback


def _check_installed(operation: Operation, facts: EnvironmentFacts) -> None:
    if facts.database is None or not facts.database.modules:
        raise Refused(
            f"There is no Odoo in {operation.environment.database.name} to go back from: restore a backup.",
            code="mode_impossible",
        )


def _check_image_here(facts: RollbackFacts) -> None:
    if facts.image_problem is not None:
        raise Refused(facts.image_problem.message, code=facts.image_problem.code)


def _target_set(operation: Operation, droplet: Droplet) -> TargetSet:
    target, tag = _rollback(operation).restore_set, operation.release.tag
    if target is None:
        raise Refused(f"No restore set of {tag} is kept any more: go back to a backup.", code="mode_impossible")
    environment = operation.environment
    names = Names(droplet.stack, environment.key, environment.database.name, operation.token)
    if target.database_snapshot != names.snapshot_of(set_number(target)):
        raise Refused(
            f"{target.database_snapshot} is no snapshot of {environment.database.name}: choose another set.",
            code="mode_impossible",
        )
    if target.digest != operation.release.digest:
        raise Refused(
            f"The restore set {target.database_snapshot} is of another release than {tag}: choose the one it is of.",
            code="mode_impossible",
        )
    return target


def _check_set_there(target: TargetSet, facts: RollbackFacts) -> None:
    found = facts.restore_set
    if found is None or not found.database:
        raise Refused(
            f"The database snapshot {target.database_snapshot} is gone: go back to a backup.", code="set_gone"
        )
    if not found.filestore:
        raise Refused(
            f"The files of the restore set ({target.filestore_snapshot}) are gone or not whole: go back to a backup.",
            code="set_gone",
        )


def _check_fits(operation: Operation, facts: EnvironmentFacts, target: TargetSet) -> None:
    """Refuse an image that the set's database would not start on; by what was recorded when the set was taken."""
    missing = tuple(sorted(set(target.module_versions) - facts.image.addons.keys()))
    checks.check_image(operation, facts, replace(NO_CHANGES, missing=missing))
