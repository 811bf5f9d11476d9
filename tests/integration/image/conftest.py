"""A registry, the sample repository, and the CI's own command to build it. Missing parts fail the tests."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_tools import LABEL, ROOT, Build, Built, docker

from scripts.demo.sample_repository import SampleRepository
from scripts.setup import base_images, build


@pytest.fixture(scope="session")
def registry() -> Iterator[str]:
    base_images.ensure(base_images.REGISTRY, print)
    name = f"odooops-test-registry-{uuid.uuid4().hex[:8]}"
    docker("run", "--detach", "--rm", f"--name={name}", LABEL, "--publish=127.0.0.1::5000", base_images.REGISTRY)
    port = docker("port", name, "5000/tcp").stdout.strip().rpartition(":")[2]
    yield f"localhost:{port}"
    docker("rm", "--force", "--volumes", name)
    forget_images(f"localhost:{port}/")


def forget_images(prefix: str) -> None:
    """Remove names, not images: the same image may have names that are others'."""
    listing = docker("images", "--digests", "--format={{.Repository}} {{.Tag}} {{.Digest}}").stdout
    for line in listing.splitlines():
        repository, tag, digest = line.split()
        if repository.startswith(prefix):
            names = [f"{repository}:{tag}"] if tag != "<none>" else []
            names += [f"{repository}@{digest}"] if digest != "<none>" else []
            for name in names:
                docker("rmi", name, check=False)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleRepository:
    """The demo's repository with v1.0.0 and v1.1.0, at v1.0.0."""
    repository = SampleRepository(tmp_path_factory.mktemp("sample"))
    repository.until("v1.1.0")
    repository.check_out("v1.0.0")
    return repository


@pytest.fixture(scope="session")
def run_build(registry: str) -> Build:
    """Return what builds a checkout as a workflow does, with this machine's own pip and apt settings."""
    base_images.ensure(base_images.ODOO, print)
    machine = build.secret_files()

    def run(source: Path, *options: str, secrets: dict[str, Path] | None = None, project: str = "demo") -> Built:
        chosen = [f"--secret={name}={path}" for name, path in {**machine, **(secrets or {})}.items()]
        argv = [sys.executable, str(ROOT / "scripts/ci/build_image.py"), f"--source={source}"]
        argv += [f"--repository={registry}/{project}", f"--base-image={base_images.ODOO}", *chosen, *options]
        done = subprocess.run(argv, capture_output=True, text=True)
        return Built(done.returncode, done.stderr, json.loads(done.stdout) if done.returncode == 0 else {})

    return run


@pytest.fixture(scope="session")
def first(sample: SampleRepository, run_build: Build) -> Built:
    """v1.0.0 of the sample, built and pushed."""
    return run_build(sample.path, "--ref=refs/tags/v1.0.0", "--tag=v1.0.0")
