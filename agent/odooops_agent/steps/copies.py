"""Steps of a copy for another environment. Until `hand_over` nobody but the agent can reach it."""

from __future__ import annotations

import json

from .. import neutralise as rules
from ..commands import neutralise as sql
from ..errors import Permanent, Refused
from ..neutralise import described
from ..plans.checks import SNAPSHOT_FACTOR, size
from ..plans.copies import clone
from ..protocol import plain
from .backup import remove_one_off, run_one_off
from .context import Arguments, Context


def make_copy(ctx: Context, args: Arguments) -> str | None:
    """Copy the set, or make what the backup goes into; owner and rights before anybody could look."""
    _refuse_production(ctx)
    drop_copy(ctx, args)
    names, source = ctx.names, clone(ctx.operation).source
    app, upgrade = (ctx.passwords.get(role) for role in (names.app_role, names.upgrade_role))
    ctx.ports.database.ensure_roles(names.app_role, app.reveal(), names.upgrade_role, upgrade.reveal())
    if "snapshot" not in args:
        ctx.ports.database.create_apart(args["copy"], args["app"], args["upgrade"])
        strategy = None
    else:
        _require_room(ctx, args["snapshot"])
        strategy = ctx.ports.database.copy_apart(
            args["snapshot"], args["copy"], source.database, args["app"], args["upgrade"]
        )
    ctx.ports.database.write_tag(args["copy"], ctx.operation.environment.uuid, names.token)
    return strategy


def _refuse_production(ctx: Context) -> None:
    """Once more where it is done, whoever made the plan."""
    if ctx.operation.environment.tier == "production":
        raise Refused(f"No copy ever goes to {ctx.key}, which is production.", code="copy_refused")


def _require_room(ctx: Context, snapshot: str) -> None:
    free, needed = ctx.ports.database.free_bytes(), int(ctx.ports.database.size(snapshot) * SNAPSHOT_FACTOR)
    if free is not None and free < needed:
        raise Permanent(
            f"The cluster has {size(free)} free and the copy needs {size(needed)}: enlarge it, or drop old sets.",
            code="quota_exceeded",
        )


def drop_copy(ctx: Context, args: Arguments) -> str | None:
    """Drop a copy that did not get in its place, but never a database that bears another environment's mark."""
    identity = ctx.ports.database.identity(args["copy"])
    if identity and identity.tag and identity.tag.environment_uuid != ctx.operation.environment.uuid:
        raise Permanent(f"{args['copy']} is another environment's: leave it alone.", code="identity_mismatch")
    ctx.ports.database.drop(args["copy"])
    return None


def load_copy(ctx: Context, args: Arguments) -> str | None:
    """Run pg_restore into it."""
    ctx.ports.workspace.give_dump(ctx.key, args["workspace"])
    run_one_off(ctx, args, args["role"], "pg_restore", code="restore_failed")
    ctx.ports.workspace.drop_dump(ctx.key, args["workspace"])
    return None


def check_copy(ctx: Context, args: Arguments) -> str | None:
    """See whose data these are, and that the release which is about to serve has what they need."""
    facts, source = ctx.ports.database.facts(args["copy"]), clone(ctx.operation).source
    if facts is None or not facts.modules:
        raise Permanent(f"There is no Odoo in the data of {source.environment}: copy a newer set.", code="not_odoo")
    if source.database_uuid and facts.uuid != source.database_uuid:
        raise Permanent(
            f"The data say they are of {facts.uuid or 'nobody'}, {source.environment} has {source.database_uuid}: they "
            "are another database's, so nothing was copied.",
            code="identity_mismatch",
        )
    series, base = ctx.operation.environment.series, facts.modules.get("base")
    if base is None or not str(base.version).startswith(f"{series}."):
        raise Permanent(
            f"The data are of Odoo {base.version if base else '?'}, {ctx.key} runs {series}: change its series first.",
            code="wrong_series",
        )
    installed = {name for name, one in facts.modules.items() if one.state == "installed" and not one.imported}
    missing = sorted(installed - set(args["addons"]))
    if missing:
        raise Permanent(
            f"{ctx.operation.release.tag} lacks {', '.join(missing[:8])}, which the data have installed: copy them "
            "with the release that they are of.",
            code="missing_modules",
        )
    ctx.keep("copy_bytes", facts.bytes)
    return f"{size(facts.bytes)}, {len(installed)} modules"


def neutralise_modules(ctx: Context, args: Arguments) -> str | None:
    """Run each module's own neutralize.sql, all or none of them."""
    text = sql.order(args["database"], args["role"], tuple(args["addons_paths"]))
    ctx.ports.workspace.write(ctx.key, args["workspace"], sql.ORDER, text)
    ctx.ports.workspace.write(ctx.key, args["workspace"], sql.SCRIPT, sql.SCRIPT_TEXT)
    try:
        said = run_one_off(ctx, args, args["role"], "neutralize", code="neutralize_failed")
    finally:
        remove_one_off(ctx, args)
    marks = [line.removeprefix(sql.MARK) for line in said if line.startswith(sql.MARK)]
    if not marks:
        raise Permanent("What neutralises the modules ended without a word.", code="neutralize_failed")
    ran = json.loads(marks[-1])
    ctx.keep("neutralised_modules", ran)
    return f"neutralize.sql of {len(ran)} modules"


def neutralise_copy(ctx: Context, args: Arguments) -> str | None:
    """Carry out our own rules, and the project's."""
    given = rules.rules(clone(ctx.operation).rules)
    ctx.ports.database.neutralise(args["copy"], given, args["settings"])
    return f"{len(given)} rules"


def obfuscate_copy(ctx: Context, args: Arguments) -> str | None:
    return f"{ctx.ports.database.obfuscate(args['copy'], rules.obfuscated_fields())} columns"


def verify_copy(ctx: Context, args: Arguments) -> str | None:
    """Prove every rule; what can't be proven keeps the copy closed."""
    found = ctx.ports.database.prove(args["copy"], rules.rules(clone(ctx.operation).rules), args["settings"])
    ran = ctx.result("neutralised_modules")
    first = {"name": f"neutralize.sql of {len(ran or ())} modules", "ok": bool(ran), "detail": ""}
    ctx.keep("neutralised", [first, *(plain(one) for one in found)])
    wrong = {one.name: one.detail or "something" for one in found if not one.ok}
    if not ran:
        wrong["neutralize.sql"] = "that no module's was run"
    if wrong or not found:
        for name, detail in wrong.items():
            ctx.say(f"{name}: {detail}")
        raise Permanent(
            f"The copy is not proven safe: {described(wrong)}. Add a rule for it to the project, or mend it in "
            f"{clone(ctx.operation).source.environment}, then copy again.",
            code="not_proven_safe",
        )
    return f"{len(found)} checks"


def bring_files(ctx: Context, args: Arguments) -> str | None:
    """Bring the files that the safe copy names; a key in an attachment that was dropped does not come along."""
    wanted = ctx.ports.database.attachment_files(args["copy"])
    if args["number"] is None:
        files = ctx.ports.workspace.keep_files(ctx.key, args["workspace"], wanted)
        ctx.ports.workspace.place_snapshot(ctx.key, args["workspace"], args["token"])
    else:
        source = clone(ctx.operation).source.environment
        files = ctx.ports.filestore.bring(source, args["number"], ctx.key, args["token"], wanted)
    ctx.keep("copy_files_bytes", files.bytes)
    return f"{files.count} files"


def hand_over(ctx: Context, args: Arguments) -> str | None:
    """Make it the environment's; only what was proven gets here."""
    checked = ctx.result("neutralised") or ()
    if not checked or not all(one["ok"] for one in checked):
        raise Permanent("The copy was not proven safe.", code="not_proven_safe")
    ctx.ports.database.hand_over(args["copy"], args["app"])
    return None


def open_network(ctx: Context, args: Arguments) -> str | None:
    """Tell the firewall what the project lets its copies reach."""
    ctx.ports.exceptions.write(args["network"], args["hosts"])
    return ", ".join(args["hosts"]) or None


def swap_copy(ctx: Context, args: Arguments) -> str | None:
    """Put the copy in the place of the present database, which becomes a restore set."""
    ctx.ports.database.swap(args["database"], args["snapshot"], args["present"])
    ctx.ports.database.mark_set(args["present"], args["set_digest"])
    ctx.keep("snapshot_at", ctx.clock.now().isoformat())
    return None


def swap_copy_back(ctx: Context, args: Arguments) -> str | None:
    if ctx.ports.database.exists(args["present"]) or ctx.ports.database.exists(args["snapshot"]):
        ctx.ports.database.swap(args["database"], args["present"], args["snapshot"])
    return None


def adopt_copy(ctx: Context, args: Arguments) -> str | None:
    """Give the copy the environment's name, which nobody has."""
    if ctx.ports.database.exists(args["copy"]):
        hand_over(ctx, args)
    ctx.ports.database.adopt(args["copy"], args["database"], args["app"])
    return None


def drop_adopted(ctx: Context, args: Arguments) -> str | None:
    """Remove what was adopted; a database that this operation did not mark stays."""
    identity = ctx.ports.database.identity(args["database"])
    if identity and identity.tag and identity.tag.token == ctx.names.token:
        ctx.ports.database.drop(args["database"])
    return None
