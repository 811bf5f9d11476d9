"""The bench's customer: a project whose `prod` has the six big apps, and releases made for each run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from scripts.demo import cast, earlier, opening
from scripts.demo.ci import Built
from scripts.demo.console import Console
from scripts.demo.json2 import Api
from scripts.demo.sample_repository import WORKSHOP, Commit, SampleRepository
from scripts.demo.timeline import Timeline
from scripts.demo.world import PLAN_SECONDS, StoryError, World
from scripts.setup.stack import Stack

FAMILY = "bench"
APPS = ("sale_management", "stock", "purchase", "account", "crm", "project")
# Six apps and their dependencies take a minute or two on two cores.
INSTALL_SECONDS = 900


def ensure(stack: Stack, admin: Console, folder: Path) -> tuple[World, str]:
    """Return the customer, live on a release, and a sentence about what was used again."""
    state = folder / "customer.json"
    project = _known(admin, state)
    if project:
        return _world(stack, admin, project), f"Used again: the customer {project.code}, its databases and its images."
    earlier.remove(stack, FAMILY)
    project = _create(stack, admin)
    world = _world(stack, admin, project)
    _go_live(world)
    state.write_text(json.dumps({"code": project.code}))
    return world, f"Made for this run: the customer {project.code} with {', '.join(APPS)}; the next run uses it again."


def _create(stack: Stack, admin: Console) -> cast.Project:
    agent, policy = opening.ensure_agent(stack, admin), cast.create_policy(admin)
    code = cast.free_code(admin, FAMILY)
    project = cast.create_project(admin, code, "Bench", opening.MODULES, agent, policy, stack.ports["http"])
    admin.write("odooops.environment", project.environments["prod"], module_names=",".join((*APPS, opening.MODULES)))
    return project


def _known(admin: Console, state: Path) -> cast.Project | None:
    """Return the project of an earlier run if it still stands whole."""
    if not state.exists():
        return None
    code = json.loads(state.read_text())["code"]
    row = admin.one("odooops.project", [["code", "=", code]], ["id"])
    if not row:
        return None
    domain = [["project_id", "=", row["id"]], ["code", "in", ["stage", "prod"]]]
    fields = ["code", "running_deployment_id", "indeterminate"]
    environments = admin.search_read("odooops.environment", domain, fields)
    whole = [one for one in environments if one["running_deployment_id"] and not one["indeterminate"]]
    if len(whole) != 2:
        return None
    hosts = {one["code"]: f"{one['code']}.{code}.localhost" for one in environments}
    return cast.Project(row["id"], code, {one["code"]: one["id"] for one in environments}, hosts)


def _world(stack: Stack, admin: Console, project: cast.Project) -> World:
    opening.ensure_agent(stack, admin)
    passwords = cast.passwords(stack.state / "secrets" / "demo_passwords.json")
    cast.invite_people(admin, project.id, passwords)
    key, ci_user = cast.give_ci_access(admin, project.id, f"CI of {project.code}")
    return World(
        address=opening.address(stack),
        timeline=Timeline(stack.state / "bench" / "timeline.json", 0.0),
        project=project,
        admin=admin,
        approver=Console(stack.console_url, stack.control_database, cast.APPROVER, passwords[cast.APPROVER]),
        workflow=opening.workflow(stack, project.code, key),
        ci=Api(stack.console_url, key, stack.control_database),
        ci_user=ci_user,
        passwords=passwords,
    )


def _go_live(world: World) -> None:
    """Bring the first release to both environments."""
    built = world.workflow.push_main(world.workflow.repository.create())
    waiting = bring_to_production(world, built, "v1.0.0")
    world.approve(waiting, "The bench's first release.")
    world.wait_for_state(waiting["id"], "live", timeout_seconds=INSTALL_SECONDS)


def bring_to_production(world: World, built: Built, tag: str) -> dict[str, Any]:
    """Have stage take a build, tag it, ask for production; return the deployment that waits for approval."""
    on_stage = world.newest_deployment("stage", built.release)
    if not on_stage:
        raise StoryError(f"stage did not take {tag} by itself.")
    world.wait_for_state(on_stage["id"], "live", timeout_seconds=INSTALL_SECONDS)
    world.workflow.push_tag(built, tag)
    asked = world.workflow.request("prod", f"refs/tags/{tag}", built.sha)
    return world.wait_for_state(asked, "awaiting_approval", timeout_seconds=PLAN_SECONDS)


def next_release(world: World) -> str:
    """Return a release number that no tag has yet."""
    tags = world.admin.search_read("odooops.release.tag", [["project_id", "=", world.project.id]], ["name"])
    numbers = [int(found[1]) for tag in tags if (found := re.fullmatch(r"v1\.0\.(\d+)", tag["name"]))]
    return f"1.0.{max(numbers, default=0) + 1}"


def commit_static(repository: SampleRepository, release: str) -> Commit:
    """Commit what needs a restart only: the release's number in a static file."""
    _write_release(repository, release)
    return repository.commit("Tell the release in the status page", None)


def commit_module(repository: SampleRepository, release: str) -> Commit:
    """Commit one changed module: a new field with its column, and a version that rose."""
    folder = repository.path / WORKSHOP
    number = release.rpartition(".")[2]
    manifest, model = folder / "__manifest__.py", folder / "models/workshop_order.py"
    manifest.write_text(re.sub(r'"version": "[^"]+"', f'"version": "19.0.1.0.{number}"', manifest.read_text()))
    text = re.sub(r"\n    bench_\d+ = .*", "", model.read_text().rstrip("\n"))
    model.write_text(f"{text}\n    bench_{number} = fields.Integer(default={number})\n")
    _write_release(repository, release)
    return repository.commit("One more field on a workshop order", None)


def _write_release(repository: SampleRepository, release: str) -> None:
    (repository.path / WORKSHOP / "static/release.txt").write_text(f"{release}\n")
