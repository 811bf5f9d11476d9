"""What a rollback would lose: which models count, in which order, and whether it is more than was approved. Pure."""

from __future__ import annotations

from datetime import datetime

from ..protocol import Ceiling, Limit, Loss, LossCount

ALL = "*"  # the model that stands for all where nothing could be counted

# What hurts most stands first.
RANKED = (
    "account.move",
    "account.payment",
    "account.bank.statement.line",
    "stock.move",
    "stock.picking",
    "sale.order",
    "purchase.order",
    "pos.order",
    "mrp.production",
    "account.move.line",
    "stock.move.line",
    "sale.order.line",
    "purchase.order.line",
    "mail.message",
)
# Bookkeeping of the program's own, that nobody would miss; an exact name or, with a dot at its end, all below.
UNMISSED = (
    "ir.",
    "bus.",
    "base.",
    "base_import.",
    "digest.",
    "discuss.channel.member",
    "iap.",
    "mail.mail",
    "mail.notification",
    "mail.presence",
    "mail.push",
    "mail.tracking.value",
    "onboarding.",
    "publisher_warranty.",
    "report.",
    "res.device",
    "res.device.log",
    "res.groups",
    "res.users.deletion",
    "res.users.log",
    "res.users.settings",
    "theme.",
    "web_editor.",
    "web_tour.",
    "website.track",
    "website.visitor",
)
# What people build in the web client: pages, fields of Studio's, rules, automation.
MISSED_AFTER_ALL = frozenset(
    {
        "base.automation",
        "ir.actions.server",
        "ir.attachment",
        "ir.filters",
        "ir.model.fields",
        "ir.rule",
        "ir.ui.menu",
        "ir.ui.view",
    }
)


def counts(model: str) -> bool:
    """Tell whether a person would miss a record of the model."""
    if model in MISSED_AFTER_ALL:
        return True
    return not any(model.startswith(one) if one.endswith(".") else model == one for one in UNMISSED)


def rank(model: str) -> tuple[int, str]:
    """Return the key by which models are ordered."""
    return (RANKED.index(model) if model in RANKED else len(RANKED), model)


def above_ceiling(loss: Loss, ceiling: Ceiling) -> tuple[str, ...]:
    """Return what is more than was approved, in words."""
    found = []
    if loss.minutes > ceiling.minutes:
        found.append(f"{loss.minutes:.0f} minutes ({ceiling.minutes:.0f} approved)")
    unnamed = ceiling.counts.get(ALL, Limit())
    for one in loss.counts:
        limit = ceiling.counts.get(one.model, unnamed)
        if limit.created is None:  # approved without being known
            continue
        if one.created is None:
            found.append(f"{one.model}, which was counted then, could not be counted now ({one.uncounted})")
            continue
        if one.created > limit.created:
            found.append(f"{one.model} {one.created} created ({limit.created} approved)")
        found += _changed(one.model, one.changed, limit)
        posted = ceiling.posted.get(one.model, 0)
        if one.posted > posted:
            found.append(f"{one.model} {one.posted} posted ({posted} approved)")
    return tuple(found)


def unknown(since: datetime, now: datetime, reason: str) -> Loss:
    """Return the loss of which nothing but its age is known."""
    count = LossCount(
        model=ALL, label=f"All records (not counted: {reason})", created=None, changed=None, uncounted=reason
    )
    return Loss(since=since, minutes=round(max(0.0, (now - since).total_seconds()) / 60, 1), counts=(count,))


def preview_seconds(hold_limit_seconds: int) -> float:
    """Return how long all tables may take in a preview: what does not fit is told as not counted."""
    return max(5.0, hold_limit_seconds - 20.0)


def held_seconds(hold_limit_seconds: int, *, decides: bool) -> float:
    """Return how long they may take while visitors wait: longer than in the preview, shorter than those are held."""
    return max(10.0, hold_limit_seconds - 15.0) if decides else 10.0  # without a ceiling nothing hangs on it


def unasked(ceiling: Ceiling | None) -> tuple[str, ...]:
    """Return the models whose changes need no counting, as they were approved without being known."""
    return tuple(model for model, limit in (ceiling.counts if ceiling else {}).items() if limit.changed is None)


def _changed(model: str, changed: int | None, limit: Limit) -> list[str]:
    if limit.changed is None:  # approved without being known
        return []
    if changed is None:
        return [
            f"{model} could not be counted in time ({limit.changed} changed approved: try again when the database has "
            "less to do, or approve it without a ceiling)"
        ]
    return [f"{model} {changed} changed ({limit.changed} approved)"] if changed > limit.changed else []
