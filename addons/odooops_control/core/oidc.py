"""Tokens that GitHub Actions vouches for: what makes one believable, and which job may do what.

``sub`` is not looked at: its format changed, and names in it could be taken over. Ids can't.
"""

import hashlib
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

import jwt

from .github_events import environment_code
from .names import shown

ISSUER = "https://token.actions.githubusercontent.com"
ALGORITHM = "RS256"
SKEW_SECONDS = 30
# GitHub's live for minutes; one that lives for long was not made by it.
MAX_LIFE_SECONDS = 3600
MAX_CHARACTERS = 16 * 1024
REQUIRED = ("iss", "aud", "exp", "iat", "nbf", "jti")
# Their workflow may be a stranger's, whatever a project's list says.
NEVER = ("pull_request", "pull_request_target", "pull_request_review", "issue_comment", "issues", "fork", "discussion")
EVENTS = ("push", "workflow_dispatch", "release", "schedule", "workflow_call", "repository_dispatch", "deployment")
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
# What such a token opens, and nothing else.
CALLS = frozenset(
    (
        ("odooops.release", "register"),
        ("odooops.release", "checked"),
        ("odooops.check.run", "report"),
        ("odooops.deployment", "request"),
        ("odooops.deployment", "status"),
        ("odooops.rollback.request", "submit"),
        ("odooops.rollback.request", "status"),
        ("odooops.environment", "status"),
    )
)


class BadToken(Exception):
    """The token proves nothing: 401."""


class NotAllowed(Exception):
    """The token is genuine, but this job may not do this: 403."""


@dataclass(frozen=True)
class Trust:
    """One workflow of a project that may call.

    :ivar workflow: its file, such as ``.github/workflows/deploy-staging.yml``
    :ivar refs: patterns of refs, such as ``refs/tags/v*``
    :ivar environment: the code of the environment that the job has to name, "" for none
    """

    workflow: str
    events: tuple
    refs: tuple
    environment: str = ""


def is_token(text):
    """Return whether ``text`` may be a token; Odoo's own API keys have no dots."""
    return isinstance(text, str) and bool(_TOKEN.fullmatch(text))


def key_id(token, issuer):
    """Return the id of the key that signed the token.

    :raises BadToken: when it is none of ``issuer``'s, whoever signed it
    """
    if len(token) > MAX_CHARACTERS:
        raise BadToken("This token is too long to be one of GitHub's.")
    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError as error:
        raise BadToken(
            "This is no token of GitHub's: ask for one in the job with permissions: id-token: write."
        ) from error
    if header.get("alg") != ALGORITHM:
        raise BadToken(f"This token is signed with {shown(header.get('alg'))}, GitHub's are with {ALGORITHM}.")
    if not isinstance(header.get("kid"), str) or not header["kid"]:
        raise BadToken("This token does not say which key signed it.")
    if claims.get("iss") != issuer:
        raise BadToken(f"This token is of {shown(claims.get('iss'))}; the console believes {issuer}.")
    return header["kid"]


def verified(token, jwk, issuer, audience):
    """Return the claims of a token.

    :param dict jwk: the issuer's public key of the token's key id
    :raises BadToken: when signature, issuer, audience or times are wrong
    """
    try:
        key = jwt.PyJWK(jwk, algorithm=ALGORITHM).key
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            audience=audience,
            issuer=issuer,
            leeway=SKEW_SECONDS,
            options={"require": list(REQUIRED)},
        )
    except jwt.ExpiredSignatureError as error:
        raise BadToken("This token has expired: ask for a new one for each call.") from error
    except jwt.ImmatureSignatureError as error:
        raise BadToken("This token is not valid yet: is the clock of the console right?") from error
    except jwt.InvalidAudienceError as error:
        raise BadToken(f"This token is for another audience: ask for one for {audience}.") from error
    except (jwt.InvalidTokenError, jwt.PyJWKError) as error:
        raise BadToken("This token is not genuine.") from error
    if claims["exp"] - claims["iat"] > MAX_LIFE_SECONDS:
        raise BadToken("This token lives longer than GitHub's do.")
    if not isinstance(claims["jti"], str) or not claims["jti"]:
        raise BadToken("This token has no id.")
    return claims


def use_key(claims):
    """Return what a token is remembered by, so that it counts once."""
    return hashlib.sha256(f"{claims['iss']}\n{claims['jti']}".encode()).hexdigest()


def repository_id(claims):
    """Return the id of the repository whose job holds the token, "" when it says none."""
    return _text(claims, "repository_id")


def refusal(claims, owner_id, trusts):
    """Return why a project does not let this job call, or None when one of its trusts fits.

    :param owner_id: the recorded id of the repository's owner
    :param trusts: the project's :class:`Trust`\\ s
    """
    if not owner_id or _text(claims, "repository_owner_id") != owner_id:
        return "The repository has another owner than the project knows: has it been transferred?"
    event = _text(claims, "event_name")
    if event in NEVER:
        return f"A job of a {event} may not call the console, whatever its workflow: others can start it."
    workflow = _workflow(claims)
    of_workflow = [trust for trust in trusts if trust.workflow == workflow]
    if not of_workflow:
        return f"The workflow {shown(workflow)} is not among the project's trusted workflows: add it there."
    refusals = [_trust_refusal(claims, event, trust) for trust in of_workflow]
    return None if None in refusals else refusals[0]


def _trust_refusal(claims, event, trust):
    ref, environment = _text(claims, "ref"), environment_code(_text(claims, "environment"))
    if event not in trust.events:
        return f"{trust.workflow} is trusted for {', '.join(trust.events)}, not for {shown(event)}."
    if not any(fnmatchcase(ref, pattern) for pattern in trust.refs):
        return f"{trust.workflow} is trusted on {', '.join(trust.refs)}, not on {shown(ref)}."
    if environment != trust.environment:
        return (
            f"The job runs in {_named(environment)}, {trust.workflow} is trusted in {_named(trust.environment)}: "
            "name it as the job's environment."
        )
    return None


def call_refusal(model, method):
    """Return why a token does not open a call, or None."""
    if (model, method) in CALLS:
        return None
    return "GitHub's token opens CI's calls only; for others use an API key."


def environment_refusal(claims, code):
    """Return why a job may not do something about the environment ``code``, or None."""
    own = environment_code(_text(claims, "environment"))
    if own == code:
        return None
    return f"The job runs in {_named(own)} and may not act on {code}: give the job `environment: {code}`."


def commit_refusal(claims, commit_sha):
    """Return why the job of a push may not register a commit, or None: it builds its own."""
    if _text(claims, "event_name") != "push" or _text(claims, "sha") == commit_sha:
        return None
    return f"The job was started by {_text(claims, 'sha')[:7]} and may not register {shown(commit_sha)[:7]}."


def report_refusal(claims, commit_sha):
    """Return why a job may not report a check of a commit, or None: it looks at the one it was started for."""
    if _text(claims, "sha") == commit_sha:
        return None
    return f"The job was started for {_text(claims, 'sha')[:7]} and may not report on {shown(commit_sha)[:7]}."


def ref_refusal(claims, ref, has_image):
    """Return why a job may not register under a ref, or None.

    What is registered as the main branch goes to staging by itself, so a job registers under the ref it runs on. One
    that a person started may name what is built already: it brings no image.
    """
    own = _text(claims, "ref")
    if ref == own or (_text(claims, "event_name") != "push" and not has_image):
        return None
    return f"The job runs on {shown(own)} and may not register as {shown(ref)}."


def _workflow(claims):
    """Return the file of the workflow within its repository: ``owner/name/<file>@<ref>``."""
    path = _text(claims, "workflow_ref").partition("@")[0]
    return path.removeprefix(_text(claims, "repository") + "/")


def _named(environment):
    return f"the environment {shown(environment)}" if environment else "no environment"


def _text(claims, name):
    value = claims.get(name)
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else ""
