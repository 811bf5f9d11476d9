"""What breaks in the midst of a deployment, on real parts: it ends fully old or fully new, and reachable."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from scripts.demo import droplet, going_back, wait
from scripts.demo.ci import MAIN
from scripts.demo.sample_repository import WORKSHOP, Commit, SampleRepository
from scripts.demo.world import World
from scripts.setup import engine, waiting
from scripts.setup.stack import Stack

POINT_SECONDS = 120
BACK_SECONDS = 180
MANIFEST_TYPES = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"


def change_module(repository: SampleRepository, number: int) -> Commit:
    """Commit a change that needs an update of workshop: v1.3.<number>."""
    folder = repository.path / WORKSHOP
    manifest = folder / "__manifest__.py"
    manifest.write_text(re.sub(r'"19\.0\.1\.[0-9.]+"', f'"19.0.1.3.{number}"', manifest.read_text()))
    (folder / "static/release.txt").write_text(f"1.3.{number}\n")
    return repository.commit(f"Change {number}", f"v1.3.{number}")


def deploy_change(world: World, number: int) -> dict[str, Any]:
    """Push a change of a module to stage and return its deployment."""
    built = world.workflow.push_main(change_module(world.workflow.repository, number))
    deployment = world.newest_deployment("stage", built.release)
    assert deployment
    new = {"digest": built.digest, "release": f"1.3.{number}", "version": f"19.0.1.3.{number}"}
    return {**deployment, **new, "snapshots_before": snapshots(world)}


def snapshots(world: World) -> set[str]:
    name = world.database("stage").name
    return {row[0] for row in world.cluster.query("SELECT datname FROM pg_database WHERE datname ~ %s", f"^{name}__s")}


def snapshot_taken(world: World, deployment: dict[str, Any]) -> bool:
    return snapshots(world) > deployment["snapshots_before"]


def update_runs(world: World, _deployment: dict[str, Any]) -> bool:
    return "update" in droplet.by_role(world.address.stack, world.key("stage"))


def new_web_starts(world: World, deployment: dict[str, Any]) -> bool:
    return deployment["digest"] in droplet.digests(world.address.stack, world.key("stage"))


def wait_for_point(world: World, deployment: dict[str, Any], point: Callable[[World, dict[str, Any]], bool]) -> None:
    what = point.__name__.replace("_", " ")
    wait.until(f"the deployment to be where {what}", lambda: point(world, deployment), POINT_SECONDS, 0.05)


def assert_whole(world: World, before: dict[str, Any], deployment: dict[str, Any]) -> None:
    """The environment is on one release in every respect, and says which."""
    new = {"digest": deployment["digest"], "release": deployment["release"], "version": deployment["version"]}
    expected = new if deployment["state"] in ("live", "soaking") else before
    assert state_of(world) == expected
    wait.until("stage to be green", lambda: world.environment("stage", "health")["health"] == "green", BACK_SECONDS)


def state_of(world: World) -> dict[str, Any]:
    (digest,) = world.running_digests("stage")
    database = world.database("stage")
    assert database.states() <= {"installed", "uninstalled", "uninstallable"}
    assert world.get("stage", "/web/login")[0] == 200
    return {
        "digest": digest,
        "release": world.status_page("stage")["release"],
        "version": database.modules()["workshop"],
    }


@pytest.mark.parametrize(("number", "point"), [(1, snapshot_taken), (2, update_runs), (3, new_web_starts)])
def test_agent_killed_in_the_midst(
    stack: Stack, world: World, number: int, point: Callable[[World, dict[str, Any]], bool]
) -> None:
    before = state_of(world)
    deployment = deploy_change(world, number)
    wait_for_point(world, deployment, point)
    engine.docker("kill", "--signal=KILL", stack.container("agent"))
    stack.compose("start", "agent", profiles=("droplet",))
    end = world.wait_for_state(deployment["id"], "live", "failed", timeout_seconds=BACK_SECONDS)
    assert_whole(world, before, {**deployment, "state": end["state"]})


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    """What stage was before the deployment that a later test takes back."""
    return {}


def test_control_plane_away_in_the_midst(stack: Stack, world: World, known: dict[str, Any]) -> None:
    before = state_of(world)
    known.update(before)
    deployment = deploy_change(world, 4)
    wait_for_point(world, deployment, update_runs)
    engine.docker("stop", "--time=1", stack.container("control"))
    try:
        wait.until("the agent to finish alone", lambda: serves(world, deployment), BACK_SECONDS)
    finally:
        engine.docker("start", stack.container("control"))
    waiting.for_console(stack.console_url, lambda: None)
    end = world.wait_for_state(deployment["id"], "live", timeout_seconds=BACK_SECONDS)
    assert_whole(world, before, {**deployment, "state": end["state"]})


def test_control_plane_away_in_the_midst_of_a_rollback(stack: Stack, world: World, known: dict[str, Any]) -> None:
    """Nobody has to look on: the agent goes all the way back alone, and tells so when there is somebody to tell."""
    id_, _name = world.environment("stage", "rollback_target_id")["rollback_target_id"]
    tag = world.deployment(id_)["tag"]
    asked = world.workflow.run(
        "request_rollback.py", "--environment", world.key("stage"), "--previous-tag", tag, "--reason", "It is slow."
    )
    wait.until("the rollback to run", lambda: runs(world, asked["id"]), POINT_SECONDS, 0.05)
    engine.docker("stop", "--time=1", stack.container("control"))
    try:
        wait.until("the agent to go back alone", lambda: serves(world, known), BACK_SECONDS)
    finally:
        engine.docker("start", stack.container("control"))
    waiting.for_console(stack.console_url, lambda: None)
    done = going_back.wait_for(world, asked["id"], "done", BACK_SECONDS)
    assert (done["mode"], done["failure_message"]) == ("full", False)
    assert_whole(world, known, {**known, "state": "live"})


def runs(world: World, rollback: int) -> bool:
    """Tell whether a rollback is being carried out; its preview has ended then."""
    return bool(world.admin.read(going_back.MODEL, rollback, ["state"])["state"] == "running")


def serves(world: World, deployment: dict[str, Any]) -> bool:
    return bool(world.status_page("stage")["release"] == deployment["release"])


def test_image_gone_from_the_registry(stack: Stack, world: World) -> None:
    before = state_of(world)
    commit = change_module(world.workflow.repository, 5)
    output = stack.state / "customers" / f"{world.project.code}-gone.json"
    image = world.workflow.build(commit, output)["image"]
    forget(stack, image)
    release = world.workflow.register(output, MAIN)
    deployment = world.newest_deployment("stage", release["id"])
    assert deployment
    end = world.wait_for_state(deployment["id"], "failed", timeout_seconds=BACK_SECONDS)
    assert end["failure_code"] == "image_gone"
    assert end["failure_message"] in world.chatter("odooops.deployment", end["id"])
    assert state_of(world) == before


def forget(stack: Stack, image: str) -> None:
    """Delete an image from the registry and from this machine, as a careless clean-up does."""
    repository, _at, digest = image.partition("@")
    url = f"http://{stack.registry}/v2/{repository.partition('/')[2]}/manifests/{digest}"
    request = urllib.request.Request(url, method="DELETE")
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  the stack's own registry
        assert answer.status == 202
    ids = set(engine.docker("image", "ls", "--quiet", "--no-trunc", "--digests", repository).split())
    for one in ids:
        if digest in engine.docker("image", "inspect", "--format={{json .RepoDigests}}", one):
            engine.docker("image", "rm", "--force", one)
