"""Steps around restore sets: which of them stay, and what they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import Permanent, Retryable
from ..facts import KeptSet
from ..plans.sets import Keeping, outlived, to_drop
from .context import Arguments, Context


def drop_old_sets(ctx: Context, args: Arguments) -> str | None:
    """Remove the restore sets that nobody keeps any more; nothing when this operation's own is not among them."""
    database, own = args["database"], args["token"]
    sets = ctx.ports.database.sets(database, ctx.operation.environment.uuid)
    if own not in [one.token for one in sets]:
        return "kept all: this deployment's own is not there"
    # An operation that an older agent began says nothing of it.
    keeping = Keeping(args["keep"], args["keep_hours"], frozenset(args.get("wanted", ())))
    for one in to_drop(sets, own, keeping, ctx.clock.now()):
        _drop(ctx, one)
    # A full cluster forbids the next deployment, which is worse than a set that is gone before its hours are over.
    for one in to_drop(sets, own, replace(keeping, hours=0), ctx.clock.now()):
        free_bytes = ctx.ports.database.free_bytes()
        if free_bytes is None or free_bytes >= args["needed_bytes"]:
            break
        _drop(ctx, one)
    _drop_left_behind(ctx, database, own, keeping)
    return None


def _drop(ctx: Context, one: KeptSet) -> None:
    snapshot = ctx.names.snapshot_of(one.token)
    if not ctx.ports.database.exists(snapshot):
        return
    # The database last: while it is there, the next deployment knows that files may be too.
    ctx.ports.filestore.drop_snapshot(ctx.key, one.token)
    ctx.ports.database.drop(snapshot)
    ctx.say(f"Dropped the restore set {one.token}.")


def _drop_left_behind(ctx: Context, database: str, own: int, keeping: Keeping) -> None:
    """Remove what earlier operations left and no set is made of: this one's lease says that none of them goes on."""
    for token in ctx.ports.database.copies(database, ctx.operation.environment.uuid):
        if token < own:
            ctx.ports.database.drop(ctx.names.copy_of(token))
            ctx.say(f"Dropped {ctx.names.copy_of(token)}, a copy that never got in its place.")
    for one in outlived(ctx.ports.filestore.snapshots(ctx.key), own, keeping, ctx.clock.now()):
        if not ctx.ports.database.exists(ctx.names.snapshot_of(one.token)):
            ctx.ports.filestore.drop_snapshot(ctx.key, one.token)
            ctx.say(f"Removed snapshots/{one.token}, files without a database since {one.since:%Y-%m-%d %H:%M} UTC.")


def keep_images(ctx: Context, args: Arguments) -> str | None:
    """Have the images of all sets here, and out of reach of whoever prunes."""
    sets = ctx.ports.database.sets(args["database"], ctx.operation.environment.uuid)
    images = list(dict.fromkeys(f"{args['image']}@{one.digest}" for one in sets if one.digest))
    here, away = _had(ctx, images)
    ctx.ports.runtime.keep_images(ctx.key, here)
    if away is not None:
        raise away
    return f"{len(here)} of {len(images)} images" if len(here) < len(images) else None


def _had(ctx: Context, images: Sequence[str]) -> tuple[list[str], Retryable | None]:
    """Return the images that are here by now, and why trying again may bring more."""
    here, away = [], None
    for image in images:
        try:
            ctx.ports.runtime.pull(image, lambda line: None)
        except Retryable as error:
            away = error
        except Permanent as error:
            ctx.say(f"A restore set's image can't be kept: {error.message}")
        else:
            here.append(image)
    return here, away
