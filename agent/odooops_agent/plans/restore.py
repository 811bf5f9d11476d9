"""How an environment is put back to one of its backups. Pure.

All that takes long (fetching, loading, importing code) is done beside the running site; under the hold only renames
are left, as in a rollback to a restore set, and the present becomes a set of its own. Where nothing is left, as after
the loss of a cluster, the backup is installed like a first release.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..commands import dump
from ..commands.odoo_conf import odoo_config
from ..commands.restic import require_snapshot
from ..errors import Refused
from ..facts import DatabaseFacts, EnvironmentFacts
from ..protocol import Operation
from . import building as build
from . import checks
from .backup import make_room, one_off, order
from .building import Droplet, Job
from .hashing import plan_hash
from .model import Plan, Step
from .modules import NO_CHANGES, plan_modules
from .sets import FIRST_NUMBER

ROOM = {"workspace": "restore"}


def plan_restore(operation: Operation, facts: EnvironmentFacts, droplet: Droplet) -> Plan:
    """Return the plan of a restore.

    :raises Refused: the backup may not go there, or not as things stand.
    :raises LeaseLost: something in the environment carries a newer token.
    """
    checks.check_names(operation)
    checks.check_bucket(operation)
    checks.check_lease(operation, facts)
    _check_direction(operation)
    require_snapshot(order(operation).snapshot)
    if facts.database is not None:
        checks.check_identity(operation, facts)
        checks.check_sessions(operation, facts)
        _check_installed(facts.database)
    checks.check_image(operation, facts, NO_CHANGES)
    checks.check_disk(operation, facts, snapshot=False)
    environment = operation.environment
    config = odoo_config(environment, facts.image, droplet.cluster, environment.database.name)
    modules = replace(plan_modules(facts.image, facts.database, ()), changes=(), dependents=(), migrations=())
    job = Job(operation, facts, droplet, modules, config)
    document = build.document(job)
    steps = tuple(_install(job) if facts.database is None else exchange(job))
    return Plan("restore", document, plan_hash(document), build.plan_facts(job, steps), steps)


def _check_installed(database: DatabaseFacts) -> None:
    """Refuse what can be neither a restore set nor taken for nothing: whoever made it may have filled it."""
    if not database.modules:
        raise Refused(
            f"The database {database.name} is there and has no Odoo in it: rename or drop it, then restore again.",
            code="restore_refused",
        )


def _check_direction(operation: Operation) -> None:
    """Refuse what would carry one environment's data into another."""
    environment, source = operation.environment, order(operation).source
    if source is None:
        raise Refused("The operation does not say whose backup it restores.", code="bad_message")
    if source.environment == environment.key and source.tier == environment.tier:
        return
    if environment.tier == "production":
        raise Refused(
            f"A backup of {source.environment} never goes to production: {environment.key} takes back its own only.",
            code="restore_refused",
        )
    raise Refused(
        f"A backup of {source.environment} may go to {environment.key} only as a safe copy: order a copy of it.",
        code="restore_refused",
    )


def _fetch(job: Job) -> Iterator[Step]:
    facts = job.facts
    yield Step("open_repository", {"make": False})
    yield build.prepare(job)
    yield make_room(facts, ROOM["workspace"])
    yield Step("fetch_backup", {**ROOM, "addons": sorted(facts.image.addons)})


def _load(job: Job, database: str) -> Step:
    """The database is fenced until it is known to be whole, so that no server works on half of it."""
    argv = dump.load(database, job.names.upgrade_role)
    loading = one_off(job.operation, job.facts, job.droplet, ROOM["workspace"], "load", argv)
    return Step("load_dump", {**ROOM, **loading, "database": database}, undo="remove_one_off")


def exchange(job: Job, since: str = "1970-01-01T00:00:00+00:00", counted: Step | None = None) -> Iterator[Step]:
    """Beside the site all but the renames; the present is kept as a restore set.

    :param since: up to when the backup reaches.
    :param counted: what counts the loss, once nobody writes any more.
    """
    names = job.names
    number = FIRST_NUMBER + names.token
    restored = names.snapshot_of(number)
    swap = {
        "database": names.database,
        "snapshot": restored,
        "present": names.snapshot,
        "set_token": number,
        "target_digest": job.operation.release.digest,
        "since": since,
        **build.given_up(job),
    }
    yield from _fetch(job)
    yield build.claim(job)
    yield Step("create_disposable", {"database": restored, "owner": names.app_role}, undo="drop_disposable")
    yield _load(job, restored)
    yield Step("place_files", {**ROOM, "token": number}, undo="drop_filestore_snapshot")
    yield Step("remove_workspace", ROOM)
    yield build.create_web(job, standby=True)
    yield build.preload_web(job)
    yield from build.quiet(job)
    if counted is not None:
        yield counted
    yield Step("swap_database", swap, undo="swap_database_back")
    yield Step("swap_filestore", swap, undo="swap_filestore_back")
    yield _verify(job)
    yield Step("open_database", build.database(job), undo="fence_database")
    yield build.open_gate(job)
    yield build.warm_web(job, commits=True, websocket=False)
    yield build.release(job)
    yield build.start_cron(job)
    yield build.publish(job)
    yield from build.tidy_sets(job)
    yield build.remove_old(job)


def _install(job: Job) -> Iterator[Step]:
    """The database is gone: a failure leaves what outlived it as it was, files and containers."""
    names = job.names
    arguments = {**build.database(job), "token": names.token, "anew": True, "closed": True}
    yield from _fetch(job)
    # Old containers would enter the database as soon as it is there and work on it while it is being loaded.
    yield build.stop_cron(job)
    yield from build.hold_and_stop(job)
    yield Step("set_files_aside", {"database": names.database, "token": names.token}, undo="put_files_back")
    yield Step("create_database", arguments, undo="drop_database")
    yield _load(job, names.database)
    yield Step("place_files", {**ROOM, "database": names.database})
    yield Step("remove_workspace", ROOM)
    yield _verify(job)
    yield Step("open_database", build.database(job))
    yield build.create_web(job)
    yield build.start_web(job)
    yield build.warm_web(job, commits=True)
    yield build.release(job)
    yield build.publish(job)
    yield build.start_cron(job)
    yield build.remove_old(job)


def _verify(job: Job) -> Step:
    source, database = order(job.operation).source, job.facts.database
    known = source.database_uuid if source else None
    return Step(
        "verify_restored",
        {
            "database": job.names.database,
            "uuid": known or (database.uuid if database else job.operation.environment.database.uuid),
            "target_digest": job.operation.release.digest,
            "parameters": build.parameters(job),
        },
    )
