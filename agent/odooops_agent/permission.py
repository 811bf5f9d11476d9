"""May this order be carried out here? What the agent remembers decides with what the console signed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from .errors import Refused
from .grants import Pin, check_grant, needs_grant
from .journal import Journal
from .protocol import Operation


def permit(journal: Journal, operation: Operation, pin: Callable[[], Pin | None], now: datetime) -> str | None:
    """Return the number of the grant that the operation uses up, None where it needs none.

    :raises Refused: it is not permitted; nothing was changed
    """
    _keep_tier(journal, operation)
    if not needs_grant(operation):
        return None
    document = check_grant(operation, pin(), now)
    # An operation that goes on after a crash is not asked again, so whoever comes with a used grant replays it.
    if journal.grant_used_by(document.id) is not None:
        raise Refused(
            f"The grant was used up by operation {journal.grant_used_by(document.id)}: ask for this anew in the "
            "console, and find out who sent it again.",
            code="grant_replayed",
        )
    return document.id


def _keep_tier(journal: Journal, operation: Operation) -> None:
    """Remember the tier; production does not become less by the console's word alone."""
    key, tier = operation.environment.key, operation.environment.tier
    known = journal.tier(key)
    if known == "production" and tier != known:
        raise Refused(
            f"{key} is production here and the console calls it {tier}: if that is meant, say so on the droplet with "
            f"odooops-agent tier {key} {tier}; else find out who changed it.",
            code="tier_lowered",
        )
    if known != tier:
        journal.set_tier(key, tier)
