"""The forms of what comes in from outside. Each is matched whole; nothing here is ever put into a shell."""

from __future__ import annotations

import re

from .errors import InvalidInput

COMMIT = re.compile(r"[0-9a-f]{40}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# v1.4.1, v19.0.1.2.0 and v1.4.1-rc1 alike.
TAG = re.compile(r"v[0-9]{1,6}(\.[0-9]{1,6}){0,5}(-[0-9A-Za-z][0-9A-Za-z.-]{0,30})?")
# What the console names a build of a push: main-<UTC time>-<sha7>.
BUILD_TAG = re.compile(r"[a-z0-9][a-z0-9-]{0,40}-[0-9]{14}-[0-9a-f]{7}")
BRANCH = re.compile(r"[0-9A-Za-z][0-9A-Za-z._/-]{0,100}")
PROJECT = re.compile(r"[a-z][a-z0-9-]{0,30}")
ENVIRONMENT = re.compile(r"([a-z][a-z0-9-]{0,30}/)?[a-z][a-z0-9-]{0,20}")
# host[:port]/path, as Docker has it, without tag or digest.
REPOSITORY = re.compile(
    r"([a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?(:[0-9]{1,5})?/)?"
    r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*){0,6}"
)
BASE_IMAGE = re.compile(rf"{REPOSITORY.pattern}(:[0-9A-Za-z_][0-9A-Za-z._-]{{0,127}})?(@{DIGEST.pattern})?")
IMAGE_TAG = re.compile(r"[0-9A-Za-z_][0-9A-Za-z._-]{0,127}")
DEBIAN_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?(=[0-9A-Za-z.+~:-]+)?")
MODULE = re.compile(r"[0-9A-Za-z_]{1,256}")


def require(pattern: re.Pattern[str], value: str, what: str, example: str) -> str:
    """Return `value` if the whole of it matches.

    :raise InvalidInput: it does not; the sentence shows an example.
    """
    if not pattern.fullmatch(value):
        raise InvalidInput(f"{value!r} is not {what}, such as {example}.")
    return value


def require_ref(ref: str) -> str:
    """Return a git reference that a release can come from: a branch, or a tag `v*`."""
    for prefix, pattern in (("refs/tags/", TAG), ("refs/heads/", BRANCH)):
        name = ref.removeprefix(prefix)
        if name != ref and pattern.fullmatch(name) and ".." not in name:
            return ref
    raise InvalidInput(
        f"{ref!r} is not a ref that a release can come from, such as refs/heads/main or refs/tags/v1.4.1."
    )


def require_release_name(name: str) -> str:
    """Return the name that a release goes by: a tag `v*`, or a build's as the console gives it."""
    if TAG.fullmatch(name) or BUILD_TAG.fullmatch(name):
        return name
    raise InvalidInput(
        f"{name!r} is no release's tag: name the one to go back to, such as v1.4.0, as the environment's deployments "
        "list it."
    )
