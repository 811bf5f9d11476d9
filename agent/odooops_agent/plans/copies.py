"""How an environment becomes a copy of another one's data that can hurt nobody. Pure.

`make_safe` is the piece that any disposable copy begins with: at its end there is a database, closed to every server,
that was proven safe, or there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID, uuid5

from .. import neutralise as rules
from ..commands import dump
from ..commands import neutralise as sql
from ..commands.odoo_conf import odoo_config
from ..commands.restic import require_snapshot
from ..errors import Refused
from ..exceptions import check_host
from ..facts import EnvironmentFacts
from ..names import CODE, DATABASE, PROJECT, Names, require
from ..protocol import Clone, Operation, TargetSet
from . import building as build
from . import checks
from .backup import make_room, one_off, order
from .building import Droplet, Job
from .hashing import plan_hash
from .model import Plan, Step
from .modules import in_loading_order, plan_modules
from .rollback import set_number
from .sets import FIRST_NUMBER

ROOM = {"workspace": "clone"}


def plan_clone(operation: Operation, facts: EnvironmentFacts, droplet: Droplet) -> Plan:
    """Return the plan of a copy.

    :raises Refused: the data may not go there, or not as things stand.
    :raises LeaseLost: something in the environment carries a newer token.
    """
    given = clone(operation)
    checks.check_names(operation)
    checks.check_bucket(operation)
    checks.check_lease(operation, facts)
    check_direction(operation)
    if facts.database is not None:
        checks.check_identity(operation, facts)
        checks.check_sessions(operation, facts)
    checks.check_disk(operation, facts, snapshot=False)
    for host in given.rules.network_allowlist:
        check_host(host)
    if facts.image.series != operation.environment.series:
        raise Refused(
            f"The data are of Odoo {facts.image.series}, {operation.environment.key} runs "
            f"{operation.environment.series}: change its series first.",
            code="wrong_series",
        )
    environment = operation.environment
    config = odoo_config(environment, facts.image, droplet.cluster, environment.database.name)
    modules = replace(plan_modules(facts.image, facts.database, ()), changes=(), dependents=(), migrations=())
    target = given.source.restore_set
    loaded = in_loading_order(facts.image.addons, target.module_versions) or None if target else None
    job = Job(operation, facts, droplet, modules, config, loaded)
    document = build.document(job)
    steps = tuple(_exchange(job) if facts.database else _install(job))
    return Plan("clone", document, plan_hash(document), build.plan_facts(job, steps), steps)


def clone(operation: Operation) -> Clone:
    """Return what is to be copied. Raises Refused when the operation does not say."""
    if isinstance(operation.clone, Clone):
        return operation.clone
    raise Refused("The operation does not say whose data it copies.", code="bad_message")


def check_direction(operation: Operation) -> None:
    """Refuse to overwrite production, or an environment with itself, and a set that is not what it says."""
    environment, source = operation.environment, clone(operation).source
    project, _, code = source.environment.partition("/")
    require(PROJECT, project, "project")
    require(CODE, code, "environment")
    require(DATABASE, source.database, "database name")
    if environment.tier == "production":
        raise Refused(
            f"{environment.key} is a production environment, and no copy ever goes there: restore one of its own "
            "backups.",
            code="copy_refused",
        )
    if source.environment == environment.key or source.database == environment.database.name:
        raise Refused(f"{environment.key} can't be a copy of itself: restore one of its backups.", code="copy_refused")
    target = source.restore_set
    if target is None:
        _check_backup(operation)
    elif target.database_snapshot != Names("", "", source.database, 0).snapshot_of(set_number(target)):
        raise Refused(
            f"{target.database_snapshot} is no restore set of {source.database}: choose another.", code="copy_refused"
        )
    elif target.digest != operation.release.digest:
        raise Refused(
            f"The restore set {target.database_snapshot} is of another release than {operation.release.tag}: copy it "
            "with its own, then deploy.",
            code="copy_refused",
        )


def _check_backup(operation: Operation) -> None:
    given, source = order(operation), clone(operation).source
    require_snapshot(given.snapshot)
    if given.source is None or given.source.environment != source.environment:
        raise Refused(f"The backup is not said to be {source.environment}'s.", code="copy_refused")


def new_uuid(operation: Operation) -> str:
    """Return the copy's own identity: the same however often the operation is taken up again."""
    return str(uuid5(UUID(operation.uuid), "database"))


def make_safe(job: Job) -> Iterator[Step]:
    """Make a copy that nobody can reach, and prove that it is safe."""
    names, given = job.names, clone(job.operation)
    copy = {"copy": names.copy, "app": names.app_role, "upgrade": names.upgrade_role}
    uuid = new_uuid(job.operation)
    settings = rules.settings(job.operation, given.rules, uuid, given.data_as_of, given.source.environment)
    yield make_room(job.facts, ROOM["workspace"])
    if given.source.restore_set is None:
        yield Step("open_repository", {"make": False})
        yield Step("fetch_backup", {**ROOM, "addons": sorted(job.facts.image.addons)})
        yield Step("make_copy", copy, undo="drop_copy")
        yield _one_off(job, "load_copy", "load", dump.load(names.copy, names.upgrade_role))
    else:
        yield Step("make_copy", {**copy, "snapshot": given.source.restore_set.database_snapshot}, undo="drop_copy")
    yield Step("check_copy", {**copy, "addons": sorted(job.facts.image.addons)})
    yield _one_off(job, "neutralise_modules", "neutralise", sql.run(), paths=True)
    yield Step("neutralise_copy", {**copy, "settings": settings})
    if given.rules.obfuscate:
        yield Step("obfuscate_copy", copy)
    yield Step("verify_copy", {**copy, "settings": settings})


def _one_off(job: Job, step: str, name: str, argv: tuple[str, ...], *, paths: bool = False) -> Step:
    running = one_off(job.operation, job.facts, job.droplet, ROOM["workspace"], name, argv)
    more = {"addons_paths": list(job.facts.image.addons_paths)} if paths else {}
    arguments = {**ROOM, **running, **more, "database": job.names.copy, "role": job.names.upgrade_role}
    return Step(step, arguments, undo="remove_one_off")


def _files(job: Job, number: int) -> Step:
    """Only what the safe copy still names: a key that was in an attachment does not come along."""
    target: TargetSet | None = clone(job.operation).source.restore_set
    arguments = {"copy": job.names.copy, "token": number, "number": set_number(target) if target else None, **ROOM}
    return Step("bring_files", arguments, undo="drop_filestore_snapshot")


def _swap(job: Job, number: int) -> dict[str, object]:
    return {
        "database": job.names.database,
        "snapshot": job.names.copy,
        "present": job.names.snapshot,
        "set_token": number,
        **build.given_up(job),
    }


def _exceptions(job: Job) -> Step:
    """Last, when the copy is safe; what the one before might reach counts no longer."""
    network = job.names.network_of(job.operation.environment.tier)
    return Step("open_network", {"network": network, "hosts": list(clone(job.operation).rules.network_allowlist)})


def _exchange(job: Job) -> Iterator[Step]:
    """Beside the environment all but the renames; what it was is kept as a restore set."""
    number = FIRST_NUMBER + job.names.token
    yield build.prepare(job)
    yield build.claim(job)
    yield build.create_web(job, standby=True)
    yield build.start_standby(job)
    yield from make_safe(job)
    yield _files(job, number)
    yield Step("remove_workspace", ROOM)
    yield build.preload_web(job)
    yield from build.quiet(job)
    yield Step("hand_over", {"copy": job.names.copy, "app": job.names.app_role})
    yield _exceptions(job)
    yield Step("swap_copy", _swap(job, number), undo="swap_copy_back")
    yield Step("swap_filestore", _swap(job, number), undo="swap_filestore_back")
    yield Step("open_database", build.database(job), undo="fence_database")
    yield build.open_gate(job)
    yield build.warm_web(job, commits=True, websocket=False)
    yield build.release(job)
    yield build.start_cron(job)
    yield build.publish(job)
    yield from build.tidy_sets(job)
    yield build.remove_old(job)


def _install(job: Job) -> Iterator[Step]:
    """Where nothing is yet; files that lie there without a database are kept aside."""
    number = FIRST_NUMBER + job.names.token
    yield build.prepare(job)
    yield from make_safe(job)
    yield _files(job, number)
    yield Step("remove_workspace", ROOM)
    yield build.stop_cron(job)
    yield from build.hold_and_stop(job)
    yield _exceptions(job)
    yield Step("adopt_copy", {"copy": job.names.copy, **build.database(job)}, undo="drop_adopted")
    yield Step("swap_filestore", _swap(job, number), undo="swap_filestore_back")
    yield build.create_web(job)
    yield build.start_web(job)
    yield build.warm_web(job, commits=True)
    yield build.release(job)
    yield build.publish(job)
    yield build.start_cron(job)
    yield build.remove_old(job)
