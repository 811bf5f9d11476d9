"""Facts to plan: how a release gets into an environment. Pure.

Three shapes: `install` (no Odoo in the database yet), `update` (modules change: hold, snapshot, `-u`, verdict)
and `switch` (code only: new beside old, then the route). The order of the steps is design.md §4.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..commands.odoo_conf import odoo_config
from ..facts import EnvironmentFacts
from ..protocol import Operation
from . import building as build
from . import checks
from .building import Droplet as Droplet
from .building import Job
from .hashing import plan_hash
from .model import Plan, Step
from .modules import plan_modules


def plan_deploy(operation: Operation, facts: EnvironmentFacts, droplet: Droplet, *, execute: bool = True) -> Plan:
    """Return the plan of a deployment.

    :param execute: False for a plan that is only looked at: then sessions that can't be ended are a
        warning, as they may be gone by the time of the deployment.
    :raises Refused: the deployment may not run as things stand.
    :raises LeaseLost: something in the environment carries a newer token (only with `execute`).
    """
    checks.check_names(operation)
    checks.check_bucket(operation)
    if execute:
        checks.check_lease(operation, facts)
    checks.check_identity(operation, facts)
    environment = operation.environment
    config = odoo_config(environment, facts.image, droplet.cluster, environment.database.name)
    modules = plan_modules(facts.image, facts.database, environment.modules)
    job = Job(operation, facts, droplet, modules, config)
    checks.check_image(operation, facts, modules)
    checks.check_disk(operation, facts, snapshot=job.shape == "update")
    if execute and job.shape == "update":
        checks.check_sessions(operation, facts)
    document = build.document(job)
    steps = tuple(_SHAPES[job.shape](job))
    return Plan(job.shape, document, plan_hash(document), build.plan_facts(job, steps), steps)


def _update(job: Job) -> Iterator[Step]:
    """Modules change: nobody writes from the hold to the release, and the copy made between is the way back."""
    names, database = job.names, build.database(job)
    copy = {**database, "snapshot": names.snapshot, "aside": names.aside, **build.given_up(job)}
    yield build.prepare(job)
    yield build.claim(job)
    yield build.create_web(job, standby=True)
    yield build.preload_web(job)
    yield build.preload_update(job)
    yield from build.quiet(job)
    yield Step("snapshot_database", copy, undo="drop_snapshot")
    yield Step("snapshot_filestore", copy, undo="drop_filestore_snapshot")
    yield build.run_update(job, "update_modules", undo="restore_data", arguments=copy)
    yield Step("verify_update")
    yield build.record(job, snapshot=True)
    yield Step("open_database", database, undo="fence_database")
    yield build.open_gate(job)
    yield build.warm_web(job, commits=True, websocket=False)
    yield build.release(job)
    yield build.start_cron(job)
    yield build.publish(job)
    yield from build.tidy_sets(job)
    yield build.remove_old(job)


def _switch(job: Job) -> Iterator[Step]:
    """Code only: the new one stands warm beside the old before the route moves, so no request waits."""
    names, old = job.names, build.old(job)
    yield build.prepare(job)
    yield build.claim(job)
    yield Step("write_parameters", {"database": names.database, "parameters": build.parameters(job)})
    yield build.create_web(job)
    yield build.start_web(job)
    yield build.warm_web(job)
    yield build.stop_cron(job)
    yield Step(
        "switch_route",
        {"web": names.container("web"), "alias": names.alias, **old},
        undo="switch_back",
        commits=True,
    )
    yield build.start_cron(job)
    yield build.record(job)
    yield build.publish(job)
    yield Step("drain_requests", {**old, "limit_seconds": job.operation.options.drain_limit_seconds}, optional=True)
    yield build.remove_old(job)


def _install(job: Job) -> Iterator[Step]:
    """Nothing there yet: a failure leaves nothing behind."""
    names = job.names
    arguments = {"database": names.database, "app": names.app_role, "token": names.token}
    yield build.prepare(job)
    if any(build.running(job, role) for role in ("web", "cron")):
        # Of a database that is gone: they would enter the new one while it is being made, and work on it.
        yield build.stop_cron(job)
        yield from build.hold_and_stop(job)
    yield Step("create_database", arguments, undo="drop_database")
    yield build.run_update(job, "install_modules", undo="stop_update", arguments=arguments)
    yield Step("verify_update")
    yield build.record(job)
    yield build.create_web(job)
    yield build.start_web(job)
    yield build.warm_web(job, commits=True)
    yield build.release(job)
    yield build.publish(job)
    yield build.start_cron(job)
    yield build.remove_old(job)


_SHAPES = {"install": _install, "update": _update, "switch": _switch}
