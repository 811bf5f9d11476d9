"""How a backup of elsewhere becomes an environment's data. Pure.

Only the data come in: the deployment after it looks at the modules, updates them, and brings the environment up, under
the environment's own policy and with a way back. Nothing of what was brought runs before.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..commands import dump
from ..commands.odoo_conf import odoo_config
from ..errors import Refused
from ..facts import EnvironmentFacts
from ..protocol import ImportOrder, Operation
from . import building as build
from . import checks
from .backup import make_room, one_off
from .building import Droplet, Job
from .hashing import plan_hash
from .model import Plan, Step
from .modules import plan_modules

ROOM = {"workspace": "import"}


def plan_import(operation: Operation, facts: EnvironmentFacts, droplet: Droplet) -> Plan:
    """Return the plan of an import.

    :raises Refused: the environment may not take it, or has data already.
    :raises LeaseLost: something in the environment carries a newer token.
    """
    checks.check_names(operation)
    checks.check_bucket(operation)
    checks.check_lease(operation, facts)
    _check_target(operation, facts)
    checks.check_disk(operation, facts, snapshot=False)
    environment = operation.environment
    config = odoo_config(environment, facts.image, droplet.cluster, environment.database.name)
    job = Job(operation, facts, droplet, plan_modules(facts.image, None, ()), config)
    document = build.document(job)
    steps = tuple(_import(job))
    return Plan("import", document, plan_hash(document), build.plan_facts(job, steps), steps)


def imported(operation: Operation) -> ImportOrder:
    """Return what is to be imported. Raises Refused when nothing is said."""
    if not isinstance(operation.brought, ImportOrder):
        raise Refused("The operation does not say what it imports.", code="bad_message")
    return operation.brought


def _check_target(operation: Operation, facts: EnvironmentFacts) -> None:
    environment = operation.environment
    imported(operation)
    if environment.tier != "production":
        raise Refused(
            f"{environment.key} is a {environment.tier} environment, and data of elsewhere may go there only as a "
            "neutralised copy: import them into a production environment, then copy that.",
            code="import_refused",
        )
    if facts.database is not None or environment.database.uuid:
        raise Refused(
            f"{environment.key} has a database: import into a new environment, or rename that database first.",
            code="import_refused",
        )
    if facts.image.series != environment.series:
        raise Refused(
            f"The image is of Odoo {facts.image.series}, {environment.key} runs {environment.series}: choose another.",
            code="wrong_series",
        )


def _import(job: Job) -> Iterator[Step]:
    names = job.names
    database = {"database": names.database}
    # Fenced until it was looked at: nobody's server enters what is half loaded.
    arguments = {**build.database(job), "token": names.token, "anew": True, "closed": True}
    argv = dump.load_brought(names.database, names.upgrade_role)
    loading = one_off(job.operation, job.facts, job.droplet, ROOM["workspace"], "load", argv)
    yield build.prepare(job)
    yield make_room(job.facts, ROOM["workspace"])
    yield Step("unpack_import", ROOM)
    yield Step("set_files_aside", {**database, "token": names.token}, undo="put_files_back")
    yield Step("create_database", arguments, undo="drop_database")
    yield Step("load_import", {**ROOM, **loading, **database}, undo="remove_one_off")
    yield Step("verify_import", {**ROOM, **database})
    yield Step("open_database", build.database(job))
    yield Step("place_files", {**ROOM, **database}, commits=True)
    yield Step("remove_workspace", ROOM, optional=True)
