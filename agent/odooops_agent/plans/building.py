"""What plans are built of: the job at hand, and each step that more than one plan takes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ..commands import containers, odoo
from ..commands.containers import Blueprint
from ..commands.odoo_conf import HTTP_PORT, Cluster, OdooConfig
from ..facts import Container, EnvironmentFacts
from ..names import ADMIN_PASSWORD, BASELINE, Names
from ..ports import Route
from ..protocol import Operation, PlanDocument, PlanFacts
from . import checks
from .model import Shape, Step
from .modules import BY_HASH, ModulePlan, loaded_modules

START_SECONDS = 180
WARM_SECONDS = 120
HELD_WARM_SECONDS = START_SECONDS  # it loads its registry within this time as well
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
class Job:
    """What the step builders share."""

    operation: Operation
    facts: EnvironmentFacts
    droplet: Droplet
    modules: ModulePlan
    config: OdooConfig
    loaded: tuple[str, ...] | None = None  # what the web container imports; None: what is installed now and wanted

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
    def shape(self) -> Shape:
        if self.facts.database is None or not self.facts.database.modules:
            return "install"
        return "update" if self.modules.changes else "switch"


def serving_container(facts: EnvironmentFacts) -> Container | None:
    """Return the web container that the proxy reaches; without a route, the newest that runs."""
    webs = sorted((one for one in facts.containers if one.role == "web"), key=lambda one: one.token)
    dialled = [one for one in webs if facts.upstream and facts.exposed.get(one.name) == facts.upstream]
    running = [one for one in webs if one.running]
    return next(iter(dialled or running[-1:]), None)


def from_digest(facts: EnvironmentFacts) -> str | None:
    """Return the image that the environment is on: what its database was updated with, else what serves."""
    if facts.database and facts.database.recorded_digest:
        return facts.database.recorded_digest
    serving = serving_container(facts)
    return serving.digest if serving else None


def document(job: Job) -> PlanDocument:
    """Return what a deployment's approvers approve."""
    installed, environment = job.facts.database, job.operation.environment
    return PlanDocument(
        environment=environment.key,
        database_uuid=installed.uuid if installed else None,
        from_digest=from_digest(job.facts),
        to_digest=job.operation.release.digest,
        config_hash=job.config.config_hash,
        modules=job.modules.changes,
        migrations=job.modules.migrations,
        policy_version=job.operation.policy_version,
    )


def plan_facts(job: Job, steps: tuple[Step, ...]) -> PlanFacts:
    """Return what a reader of the plan wants to know beside it."""
    facts = job.facts
    free = facts.disk_free_bytes if facts.database_free_bytes is None else facts.database_free_bytes
    return PlanFacts(
        database_bytes=facts.database.bytes if facts.database else None,
        free_bytes=free,
        snapshot_strategy=None,
        dependents=job.modules.dependents,
        steps=(*PRELUDE, *(step.name for step in steps)),
        warnings=checks.warnings(job.operation, facts, job.modules, job.serving),
        needs_hold=any(step.name == "hold_requests" for step in steps),
    )


def prepare(job: Job) -> Step:
    names, image = job.names, job.facts.image
    arguments = {
        "network": names.network_of(job.operation.environment.tier),
        "labels": names.labels,
        "token": names.token,
        "uid": image.uid,
        "gid": image.gid,
        "addons_paths": list(image.addons_paths),
        "leftovers": [one.name for one in job.facts.containers if one.role == "update"],
        "install": job.shape == "install",
    }
    return Step("prepare_environment", arguments, undo="clean_up")


def claim(job: Job) -> Step:
    return Step("claim_database", {"database": job.names.database, "token": job.names.token})


def create_web(job: Job, *, standby: bool = False) -> Step:
    spec = plain(containers.web(job.blueprint, standby=standby))
    return Step("create_web", {"spec": spec}, undo="remove_container")


def preload_web(job: Job) -> Step:
    """Have the new web container import its code; one that can't fails here, and nobody has noticed."""
    return Step("preload_web", _standby(job), undo="stop_container")


def start_standby(job: Job) -> Step:
    """Let it begin to import while something else is waited for; `preload_web` sees that it ends well."""
    return Step("start_standby", _standby(job), undo="stop_container")


def _standby(job: Job) -> dict[str, Any]:
    return {"name": job.names.container("web"), "gate": job.names.gate, **preloading(job)}


def preloading(job: Job) -> dict[str, Any]:
    image = job.facts.image
    return {
        "modules": list(_loaded(job)),
        "ready": list(odoo.is_ready()),
        "start_seconds": START_SECONDS,
        "uid": image.uid,
        "gid": image.gid,
    }


def _loaded(job: Job) -> tuple[str, ...]:
    if job.loaded is not None:
        return job.loaded
    return loaded_modules(job.facts.image, job.facts.database, job.operation.environment.modules)


def preload_update(job: Job) -> Step:
    """Have the update import its code too, and wait at a gate of its own: a hold need not last while Python reads."""
    arguments = {**update_spec(job), "gate": job.names.update_gate, **preloading(job)}
    return Step("preload_update", arguments, undo="stop_update")


def open_gate(job: Job) -> Step:
    """Let the new web container go; the step after it waits for its pages."""
    arguments = {"name": job.names.container("web"), "gate": job.names.gate}
    return Step("start_web", arguments, undo="stop_container")


def start_web(job: Job) -> Step:
    arguments = {"name": job.names.container("web"), **health(job)}
    return Step("start_web", arguments, undo="stop_container")


def warm_web(job: Job, *, commits: bool = False, websocket: bool = True) -> Step:
    arguments = {"name": job.names.container("web"), **health(job), **warmth(job, websocket=websocket)}
    return Step("warm_web", arguments, commits=commits)


def health(job: Job) -> dict[str, Any]:
    environment = job.operation.environment
    argv = odoo.healthy(environment.domains.main, environment.database.name)
    return {"healthy": list(argv), "start_seconds": START_SECONDS}


def warmth(job: Job, *, websocket: bool) -> dict[str, Any]:
    """Visitors who are held wait for pages, not for the websocket process, which takes seconds longer."""
    seconds = WARM_SECONDS if websocket else HELD_WARM_SECONDS
    argv = odoo.warm(job.operation.environment.domains.main, seconds, websocket=websocket)
    return {"warm": list(argv), "warm_seconds": seconds}


def stop_cron(job: Job) -> Step:
    return Step("stop_cron", {"names": running(job, "cron")}, undo="start_containers")


def start_cron(job: Job) -> Step:
    return Step("start_cron", {"spec": plain(containers.cron(job.blueprint))})


def quiet(job: Job) -> Iterator[Step]:
    """Let requests wait, and prove that nobody writes any more."""
    # Before the hold: a long job may take its time to end without a visitor waiting for it.
    yield stop_cron(job)
    yield from hold_and_fence(job)


def hold_and_fence(job: Job) -> Iterator[Step]:
    yield from hold_and_stop(job)
    yield Step("fence_database", database(job), undo="unfence_database")


def hold_and_stop(job: Job) -> Iterator[Step]:
    """Let requests wait, and stop who answered them."""
    limit_seconds = job.operation.options.drain_limit_seconds
    yield Step("hold_requests", {"alias": job.names.alias, **old(job)}, undo="resume_requests")
    yield Step("drain_requests", {**old(job), "limit_seconds": limit_seconds})
    yield Step(
        "stop_workers",
        {"names": running(job, "web"), **old(job), **health(job), **warmth(job, websocket=False)},
        undo="start_workers",
    )


def run_update(job: Job, name: str, *, undo: str, arguments: dict[str, Any]) -> Step:
    timeout = job.operation.options.update_timeout_seconds
    gate = {} if job.shape == "install" else {"gate": job.names.update_gate}
    return Step(name, {**arguments, **update_spec(job), **gate, "timeout_seconds": timeout}, undo=undo)


def update_spec(job: Job) -> dict[str, Any]:
    install = job.shape == "install"
    spec = containers.update(
        job.blueprint,
        job.modules.to_update,
        job.modules.to_install,
        baseline=None if install else BASELINE,
        admin_password=ADMIN_PASSWORD if install else None,
        gated=not install,
    )
    return {"spec": plain(spec)}


def record(job: Job, *, snapshot: bool = False) -> Step:
    """Every addon that is decided by hash is recorded, also those that a user may install later.

    :param snapshot: there is one, and what is written from here on is what going back to it would lose.
    """
    modules = {
        name: {"version": addon.version, "hash": addon.hash, "i18n": dict(addon.i18n)}
        for name, addon in sorted(job.facts.image.addons.items())
        if addon.origin in BY_HASH
    }
    arguments = {
        "database": job.names.database,
        "digest": job.operation.release.digest,
        "modules": modules,
        "parameters": parameters(job),
        **({"snapshot": job.names.snapshot, **given_up(job)} if snapshot else {}),
    }
    return Step("record_manifest", arguments)


def parameters(job: Job) -> dict[str, str]:
    # Odoo rewrites web.base.url from the browser at every login of an administrator unless it is frozen.
    found = {"web.base.url": job.operation.environment.url, "web.base.url.freeze": "True"}
    # A copy does not reach the droplet's public sites, not even to print a report through its own.
    own = {"report.url": f"http://127.0.0.1:{HTTP_PORT}"}
    return found if job.operation.environment.tier == "production" else {**found, **own}


def release(job: Job) -> Step:
    return Step("release_requests", {"web": job.names.container("web"), "alias": job.names.alias})


def publish(job: Job) -> Step:
    domains, names = job.operation.environment.domains, job.names
    route = Route(
        environment=names.key,
        hosts=(domains.main, *domains.aliases),
        redirects=domains.redirects,
        alias=names.alias,
        hold_limit_seconds=job.operation.options.hold_limit_seconds,
        tls=job.droplet.tls,
    )
    return Step("publish_route", {"route": plain(route)}, optional=job.shape != "install")


def remove_old(job: Job) -> Step:
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


def tidy_sets(job: Job) -> Iterator[Step]:
    """Drop the restore sets that nobody keeps any more, and see that the others' images outlive a prune."""
    policy = job.operation.options.kept_sets
    size = job.facts.database.bytes if job.facts.database else 0
    arguments = {
        "database": job.names.database,
        "token": job.names.token,
        "keep": policy.keep,
        "keep_hours": policy.keep_hours,
        "wanted": list(policy.wanted),
        "needed_bytes": int(size * checks.SNAPSHOT_FACTOR),
    }
    yield Step("drop_old_sets", arguments, optional=True)
    yield keep_images(job)


def keep_images(job: Job) -> Step:
    arguments = {"database": job.names.database, "image": job.operation.release.image}
    return Step("keep_images", arguments, optional=True)


def database(job: Job) -> dict[str, Any]:
    names = job.names
    return {"database": names.database, "app": names.app_role, "upgrade": names.upgrade_role}


def given_up(job: Job) -> dict[str, Any]:
    """Return what tells a set of the present: its token, and the image that goes with it."""
    return {"token": job.names.token, "set_digest": from_digest(job.facts)}


def old(job: Job) -> dict[str, str | None]:
    serving = job.serving
    return {
        "old_web": serving.name if serving else None,
        "old_alias": job.facts.upstream or (job.facts.exposed.get(serving.name) if serving else None),
    }


def running(job: Job, role: str) -> list[str]:
    return [one.name for one in job.facts.containers if one.role == role and one.running]


def plain(value: Any) -> dict[str, Any]:
    plain: dict[str, Any] = asdict(value)
    return plain
