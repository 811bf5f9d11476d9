"""What a person reads at the end of `make demo`: whether all was true, how to get in, what to click."""

from __future__ import annotations

from typing import Any

from scripts.setup import paths

from .cast import PEOPLE
from .world import World

CLICKS = (
    "  OdooOps → Deployments → v1.2.0: why it failed, with the migration's log in the chatter.",
    "  OdooOps → Deployments → v1.1.0: the plan that was approved, the steps with their times, the restore set.",
    "  OdooOps → Rollbacks: what going back to v1.0.0 would have lost, who agreed, and the way forth again.",
    "  OdooOps → Environments: health, what runs, and Deploy to ask for a release.",
    "  OdooOps → Droplets → droplet-1: heartbeat, disk, versions; Enrol a droplet adds another.",
    "  As approver: the clock in the top bar has what waits for a decision, and what failed.",
)


def text(world: World, summary: dict[str, Any], admin_password: str) -> str:
    verdict = f"All {len(world.claims)} claims were verified" if summary["ok"] else "The story is NOT true"
    customers = _customers(world) if summary["ok"] else []
    return "\n".join([
        "",
        f"{verdict}: {summary['failed_requests']} failed requests, longest wait {summary['longest_wait_seconds']} s, "
        f"set-up {summary['setup_seconds']} s, story {summary['story_seconds']} s ({paths.STATE / 'demo.json'}).",
        *(f"  not true: {sentence.splitlines()[0]}" for sentence in world.untrue()),
        "",
        f"The console: {summary['console_url']}",
        *_logins(world, admin_password),
        "",
        "What to click:",
        *CLICKS,
        "",
        *customers,
        "`make demo` tells it again in a new project; `make down` removes it all.",
    ])  # fmt: skip


def _logins(world: World, admin_password: str) -> list[str]:
    people = [("admin", admin_password, "administrator")]
    people += [
        (login, world.passwords[login], f"{name}, {role.replace('_', ' ')}") for login, (name, role) in PEOPLE.items()
    ]
    return [f"  {login:<10} {password:<34} {who}" for login, password, who in people]


def _customers(world: World) -> list[str]:
    port = world.address.proxy[1]
    logins = [
        f"  http://{host}:{port:<6}  login admin, password {world.customer_password(environment)}"
        for environment, host in world.project.hosts.items()
    ]
    return ["The customer's Odoo:", *logins, ""]
