"""When a copy is due, and what was configured by hand since the last one."""

from datetime import timedelta

from . import protocol, redact

# A console that was away at the hour makes up for it so long; later the people at work would be surprised.
WINDOW = timedelta(hours=3)
KINDS = ("view", "automation", "action", "parameter", "menu", "mail_template")
_SUNDAY = 6


def slot(schedule, hour, now):
    """Return when the newest round of ``schedule`` began, None for none.

    :param hour: of the day, UTC
    """
    if schedule not in ("daily", "weekly"):
        return None
    at = now.replace(hour=hour, minute=0, second=0, microsecond=0)
    if at > now:
        at -= timedelta(days=1)
    if schedule == "weekly":
        at -= timedelta(days=(at.weekday() - _SUNDAY) % 7)
    return at


def is_due(schedule, hour, last, now):
    """Return whether a copy is to be made now.

    :param last: when the newest one was asked for, None for never
    """
    at = slot(schedule, hour, now)
    return at is not None and now - at < WINDOW and (last is None or last < at)


def age(moment, now):
    """Return how old data of ``moment`` are, in words."""
    minutes = max(int((now - moment) / timedelta(minutes=1)), 0)
    if minutes < 120:
        return f"{minutes} minutes"
    hours = minutes // 60
    return f"{hours} hours" if hours < 72 else f"{hours // 24} days"


def checks(result):
    """Return the proof that an agent reports, as a list of ``name``, ``ok`` and ``detail``."""
    reported = result.get("neutralised")
    return [
        {
            "name": redact.masked(str(one.get("name") or ""), 200),
            "ok": one.get("ok") is True,
            "detail": redact.masked(str(one.get("detail") or ""), 1000),
        }
        for one in (reported if isinstance(reported, list) else ())
        if isinstance(one, dict)
    ]


def is_proven(result):
    """Return whether every check held, and there was one."""
    found = checks(result)
    return bool(found) and all(one["ok"] for one in found)


def changes(result):
    """Return what an agent found configured by hand; what it says of one without a time is left out."""
    reported = result.get("changes")
    return [one for one in map(_change, reported if isinstance(reported, list) else ()) if one]


def _change(reported):
    try:
        at = protocol.take_time(reported, "changed_at")
        return {
            "kind": protocol.take(reported, "kind", str),
            "model": protocol.take(reported, "model", str, ""),
            "id": protocol.take(reported, "id", int, 0),
            "xml_id": protocol.take(reported, "xml_id", str, "") or None,
            "name": protocol.take(reported, "name", str, ""),
            "changed_at": protocol.show_time(at),
            "by": protocol.take(reported, "by", str, ""),
            "overwritten_by_update": protocol.take(reported, "overwritten_by_update", bool, False),
            "reason": protocol.take(reported, "reason", str, ""),
        }
    except protocol.BadMessage:
        return None


def unexported(found, exported_as_of):
    """Return those of ``found`` that were made after the newest export.

    :param exported_as_of: the time up to which the exported list reached, None for never
    """
    limit = protocol.show_time(exported_as_of) or ""
    return [one for one in found if one["changed_at"] > limit]


def overwritten(found, modules):
    """Return those of ``found`` that an update of ``modules`` writes over."""
    return [
        one for one in found if one["overwritten_by_update"] and (one["xml_id"] or "").partition(".")[0] in set(modules)
    ]
