"""Names that people, workflows and machines type, and what each may look like.

Every pattern is used with ``fullmatch``: ``$`` would accept a trailing newline.
"""

import re
from dataclasses import dataclass

PROJECT = re.compile(r"[a-z][a-z0-9-]{0,30}")
ENVIRONMENT = re.compile(r"[a-z][a-z0-9-]{0,20}")
RELEASE_TAG = re.compile(r"v[0-9]{1,6}(?:\.[0-9]{1,6}){0,5}(?:-[0-9A-Za-z][0-9A-Za-z.-]{0,30})?")
BUILD_TAG = re.compile(r"[a-z0-9][a-z0-9-]{0,40}-[0-9]{14}-[0-9a-f]{7}")
COMMIT = re.compile(r"[0-9a-f]{40}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,100}")
REPOSITORY = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9.-]{0,200}[a-z0-9])?(?::[0-9]{1,5})?/)?"
    r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*){0,6}"
)
HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
MODULE = re.compile(r"[a-z][a-z0-9_]{0,99}")
LANGUAGE = re.compile(r"[a-z]{2,3}(?:_[A-Z]{2}|_[0-9]{3})?(?:@[a-z]+)?")
# As the agent has it: `__` is in the names of copies, `_upgrade` ends a role's, and some are PostgreSQL's own.
DATABASE = re.compile(r"(?!.*__)(?!.*_upgrade\Z)(?!(?:postgres|template[01])\Z)[a-z][a-z0-9_]{0,54}")
HASH = re.compile(r"[0-9a-f]{64}")
# Of what lies in the agent's folder for imports.
FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")

ALIASES = {"staging": "stage", "production": "prod"}
TIER_OF_CODE = {"stage": "staging", "prod": "production"}
BUCKET_PREFIX = {"staging": "staging-", "production": "prod-"}


class BadName(ValueError):
    """A name that does not look as it has to; the text says what is expected."""


@dataclass(frozen=True)
class Ref:
    """A git ref that may be released: the main branch or a tag ``v*``."""

    kind: str
    name: str


def require(pattern, value, sentence):
    """Return ``value`` when the whole of it matches ``pattern``.

    :raises BadName: with ``sentence`` when it does not, or is no text
    """
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise BadName(sentence)
    return value


def require_commit(value):
    """Return ``value`` when it is a whole commit id.

    :raises BadName: when it is not
    """
    return require(COMMIT, value, f"{shown(value)!r} is no commit: give all 40 hex digits.")


def shown(value):
    """Return ``value`` as one short printable line, safe to put into a message."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text if len(text) <= 60 else text[:57] + "..."


def canonical_code(code):
    """Return the environment code that ``code`` means: ``staging`` is ``stage``."""
    return ALIASES.get(code, code)


def parse_environment(text):
    """Split ``project/code`` or ``code`` into ``(project or None, canonical code)``.

    :raises BadName: when neither form matches
    """
    project, slash, code = text.rpartition("/") if isinstance(text, str) else ("", "", None)
    sentence = f"{shown(text)!r} is no environment: write it as <project>/<code>, for example demo/stage or demo/prod."
    require(ENVIRONMENT, code, sentence)
    if slash:
        require(PROJECT, project, sentence)
    return project or None, canonical_code(code)


def parse_ref(ref, main_branch="main"):
    """Return the :class:`Ref` that ``refs/heads/<main>``, ``refs/tags/v*`` or ``v*`` stand for.

    :raises BadName: for any other ref
    """
    if ref in (f"refs/heads/{main_branch}", main_branch):
        return Ref("branch", main_branch)
    tag = ref.removeprefix("refs/tags/") if isinstance(ref, str) else None
    require(
        RELEASE_TAG,
        tag,
        f"{shown(ref)!r} can't be released: push to {main_branch}, or use a tag v*, "
        "such as v1.4.1, v19.0.1.2.0 or v1.4.1-rc1.",
    )
    return Ref("tag", tag)


def parse_image(image):
    """Split ``repository@sha256:…`` into ``(repository, digest)``.

    :raises BadName: when the digest is missing or either part is malformed
    """
    repository, _at, digest = image.partition("@") if isinstance(image, str) else ("", "", "")
    sentence = (
        f"{shown(image)!r} is no image by digest: push the image first and give <repository>@sha256:<64 hex digits>."
    )
    require(DIGEST, digest, sentence)
    require(REPOSITORY, repository, sentence)
    return repository, digest


def build_tag(branch, at, commit_sha):
    """Name the build of a push: ``main-<UTC time>-<sha7>``.

    :param at: UTC datetime
    """
    slug = re.sub(r"[^a-z0-9]+", "-", branch.lower()).strip("-") or "build"
    return f"{slug}-{at:%Y%m%d%H%M%S}-{commit_sha[:7]}"


def database_name(project, code):
    """Return the database of an environment: ``demo_prod``."""
    return f"{project}_{code}".replace("-", "_")


def lookalikes(key):
    """Return the keys that Docker's names can't tell from ``key``: a-b/c and a/b-c are both a-b-c there."""
    flat = key.replace("/", "-")
    keys = (f"{flat[:place]}/{flat[place + 1 :]}" for place, character in enumerate(flat) if character == "-")
    return [other for other in keys if other != key]


def bucket_refusal(tier, buckets):
    """Return why ``buckets`` (comma-separated) may not be used by ``tier``, or None."""
    prefix = BUCKET_PREFIX.get(tier)
    for bucket in filter(None, (part.strip() for part in (buckets or "").split(","))):
        if prefix and not bucket.startswith(prefix):
            return f"Bucket {shown(bucket)!r} can't serve a {tier} environment: its name must start with {prefix!r}."
    return None


def split_list(text):
    """Split a comma or space separated list, without repeats, in the order given."""
    return list(dict.fromkeys(part for part in re.split(r"[,\s]+", text or "") if part))
