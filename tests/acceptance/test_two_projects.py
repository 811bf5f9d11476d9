"""Two projects on one droplet and one PostgreSQL cluster: neither reaches the other, and the work is shared fairly."""

from __future__ import annotations

import http.client
import itertools
from typing import Any

import pytest

from scripts.demo import cast, chapters, droplet, earlier, opening
from scripts.demo.sample_repository import BAD_ORDER
from scripts.demo.timeline import Timeline
from scripts.demo.world import PLAN_SECONDS, World
from scripts.setup import engine
from scripts.setup.stack import Stack

from .conftest import GARAGE

MEBIBYTE = 1024 * 1024
GARAGE_MEMORY_MB = 1536
# Runs in the customer's own container, with the rights that the customer's code has.
CONNECT = """
import configparser, sys, psycopg2
options = configparser.ConfigParser(); options.read("/etc/odoo/odoo.conf"); own = options["options"]
try:
    psycopg2.connect(host=own["db_host"], port=own["db_port"], user=own["db_user"], password=own["db_password"],
                     dbname=sys.argv[1], connect_timeout=5).close()
    print("connected")
except psycopg2.OperationalError as error:
    print(error)
"""
REACH = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
    print("connected")
except OSError as error:
    print(type(error).__name__)
"""


@pytest.fixture(scope="module")
def garage(stack: Stack, world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A second project beside the story's, with its stage installed."""
    earlier.remove(stack, GARAGE)
    other = opening.open_world(stack, Timeline(tmp_path_factory.mktemp("garage") / "demo.json", 0), GARAGE)
    other.admin.write("odooops.environment", other.project.environments["stage"], container_memory_mb=GARAGE_MEMORY_MB)
    built = other.workflow.push_main(other.workflow.repository.create())
    chapters.stage_follows_main(other, built, "v1.0.0")
    assert not other.untrue()
    return other


def web_of(world: World, environment: str = "stage") -> dict[str, Any]:
    (web,) = droplet.by_role(world.address.stack, world.key(environment))["web"]
    return web


def in_container(container: dict[str, Any], script: str, *arguments: object) -> str:
    argv = ["exec", container["Id"], "odooops-python", "-c", script, *map(str, arguments)]
    return engine.docker(*argv).strip()


def containers_of(world: World) -> list[dict[str, Any]]:
    return [one for code in ("stage", "prod") for one in droplet.containers(world.address.stack, world.key(code))]


def test_each_project_has_its_own_role(world: World, garage: World) -> None:
    owners = {one.database("stage").owner() for one in (world, garage)}
    assert len(owners) == 2
    assert not any(is_super for _name, is_super in owners)
    for mine, other in ((world, garage), (garage, world)):
        role, _ = mine.database("stage").owner()
        name = other.database("stage").name
        assert other.cluster.value("SELECT NOT has_database_privilege(%s, %s, 'CONNECT')", role, name)
        members = "SELECT count(*) FROM pg_auth_members WHERE member = %s::regrole AND roleid = %s::regrole"
        assert other.cluster.value(members, role, name) == 0


def test_own_password_opens_own_database_only(world: World, garage: World) -> None:
    for mine, other in ((world, garage), (garage, world)):
        assert in_container(web_of(mine), CONNECT, mine.database("stage").name) == "connected"
        for name in (other.database("stage").name, "template1"):
            refusal = in_container(web_of(mine), CONNECT, name)
            assert "permission denied for database" in refusal, refusal


def test_stage_and_prod_of_one_project_are_apart_too(world: World) -> None:
    refusal = in_container(web_of(world, "stage"), CONNECT, world.database("prod").name)
    assert "permission denied for database" in refusal, refusal


def test_networks_are_apart(world: World, garage: World) -> None:
    for mine, other in ((world, garage), (garage, world)):
        assert not droplet.networks(web_of(mine)) & droplet.networks(web_of(other))
        for network in web_of(other)["NetworkSettings"]["Networks"].values():
            assert in_container(web_of(mine), REACH, network["IPAddress"], 8069) != "connected"
        assert (
            in_container(web_of(mine), REACH, web_of(mine)["NetworkSettings"]["IPAddress"] or "127.0.0.1", 8069)
            == "connected"
        )


def test_files_are_apart(stack: Stack, world: World, garage: World) -> None:
    for one in (world, garage):
        own = stack.data_root / one.project.code
        for container in containers_of(one):
            sources = [mount["Source"] for mount in container["Mounts"] if mount["Type"] == "bind"]
            assert sources
            assert all(source.startswith(f"{own}/") for source in sources), sources
            assert not container["HostConfig"]["Privileged"]
            assert container["Config"]["User"] == "10019:10019"
    volumes = [
        {mount.get("Name") for one in containers_of(project) for mount in one["Mounts"]} - {None}
        for project in (world, garage)
    ]
    assert not volumes[0] & volumes[1]


def test_memory_is_limited_for_each(world: World, garage: World) -> None:
    limits = {one.key("stage"): web_of(one)["HostConfig"]["Memory"] for one in (world, garage)}
    assert limits == {world.key("stage"): 2048 * MEBIBYTE, garage.key("stage"): GARAGE_MEMORY_MB * MEBIBYTE}


def test_a_host_name_leads_to_its_own_project(world: World, garage: World) -> None:
    assert garage.status_page("stage")["release"] == "1.0.0"
    assert "1.0.0" not in {world.status_page(environment)["release"] for environment in ("stage", "prod")}
    stranger = http.client.HTTPConnection(*world.address.proxy, timeout=30)
    stranger.request("GET", "/workshop/status", headers={"Host": "nobody.localhost"})
    assert stranger.getresponse().status == 404


def test_one_heavy_operation_at_a_time_and_the_rest_fairly(stack: Stack, world: World, garage: World) -> None:
    """Three deployments wait; the two of one project don't both go before the other project's."""
    waiting = [
        (world, ask_on_stage(world, "v1.2.1")),
        (world, ask_again_on_prod(world, "v1.2.0")),
        (garage, ask_on_stage(garage, "v1.0.1")),
    ]
    stack.stop_agent()
    try:
        for one, deployment in waiting:
            one.approve(deployment, "Looked at it.")
    finally:
        stack.compose("start", "agent", profiles=("droplet",))
    for one, deployment in waiting:
        one.wait_for_state(deployment["id"], "live")
    spans = sorted((span(one, deployment) for one, deployment in waiting), key=lambda row: row["leased_at"])
    for before, after in itertools.pairwise(spans):
        assert before["finished_at"] <= after["leased_at"], spans
    projects = [row["project_id"][1] for row in spans]
    assert projects[0] != projects[1], projects


def ask_on_stage(one: World, tag: str) -> dict[str, Any]:
    """Push a change to a stage that asks for approval this time."""
    stage = one.project.environments["stage"]
    one.admin.write("odooops.environment", stage, policy_id=cast.create_policy(one.admin))
    built = one.workflow.push_main(one.workflow.repository.change_static(tag))
    deployment = one.newest_deployment("stage", built.release)
    assert deployment
    return one.wait_for_state(deployment["id"], "awaiting_approval", timeout_seconds=PLAN_SECONDS)


def ask_again_on_prod(one: World, tag: str) -> dict[str, Any]:
    """Correct the order that the migration stumbled over, and ask for the same release again."""
    customer = one.customer("prod")
    order = customer.one("workshop.order", [["name", "=", BAD_ORDER["name"]]], ["id"])
    assert order
    customer.write("workshop.order", order["id"], duration="1:00", minutes=60)
    release = one.admin.one(
        "odooops.release", [["name", "=", tag], ["project_id", "=", one.project.id]], ["commit_sha"]
    )
    assert release
    asked = one.workflow.request("prod", f"refs/tags/{tag}", release["commit_sha"])
    return one.wait_for_state(asked, "awaiting_approval", timeout_seconds=PLAN_SECONDS)


def span(one: World, deployment: dict[str, Any]) -> dict[str, Any]:
    domain = [["deployment_id", "=", deployment["id"]], ["kind", "=", "deploy"]]
    row = one.admin.one("odooops.operation", domain, ["leased_at", "finished_at", "project_id", "environment_id"])
    assert row
    return row
