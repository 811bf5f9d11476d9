"""What GitHub's webhooks say, as frozen dataclasses.

A payload is cut down to the few paths that are read here before it is stored: the rest, such as people's
addresses, is nobody's business, and a delivery may be 25 MB large. What is stored can be parsed again.
"""

import re
from dataclasses import dataclass

from . import names

KEPT_OF_ALL = ("action", "repository.id", "repository.full_name", "repository.owner.id", "sender.login")
_RUN = ("head_sha", "head_branch", "status", "conclusion")
_DEPLOYMENT = ("deployment.id", "deployment.sha", "deployment.ref", "deployment.environment")
KEPT = {
    "ping": ("hook_id", "hook.active", "hook.config.content_type"),
    "push": ("ref", "before", "after", "created", "deleted", "forced", "head_commit.id"),
    "create": ("ref", "ref_type"),
    "release": ("release.tag_name", "release.draft", "release.prerelease", "release.html_url"),
    "pull_request": (
        "number",
        "pull_request.title",
        "pull_request.state",
        "pull_request.merged",
        "pull_request.merge_commit_sha",
        "pull_request.head.ref",
        "pull_request.head.sha",
        "pull_request.head.repo.id",
        "pull_request.base.ref",
        "pull_request.base.repo.id",
        "pull_request.labels.name",
    ),
    "workflow_run": (
        "workflow_run.name",
        "workflow_run.html_url",
        "workflow_run.head_repository.id",
        *(f"workflow_run.{name}" for name in _RUN),
    ),
    "check_suite": ("check_suite.app.name", *(f"check_suite.{name}" for name in _RUN)),
    "deployment": _DEPLOYMENT,
    "deployment_status": (*_DEPLOYMENT, "deployment_status.state", "deployment_status.environment"),
    "deployment_protection_rule": ("environment", "event", "deployment_callback_url", *_DEPLOYMENT),
}
MAX_TEXT = 1000
MAX_ITEMS = 100
DELIVERY = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,99}")
KIND = re.compile(r"[a-z][a-z0-9_]{0,59}")
FULL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}")
_REF = re.compile(r"refs/(heads|tags)/(.+)")
_REF_KINDS = {"heads": "branch", "tags": "tag"}
NO_COMMIT = "0" * 40


class BadEvent(ValueError):
    """A payload that is not what GitHub documents; the text says which part."""


@dataclass(frozen=True)
class Repository:
    """Which repository it is about; the id stays when it is renamed."""

    id: int
    full_name: str
    owner_id: int | None


@dataclass(frozen=True)
class Event:
    """What every event says."""

    action: str
    repository: Repository | None
    sender: str


@dataclass(frozen=True)
class Ping(Event):
    """A webhook was set up."""

    hook_id: int


@dataclass(frozen=True)
class Push(Event):
    """A branch or tag was made, moved or deleted. ``name`` is whole: ``feature/a/b``.

    ``after`` is what the ref points to, for a tag with a text of its own the tag; ``commit_sha`` is the commit.
    """

    kind: str
    name: str
    before: str
    after: str
    commit_sha: str
    created: bool
    deleted: bool
    forced: bool

    @property
    def moved(self):
        """Whether it pointed to another commit before."""
        return not self.created and not self.deleted and NO_COMMIT not in (self.before, self.after)


@dataclass(frozen=True)
class Created(Event):
    """A branch or tag was made."""

    kind: str
    name: str


@dataclass(frozen=True)
class Published(Event):
    """Something about a release on GitHub."""

    tag: str
    draft: bool
    prerelease: bool
    url: str


@dataclass(frozen=True)
class PullRequest(Event):
    """A pull request as it is now; from a fork when its commits are not in the repository itself."""

    number: int
    title: str
    state: str
    merged: bool
    head_ref: str
    head_sha: str
    base_ref: str
    is_fork: bool
    labels: tuple = ()
    merge_sha: str = ""


@dataclass(frozen=True)
class Run(Event):
    """A workflow run or check suite, by the commit that it looked at."""

    name: str
    commit_sha: str
    branch: str
    status: str
    conclusion: str
    url: str
    is_fork: bool


@dataclass(frozen=True)
class Deployment(Event):
    """A deployment that GitHub records; ``state`` only where it tells of a change."""

    id: int
    environment: str
    commit_sha: str
    ref: str
    state: str = ""


@dataclass(frozen=True)
class Gate(Event):
    """GitHub asks whether a job may go on to an environment."""

    environment: str
    environment_name: str
    commit_sha: str
    ref: str
    callback_url: str
    deployment_id: int
    event: str


def pruned(kind, payload):
    """Return the parts of ``payload`` that are read here, texts cut to a sane length; empty for another kind."""
    kept = {}
    if kind in KEPT:
        for path in (*KEPT_OF_ALL, *KEPT[kind]):
            _copy(payload, kept, path.split("."))
    return kept


def _copy(source, target, path):
    """Copy what stands at ``path``; what is of another shape is left out, and missed when it is parsed."""
    name, *rest = path
    if not isinstance(source, dict) or name not in source:
        return
    value = source[name]
    if not rest:
        if value is None or isinstance(value, bool | int):
            target[name] = value
        elif isinstance(value, str):
            target[name] = value[:MAX_TEXT]
    elif isinstance(value, list):
        parts = target.setdefault(name, [{} for _item in value[:MAX_ITEMS]])
        for item, part in zip(value, parts, strict=False):
            _copy(item, part, rest)
    elif isinstance(value, dict):
        _copy(value, target.setdefault(name, {}), rest)


def parse(kind, payload):
    """Return what a payload says.

    :param str kind: the event's name, one of :data:`KEPT`
    :raises BadEvent: when something is missing or of the wrong type
    """
    reader = _Reader(kind, payload)
    common = {
        "action": reader.text("action", ""),
        "repository": _repository(reader),
        "sender": reader.text("sender.login", ""),
    }
    event = _PARSERS[kind](reader, common)
    if event.repository is None and kind != "ping":
        raise BadEvent(f"{kind}: the repository is missing.")
    return event


class _Reader:
    """Typed access to a payload by dotted paths."""

    def __init__(self, kind, payload):
        self._kind, self._payload = kind, payload

    def text(self, path, default=None):
        return self._typed(path, str, "a text", default)

    def number(self, path, default=None):
        return self._typed(path, int, "a number", default)

    def flag(self, path):
        return self._typed(path, bool, "true or false", False)

    def commit(self, path):
        return self._matching(path, names.COMMIT, "a commit of 40 hex digits")

    def full_name(self, path):
        return self._matching(path, FULL_NAME, "a repository as owner/name")

    def values(self, path, name):
        """Return one text of each item of a list."""
        items = self._find(path)
        if not isinstance(items, list):
            return ()
        return tuple(item[name] for item in items if isinstance(item, dict) and isinstance(item.get(name), str))

    def _find(self, path):
        value = self._payload
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def _typed(self, path, wanted, what, default):
        value = self._find(path)
        if value is None and default is not None:
            return default
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise BadEvent(f"{self._kind}: {path} is not {what}.")
        return value

    def _matching(self, path, pattern, what):
        value = self._find(path)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise BadEvent(f"{self._kind}: {path} is not {what}.")
        return value


def _repository(reader):
    if not reader.number("repository.id", 0):
        return None
    return Repository(
        reader.number("repository.id"),
        reader.full_name("repository.full_name"),
        reader.number("repository.owner.id", 0),
    )


def _ping(reader, common):
    return Ping(**common, hook_id=reader.number("hook_id"))


def _push(reader, common):
    ref = reader.text("ref")
    found = _REF.fullmatch(ref)
    if not found:
        raise BadEvent(f"push: {names.shown(ref)!r} is neither a branch nor a tag.")
    return Push(
        **common,
        kind=_REF_KINDS[found[1]],
        name=found[2],
        before=reader.commit("before"),
        after=reader.commit("after"),
        commit_sha=reader.commit("head_commit.id") if reader.text("head_commit.id", "") else reader.commit("after"),
        created=reader.flag("created"),
        deleted=reader.flag("deleted"),
        forced=reader.flag("forced"),
    )


def _create(reader, common):
    return Created(**common, kind=reader.text("ref_type"), name=reader.text("ref"))


def _release(reader, common):
    return Published(
        **common,
        tag=reader.text("release.tag_name"),
        draft=reader.flag("release.draft"),
        prerelease=reader.flag("release.prerelease"),
        url=reader.text("release.html_url", ""),
    )


def _pull_request(reader, common):
    head, base = (reader.number(f"pull_request.{side}.repo.id", 0) for side in ("head", "base"))
    return PullRequest(
        **common,
        number=reader.number("number"),
        title=reader.text("pull_request.title", ""),
        state=reader.text("pull_request.state"),
        merged=reader.flag("pull_request.merged"),
        head_ref=reader.text("pull_request.head.ref"),
        head_sha=reader.commit("pull_request.head.sha"),
        base_ref=reader.text("pull_request.base.ref"),
        # A deleted fork has no repository any more; what can't be proven to be ours is not.
        is_fork=not head or head != base,
        labels=reader.values("pull_request.labels", "name"),
        merge_sha=reader.text("pull_request.merge_commit_sha", ""),
    )


def _run(reader, common, part, name, is_fork):
    return Run(
        **common,
        name=reader.text(f"{part}.{name}", part),
        commit_sha=reader.commit(f"{part}.head_sha"),
        branch=reader.text(f"{part}.head_branch", ""),
        status=reader.text(f"{part}.status", ""),
        conclusion=reader.text(f"{part}.conclusion", ""),
        url=reader.text(f"{part}.html_url", ""),
        is_fork=is_fork,
    )


def _workflow_run(reader, common):
    head, own = reader.number("workflow_run.head_repository.id", 0), common["repository"]
    return _run(reader, common, "workflow_run", "name", bool(head and own and head != own.id))


def _check_suite(reader, common):
    # GitHub names no branch where the commit is not on one of the repository's own.
    return _run(reader, common, "check_suite", "app.name", not reader.text("check_suite.head_branch", ""))


def _deployment(reader, common):
    return Deployment(
        **common,
        id=reader.number("deployment.id"),
        environment=environment_code(reader.text("deployment.environment")),
        commit_sha=reader.commit("deployment.sha"),
        ref=reader.text("deployment.ref"),
        state=reader.text("deployment_status.state", ""),
    )


def _gate(reader, common):
    return Gate(
        **common,
        environment=environment_code(reader.text("environment")),
        environment_name=reader.text("environment"),
        commit_sha=reader.commit("deployment.sha"),
        ref=reader.text("deployment.ref", ""),
        callback_url=reader.text("deployment_callback_url"),
        deployment_id=reader.number("deployment.id"),
        event=reader.text("event", ""),
    )


_PARSERS = {
    "ping": _ping,
    "push": _push,
    "create": _create,
    "release": _release,
    "pull_request": _pull_request,
    "workflow_run": _workflow_run,
    "check_suite": _check_suite,
    "deployment": _deployment,
    "deployment_status": _deployment,
    "deployment_protection_rule": _gate,
}


def environment_code(name):
    """Return the environment that a name on GitHub means: ``Production`` is ``prod``; GitHub ignores case too."""
    return names.canonical_code(name.strip().lower())
