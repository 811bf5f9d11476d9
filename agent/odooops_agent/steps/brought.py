"""Steps of an import: what somebody brought is unpacked, loaded and looked at before it is anybody's data."""

from __future__ import annotations

from ..commands import dump
from ..errors import Permanent
from ..plans import checks
from ..plans.archive import CODE
from ..plans.brought import imported
from ..plans.modules import plan_modules
from .backup import require_room, run_one_off
from .context import Arguments, Context


def unpack_import(ctx: Context, args: Arguments) -> str | None:
    """Unpack it within the room that the droplet has to spare."""
    asked, room = imported(ctx.operation), ctx.ports.workspace.folder(ctx.key, args["workspace"])
    spare = ctx.ports.filestore.free_bytes(ctx.key) - ctx.operation.options.disk_reserve_bytes
    brought = ctx.ports.intake.unpack(asked.file, asked.filestore, room, max(spare, 0), ctx.cancelled)
    files = ctx.ports.workspace.adopt_files(ctx.key, args["workspace"])
    ctx.keep("files", {"count": files.count, "wrong": len(files.wrong)})
    if files.wrong:
        ctx.say(f"The content of {len(files.wrong)} files is not what their names say, such as {files.wrong[0]}.")
    require_room(ctx, brought.dump_bytes)
    return f"{brought.dump}, {brought.dump_bytes / (1 << 20):.0f} MB, and {files.count} files"


def load_import(ctx: Context, args: Arguments) -> str | None:
    """Load the dump in a one-off that reaches this one database, for its owner, who is nobody in the cluster."""
    ctx.ports.workspace.write(ctx.key, args["workspace"], dump.LOADER, dump.loader_script())
    run_one_off(ctx, args, ctx.names.upgrade_role, "Loading the dump", code="restore_failed")
    return None


def verify_import(ctx: Context, args: Arguments) -> str | None:
    """See that it is an Odoo that the image can run, and which of its files nobody brought."""
    facts, environment = ctx.ports.database.facts(args["database"]), ctx.operation.environment
    base = facts.modules.get("base") if facts else None
    if facts is None or facts.uuid is None or base is None or base.state != "installed":
        raise Permanent("What was loaded is no database of Odoo: bring a dump of one.", code=CODE)
    if not (base.version or "").startswith(f"{environment.series}."):
        raise Permanent(
            f"The database is of Odoo {base.version}, {environment.key} runs {environment.series}: upgrade it first.",
            code="wrong_series",
        )
    image = ctx.ports.runtime.read_manifest(ctx.operation.release.reference)
    checks.require_fit(ctx.operation, plan_modules(image, facts, environment.modules))
    wanted = ctx.ports.database.attachment_files(args["database"])
    missing = ctx.ports.workspace.missing_files(ctx.key, args["workspace"], wanted)
    if missing:
        ctx.say(f"{len(missing)} of {len(wanted)} attachments have no file in what was brought, such as {missing[0]}.")
    ctx.keep("imported", {"modules": len(facts.modules), "bytes": facts.bytes, "missing": len(missing)})
    return f"Odoo {base.version}, {len(missing)} files missing" if missing else f"Odoo {base.version}"
