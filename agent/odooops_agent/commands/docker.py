"""What is asked of Docker to make a container: plain arguments, from a ContainerSpec.

The schema is fixed here and a ContainerSpec has no field to widen it: no privileges, no capabilities, no devices, no
namespace of the host, no mount from outside the data root.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import Refused
from ..names import DIGEST, require
from ..ports import ContainerSpec, Mount
from . import firewall
from .containers import spec_from

BRIDGE_OPTION = "com.docker.network.bridge.name"
SPEC_LABEL = "odooops.spec"
MADE_FROM_LABEL = "odooops.made_from"
KEEPER_LABEL = "odooops.keeps"
KEEPER_MEMORY_BYTES = 16 << 20
PIDS_MAX = 512
LOG_OPTIONS = {"max-size": "10m", "max-file": "5"}
PROGRAM_LIMIT_KILL_SECONDS = 5


def spec_hash(spec: ContainerSpec) -> str:
    """Return what tells whether an existing container is the wanted one."""
    return hashlib.sha256(_text(spec).encode()).hexdigest()


def _text(spec: ContainerSpec) -> str:
    return json.dumps(asdict(spec), sort_keys=True, separators=(",", ":"))


def made_from(labels: Mapping[str, str]) -> ContainerSpec | None:
    """Return the specification that a container was created from, as its labels keep it."""
    text = labels.get(MADE_FROM_LABEL)
    return spec_from(json.loads(text)) if text else None


def container_arguments(spec: ContainerSpec, stack: str) -> dict[str, Any]:
    """Return the arguments of `create_container`, without its host configuration."""
    return {
        "image": spec.image,
        "command": list(spec.argv),
        "name": spec.name,
        "user": spec.user,
        "environment": dict(spec.environment),
        "labels": {**spec.labels, "odooops.stack": stack, SPEC_LABEL: spec_hash(spec), MADE_FROM_LABEL: _text(spec)},
        "stop_timeout": spec.stop_seconds,
        "healthcheck": {"Test": ["NONE"]},  # the agent decides what is healthy
    }


def host_arguments(spec: ContainerSpec, data_root: Path) -> dict[str, Any]:
    """Return the arguments of `create_host_config`. Raises Refused for a mount from outside the data root."""
    return {
        "network_mode": spec.network,
        "mounts": [_bind(mount, data_root) for mount in spec.mounts],
        "init": True,  # reaps what a killed worker leaves
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "privileged": False,
        "pids_limit": PIDS_MAX,
        "restart_policy": {"Name": "unless-stopped" if spec.restart else "no"},
        "log_config": {"Type": "json-file", "Config": LOG_OPTIONS},
        "extra_hosts": {"host.docker.internal": "host-gateway"},
        **_limits(spec),
    }


def _limits(spec: ContainerSpec) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if spec.memory_bytes:
        # Equal limits mean no swap: a worker that swaps is worse than one that is killed and replaced.
        limits |= {"mem_limit": spec.memory_bytes, "memswap_limit": spec.memory_bytes}
    if spec.cpus:
        limits["nano_cpus"] = int(spec.cpus * 1_000_000_000)
    return limits


def _bind(mount: Mount, data_root: Path) -> dict[str, Any]:
    source = Path(mount.source)
    inside = source.is_absolute() and source.resolve() == source and source.is_relative_to(data_root.resolve())
    if not inside or source == data_root.resolve():
        raise Refused(
            f"{mount.source} is not a directory of an environment under {data_root}; no container may mount it."
        )
    # A mount rather than a bind: Docker refuses a missing source instead of making it as root.
    return {"Type": "bind", "Source": str(source), "Target": mount.target, "ReadOnly": mount.read_only}


def limited(argv: tuple[str, ...], timeout_seconds: float) -> list[str]:
    """Return argv that ends itself inside the container: Docker can't stop what it executes there."""
    return ["timeout", "-k", str(PROGRAM_LIMIT_KILL_SECONDS), f"{timeout_seconds:.1f}", *argv]


def keeper_name(stack: str, environment: str, image: str) -> str:
    """Return the name of the container that keeps an image from being pruned."""
    digest = image.partition("@")[2]
    return f"{stack}-{environment.replace('/', '-')}-keeps-{require(DIGEST, digest, 'digest').partition(':')[2][:12]}"


def keeper_arguments(name: str, image: str, stack: str, environment: str) -> dict[str, Any]:
    """Return the arguments of `create_container` for one that only exists; it is none of the environment's own."""
    return {
        "image": image,
        "entrypoint": ["sleep"],
        "command": ["infinity"],
        "name": name,
        "user": "65534:65534",
        "network_disabled": True,
        "labels": {"odooops.stack": stack, KEEPER_LABEL: environment},
        "stop_timeout": 1,
        "healthcheck": {"Test": ["NONE"]},
    }


def keeper_host_arguments() -> dict[str, Any]:
    """Return the arguments of `create_host_config` that leave a keeper nothing to do harm with."""
    return {
        "network_mode": "none",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "pids_limit": 4,
        "mem_limit": KEEPER_MEMORY_BYTES,
        "memswap_limit": KEEPER_MEMORY_BYTES,
        "restart_policy": {"Name": "unless-stopped"},
        "log_config": {"Type": "none", "Config": {}},
    }


def network_arguments(name: str, stack: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of `create_network`: a bridge of the environment's own."""
    return {
        "name": name,
        "driver": "bridge",
        "labels": {**labels, "odooops.stack": stack},
        "check_duplicate": True,
        # By this name the firewall's rules know it.
        "options": {BRIDGE_OPTION: firewall.bridge(stack, name)},
    }
