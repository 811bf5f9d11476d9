"""Describe what Docker is to do, as argv lists; `image.py` runs them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

MANIFEST_PATH = "/etc/odooops/manifest.json"
# The engine's own client first: another one earlier in PATH may lack BuildKit.
CLIENTS = ("/usr/bin/docker", "docker")


def client() -> str:
    return next((path for path in CLIENTS if shutil.which(path)), "docker")


def build(
    context: Path,
    *,
    tag: str,
    base_image: str,
    secrets: Mapping[str, Path],
    labels: Mapping[str, str],
    network: str | None = None,
) -> list[str]:
    """Return the build; secrets are mounted for the steps that use them and stay in no layer."""
    argv = [client(), "build", "--progress=plain", f"--tag={tag}", f"--build-arg=BASE_IMAGE={base_image}"]
    argv += [f"--secret=id={name},src={path}" for name, path in sorted(secrets.items())]
    argv += [f"--label={name}={value}" for name, value in sorted(labels.items())]
    argv += [f"--network={network}"] if network else []
    return [*argv, str(context)]


def inspect(image: str) -> list[str]:
    return [client(), "image", "inspect", "--format={{json .}}", image]


def pull(image: str) -> list[str]:
    return [client(), "pull", "--quiet", image]


def push(image: str) -> list[str]:
    return [client(), "push", "--quiet", image]


def tag(image: str, name: str) -> list[str]:
    return [client(), "tag", image, name]


def read_manifest(image: str) -> list[str]:
    return [
        client(), "run", "--rm", "--network=none", "--entrypoint=/bin/cat", image, MANIFEST_PATH,
    ]  # fmt: skip


def remote_digest(image: str) -> list[str]:
    """Return what asks a registry for an image without fetching it."""
    host = image.partition("/")[0].partition(":")[0]
    insecure = ["--insecure"] if host in {"localhost", "127.0.0.1"} else []
    return [client(), "manifest", "inspect", "--verbose", *insecure, image]


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for Docker's client: BuildKit, and one image per build rather than an index."""
    settings = {"DOCKER_BUILDKIT": "1", "DOCKER_CLI_EXPERIMENTAL": "enabled", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    return {**base, **settings}
