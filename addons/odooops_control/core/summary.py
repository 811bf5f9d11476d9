"""What a busy person has to know before they decide: how long users wait, and what can be undone."""

from statistics import median

from . import rollback, rules


def waiting(needs_hold, on_staging, before):
    """Return how long requests will wait.

    :param needs_hold: whether requests are held at all
    :param on_staging: seconds that the same image held staging, None when that is not known
    :param before: seconds that earlier updates of this environment held it
    """
    if not needs_hold:
        return "No request waits: the containers are switched one after the other."
    parts = [f"{_seconds(on_staging)} on staging, with this very image"] if on_staging else []
    if before:
        parts.append(
            f"{_seconds(median(before))} as a rule here, {_seconds(max(before))} at most, of the last {len(before)}"
        )
    if not parts:
        return "Requests wait while modules are updated. How long is not known: nothing was updated here yet."
    return f"Requests wait while modules are updated: {'; '.join(parts)}."


def undoing(needs_hold, installs):
    """Return what can be undone and how.

    :param installs: whether this is the first installation, with nothing to go back to
    """
    if installs:
        return "It is the first installation: one that fails is undone, and there is nothing to go back to."
    if not needs_hold:
        return "One that fails is undone by itself. Later, going back means the former containers and loses nothing."
    return (
        "One that fails is undone by itself, from a copy that is taken before anything changes. Later, going back to "
        "that copy loses what was entered since; it is counted before anybody decides on it."
    )


def watching(minutes, bound, running):
    """Return in one sentence what follows when it turns red afterwards.

    :param minutes: for how long it is watched
    :param bound: up to which loss it goes back by itself, None when people decide
    :param running: what it would go back to
    """
    if not minutes:
        return "It is not watched afterwards: whatever turns red is for people to see and decide on."
    if not bound:
        return f"It is watched for {minutes} minutes; when it is red then, people are told and decide."
    records = bound["counts"][rollback.ANY]["created"]
    posted = bound["posted"][rollback.POSTED[0]]
    return (
        f"It is watched for {minutes} minutes: red for {rules.RED_MINUTES} of them, it goes back to {running} by "
        f"itself when that loses at most {bound['minutes']:.0f} minutes of work, {records} records of each kind "
        f"created and as many changed, {posted} posted entries and {posted} payments; your approval includes that."
    )


def _seconds(value):
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} minutes"
