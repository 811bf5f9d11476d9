"""How a rollback is asked for, looked at and decided, and the chapter that tells of one; and of taking it back."""

from __future__ import annotations

import time
from typing import Any

from . import wait
from .chapters import MARGIN_SECONDS, WORKSHOP, claim_no_failure, wait_until_green
from .ci import Built
from .sample_repository import BAD_ORDER
from .world import PLAN_SECONDS, Row, StoryError, World

MODEL = "odooops.rollback.request"
FIELDS = ["name", "state", "mode", "preview", "preview_hash", "lost", "held_seconds", "failure_message", "log_tail"]
ENDED = ("done", "rejected", "cancelled", "failed", "indeterminate")
ROLLBACK_SECONDS = 300


# What people and CI do


def request(world: World, tag: str, reason: str) -> Row:
    """Ask as the *Rollback* workflow does; return the request with what going back would cost."""
    asked = world.workflow.run(
        "request_rollback.py", "--environment", world.key("prod"), "--previous-tag", tag, "--reason", reason
    )
    return wait_for(world, asked["id"], "awaiting_approval", PLAN_SECONDS)


def take_all(world: World, rollback: Row) -> Row:
    """Take the way that brings back database and files too, where the code alone would do."""
    if rollback["mode"] != "full":
        world.approver.call(MODEL, "action_take_full", [rollback["id"]])
    return world.admin.read(MODEL, rollback["id"], FIELDS)


def approve(world: World, rollback: Row, note: str) -> None:
    """Decide in the web client as a person does: open the dialog, read the loss, say what was checked."""
    who = world.approver
    action = who.call(MODEL, "action_open_decision", [rollback["id"]])
    values = {name.removeprefix("default_"): value for name, value in action["context"].items()}
    wizard = who.create(action["res_model"], **values, note=note)
    who.confirm(who.call(action["res_model"], "action_approve", [wizard]), world.passwords[who.login])


def lift(world: World, tag: str, reason: str) -> None:
    """Let a release that was rolled back go to production again."""
    bar = barred(world, tag)
    if not bar:
        raise StoryError(f"{tag} is not barred.")
    world.approver.call("odooops.quarantine", "action_lift", [bar["id"]], reason)


def barred(world: World, tag: str) -> Row | None:
    domain = [["project_id", "=", world.project.id], ["tag", "=", tag], ["state", "=", "barred"]]
    return world.admin.one("odooops.quarantine", domain, ["tag"])


def wait_for(world: World, id_: int, state: str, timeout_seconds: float = ROLLBACK_SECONDS) -> Row:
    """Wait until a rollback is in this state and return it.

    :raises StoryError: it ended otherwise or took too long
    """

    def arrived() -> Row | None:
        row = world.admin.read(MODEL, id_, FIELDS)
        return row if row["state"] in (state, *ENDED) else None

    try:
        row = wait.until(f"the rollback to be {state}", arrived, timeout_seconds, every_seconds=0.2)
    except wait.WaitError as error:
        raise StoryError(str(error)) from error
    if row["state"] != state:
        raise StoryError(f"{row['name']} is {row['state']}: {row['failure_message']}\n{row['log_tail'] or ''}")
    return row


def chosen(rollback: Row) -> dict[str, Any]:
    """Return the way back that is to be decided on, with its loss."""
    return next(one for one in rollback["preview"]["modes"] if one["mode"] == rollback["mode"])


# The chapter


def back_and_forth(world: World, before: Built, tag: str) -> None:
    """8. `prod` goes back to v1.0.0 with all its data while visitors ask, and forth again: nothing is lost."""
    database = world.database("prod")
    content = database.content()
    with world.visitor_load("prod") as load:
        time.sleep(MARGIN_SECONDS)
        back = request(world, "v1.0.0", "The orders' minutes are wrong.")
        _check_preview(world, back)
        _go(world, back, "v1.0.0")
        _check_first_release(world)
        _check_bar(world, before, tag)
        _go(world, take_all(world, request(world, tag, "The minutes were right.")), tag)
        time.sleep(MARGIN_SECONDS)
        report = load.stop()
    claim_no_failure(world, report, tag)
    after = database.content()
    world.claim(
        f"the rollback was rolled back: prod runs {tag} with its data as before, {after.rows} rows; "
        f"differing tables: {', '.join(after.changed_since(content)) or 'none'}",
        after == content and world.running_digests("prod") == {before.digest}, "prod", tag,
    )  # fmt: skip
    wait_until_green(world, "prod", before.digest)


def _check_preview(world: World, back: Row) -> None:
    """What would be lost is known before anyone decides: here the order that a user typed under v1.1.0."""
    ways = {one["mode"]: one for one in back["preview"]["modes"]}
    lost = {one["model"]: one["created"] for one in ways["full"]["loss"]["counts"]}
    names = [one["name"] for one in ways["full"]["loss"]["newest"] if one["model"] == "workshop.order"]
    world.claim(
        f"the preview names what would be lost: {lost}, {', '.join(names)}",
        back["mode"] == "full" and lost.get("workshop.order") == 1 and names == [BAD_ORDER["name"]], "prod", "v1.0.0",
    )  # fmt: skip
    world.claim(
        f"the code alone can't go back: {ways['code']['reason']}", not ways["code"]["possible"], "prod", "v1.0.0"
    )


def _go(world: World, rollback: Row, tag: str) -> None:
    """Approve a rollback and see it done."""
    minutes = chosen(rollback)["loss"]["minutes"]
    world.tell("loss shown", f"{rollback['mode']}: what was entered in {minutes:.1f} minutes", "prod", tag)
    began = time.monotonic()
    approve(world, rollback, "Nobody entered anything that is not on paper.")
    done = wait_for(world, rollback["id"], "done")
    seconds = time.monotonic() - began
    world.tell("rolled back", f"{seconds:.1f} s after the approval, held {done['held_seconds']:.1f} s", "prod", tag)


def _check_first_release(world: World) -> None:
    database = world.database("prod")
    orders = sorted(name for (name,) in database.query("SELECT name FROM workshop_order"))
    world.claim(
        f"prod runs v1.0.0 with its own data: the orders are {', '.join(orders)}",
        orders == ["WO/001", "WO/002", "WO/003"]
        and database.modules()[WORKSHOP] == "19.0.1.0.0"
        and world.status_page("prod")["release"] == "1.0.0", "prod", "v1.0.0",
    )  # fmt: skip


def _check_bar(world: World, before: Built, tag: str) -> None:
    """What was rolled back does not come to production again until someone answers for it."""
    answer = world.ci.call(
        "odooops.deployment", "request",
        environment=world.key("prod"), ref=f"refs/tags/{tag}", commit_sha=before.sha,
    )  # fmt: skip
    world.claim(
        f"{tag} is barred from production ({answer.status}: {answer.sentence})", answer.status == 422, "prod", tag
    )
    lift(world, tag, "The minutes were right, the report was not.")
    world.tell("bar lifted", f"by {world.approver.login}", "prod", tag)
