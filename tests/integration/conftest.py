"""Private parts for the integration tests. A part that is missing fails the tests: nothing is skipped silently."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from parts.caddy import Backends, Caddy, running_caddy
from parts.engine import Stack, running_stack
from parts.postgres import NEWEST, Cluster, Made, make_environment, packaged, running_cluster

_numbers = itertools.count(1)


@pytest.fixture
def caddy(tmp_path: Path) -> Iterator[Caddy]:
    with running_caddy(tmp_path) as started:
        yield started


@pytest.fixture
def backends() -> Iterator[Backends]:
    started = Backends()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running_stack() as made:
        yield made


@pytest.fixture(scope="session", params=dict.fromkeys([packaged(), NEWEST]))
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    # Not in pytest's own folder, which the server's user can't enter.
    with (
        tempfile.TemporaryDirectory(prefix="odooops-postgres-", ignore_cleanup_errors=True) as folder,
    ):
        Path(folder).chmod(0o755)
        with running_cluster(request.param, Path(folder) / "cluster") as started:
            yield started


@pytest.fixture
def make(cluster: Cluster) -> Callable[..., Made]:
    """Make an environment with a database of its own."""

    def _make(**options: Any) -> Made:
        return make_environment(cluster, f"demo_prod{next(_numbers)}", **options)

    return _make


@pytest.fixture
def made(make: Callable[..., Made]) -> Made:
    return make()
