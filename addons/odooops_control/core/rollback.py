"""What a rollback brings back and what it costs: the agent's preview, and the ceiling that people set to the loss."""

from dataclasses import dataclass

from . import names, protocol

MODES = ("code", "full", "backup")
FIX_FORWARD = "fix_forward"
# A preview of lost work is approved while its minutes are inside the ceiling's.
PREVIEW_MINUTES = 30
# Nobody loses one of these more than they were shown, unless the approver says so.
POSTED = ("account.move", "account.payment")
# In a ceiling: all models that it does not name, as the agent reads it.
ANY = "*"
_MAX_ROWS = 200
_MAX_NEWEST = 50
_MAX_NUMBER = 2**50


class BadPreview(ValueError):
    """The agent sent something that is no preview of this rollback; the text says what."""


@dataclass(frozen=True)
class Expected:
    """What a preview has to be about.

    ``digest`` is the target's; ``database_uuid`` is None where none is known yet.
    """

    environment: str
    digest: str
    database_uuid: str | None = None


@dataclass(frozen=True)
class Allowance:
    """By how much the loss may grow past the preview before the rollback stops and asks again."""

    percent: int = 10
    minutes: int = 30
    invoices: int = 0
    payments: int = 0


DEFAULT = Allowance()


def checked_preview(result, expected):
    """Return the agent's preview with nothing in it but what is shown and bound.

    :param result: what the agent sent
    :raises BadPreview: when it is no preview of what was asked
    """
    modes = result.get("modes") if isinstance(result, dict) else None
    if not isinstance(modes, list) or not modes:
        raise BadPreview("The agent sent no preview: update the agent.")
    known, seen = expected.database_uuid, result.get("database_uuid")
    if known and seen and seen != known:
        raise BadPreview(f"The database of {expected.environment} is not the one it had: find out why first.")
    checked = [_mode(one, expected) for one in modes if isinstance(one, dict)]
    by_name = {one["mode"]: one for one in checked if one["mode"] in (*MODES, FIX_FORWARD)}
    possible = [name for name in MODES if by_name.get(name, {}).get("possible")]
    recommended = result.get("recommended")
    return {
        "modes": [by_name[name] for name in (*MODES, FIX_FORWARD) if name in by_name],
        "recommended": recommended if recommended in possible else (possible or [FIX_FORWARD])[0],
        "database_bytes": _number(result.get("database_bytes")),
    }


def _mode(given, expected):
    mode, possible = given.get("mode"), given.get("possible") is True
    one = {"mode": mode, "possible": possible, "reason": str(given.get("reason") or "")[:500]}
    if not possible or mode not in MODES:
        return one
    plan = given.get("plan")
    about = (expected.environment, expected.digest, mode)
    if not isinstance(plan, dict) or (plan.get("environment"), plan.get("to_digest"), plan.get("mode")) != about:
        raise BadPreview("The agent previewed something else than was asked: look at the agent's log.")
    for name in ("plan_hash", "preview_hash"):
        if not names.HASH.fullmatch(str(given.get(name))):
            raise BadPreview(f"The agent's preview lacks a {name.replace('_', ' ')}: update the agent.")
        one[name] = given[name]
    loss = checked_loss(given.get("loss"))
    if mode != "code" and not loss:
        raise BadPreview("The agent's preview does not say what would be lost: update the agent.")
    return {**one, "plan": plan, "hold_seconds": _number(given.get("hold_seconds")), "loss": loss}


def checked_loss(given):
    """Return a loss as the agent counted it, None for anything else."""
    if not isinstance(given, dict):
        return None
    rows = given.get("counts") if isinstance(given.get("counts"), list) else []
    newest = given.get("newest") if isinstance(given.get("newest"), list) else []
    return {
        "since": str(given.get("since") or "")[:40],
        "minutes": _number(given.get("minutes")),
        "counts": [_row(row) for row in rows[:_MAX_ROWS] if isinstance(row, dict) and row.get("model")],
        "newest": [_newest(row) for row in newest[:_MAX_NEWEST] if isinstance(row, dict)],
    }


def _row(row):
    return {
        "model": str(row["model"])[:100],
        "label": str(row.get("label") or row["model"])[:100],
        # None where nobody could count it; `created` only where the label says why.
        "created": _known(row.get("created")),
        "changed": _known(row.get("changed")),
        "posted": _count(row.get("posted")),
    }


def _newest(row):
    return {
        "model": str(row.get("model") or "")[:100],
        "id": _count(row.get("id")),
        "name": str(row.get("name") or "")[:200],
        "at": str(row.get("at") or "")[:40],
    }


def _number(value):
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0.0
    return float(value) if 0 <= value <= _MAX_NUMBER else 0.0


def _known(value):
    return None if value is None else _count(value)


def _count(value):
    return int(_number(value))


def mode_of(preview, mode):
    """Return one way of a preview, an empty one when it has no such way."""
    return next((one for one in (preview or {}).get("modes") or [] if one["mode"] == mode), {})


def possible_modes(preview):
    """Return the names of the ways that are open, the gentlest first."""
    return [one["mode"] for one in (preview or {}).get("modes") or [] if one["possible"] and one["mode"] in MODES]


def ceiling(loss, allowance=DEFAULT):
    """Return how much may be lost at most, or None where nothing is lost.

    :param loss: of a checked preview
    :param allowance: by how much it may have grown meanwhile
    """
    if not loss:
        return None
    posted = dict.fromkeys(POSTED, 0) | {row["model"]: row["posted"] for row in loss["counts"] if row["posted"]}
    posted["account.move"] += allowance.invoices
    posted["account.payment"] += allowance.payments
    return {
        "minutes": round(loss["minutes"] + allowance.minutes, 1),
        "counts": {
            row["model"]: {name: _grown(row[name], allowance.percent) for name in ("created", "changed")}
            for row in loss["counts"]
        },
        "posted": posted,
    }


def _grown(count, percent):
    """Return ``count`` and ``percent`` more of it, rounded up, in whole numbers throughout."""
    return None if count is None else -(-count * (100 + percent) // 100)


def is_raised(allowance):
    """Tell whether anything more than the default may be lost."""
    return any(getattr(allowance, name) > getattr(DEFAULT, name) for name in Allowance.__dataclass_fields__)


def agreed(ceilings):
    """Return what all of these ceilings allow: nobody's rollback loses more than each approver agreed to."""
    given = [one for one in ceilings if one]
    if not given:
        return None
    return {
        "minutes": min(one["minutes"] for one in given),
        "counts": {
            model: {name: _least(one["counts"].get(model, {}).get(name) for one in given) for name in both}
            for model, both in given[0]["counts"].items()
        },
        "posted": {model: min(one["posted"].get(model, 0) for one in given) for model in given[0]["posted"]},
    }


def bound(minutes, records, posted):
    """Return a ceiling that is known before any preview: the same for each model."""
    return {
        "minutes": float(minutes),
        "counts": {ANY: {"created": records, "changed": records}},
        "posted": dict.fromkeys(POSTED, posted),
    }


def above(loss, limits):
    """Return in words what a loss has more than a bound allows; what nobody could count is more.

    :param limits: of :func:`bound`; the agent judges by the same when nobody can write any more
    """
    if not loss:
        return []
    limit, found = limits["counts"][ANY], []
    if loss["minutes"] > limits["minutes"]:
        found.append(f"{loss['minutes']:.0f} minutes ({limits['minutes']:.0f} agreed)")
    for row in loss["counts"]:
        found += [
            f"{row['label']}: not counted" if row[name] is None else f"{row['label']}: {row[name]} {name}"
            for name in ("created", "changed")
            if row[name] is None or row[name] > limit[name]
        ]
        if row["posted"] > limits["posted"].get(row["model"], 0):
            found.append(f"{row['label']}: {row['posted']} posted")
    return found


def _least(counts):
    return min((count for count in counts if count is not None), default=None)


def totals(loss):
    """Return how many records a loss means: created, changed, posted."""
    rows = (loss or {}).get("counts") or []
    return {
        name: min(sum(row[name] or 0 for row in rows), protocol.MAX_INTEGER)
        for name in ("created", "changed", "posted")
    }
