"""Who plays in the story: the project with its environments, its people, the CI user and the agent.

All of it is set up by the administrator in the console, with the forms and wizards that a person uses.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .ci import CHECKS
from .console import Console

POLICY = "demo"
AT_ONCE = {
    "approvals_needed": 1, "staging_soak_minutes": 0, "soak_minutes": 0, "rehearsal": False, "backup_max_age_hours": 0,
}  # fmt: skip
# No load balancer that gives up after a minute stands in front here, and the machine may be a slow one.
HOLD_SECONDS = 120
APPROVER, DEVELOPER = "approver", "developer"
PEOPLE = {
    APPROVER: ("Rita Release", "release_manager"),
    DEVELOPER: ("Dan Developer", "developer"),
}


@dataclass(frozen=True)
class Project:
    """A project as the administrator made it."""

    id: int
    code: str
    environments: dict[str, int]
    hosts: dict[str, str]


def passwords(path: Path) -> dict[str, str]:
    """Return the people's passwords, made up once and kept for their owner only."""
    known = json.loads(path.read_text()) if path.exists() else {}
    missing = {login: secrets.token_urlsafe(12) for login in PEOPLE if login not in known}
    if missing:
        known |= missing
        path.touch(mode=0o600)
        path.write_text(json.dumps(known))
    return dict(known)


def enrol_agent(admin: Console, name: str) -> str:
    """Enrol an agent, or give an enrolled one a new key; return the key file's line that the wizard shows once."""
    agent = admin.one("odooops.agent", [["name", "=", name]], ["id"])
    values = {"name": name} | ({"agent_id": agent["id"]} if agent else {})
    wizard = admin.create("odooops.agent.enrol", **values)
    action = admin.call("odooops.agent.enrol", "action_enrol", [wizard])
    return str(action["context"]["default_key"])


def give_ci_access(admin: Console, project: int, name: str) -> tuple[str, int]:
    """Make the service user of the project's workflows; return its key, shown once, and the user's id."""
    wizard = admin.create("odooops.ci.access", name=name, project_ids=[[6, 0, [project]]])
    action = admin.call("odooops.ci.access", "action_create_key", [wizard])
    return str(action["context"]["default_key"]), int(action["context"]["odooops_user_id"])


def invite_people(admin: Console, project: int, words: dict[str, str]) -> None:
    """Make the people's users and give each their role on the project."""
    for login, (name, role) in PEOPLE.items():
        group = admin.ref(f"odooops_control.group_{role}")
        values = {"name": name, "email": f"{login}@example.com", "group_ids": [[4, group]]}
        # Not written again: that would end the person's sessions.
        user = admin.ensure("res.users", {"login": login}, {"password": words[login]}, **values)
        admin.ensure("odooops.project.member", {"project_id": project, "user_id": user}, role=role)


def create_policy(admin: Console) -> int:
    """Make the policy "demo": one approval, the checks that the story runs and nothing to wait for."""
    return admin.ensure("odooops.approval.policy", {"name": POLICY}, required_checks=", ".join(CHECKS), **AT_ONCE)


def create_project(admin: Console, code: str, name: str, modules: str, agent: int, policy: int, port: int) -> Project:
    """Make a project with `stage` and `prod` on one agent, reached as <environment>.<project>.localhost."""
    project = admin.create("odooops.project", name=name, code=code)
    hosts = {environment: f"{environment}.{code}.localhost" for environment in ("stage", "prod")}
    environments = {}
    for environment, host in hosts.items():
        values: dict[str, Any] = {
            "project_id": project, "code": environment, "agent_id": agent, "module_names": modules,
            "url": f"http://{host}:{port}", "domain_ids": [[0, 0, {"name": host, "kind": "main"}]],
            "hold_limit_seconds": HOLD_SECONDS,
        }  # fmt: skip
        environments[environment] = admin.create("odooops.environment", **values)
    admin.write("odooops.environment", environments["prod"], policy_id=policy)
    return Project(project, code, environments, hosts)


def free_code(admin: Console, family: str) -> str:
    """Return the code for a new telling: demo, then demo-2 and so on, as the ledger of the earlier ones stays."""
    taken = {row["code"] for row in admin.search_read("odooops.project", [], ["code"], context={"active_test": False})}
    numbered = (family if number == 1 else f"{family}-{number}" for number in range(1, len(taken) + 2))
    return next(code for code in numbered if code not in taken)


def earlier(admin: Console, family: str) -> list[dict[str, Any]]:
    """Return the projects of earlier tellings that are not archived yet."""
    found = admin.search_read("odooops.project", [["code", "=like", f"{family}%"]], ["code", "environment_ids"])
    return [project for project in found if re.fullmatch(rf"{re.escape(family)}(-[0-9]+)?", project["code"])]
