"""The three kinds of container an environment has, as specifications. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..names import CONFIG_FILE, DATA_DIR, Names
from ..ports import ContainerSpec, Mount
from ..protocol import Environment
from . import odoo
from .odoo_conf import share_connections

# Odoo's parent process and PostgreSQL's client libraries, beside the workers.
OVERHEAD_BYTES = 512 << 20
CRON_STOP_SECONDS = 60
WEB_STOP_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What all containers of one release in one environment share."""

    names: Names
    environment: Environment
    reference: str  # repository@sha256:…
    digest: str
    config_hash: str
    operation_id: int
    uid: int
    gid: int
    data_root: str

    @property
    def directory(self) -> str:
        return f"{self.data_root}/{self.environment.key}"


def web(blueprint: Blueprint, *, standby: bool = False) -> ContainerSpec:
    """The container that serves; `standby` for one that waits until its gate is opened."""
    argv = odoo.standby(blueprint.names.gate) if standby else odoo.web()
    return _spec(blueprint, "web", argv, stop_seconds=WEB_STOP_SECONDS, restart=True)


def cron(blueprint: Blueprint) -> ContainerSpec:
    environment = blueprint.environment
    argv = odoo.cron(environment.cron_workers, share_connections(environment).cron)
    limit = environment.limits.container_memory_bytes
    needed = environment.limits.memory_hard_bytes * environment.cron_workers + OVERHEAD_BYTES
    return _spec(
        blueprint,
        "cron",
        argv,
        stop_seconds=CRON_STOP_SECONDS,
        restart=True,
        memory_bytes=min(limit, needed) if limit else None,
    )


def update(
    blueprint: Blueprint,
    to_update: Iterable[str],
    to_install: Iterable[str],
    *,
    baseline: str | None,
    admin_password: str | None,
    gated: bool = False,
) -> ContainerSpec:
    """The one-off that migrates; with modules to look after in a database it waits at a gate first.

    Never restarted: a droplet that boots must not find a `-u` in a container.
    """
    argv = odoo.update(
        blueprint.environment.database.name,
        to_update,
        to_install,
        baseline=baseline,
        admin_password=admin_password,
        languages=blueprint.environment.languages if admin_password else (),
        gate=blueprint.names.update_gate if gated else None,
    )
    return _spec(blueprint, "update", argv, config=blueprint.names.upgrade_config, stop_seconds=10)


def _spec(
    blueprint: Blueprint,
    role: str,
    argv: tuple[str, ...],
    *,
    stop_seconds: int,
    config: str | None = None,
    restart: bool = False,
    memory_bytes: int | None = None,
) -> ContainerSpec:
    names, limits = blueprint.names, blueprint.environment.limits
    return ContainerSpec(
        name=names.container(role),
        image=blueprint.reference,
        argv=argv,
        network=names.network_of(blueprint.environment.tier),
        labels=_labels(blueprint, role),
        user=f"{blueprint.uid}:{blueprint.gid}",
        mounts=(
            Mount(blueprint.directory, DATA_DIR),
            Mount(f"{blueprint.directory}/{config or names.config}", CONFIG_FILE, read_only=True),
        ),
        memory_bytes=memory_bytes or limits.container_memory_bytes,
        cpus=limits.cpus,
        restart=restart,
        stop_seconds=stop_seconds,
    )


def _labels(blueprint: Blueprint, role: str) -> dict[str, str]:
    return {
        **blueprint.names.labels,
        "odooops.role": role,
        "odooops.token": str(blueprint.names.token),
        "odooops.operation": str(blueprint.operation_id),
        "odooops.digest": blueprint.digest,
        "odooops.config_hash": blueprint.config_hash,
    }


def spec_from(arguments: Mapping[str, Any]) -> ContainerSpec:
    """Return the specification that a step's plain arguments stand for."""
    mounts = tuple(Mount(**mount) for mount in arguments["mounts"])
    return ContainerSpec(**{**arguments, "argv": tuple(arguments["argv"]), "mounts": mounts})
