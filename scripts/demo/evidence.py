"""What the logs say when something went another way than told."""

from __future__ import annotations

import subprocess

from scripts.setup import engine

from .console import Console

LINES = 40


def about(admin: Console, deployment: int, agent_container: str) -> str:
    """Return a deployment's end, the tail of its operations' log, and the agent's."""
    row = admin.read(
        "odooops.deployment", deployment, ["name", "state", "failure_code", "failure_step", "failure_message"]
    )
    lines = [
        f"{row['name']} is {row['state']} at {row['failure_step']}: {row['failure_code']} {row['failure_message']}"
    ]
    lines += _steps(admin, deployment) + _log(admin, deployment)
    return "\n".join([*lines, agent_log(agent_container)])


def agent_log(container: str) -> str:
    """Return the tail of the agent container's log."""
    argv = [engine.client(), "logs", "--tail", str(LINES), container]
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False
    )
    return f"--- the log of {container}, last {LINES} lines\n{done.stdout}"


def _steps(admin: Console, deployment: int) -> list[str]:
    domain = [["operation_id.deployment_id", "=", deployment]]
    rows = admin.search_read(
        "odooops.operation.step", domain, ["seq", "name", "state", "detail"], order="operation_id, token, seq"
    )
    return [
        "--- its steps",
        *(f"{row['seq']:>3} {row['state']:<10} {row['name']} {row['detail'] or ''}" for row in rows),
    ]


def _log(admin: Console, deployment: int) -> list[str]:
    domain = [["operation_id.deployment_id", "=", deployment]]
    rows = admin.search_read("odooops.operation.log", domain, ["step", "text"], order="id desc", limit=LINES)
    return [f"--- its log, last {LINES} lines", *(f"[{row['step']}] {row['text']}" for row in reversed(rows))]
