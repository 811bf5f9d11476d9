"""Steps of a rollback to a restore set: count what is lost, exchange the data, and see that it is the right one."""

from __future__ import annotations

from datetime import datetime

from ..errors import Permanent, Retryable
from ..plans.loss import ALL, above_ceiling, held_seconds, unasked, unknown
from ..protocol import Ceiling, convert, plain
from .context import Arguments, Context

# Visitors wait for it; yet longer than a preview counts, for each table and for all (plans.loss.held_seconds), so that
# what that one counted can be counted here. What it gave up is not tried again.
HELD_TABLE_SECONDS = 6.0


def count_loss(ctx: Context, args: Arguments) -> str | None:
    """Count once more now that nobody writes; more than was approved ends the rollback here."""
    since = datetime.fromisoformat(args["since"])
    ceiling = convert(args["ceiling"], Ceiling) if args["ceiling"] is not None else None
    within = held_seconds(ctx.operation.options.hold_limit_seconds, decides=ceiling is not None)
    try:
        loss = ctx.ports.database.count_loss(
            args["database"], since, HELD_TABLE_SECONDS, within, newest=0, hurried=unasked(ceiling)
        )
    except (Permanent, Retryable) as error:
        if ceiling and ALL not in ceiling.counts:
            raise
        ctx.say(f"What is lost was not counted: {error.message}")
        loss = unknown(since, ctx.clock.now(), error.message)
    ctx.keep("lost", plain(loss))
    if ceiling is None:
        return "no ceiling"
    over = above_ceiling(loss, ceiling)
    if over:
        raise Permanent(f"Going back would lose more than was approved: {', '.join(over)}.", code="loss_above_ceiling")
    return None


def swap_database(ctx: Context, args: Arguments) -> str | None:
    """Put the set's database in the place of the present one, which becomes a set of its own."""
    database, snapshot, present = args["database"], args["snapshot"], args["present"]
    if not ctx.ports.database.exists(snapshot) and not ctx.ports.database.exists(present):
        raise Permanent(f"The snapshot {snapshot} is gone: preview the rollback again.", code="set_gone")
    ctx.ports.database.swap(database, snapshot, present)
    ctx.ports.database.mark_set(present, args["set_digest"])
    ctx.keep("snapshot_at", ctx.clock.now().isoformat())
    return None


def swap_database_back(ctx: Context, args: Arguments) -> str | None:
    """Exchange them again; where it did not come to that, only open what was shut for it."""
    database, snapshot, present = args["database"], args["snapshot"], args["present"]
    if not ctx.ports.database.exists(snapshot) and not ctx.ports.database.exists(present):
        return "nothing was exchanged: the snapshot is gone"
    ctx.ports.database.swap(database, present, snapshot)
    ctx.ports.database.mark_set(snapshot, args["target_digest"], datetime.fromisoformat(args["since"]))
    return None


def swap_filestore(ctx: Context, args: Arguments) -> str | None:
    """Put the set's files in the place of the present ones, which become a set of their own."""
    ctx.ports.filestore.exchange(ctx.key, args["database"], wanted=args["set_token"], given_up=args["token"])
    return None


def swap_filestore_back(ctx: Context, args: Arguments) -> str | None:
    if ctx.ports.filestore.has_snapshot(ctx.key, args["token"]):
        ctx.ports.filestore.exchange(ctx.key, args["database"], wanted=args["token"], given_up=args["set_token"])
    ctx.ports.filestore.drop_snapshot(ctx.key, args["token"])
    return None


def verify_restored(ctx: Context, args: Arguments) -> str | None:
    """See that what was put back is this environment's database, of the release that is about to serve."""
    facts = ctx.ports.database.facts(args["database"])
    if facts is None or not facts.modules:
        raise Permanent(f"There is no Odoo in the set's {args['database']}: restore a backup.", code="set_gone")
    if facts.uuid != args["uuid"]:
        raise Permanent(
            f"The set's database says it is {facts.uuid or 'nobody'} instead of {args['uuid']}: restore a backup.",
            code="identity_mismatch",
        )
    if facts.recorded_digest not in (None, args["target_digest"]):
        raise Permanent(
            f"The set's database was last updated by {facts.recorded_digest}, which is not the release to go back to: "
            "choose the release of that image.",
            code="mode_impossible",
        )
    # The address may have changed since.
    ctx.ports.database.write_parameters(args["database"], args["parameters"])
    return None
