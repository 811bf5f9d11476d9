"""What has to be true before a release goes where it was asked for: each condition with what is seen and what to do."""

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from . import backup as backups
from . import checks

GREEN, RED, WAITING, OVERRIDDEN = "green", "red", "waiting", "overridden"
# What a condition that does not hold keeps from happening: asking people, or beginning what they agreed to.
REQUEST, START = "request", "start"
OCA_CHECK = "allowlist"
# A bar is lifted where it stands, a window by breaking the glass, and what never ran on staging is not known at all.
OVERRIDABLE = ("preflight", "oca", "staging_time", "staging_health", "backup", "restore_test")
# What passes by itself: it is waited for, and takes no approval away.
FLEETING = ("window", "business", "schedule", "staging_health")
# What is waited for until its time comes, and an administrator may break the glass of.
FREEZES = ("window", "business")
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Condition:
    """One line of the checklist; ``by`` and ``why`` tell who overrode it."""

    key: str
    label: str
    state: str
    detail: str
    mend: str = ""
    blocks: str = ""
    by: str = ""
    why: str = ""

    def as_dict(self):
        """Return it as it is kept and shown."""
        return asdict(self)

    def sentence(self):
        """Return what stands in the way and what to do about it."""
        return " ".join(part for part in (self.detail, self.mend) if part)


@dataclass(frozen=True)
class StagingRun:
    """One time that the release's image was live on staging.

    ``began`` is its green verdict; ``trouble`` is what went wrong while it ran, empty when nothing did.
    """

    began: datetime
    trouble: str = ""


def preflight(tag, results, required=()):
    """Tell whether the commit's checks are complete and green.

    :param results: pairs of a check's name and its status
    :param required: names of the checks that the policy wants to see
    """
    label = "Preflight"
    if sentence := checks.refusal(tag, results, required):
        hopeless = any(status in checks.BAD for _name, status in results)
        return Condition("preflight", label, RED if hopeless else WAITING, sentence, blocks=REQUEST)
    passed = sorted(name for name, status in results if status == "success")
    detail = f"{', '.join(passed)} passed for exactly this commit." if passed else "No check was reported or asked for."
    return Condition("preflight", label, GREEN, detail)


def oca(results):
    """Tell whether every OCA module was audited, by the check that knows; nothing where it did not run."""
    status = dict(results).get(OCA_CHECK)
    if status is None:
        return None
    label = "OCA modules"
    if status in checks.BAD:
        mend = "Audit it with odooops oca, or take it out, and release that."
        return Condition("oca", label, RED, "A module is not audited.", mend, REQUEST)
    if status != "success":
        return Condition("oca", label, WAITING, "The allowlist is being checked.", "Wait for it.", REQUEST)
    return Condition("oca", label, GREEN, "Every OCA module was audited.")


def staging(name, runs):
    """Tell whether staging ran exactly this image, without trouble in the end."""
    label = "Ran on staging"
    if not runs:
        mend = "Deploy it there first, production runs what staging ran."
        return Condition("staging", label, RED, f"{name} was never live on staging.", mend, REQUEST)
    newest = max(runs, key=lambda one: one.began)
    if newest.trouble:
        mend = "Release what mends it, or deploy this there again and watch it."
        return Condition("staging", label, RED, f"While staging ran it: {newest.trouble.rstrip('.')}.", mend, REQUEST)
    return Condition("staging", label, GREEN, f"Staging ran exactly this image, green on {_shown(newest.began)} UTC.")


def staging_time(runs, now, minutes):
    """Tell whether enough time has passed since its green verdict on staging; nothing when none is asked.

    It may have been superseded there since: a team that merges hourly has to be able to release.
    """
    began = _clean_since(runs)
    if not minutes or began is None:
        return None
    label, missing = "Time on staging", began + timedelta(minutes=minutes) - now
    if missing <= timedelta(0):
        detail = f"Green there since {_shown(began)} UTC, longer than {span(minutes)}, without an error or a rollback."
        return Condition("staging_time", label, GREEN, detail)
    left = -(-missing // _MINUTE)
    detail = f"{span(minutes)} have to pass after its green verdict on staging: another {span(left)}."
    return Condition("staging_time", label, WAITING, detail, "It goes on by itself then.", REQUEST)


def _clean_since(runs):
    """Return the first green verdict after the last trouble, or None."""
    last_trouble = max((one.began for one in runs if one.trouble), default=None)
    clean = [one.began for one in runs if not one.trouble and (last_trouble is None or one.began > last_trouble)]
    return min(clean, default=None)


def staging_health(states):
    """Tell whether staging is well now; nothing when no staging environment is left.

    :param states: pairs of an environment's key and its health
    """
    if not states:
        return None
    label = "Staging healthy"
    for wanted, state, text in ((("red",), RED, "is red"), (("unknown",), WAITING, "was not seen lately")):
        names = sorted(key for key, health in states if health in wanted)
        if names:
            detail = f"{', '.join(names)} {text}."
            return Condition("staging_health", label, state, detail, "Look at it on its page.", REQUEST)
    return Condition("staging_health", label, GREEN, f"{', '.join(sorted(key for key, _health in states))} answers.")


def backup(kept, now, max_age_hours, always, impossible):
    """Tell whether there is a fresh backup; one that can be taken first hinders nobody from deciding.

    :param always: whether one is taken first however fresh the newest is
    :param impossible: why none can be taken, or None
    """
    if not kept.has_data or not (max_age_hours or always):
        return None
    label = "Fresh backup"
    if not kept.has_repository:
        detail = f"{kept.environment} has no backup repository, and its policy asks for backups."
        return Condition("backup", label, RED, detail, "Give it one, or have the policy ask for none.", REQUEST)
    stale = backups.is_stale(kept, now, max_age_hours)
    if not stale and not always:
        return Condition("backup", label, GREEN, f"The newest has data up to {_shown(kept.newest)} UTC.")
    if impossible:
        return Condition("backup", label, RED, impossible, "", REQUEST)
    newest = f"The newest is of {_shown(kept.newest)} UTC" if kept.newest else "There is none"
    return Condition("backup", label, WAITING, f"{newest}: another is taken before anything is touched.")


def restore_test(kept, now, max_age_hours):
    """Tell whether a backup was restored lately; nothing when the policy does not ask for it."""
    if not kept.has_data or not max_age_hours:
        return None
    label = "Restored backup"
    if kept.newest_proven is None:
        detail = f"No backup of {kept.environment} was ever restored."
        return Condition("restore_test", label, RED, detail, "Have its newest one tested.", REQUEST)
    age = now - kept.newest_proven
    if age > timedelta(hours=max_age_hours):
        detail = (
            f"The newest backup that was restored is {span(age // _MINUTE)} old and may be {span(max_age_hours * 60)}."
        )
        return Condition("restore_test", label, RED, detail, "Back up and have that tested.", REQUEST)
    return Condition("restore_test", label, GREEN, f"Data up to {_shown(kept.newest_proven)} UTC came back in a test.")


def barred(sentence):
    """Tell whether a rollback bars the release.

    :param sentence: why it is barred, empty when it is not
    """
    label = "Not quarantined"
    if sentence:
        return Condition("quarantine", label, RED, sentence, blocks=REQUEST)
    return Condition("quarantine", label, GREEN, "Nothing in it was rolled back.")


def window(closed, opens):
    """Tell whether a freeze window keeps it from beginning now.

    :param closed: until when one is closed and its name, or None
    :param opens: when none is closed any more, None when that is not in sight
    """
    label = "Window"
    if closed is None:
        return Condition("window", label, GREEN, "No freeze window is closed.")
    mend = f"It opens on {_shown(opens)} UTC." if opens else "Nothing opens within two months: correct the windows."
    return Condition("window", label, WAITING, f"“{closed[1]}” is closed now.", mend, START)


def business(busy):
    """Tell that people are in the midst of something that a restart would disturb; nothing when they are not.

    :param busy: how much of it goes on by kind, as the agent read it in the environment's own database
    """
    found = " ".join(sentence(busy[kind]) for kind, sentence in _BUSINESS.items() if kind in (busy or {}))
    if not found:
        return None
    return Condition("business", "Business", WAITING, found, "It goes on by itself afterwards.", START)


def _counted(singular, plural):
    return lambda count: f"{count} {singular if count == 1 else plural}."


# What the agent's kinds mean; of another kind a later agent may tell, and nothing waits for it.
_BUSINESS = {
    "point_of_sale": _counted("point-of-sale session is open", "point-of-sale sessions are open"),
    "payroll": _counted("payroll batch is being worked on", "payroll batches are being worked on"),
    "inventory": _counted("inventory count is not applied yet", "inventory counts are not applied yet"),
    "cron": _counted("scheduled job is running", "scheduled jobs are running"),
    "fiscal_year": lambda days: (
        "The fiscal year ends today." if not days else f"The fiscal year ends in {days} day{'s' if days > 1 else ''}."
    ),
}


def schedule(at, now):
    """Tell whether the time that people chose has come; nothing when they chose none."""
    if at is None:
        return None
    if now < at:
        return Condition("schedule", "Scheduled", WAITING, f"It begins on {_shown(at)} UTC.", blocks=START)
    return Condition("schedule", "Scheduled", GREEN, f"Its time came on {_shown(at)} UTC.")


def approvals(given, needed, names, missing):
    """Tell how many approved.

    :param names: who approved
    :param missing: what is missing still, or None
    """
    detail = f"{given} of {needed}." if needed else "None is asked for."
    detail += f" {', '.join(names)}." if names else ""
    if missing:
        return Condition("approvals", "Approvals", WAITING, detail, missing, blocks=START)
    return Condition("approvals", "Approvals", GREEN, detail)


def overridden(conditions, overrides):
    """Return the conditions with those lifted that somebody overrode.

    :param overrides: by key who did and why
    """
    return [
        replace(one, state=OVERRIDDEN, blocks="", by=overrides[one.key][0], why=overrides[one.key][1])
        if one.state != GREEN and one.key in overrides and one.key in OVERRIDABLE
        else one
        for one in conditions
    ]


def blocking(conditions, *steps):
    """Return the conditions that keep one of these steps from happening."""
    return [one for one in conditions if one.blocks in steps]


def span(minutes):
    """Return so many minutes as people say it."""
    if minutes < 120:
        return f"{minutes} {'minute' if minutes == 1 else 'minutes'}"
    hours = minutes / 60
    return f"{hours:.0f} hours" if hours < 72 else f"{hours / 24:.0f} days"


def _shown(moment):
    return f"{moment:%Y-%m-%d %H:%M}"
