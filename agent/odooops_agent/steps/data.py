"""Steps around the database and the filestore."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from ..commands.containers import spec_from
from ..errors import Permanent
from ..facts import Identity
from ..ports import ContainerSpec
from .context import Arguments, Context

VERDICT = re.compile(r"^ODOOOPS_VERDICT (\{.*\})\s*$")


def claim_database(ctx: Context, args: Arguments) -> str | None:
    """Write the lease's token on the database, so that a worker with an older one stops there."""
    ctx.ports.database.write_tag(args["database"], ctx.operation.environment.uuid, args["token"])
    return None


def create_database(ctx: Context, args: Arguments) -> str | None:
    """Make the database; one that stands there unmarked or marked by others is not the agent's to take."""
    identity = ctx.ports.database.identity(args["database"])
    _refuse_foreign(ctx, args["database"], identity)
    if identity and args.get("anew") and not ctx.result("created_database"):
        raise Permanent(
            f"A database {args['database']} has appeared meanwhile: rename or drop it, then restore again.",
            code="identity_mismatch",
        )
    _note_files(ctx, args)
    if identity is None:
        ctx.keep("created_database", True)
    elif identity.tag is None and not ctx.result("created_database"):
        raise Permanent(
            f"A database {args['database']} has appeared that nobody marked: rename it, or the environment's.",
            code="identity_mismatch",
        )
    ctx.ports.database.create(args["database"], args["app"])
    ctx.ports.database.write_tag(args["database"], ctx.operation.environment.uuid, args["token"])
    if args.get("closed"):
        ctx.ports.database.fence(args["database"], args["app"], args["upgrade"])
    return None


def drop_database(ctx: Context, args: Arguments) -> str | None:
    """Remove what a failed first installation left; never a database that this operation did not make or mark."""
    identity = ctx.ports.database.identity(args["database"])
    _refuse_foreign(ctx, args["database"], identity)
    if identity and not _of_this_operation(ctx, identity, args["token"]):
        return f"{args['database']} is not of this deployment and stays"
    ctx.ports.database.drop(args["database"])
    if ctx.result("had_files") is not False:
        return "the files that were there before stay"
    ctx.ports.filestore.drop(ctx.key, args["database"])
    return None


def set_files_aside(ctx: Context, args: Arguments) -> str | None:
    """Keep the files that outlived their database: they may be newer than any backup."""
    _note_files(ctx, args)
    if not ctx.result("had_files"):
        return None
    ctx.ports.filestore.set_aside(ctx.key, args["database"], args["token"])
    kept = f"snapshots/{args['token']}/filestore"
    ctx.say(f"The files that were there are kept in {kept} for as long as restore sets are.")
    return "kept what was there"


def put_files_back(ctx: Context, args: Arguments) -> str | None:
    """Put what was set aside in its place again."""
    if not ctx.result("had_files"):
        return None
    if ctx.ports.filestore.has_snapshot(ctx.key, args["token"]):
        ctx.ports.filestore.restore(ctx.key, args["database"], args["token"])
    ctx.ports.filestore.drop_snapshot(ctx.key, args["token"])
    return None


def _note_files(ctx: Context, args: Arguments) -> None:
    """Note, before anything is made, whether files are there: only what came after is the operation's to remove."""
    if ctx.result("had_files") is None:
        ctx.keep("had_files", ctx.ports.filestore.exists(ctx.key, args["database"]))


def _refuse_foreign(ctx: Context, database: str, identity: Identity | None) -> None:
    if identity and identity.tag and identity.tag.environment_uuid != ctx.operation.environment.uuid:
        raise Permanent(f"The database {database} is another environment's: leave it alone.", code="identity_mismatch")


def _of_this_operation(ctx: Context, identity: Identity, token: int) -> bool:
    if identity.tag:
        return identity.tag.token == token
    return identity.uuid is None and bool(ctx.result("created_database"))


def fence_database(ctx: Context, args: Arguments) -> str | None:
    """Keep everybody but the agent and the update out, and prove that nobody writes."""
    for session in ctx.ports.database.sessions(args["database"]):
        ctx.say(f"Ending session {session.pid} of {session.role} ({session.application} from {session.client}).")
    ctx.ports.database.fence(args["database"], args["app"], args["upgrade"])
    return None


def unfence_database(ctx: Context, args: Arguments) -> str | None:
    ctx.ports.database.unfence(args["database"], args["app"])
    return None


def snapshot_database(ctx: Context, args: Arguments) -> str | None:
    strategy = ctx.ports.database.snapshot(args["database"], args["snapshot"], args["app"])
    ctx.ports.database.mark_set(args["snapshot"], args["set_digest"])
    ctx.keep("snapshot_at", ctx.clock.now().isoformat())
    return strategy


def drop_snapshot(ctx: Context, args: Arguments) -> str | None:
    """Remove the copy; it is the only one while a swap stands between its two renames."""
    if not ctx.ports.database.exists(args["database"]):
        raise Permanent(
            f"The database {args['database']} is absent, so its snapshot {args['snapshot']} is kept: "
            "rename the snapshot to it by hand.",
            code="undo_failed",
        )
    ctx.ports.database.drop(args["snapshot"])
    return None


def snapshot_filestore(ctx: Context, args: Arguments) -> str | None:
    ctx.ports.filestore.snapshot(ctx.key, args["database"], args["token"])
    return None


def drop_filestore_snapshot(ctx: Context, args: Arguments) -> str | None:
    ctx.ports.filestore.drop_snapshot(ctx.key, args["token"])
    return None


def update_modules(ctx: Context, args: Arguments) -> str | None:
    """Run `-u` and its verdict in a one-off container; without the copy there would be no way back."""
    if "snapshot" in args and not ctx.ports.database.exists(args["snapshot"]):
        raise Permanent(f"The snapshot {args['snapshot']} is gone, so nothing was updated.", code="no_snapshot")
    started = ctx.clock.monotonic()
    lines = _VerdictLines(ctx)
    spec = spec_from(args["spec"])
    begin = _open_gate(ctx, args["gate"]) if "gate" in args else _start_anew(ctx, spec)
    code = ctx.ports.runtime.run(spec.name, begin, args["timeout_seconds"], lines.take, ctx.cancelled)
    ctx.keep("update_seconds", round(ctx.clock.monotonic() - started, 2))
    if lines.verdict is None:
        raise Permanent(
            f"The update ended with code {code} and without a verdict: read the log above.", code="update_failed"
        )
    ctx.keep("verdict", lines.verdict)
    failed = [error for error in lines.verdict["errors"] if error.startswith("The update failed")]
    if failed:
        raise Permanent(failed[0], code="update_failed")
    return f"updated {len(lines.verdict['updated'])} modules"


def _open_gate(ctx: Context, gate: str) -> Callable[[], None]:
    return lambda: ctx.ports.filestore.remove_config(ctx.key, gate)


def _start_anew(ctx: Context, spec: ContainerSpec) -> Callable[[], None]:
    ctx.ports.runtime.remove(spec.name)  # one that was left has run already
    ctx.ports.runtime.create(spec)
    return lambda: ctx.ports.runtime.start(spec.name)


class _VerdictLines:
    """Passes lines on and keeps the verdict back."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.verdict: dict[str, Any] | None = None

    def take(self, line: str) -> None:
        found = VERDICT.match(line)
        if not found:
            self._ctx.line(line)
            return
        given = json.loads(self._ctx.passwords.redactor.mask(found.group(1)))
        lists = ("errors", "updated", "modules_left", "notes", "log_errors")
        self.verdict = {"ok": bool(given.get("ok")), **{name: list(given.get(name) or ()) for name in lists}}


def verify_update(ctx: Context, args: Arguments) -> str | None:
    """Judge the update by its verdict: an exit code of 0 alone means little."""
    verdict = ctx.result("verdict") or {"ok": False, "errors": ["The update left no verdict"], "notes": []}
    for note in verdict["notes"]:
        ctx.say(note)
    if not verdict["ok"]:
        for error in verdict["errors"]:
            ctx.say(error)
        shown = verdict["errors"][0] if verdict["errors"] else "The update's exit code was not 0"
        more = len(verdict["errors"]) - 1
        raise Permanent(f"{shown}{f' (and {more} more)' if more > 0 else ''}", code="verdict_failed")
    return None


def restore_data(ctx: Context, args: Arguments) -> str | None:
    """Put the copies made before the update in the place of what it left behind."""
    stop_update(ctx, args)
    ctx.ports.database.swap(args["database"], args["snapshot"], args["aside"])
    ctx.ports.filestore.restore(ctx.key, args["database"], args["token"])
    return None


def stop_update(ctx: Context, args: Arguments) -> str | None:
    """End an update that went on without the agent."""
    ctx.ports.runtime.stop(args["spec"]["name"], 10)
    ctx.ports.runtime.remove(args["spec"]["name"])
    return None


def record_manifest(ctx: Context, args: Arguments) -> str | None:
    """Write into the database what it was updated with."""
    ctx.ports.database.record_manifest(args["database"], args["digest"], args["modules"])
    ctx.ports.database.write_parameters(args["database"], args["parameters"])
    if "snapshot" in args:
        # What the update itself wrote is no loss to whoever goes back before it.
        ctx.ports.database.mark_set(args["snapshot"], args["set_digest"])
    return None


def write_parameters(ctx: Context, args: Arguments) -> str | None:
    ctx.ports.database.write_parameters(args["database"], args["parameters"])
    return None
