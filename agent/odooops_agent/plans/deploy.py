"""Facts to plan: how a release gets into an environment. Pure.

Three shapes: `install` (no Odoo in the database yet), `update` (modules change: hold, snapshot, `-u`, verdict)
and `switch` (code only: new beside old, then the route). The order of the steps is design.md §4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ..commands import containers, odoo
from ..commands.containers import Blueprint
from ..commands.odoo_conf import Cluster, OdooConfig, odoo_config
from ..facts import Container, EnvironmentFacts
from ..names import ADMIN_PASSWORD, BASELINE, Names
from ..ports import Route
from ..protocol import Operation, PlanDocument, PlanFacts
from . import checks
from .hashing import plan_hash
from .model import Plan, Step
from .modules import BY_HASH, ModulePlan, loaded_modules, plan_modules

START_SECONDS = 180
WARM_SECONDS = 120
HELD_WARM_SECONDS = START_SECONDS  # it loads its registry within this time as well
KEPT_RESTORE_SETS = 2  # the one just made and the one before it
# Done before the plan can be made: the image's manifest is one of its facts.
PRELUDE = ("pull_image", "check_plan")


@dataclass(frozen=True, slots=True)
class Droplet:
    """What holds for every environment of a droplet."""

    stack: str
    data_root: str
    cluster: Cluster
    tls: bool = False


@dataclass(frozen=True, slots=True)
class _Job:
    """What the step builders share."""

    operation: Operation
    facts: EnvironmentFacts
    droplet: Droplet
    modules: ModulePlan
    config: OdooConfig

    @property
    def names(self) -> Names:
        environment = self.operation.environment
        return Names(self.droplet.stack, environment.key, environment.database.name, self.operation.token)

    @property
    def blueprint(self) -> Blueprint:
        release, image = self.operation.release, self.facts.image
        return Blueprint(
            names=self.names,
            environment=self.operation.environment,
            reference=release.reference,
            digest=release.digest,
            config_hash=self.config.config_hash,
            operation_id=self.operation.id,
            uid=image.uid,
            gid=image.gid,
            data_root=self.droplet.data_root,
        )

    @property
    def serving(self) -> Container | None:
        return serving_container(self.facts)

    @property
    def shape(self) -> str:
        if self.facts.database is None or not self.facts.database.modules:
            return "install"
        return "update" if self.modules.changes else "switch"


def plan_deploy(operation: Operation, facts: EnvironmentFacts, droplet: Droplet, *, execute: bool = True) -> Plan:
    """Return the plan of a deployment.

    :param execute: False for a plan that is only looked at: then sessions that can't be ended are a
        warning, as they may be gone by the time of the deployment.
    :raises Refused: the deployment may not run as things stand.
    :raises LeaseLost: something in the environment carries a newer token (only with `execute`).
    """
    checks.check_names(operation)
    if execute:
        checks.check_lease(operation, facts)
    checks.check_identity(operation, facts)
    environment = operation.environment
    config = odoo_config(environment, facts.image, droplet.cluster, environment.database.name)
    modules = plan_modules(facts.image, facts.database, environment.modules)
    job = _Job(operation, facts, droplet, modules, config)
    checks.check_image(operation, facts, modules)
    checks.check_disk(operation, facts, snapshot=job.shape == "update")
    if execute and job.shape == "update":
        checks.check_sessions(operation, facts)
    document = _document(job)
    steps = tuple(_SHAPES[job.shape](job))
    return Plan(job.shape, document, plan_hash(document), _facts(job, steps), steps)


def serving_container(facts: EnvironmentFacts) -> Container | None:
    """Return the web container that the proxy reaches; without a route, the newest that runs."""
    webs = sorted((one for one in facts.containers if one.role == "web"), key=lambda one: one.token)
    dialled = [one for one in webs if facts.upstream and facts.exposed.get(one.name) == facts.upstream]
    running = [one for one in webs if one.running]
    return next(iter(dialled or running[-1:]), None)


def _document(job: _Job) -> PlanDocument:
    database, environment = job.facts.database, job.operation.environment
    return PlanDocument(
        environment=environment.key,
        database_uuid=database.uuid if database else None,
        from_digest=from_digest(job.facts),
        to_digest=job.operation.release.digest,
        config_hash=job.config.config_hash,
        modules=job.modules.changes,
        migrations=job.modules.migrations,
        policy_version=job.operation.policy_version,
    )


def from_digest(facts: EnvironmentFacts) -> str | None:
    """Return the image that the environment is on: what its database was updated with, else what serves."""
    if facts.database and facts.database.recorded_digest:
        return facts.database.recorded_digest
    serving = serving_container(facts)
    return serving.digest if serving else None


def _facts(job: _Job, steps: tuple[Step, ...]) -> PlanFacts:
    facts = job.facts
    free = facts.disk_free_bytes if facts.database_free_bytes is None else facts.database_free_bytes
    return PlanFacts(
        database_bytes=facts.database.bytes if facts.database else None,
        free_bytes=free,
        snapshot_strategy=None,
        dependents=job.modules.dependents,
        steps=(*PRELUDE, *(step.name for step in steps)),
        warnings=checks.warnings(job.operation, facts, job.modules, job.serving),
        needs_hold=job.shape == "update",
    )


def _update(job: _Job) -> Iterator[Step]:
    """Modules change: nobody writes from the hold to the release, and the copy made between is the way back."""
    names, options = job.names, job.operation.options
    database = {"database": names.database, "app": names.app_role, "upgrade": names.upgrade_role}
    copy = {**database, "snapshot": names.snapshot, "aside": names.aside, "token": names.token}
    yield _prepare(job)
    yield _claim(job)
    yield _create_web(job, standby=True)
    yield _preload_web(job)
    yield _preload_update(job)
    # Before the hold: a long job may take its time to end without a visitor waiting for it.
    yield _stop_cron(job)
    yield Step("hold_requests", {"alias": names.alias, **_old(job)}, undo="resume_requests")
    yield Step("drain_requests", {**_old(job), "limit_seconds": options.drain_limit_seconds})
    yield Step(
        "stop_workers",
        {"names": _running(job, "web"), **_old(job), **_health(job), **_warmth(job, websocket=False)},
        undo="start_workers",
    )
    yield Step("fence_database", database, undo="unfence_database")
    yield Step("snapshot_database", copy, undo="drop_snapshot")
    yield Step("snapshot_filestore", copy, undo="drop_filestore_snapshot")
    yield _run_update(job, "update_modules", undo="restore_data", arguments=copy)
    yield Step("verify_update")
    yield _record(job)
    yield Step("open_database", database, undo="fence_database")
    yield _open_gate(job)
    yield _warm_web(job, commits=True, websocket=False)
    yield _release(job)
    yield _start_cron(job)
    yield _publish(job)
    yield _drop_old_sets(job)
    yield _remove_old(job)


def _switch(job: _Job) -> Iterator[Step]:
    """Code only: the new one stands warm beside the old before the route moves, so no request waits."""
    names, old = job.names, _old(job)
    yield _prepare(job)
    yield _claim(job)
    yield Step("write_parameters", {"database": names.database, "parameters": _parameters(job)})
    yield _create_web(job)
    yield _start_web(job)
    yield _warm_web(job)
    yield _stop_cron(job)
    yield Step(
        "switch_route",
        {"web": names.container("web"), "alias": names.alias, **old},
        undo="switch_back",
        commits=True,
    )
    yield _start_cron(job)
    yield _record(job)
    yield _publish(job)
    yield Step("drain_requests", {**old, "limit_seconds": job.operation.options.drain_limit_seconds}, optional=True)
    yield _remove_old(job)


def _install(job: _Job) -> Iterator[Step]:
    """Nothing there yet: a failure leaves nothing behind."""
    names = job.names
    arguments = {"database": names.database, "app": names.app_role, "token": names.token}
    yield _prepare(job)
    yield Step("create_database", arguments, undo="drop_database")
    yield _run_update(job, "install_modules", undo="stop_update", arguments=arguments)
    yield Step("verify_update")
    yield _record(job)
    yield _create_web(job)
    yield _start_web(job)
    yield _warm_web(job, commits=True)
    yield _release(job)
    yield _publish(job)
    yield _start_cron(job)
    yield _remove_old(job)


_SHAPES = {"install": _install, "update": _update, "switch": _switch}


def _prepare(job: _Job) -> Step:
    names, image = job.names, job.facts.image
    arguments = {
        "network": names.network,
        "labels": names.labels,
        "token": names.token,
        "uid": image.uid,
        "gid": image.gid,
        "addons_paths": list(image.addons_paths),
        "leftovers": [one.name for one in job.facts.containers if one.role == "update"],
        "install": job.shape == "install",
    }
    return Step("prepare_environment", arguments, undo="clean_up")


def _claim(job: _Job) -> Step:
    return Step("claim_database", {"database": job.names.database, "token": job.names.token})


def _create_web(job: _Job, *, standby: bool = False) -> Step:
    spec = _plain(containers.web(job.blueprint, standby=standby))
    return Step("create_web", {"spec": spec}, undo="remove_container")


def _preload_web(job: _Job) -> Step:
    """Have the new web container import its code; one that can't fails here, and nobody has noticed."""
    arguments = {"name": job.names.container("web"), "gate": job.names.gate, **_preloading(job)}
    return Step("preload_web", arguments, undo="stop_container")


def _preloading(job: _Job) -> dict[str, Any]:
    image = job.facts.image
    return {
        "modules": list(loaded_modules(image, job.facts.database, job.operation.environment.modules)),
        "ready": list(odoo.is_ready()),
        "start_seconds": START_SECONDS,
        "uid": image.uid,
        "gid": image.gid,
    }


def _preload_update(job: _Job) -> Step:
    """Have the update import its code too, and wait at a gate of its own: a hold need not last while Python reads."""
    arguments = {**_update_spec(job), "gate": job.names.update_gate, **_preloading(job)}
    return Step("preload_update", arguments, undo="stop_update")


def _open_gate(job: _Job) -> Step:
    """Let the new web container go; the step after it waits for its pages."""
    arguments = {"name": job.names.container("web"), "gate": job.names.gate}
    return Step("start_web", arguments, undo="stop_container")


def _start_web(job: _Job) -> Step:
    arguments = {"name": job.names.container("web"), **_health(job)}
    return Step("start_web", arguments, undo="stop_container")


def _warm_web(job: _Job, *, commits: bool = False, websocket: bool = True) -> Step:
    arguments = {"name": job.names.container("web"), **_health(job), **_warmth(job, websocket=websocket)}
    return Step("warm_web", arguments, commits=commits)


def _health(job: _Job) -> dict[str, Any]:
    environment = job.operation.environment
    argv = odoo.healthy(environment.domains.main, environment.database.name)
    return {"healthy": list(argv), "start_seconds": START_SECONDS}


def _warmth(job: _Job, *, websocket: bool) -> dict[str, Any]:
    """Visitors who are held wait for pages, not for the websocket process, which takes seconds longer."""
    seconds = WARM_SECONDS if websocket else HELD_WARM_SECONDS
    argv = odoo.warm(job.operation.environment.domains.main, seconds, websocket=websocket)
    return {"warm": list(argv), "warm_seconds": seconds}


def _stop_cron(job: _Job) -> Step:
    return Step("stop_cron", {"names": _running(job, "cron")}, undo="start_containers")


def _start_cron(job: _Job) -> Step:
    return Step("start_cron", {"spec": _plain(containers.cron(job.blueprint))})


def _run_update(job: _Job, name: str, *, undo: str, arguments: dict[str, Any]) -> Step:
    timeout = job.operation.options.update_timeout_seconds
    gate = {} if job.shape == "install" else {"gate": job.names.update_gate}
    return Step(name, {**arguments, **_update_spec(job), **gate, "timeout_seconds": timeout}, undo=undo)


def _update_spec(job: _Job) -> dict[str, Any]:
    install = job.shape == "install"
    spec = containers.update(
        job.blueprint,
        job.modules.to_update,
        job.modules.to_install,
        baseline=None if install else BASELINE,
        admin_password=ADMIN_PASSWORD if install else None,
        gated=not install,
    )
    return {"spec": _plain(spec)}


def _record(job: _Job) -> Step:
    """Every addon that is decided by hash is recorded, also those that a user may install later."""
    modules = {
        name: {"version": addon.version, "hash": addon.hash, "i18n": dict(addon.i18n)}
        for name, addon in sorted(job.facts.image.addons.items())
        if addon.origin in BY_HASH
    }
    arguments = {
        "database": job.names.database,
        "digest": job.operation.release.digest,
        "modules": modules,
        "parameters": _parameters(job),
    }
    return Step("record_manifest", arguments)


def _parameters(job: _Job) -> dict[str, str]:
    # Odoo rewrites web.base.url from the browser at every login of an administrator unless it is frozen.
    return {"web.base.url": job.operation.environment.url, "web.base.url.freeze": "True"}


def _release(job: _Job) -> Step:
    return Step("release_requests", {"web": job.names.container("web"), "alias": job.names.alias})


def _publish(job: _Job) -> Step:
    domains, names = job.operation.environment.domains, job.names
    route = Route(
        environment=names.key,
        hosts=(domains.main, *domains.aliases),
        redirects=domains.redirects,
        alias=names.alias,
        hold_limit_seconds=job.operation.options.hold_limit_seconds,
        tls=job.droplet.tls,
    )
    return Step("publish_route", {"route": _plain(route)}, optional=job.shape != "install")


def _remove_old(job: _Job) -> Step:
    keep = {job.names.container(role) for role in ("web", "cron")}
    old = [one for one in job.facts.containers if one.name not in keep]
    tokens = sorted({one.token for one in old} - {job.names.token})
    image = job.facts.image
    arguments = {
        "names": [one.name for one in old],
        "tokens": tokens,
        "token": job.names.token,
        "uid": image.uid,
        "gid": image.gid,
    }
    return Step("remove_old", arguments, optional=True)


def _drop_old_sets(job: _Job) -> Step:
    arguments = {"database": job.names.database, "token": job.names.token, "keep": KEPT_RESTORE_SETS}
    return Step("drop_old_sets", arguments, optional=True)


def _old(job: _Job) -> dict[str, str | None]:
    serving = job.serving
    return {
        "old_web": serving.name if serving else None,
        "old_alias": job.facts.upstream or (job.facts.exposed.get(serving.name) if serving else None),
    }


def _running(job: _Job, role: str) -> list[str]:
    return [one.name for one in job.facts.containers if one.role == role and one.running]


def _plain(value: Any) -> dict[str, Any]:
    plain: dict[str, Any] = asdict(value)
    return plain
