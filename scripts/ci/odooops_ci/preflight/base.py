"""Which commit a pull request is compared with, and what else the event tells: its labels, its head."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import git
from ..errors import InvalidInput
from ..patterns import COMMIT
from .changes import EMPTY_TREE, NOTHING_BEFORE

MAIN_BRANCHES = ("origin/HEAD", "origin/main", "main", "origin/master", "master")


@dataclass(frozen=True)
class Event:
    """What GitHub tells of why a workflow runs; empty on a developer's machine.

    :ivar base: the commit to compare with, where the event names one that was checked: what was on a branch before
        a push need not have been, or was red.
    :ivar head: the commit that statuses belong to (for a pull request not the one that is checked out).
    :ivar is_workflow: whether there is an event at all.
    """

    base: str = ""
    head: str = ""
    labels: tuple[str, ...] = ()
    is_workflow: bool = False


def read_event(environment: Mapping[str, str]) -> Event:
    """Read GITHUB_EVENT_PATH, if there is one.

    :raise InvalidInput: it is there and can't be read: guessing would compare with the wrong commit.
    """
    path = environment.get("GITHUB_EVENT_PATH", "")
    if not path:
        return Event()
    try:
        event = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"GITHUB_EVENT_PATH={path} can't be read ({error}): run in a workflow, or unset it."
        ) from None
    return event_from(event if isinstance(event, dict) else {})


def event_from(event: Mapping[str, object]) -> Event:
    """Return what a pull_request, merge_group or push event says."""
    request = _mapping(event.get("pull_request"))
    group = _mapping(event.get("merge_group"))
    labels = request.get("labels") or []
    return Event(
        base=_commit(_mapping(request.get("base")).get("sha")) or _commit(group.get("base_sha")),
        head=_commit(_mapping(request.get("head")).get("sha"))
        or _commit(group.get("head_sha"))
        or _commit(event.get("after")),
        labels=tuple(
            name
            for label in (labels if isinstance(labels, list) else ())
            if isinstance(name := _mapping(label).get("name"), str)
        ),
        is_workflow=True,
    )


def find_base(root: Path, wanted: str, event: Event) -> str:
    """Return the commit to compare with: what was asked for, the event's, or where this branch left main.

    A workflow that knows of none compares with nothing: all is checked, as a commit before may have been refused. On
    a developer's main, with nothing changed, it is the commit before: "what does the last commit bring?".

    :param wanted: a commit, or "none" where nothing was ever released
    :raise InvalidInput: what was asked for is no commit here.
    """
    if wanted == NOTHING_BEFORE:
        return EMPTY_TREE
    if wanted:
        commit = git.commit_of(root, wanted)
        if commit is None:
            raise InvalidInput(
                f"{wanted!r} names no commit here: give a branch, a tag or a commit that is checked out."
            )
        return git.merge_base(root, commit, "HEAD") or commit
    if event.base:
        return git.merge_base(root, event.base, "HEAD") or event.base
    if event.is_workflow:
        return EMPTY_TREE
    head = git.head_commit(root)
    for branch in MAIN_BRANCHES:
        if (commit := git.commit_of(root, branch)) and (base := git.merge_base(root, commit, "HEAD")):
            if base != head or git.changed_paths(root):
                return base
            break
    return git.commit_of(root, "HEAD^") or (head if git.changed_paths(root) else EMPTY_TREE)


def is_known(wanted: str, event: Event) -> bool:
    """Tell whether somebody named what to compare with; on a developer's machine git does."""
    return bool(wanted or event.base or not event.is_workflow)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _commit(value: object) -> str:
    """Return a commit's id; "" for a new branch, whose `before` is zeros."""
    return value if isinstance(value, str) and COMMIT.fullmatch(value) and value != git.NOTHING else ""
