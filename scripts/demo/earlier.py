"""Take an earlier telling's environments away, so that the story can begin anew.

The ledger in the console never forgets a release or a deployment. So each telling has a project of its own
(demo, demo-2, …): the earlier one's containers, networks, databases and files go, its project is archived
and its history stays readable.
"""

from __future__ import annotations

import shutil

import psycopg2
from psycopg2 import sql

from scripts.setup import engine
from scripts.setup.errors import SetupError
from scripts.setup.stack import Stack

from . import cast, droplet, opening, wait
from .console import Console

CALL_OFF_SECONDS = 90
GUESTS = "{{range $id, $container := .Containers}}{{$id}} {{end}}"
CALLED_OFF = ("odooops.deployment", "odooops.rollback.request")


def remove(stack: Stack, family: str = "demo") -> None:
    """Remove what earlier tellings left, and say so."""
    admin = Console(stack.console_url, stack.control_database, "admin", stack.admin_password)
    found = cast.earlier(admin, family)
    if found:
        # What is under way can be called off only where somebody works on it.
        opening.ensure_agent(stack, admin)
    for project in found:
        environments = admin.call("odooops.environment", "read", project["environment_ids"], ["key", "database_name"])
        _call_off(admin, project["id"])
        for environment in environments:
            _remove_containers(stack, environment["key"])
            _remove_databases(stack, environment["database_name"])
        admin.write("odooops.project", project["id"], active=False)
        admin.call("odooops.environment", "write", project["environment_ids"], {"active": False})
        shutil.rmtree(stack.data_root / project["code"], ignore_errors=True)
        print(f"    removed the environments of {project['code']}, told earlier; its history stays, archived")


def _call_off(admin: Console, project: int) -> None:
    """Have nothing under way any more: the agent would put back what is removed here."""

    def under_way() -> list[tuple[str, int]]:
        domain = [["project_id", "=", project], ["is_active", "=", True]]
        return [(model, id_) for model in CALLED_OFF for id_ in admin.call(model, "search", domain)]

    if under_way():  # also what others asked for, which takes a role on the project
        whose = {"project_id": project, "user_id": admin.uid}
        admin.ensure("odooops.project.member", whose, role="release_manager")
    for model, id_ in under_way():
        admin.call(model, "action_cancel", [id_])
    try:
        wait.until("what is under way to be called off", lambda: not under_way(), CALL_OFF_SECONDS)
    except wait.WaitError as error:
        raise SetupError(f"{error} Look at it in the console, or run make down.") from error


def _remove_containers(stack: Stack, key: str) -> None:
    ids = [one["Id"] for one in droplet.containers(stack.name, key, everything=True)]
    if ids:
        engine.docker("rm", "--force", "--volumes", *ids)
    filters = [f"--filter=label={droplet.STACK}={stack.name}", f"--filter=label={droplet.ENVIRONMENT}={key}"]
    for network in engine.docker("network", "ls", "--quiet", *filters).split():
        # What serves every environment, such as the proxy and the mail catcher, stays and lets go of this one.
        for guest in engine.docker("network", "inspect", "--format", GUESTS, network).split():
            engine.docker("network", "disconnect", "--force", network, guest)
        engine.docker("network", "rm", network)


def _remove_databases(stack: Stack, name: str) -> None:
    connection = psycopg2.connect(stack.customers_superuser_dsn)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                r"SELECT datname FROM pg_database WHERE datname = %s OR datname ~ ('^' || %s || '__[sx][0-9]+$')",
                [name, name],
            )
            for (database,) in cursor.fetchall():
                cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))
            for role in (f"{name}_upgrade", name):
                cursor.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))
    finally:
        connection.close()
