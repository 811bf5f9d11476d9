"""A stack of the tests' own on the machine's Docker Engine: everything carries its label and goes with it."""

from __future__ import annotations

import io
import json
import secrets
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from odooops_agent.ports import ContainerSpec
from odooops_agent.runtime.docker import DockerRuntime
from odooops_agent.targets import Targets

import docker

from .caddy import free_port, wait_until

BASE = "debian:bookworm-slim"
PYTHON_BASE = "odoo:19.0"
CADDY = "caddy:2.11.4"
REGISTRY = "registry:2"
MANIFEST = {
    "schema": 1,
    "series": "19.0",
    "commit_sha": "a" * 40,
    "uid": 10019,
    "gid": 10019,
    "addons_paths": ["/opt/odoo/addons/custom"],
    "addons": {"workshop": {"version": "19.0.1.0.0", "origin": "custom", "depends": ["base"], "hash": "h"}},
}


def engine() -> Any:
    """Return the client of the machine's engine; the tests fail without it."""
    try:
        client = docker.DockerClient.from_env(timeout=120)
        client.ping()
    except DockerException as error:
        pytest.fail(f"There is no Docker Engine to test with ({error}): install docker.io and start it.")
    return client


class Stack:
    """What one test run has on the engine."""

    def __init__(self, folder: Path) -> None:
        self.client = engine()
        self.name = f"oot-{secrets.token_hex(3)}"
        self.folder = folder
        self.data_root = folder / "data"
        self.data_root.mkdir()
        self.targets = Targets(folder / "run" / "targets")
        self.targets.root.mkdir(parents=True)
        self._registry: str | None = None

    def image(self, name: str) -> str:
        try:
            self.client.images.get(name)
        except ImageNotFound:
            pytest.fail(f"There is no image {name} to test with: `make test` brings it, `make up` too.")
        return name

    @property
    def proxy_name(self) -> str:
        return f"{self.name}-caddy"

    def runtime(self, *attach: str) -> DockerRuntime:
        attached = attach or (self.proxy_name,)
        return DockerRuntime(self.client, self.name, self.data_root, self.targets, attached, self.folder / "manifests")

    def spec(self, name: str, *argv: str, network: str = "none", **options: Any) -> ContainerSpec:
        options = {"image": BASE, "user": "10019:10019", "labels": {}, **options}
        return ContainerSpec(name=f"{self.name}-{name}", argv=argv, network=network, **options)

    def start_proxy(self, config: Path | None = None, port: int = 0) -> None:
        """Start Caddy's container, as compose does."""
        argv = ["caddy", "run", "--config", str(config)] if config else ["sleep", "600"]
        self.client.containers.run(
            self.image(CADDY),
            argv,
            name=self.proxy_name,
            detach=True,
            labels={"odooops.stack": self.name},
            volumes={str(self.folder): {"bind": str(self.folder), "mode": "rw"}},
            ports={"80/tcp": ("127.0.0.1", port)} if port else None,
        )

    def registry(self) -> str:
        """Return the address of an image registry of this stack's own."""
        if not self._registry:
            port = free_port()
            self.client.containers.run(
                self.image(REGISTRY),
                name=f"{self.name}-registry",
                detach=True,
                labels={"odooops.stack": self.name},
                ports={"5000/tcp": ("127.0.0.1", port)},
            )
            self._registry = f"localhost:{port}"
        return self._registry

    def stop_registry(self) -> None:
        self.client.containers.get(f"{self.name}-registry").stop(timeout=1)

    def push(self, image: str, repository: str) -> str:
        """Push an image; returns it by digest."""
        address = f"{self.registry()}/{repository}"
        assert self.client.images.get(image).tag(address, "latest")
        wait_until(lambda: self._pushed(address), 30, "the registry takes the image")
        digests = self.client.images.get(f"{address}:latest").attrs["RepoDigests"]
        reference = next(each for each in digests if each.startswith(address))
        self.client.images.remove(f"{address}:latest")
        with suppress(ImageNotFound):
            self.client.images.remove(reference)
        return str(reference)

    def _pushed(self, address: str) -> bool:
        events = self.client.images.push(address, "latest", stream=True, decode=True)
        return not any("error" in event for event in events)

    def image_with(self, files: dict[str, str], base: str = BASE) -> str:
        """Make an image out of a base and a few files."""
        made = self.client.api.create_container(self.image(base), ["true"], labels={"odooops.stack": self.name})["Id"]
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path, text in files.items():
                member = tarfile.TarInfo(path.lstrip("/"))
                member.size = len(text.encode())
                tar.addfile(member, io.BytesIO(text.encode()))
        self.client.api.put_archive(made, "/", archive.getvalue())
        tag = f"{self.name}-{secrets.token_hex(3)}"
        self.client.api.commit(made, repository=tag)
        self.client.api.remove_container(made, force=True)
        return f"{tag}:latest"

    def customer_image(self, manifest: dict[str, Any] | None = None) -> str:
        return self.image_with({"/etc/odooops/manifest.json": json.dumps(manifest or MANIFEST)})

    def clear(self) -> None:
        label = {"label": f"odooops.stack={self.name}"}
        for container in self.client.api.containers(all=True, filters=label):
            with suppress(NotFound):
                self.client.api.remove_container(container["Id"], force=True, v=True)
        for network in self.client.api.networks(filters=label):
            self.client.api.remove_network(network["Id"])
        for image in self.client.api.images():
            for name in [*(image["RepoTags"] or []), *(image["RepoDigests"] or [])]:
                if name.startswith(self.name) or (self._registry and name.startswith(self._registry)):
                    with suppress(APIError):
                        self.client.api.remove_image(name, force=True)


@contextmanager
def running_stack() -> Iterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="odooops-docker-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        stack = Stack(Path(folder))
        try:
            yield stack
        finally:
            stack.clear()
