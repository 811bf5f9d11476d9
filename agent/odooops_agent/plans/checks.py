"""What forbids a deployment. Each refusal is one sentence that says what to do; nothing was changed yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import LeaseLost, Refused
from ..facts import Container, EnvironmentFacts, Session
from ..names import DATABASE, DIGEST, HOST, LANGUAGE, MODULE, REPOSITORY, Names, require
from ..protocol import Operation
from .modules import ModulePlan

# A copy is as large as its source; the rest is for what the update itself writes.
SNAPSHOT_FACTOR = 1.2
# What is fetched takes its own size, and a little for folders and what the one-off writes.
UNPACKED_FACTOR = 1.2
# A dump has no indexes, which often are half of a database.
LOADED_FACTOR = 2.0
# The control plane and the workflows have the same rule; here it holds whoever asked.
BUCKET_PREFIX = {"staging": "staging-", "production": "prod-"}


def check_names(operation: Operation) -> None:
    """Refuse any name that could mean something else in Docker, SQL, a path or odoo.conf."""
    environment = operation.environment
    Names("odooops", environment.key, environment.database.name, operation.token).slug  # noqa: B018 raises
    require(DATABASE, environment.database.name, "database name")
    require(DIGEST, operation.release.digest, "image digest")
    require(REPOSITORY, operation.release.image, "image repository")
    for host in (environment.domains.main, *environment.domains.aliases, *environment.domains.redirects):
        require(HOST, host, "host name")
    for module in environment.modules:
        require(MODULE, module, "module name")
    for language in environment.languages:
        require(LANGUAGE, language, "language code")


def check_neighbours(operation: Operation, databases: Mapping[str, str]) -> None:
    """Refuse what would share its containers' names, network or database with another environment.

    :param databases: of the environments that the agent knows, by key.
    """
    environment = operation.environment
    for key, database in databases.items():
        if key == environment.key:
            continue
        if key.replace("/", "-") == environment.key.replace("/", "-"):
            raise Refused(
                f"{environment.key} would have the same containers and networks as {key}: rename one of them.",
                code="bad_name",
            )
        if database == environment.database.name:
            raise Refused(
                f"The database {database} is {key}'s: give {environment.key} one of its own.", code="bad_name"
            )


def check_bucket(operation: Operation) -> None:
    """Refuse an environment that would write into the storage of another tier."""
    environment = operation.environment
    prefix = BUCKET_PREFIX.get(environment.tier, "")
    named = [name for part in (environment.bucket or "").split(",") if (name := part.strip())]
    wrong = [name for name in named if not name.startswith(prefix)]
    if wrong:
        raise Refused(
            f"{environment.key} is a {environment.tier} environment and may not write to {_listed(wrong)}: "
            f"name buckets there that begin with {prefix}.",
            code="wrong_bucket",
        )


def check_lease(operation: Operation, facts: EnvironmentFacts) -> None:
    """Stop when something in the environment carries a newer fencing token than the lease's.

    :raises LeaseLost: another worker has been here since.
    """
    tokens = [container.token for container in facts.containers]
    if facts.database and facts.database.tag:
        tokens.append(facts.database.tag.token)
    check_token(operation.environment.key, operation.token, tokens)


def check_token(key: str, token: int, found: Sequence[int]) -> None:
    newest = max(found, default=0)
    if newest > token:
        raise LeaseLost(f"{key} carries the newer token {newest}, this lease has {token}: leave it alone.")


def check_identity(operation: Operation, facts: EnvironmentFacts) -> None:
    """Refuse a database that is not provably this environment's."""
    environment, database = operation.environment, facts.database
    name, wanted = environment.database.name, environment.database.uuid
    if database is None:
        if wanted:
            raise Refused(
                f"The database {name} of {environment.key} is gone: restore it, or clear the environment's "
                "database identity to install it anew.",
                code="identity_mismatch",
            )
        return
    if database.tag is None or database.tag.environment_uuid != environment.uuid:
        raise Refused(
            f"The database {name} is not marked as {environment.key}'s: point the environment at its own database.",
            code="identity_mismatch",
        )
    if wanted and database.uuid != wanted:
        raise Refused(
            f"The database {name} says it is {database.uuid or 'not installed'}, {environment.key} has {wanted}: "
            "it is another database under this name, so nothing was touched.",
            code="identity_mismatch",
        )


def check_left_behind(operation: Operation, facts: EnvironmentFacts) -> None:
    """Refuse what a deployment that nobody here remembers left half done: going on would lose one half."""
    database = facts.database
    if database is None or not (database.fenced or database.asides):
        return
    sign = f"{_listed(database.asides)} is there" if database.asides else "its comment says so"
    raise Refused(
        f"The database {database.name} was left in the middle of a deployment that this agent's journal does not know "
        f"({sign}): see which copy is whole, put it in its place, drop the others and the comment's `fenced`, "
        "then deploy again.",
        code="left_behind",
    )


def check_image(operation: Operation, facts: EnvironmentFacts, modules: ModulePlan) -> None:
    """Refuse an image that lacks a module or would take one back."""
    series = operation.environment.series
    if facts.image.series != series:
        raise Refused(
            f"The image is of Odoo {facts.image.series}, {operation.environment.key} runs {series}: "
            "build it on the right base image.",
            code="wrong_series",
        )
    require_fit(operation, modules)


def require_fit(operation: Operation, modules: ModulePlan) -> None:
    """Refuse modules that the image lacks or has in an older version."""
    if modules.missing:
        raise Refused(
            f"The image lacks {_listed(modules.missing)}, which {operation.environment.key} needs: "
            "put it back, or uninstall it first.",
            code="missing_modules",
        )
    if modules.backwards:
        moved = [f"{one.name} {one.installed} → {one.in_image}" for one in modules.backwards]
        raise Refused(
            f"The image would take {_listed(moved)} back, and Odoo can't migrate backwards: "
            "raise the version, or roll back with a restore set.",
            code="backwards",
        )


def check_disk(operation: Operation, facts: EnvironmentFacts, *, snapshot: bool) -> None:
    reserve = operation.options.disk_reserve_bytes
    if facts.disk_free_bytes is not None and facts.disk_free_bytes < reserve:
        raise Refused(
            f"The droplet has {size(facts.disk_free_bytes)} free and keeps {size(reserve)} in reserve: "
            "free some space or lower the reserve.",
            code="disk_too_small",
        )
    if not snapshot or facts.database is None or facts.database_free_bytes is None:
        return
    needed = int(facts.database.bytes * SNAPSHOT_FACTOR)
    if facts.database_free_bytes < needed:
        raise Refused(
            f"The snapshot of {facts.database.name} needs {size(needed)} in the cluster, "
            f"{size(facts.database_free_bytes)} are free: enlarge the cluster or drop old snapshots.",
            code="disk_too_small",
        )


def no_disk_for_backup(operation: Operation, free_bytes: int, backup_bytes: int) -> str:
    """Return in a sentence what is missing on the disk that production writes to; nothing when there is room."""
    needed = int(backup_bytes * UNPACKED_FACTOR) + operation.options.disk_reserve_bytes
    if free_bytes >= needed:
        return ""
    return (
        f"The droplet has {size(free_bytes)} free and the backup needs {size(needed)} with the reserve: free "
        f"{size(needed - free_bytes)} more."
    )


def no_room_for_dump(free_bytes: int | None, dump_bytes: int) -> str:
    """Return in a sentence what is missing in the cluster; nothing when there is room, or nobody knows."""
    needed = int(dump_bytes * LOADED_FACTOR)
    if free_bytes is None or free_bytes >= needed:
        return ""
    return (
        f"The cluster has {size(free_bytes)} free, the restored database may need {size(needed)}: enlarge it by "
        f"{size(needed - free_bytes)}, or drop old snapshots."
    )


def check_sessions(operation: Operation, facts: EnvironmentFacts) -> None:
    """Refuse before the hold begins when someone is in the database whom the agent can't send away."""
    stuck = [session for session in _sessions(facts) if not session.can_end]
    if stuck:
        raise Refused(
            f"{_people(stuck)} may not be ended and would hold up the snapshot: close it, or make the agent's "
            f"role a member of {stuck[0].role}.",
            code="foreign_sessions",
        )


def warnings(
    operation: Operation, facts: EnvironmentFacts, modules: ModulePlan, serving: Container | None
) -> tuple[str, ...]:
    """Return what a reader of the plan ought to know and what does not forbid it."""
    found = []
    foreign = foreign_sessions(operation, facts)
    if foreign:
        found.append(f"{_people(foreign)} will be ended when the database is fenced.")
    if modules.unfinished:
        found.append(f"Left unfinished in the database before: {_listed(modules.unfinished)}.")
    if modules.changes and facts.database_free_bytes is None:
        found.append(
            "Nobody knows how much room the PostgreSQL cluster has: set ODOOOPS_PG_QUOTA_BYTES on the droplet to what "
            "its disk holds, or a snapshot may fill it."
        )
    recorded = facts.database.recorded_digest if facts.database else None
    if serving and recorded and serving.digest != recorded:
        found.append("The container that serves runs another image than the database was updated with.")
    return tuple(found)


def foreign_sessions(operation: Operation, facts: EnvironmentFacts) -> list[Session]:
    names = Names("", operation.environment.key, operation.environment.database.name, operation.token)
    own = {names.app_role, names.upgrade_role}
    return [session for session in _sessions(facts) if session.role not in own]


def _sessions(facts: EnvironmentFacts) -> tuple[Session, ...]:
    return facts.database.sessions if facts.database else ()


def _people(sessions: Sequence[Session]) -> str:
    shown = [
        f"{one.role} ({one.application or 'no name'} from {one.client or 'the server itself'})" for one in sessions
    ]
    return f"{'A session' if len(shown) == 1 else 'Sessions'} of {_listed(shown)}"


def _listed(items: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(items[:most])
    return shown if len(items) <= most else f"{shown} and {len(items) - most} more"


def size(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 30):.1f} GB" if size_bytes >= 1 << 30 else f"{size_bytes / (1 << 20):.0f} MB"
