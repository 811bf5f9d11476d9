"""Open the scene in a running stack: the agent at work, a fresh project, its people and its workflows."""

from __future__ import annotations

from scripts.setup import build
from scripts.setup.errors import SetupError
from scripts.setup.stack import Stack

from . import cast, wait
from .ci import CHECKS, Workflow
from .console import Console
from .json2 import Api
from .sample_repository import PARTNER_FIRSTNAME, SampleRepository
from .timeline import Timeline
from .world import Address, World

AGENT = "droplet-1"
RETURN_SECONDS = 20
# The customers' PostgreSQL allows 200 (docker/compose.demo.yaml); the rest is for the agent and for people.
CONNECTIONS = 180
MODULES = f"workshop,{PARTNER_FIRSTNAME.module}"


def open_world(stack: Stack, timeline: Timeline, family: str = "demo") -> World:
    """Return the world of a new telling, in a project of its own that is named after its family."""
    admin = Console(stack.console_url, stack.control_database, "admin", stack.admin_password)
    agent = ensure_agent(stack, admin)
    admin.write("odooops.agent", agent, database_connections_budget=CONNECTIONS)
    code = cast.free_code(admin, family)
    project = cast.create_project(
        admin, code, code.capitalize(), MODULES, agent, cast.create_policy(admin), stack.ports["http"]
    )
    passwords = cast.passwords(stack.state / "secrets" / "demo_passwords.json")
    cast.invite_people(admin, project.id, passwords)
    key, ci_user = cast.give_ci_access(admin, project.id, f"CI of {code}")
    policy = f"policy {cast.POLICY!r}: one approval, checks {' and '.join(CHECKS)}, no soak"
    timeline.tell("project", f"{code} with stage and prod, {policy}")
    return World(
        address=address(stack),
        timeline=timeline,
        project=project,
        admin=admin,
        approver=Console(stack.console_url, stack.control_database, cast.APPROVER, passwords[cast.APPROVER]),
        workflow=workflow(stack, code, key),
        ci=Api(stack.console_url, key, stack.control_database),
        ci_user=ci_user,
        passwords=passwords,
    )


def address(stack: Stack) -> Address:
    return Address(
        stack=stack.name,
        console_url=stack.console_url,
        proxy=("127.0.0.1", stack.ports["http"]),
        customers_dsn=stack.customers_superuser_dsn,
        agent_container=stack.container("agent"),
    )


def workflow(stack: Stack, code: str, key: str) -> Workflow:
    """Return the workflows of a project's own sample repository."""
    folder = stack.state / "customers" / code
    return Workflow(
        SampleRepository(folder), folder / "builds", code, stack.console_url, key,
        f"{stack.registry}/{code}", build.secret_files(),
    )  # fmt: skip


def ensure_agent(stack: Stack, admin: Console) -> int:
    """Have the agent running, enrolled the way a droplet is; return its id in the console."""
    if admin.one("odooops.agent", [["name", "=", AGENT]], ["id"]) and _knows_the_console(stack):
        # An enrolled agent has renewed its key by itself; the one in the file may be an old one.
        stack.compose(
            "up", "--detach", "--no-build", "--no-deps", "catcher", "firewall", "agent", profiles=("droplet",)
        )
        if _comes_back(admin):
            return _agent_id(admin)
    stack.start_agent(cast.enrol_agent(admin, AGENT))
    return _agent_id(admin)


def _knows_the_console(stack: Stack) -> bool:
    """Tell whether the key file has the console's own key too: without it the droplet obeys nobody on production."""
    key_file = stack.state / "secrets/agent.key"
    return key_file.exists() and len(key_file.read_text().split()) == 2


def _comes_back(admin: Console) -> bool:
    domain = [["name", "=", AGENT], ["state", "=", "online"]]
    try:
        wait.until("the agent to be back", lambda: admin.one("odooops.agent", domain, ["id"]), RETURN_SECONDS)
    except wait.WaitError:
        return False
    return True


def _agent_id(admin: Console) -> int:
    found = admin.one("odooops.agent", [["name", "=", AGENT]], ["id"])
    if not found:
        raise SetupError(f"The console has no agent {AGENT}: enrol it with the wizard and run make demo again.")
    return int(found["id"])
