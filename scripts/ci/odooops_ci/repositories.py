"""Which repository an address of a submodule means, and with which credential it is fetched: decided, not done."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from .errors import InvalidInput, Refused

# git@github.com:owner/name.git, without a scheme.
SCP_LIKE = re.compile(r"(?:(?P<user>[A-Za-z0-9._-]+)@)?(?P<host>[A-Za-z0-9.-]+):(?P<path>[^/\\:].*)")
PATH = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)+")
KEY_MARK = "-----BEGIN"
DEFAULT_SERVER = "https://github.com"


@dataclass(frozen=True)
class Repository:
    """A repository on a server: `path` is `owner/name`, whatever form its address has."""

    host: str
    path: str
    scheme: str

    @property
    def name(self) -> str:
        return f"{self.host}/{self.path}"


@dataclass(frozen=True)
class Credentials:
    """What opens private repositories.

    :ivar keys: private deploy keys by repository, in lower case: `owner/name`, `host/owner/name` on other servers.
    :ivar token: a token for the server, "" for none.
    """

    server: str
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    token: str = field(default="", repr=False)

    def are_for(self, repository: Repository) -> bool:
        """Tell whether a repository is on the server; git@ addresses name no port."""
        parts = urlsplit(self.server)
        return repository.host in (parts.netloc, parts.hostname)

    def key_of(self, repository: Repository) -> str | None:
        names = [repository.name.lower()]
        if self.are_for(repository):
            names.append(repository.path.lower())
        return next((self.keys[name] for name in names if name in self.keys), None)


@dataclass(frozen=True)
class Route:
    """How a repository is fetched.

    :ivar url: what git is to ask in place of the address as declared; None to leave it.
    :ivar key: the private key for it, if it goes by SSH with one.
    :ivar header: a header for the server, if it goes with the token.
    """

    how: str
    url: str | None = None
    key: str | None = field(default=None, repr=False)
    header: str | None = field(default=None, repr=False)


def read_credentials(environment: Mapping[str, str]) -> Credentials:
    """Return what ODOOOPS_SUBMODULE_KEYS and ODOOOPS_SUBMODULE_TOKEN hold.

    :raise InvalidInput: the keys are no JSON object of private keys, or one of them stands there twice.
    """
    server = (environment.get("GITHUB_SERVER_URL") or DEFAULT_SERVER).rstrip("/")
    text = environment.get("ODOOOPS_SUBMODULE_KEYS", "").strip()
    try:
        given = json.loads(text) if text else {}
    except ValueError:
        # Not the parser's own words: they may quote the secret.
        raise InvalidInput(
            'The secret ODOOOPS_SUBMODULE_KEYS is no JSON: write {"owner/name": "<private key>"}.'
        ) from None
    if not isinstance(given, dict):
        raise InvalidInput('The secret ODOOOPS_SUBMODULE_KEYS must be a JSON object: {"owner/name": "<private key>"}.')
    keys = {_key_name(name): _checked_key(name, value) for name, value in given.items()}
    _refuse_twice(keys)
    return Credentials(server, keys, environment.get("ODOOOPS_SUBMODULE_TOKEN", "").strip())


def _key_name(name: str) -> str:
    try:
        repository = parse(name)
    except Refused:
        path = name.strip().strip("/").removesuffix(".git")
        if PATH.fullmatch(path):
            return path.lower()
        raise InvalidInput(f"ODOOOPS_SUBMODULE_KEYS: {name!r} is no repository, such as owner/name.") from None
    return repository.name.lower()


def _checked_key(name: str, value: object) -> str:
    if not isinstance(value, str) or KEY_MARK not in value:
        raise InvalidInput(f"ODOOOPS_SUBMODULE_KEYS: {name} has no private key: paste the whole file.")
    # OpenSSH refuses a key without a newline at its end, and one with Windows' line ends.
    return value.replace("\r\n", "\n").strip() + "\n"


def _refuse_twice(keys: Mapping[str, str]) -> None:
    first: dict[str, str] = {}
    for name, key in keys.items():
        if key in first:
            raise InvalidInput(
                f"ODOOOPS_SUBMODULE_KEYS: {first[key]} and {name} have the same key, and GitHub takes a deploy key for "
                "one repository only: make one for each."
            )
        first[key] = name


def parse(url: str) -> Repository:
    """Return the repository of an address: `https://…`, `ssh://…` or `git@host:owner/name`.

    :raise Refused: it is none of these, or has a password in it.
    """
    if "://" in url:
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http", "ssh") or not parts.hostname:
            raise Refused(
                f"The address {_shown(url)} is none that is fetched here: use https:// or git@host:owner/name."
            )
        if parts.password or (parts.username and parts.scheme != "ssh"):
            raise Refused(
                f"The address at {parts.hostname} has a user or password in it: take it out of .gitmodules, "
                "withdraw it, and use a deploy key or a token."
            )
        host = parts.netloc.rpartition("@")[2]
        return Repository(host, _path(parts.path, url), parts.scheme)
    found = SCP_LIKE.fullmatch(url)
    if not found:
        raise Refused(f"The address {_shown(url)} is none that is fetched here: use https:// or git@host:owner/name.")
    return Repository(found["host"], _path(found["path"], url), "ssh")


def _path(path: str, url: str) -> str:
    path = path.strip("/").removesuffix(".git")
    if not PATH.fullmatch(path) or ".." in path.split("/"):
        raise Refused(f"The address {_shown(url)} names no repository: it ends in owner/name.")
    return path


def _shown(url: str) -> str:
    return repr(url if len(url) <= 200 else url[:197] + "…")


def route(repository: Repository, credentials: Credentials) -> Route:
    """Choose: the repository's own key, else the token of the server, else nothing (a public repository)."""
    if key := credentials.key_of(repository):
        host = repository.host
        address = f"ssh://git@{host}/{repository.path}.git" if ":" in host else f"git@{host}:{repository.path}.git"
        return Route("its deploy key", url=address, key=key)
    on_server = credentials.are_for(repository)
    address = f"{credentials.server}/{repository.path}" if on_server else f"https://{repository.host}/{repository.path}"
    if credentials.token and on_server:
        basic = base64.b64encode(f"x-access-token:{credentials.token}".encode()).decode()
        return Route("the token", url=address, header=f"Authorization: Basic {basic}")
    return Route("no credential", url=address if repository.scheme == "ssh" else None)


def sentence_of_failure(path: str, repository: Repository, chosen: Route, why: str) -> str:
    """Return why a submodule can't be fetched, and what to do."""
    name, secret = repository.path, "ODOOOPS_SUBMODULE_KEYS"
    mends = {
        "its deploy key": f"add the key's public half to {name} (Settings → Deploy keys)",
        "the token": f"give the token read access to {name}, or add its deploy key to {secret}",
        "no credential": (
            f'if it is private, put its deploy key into the secret {secret} as "{name}", or set ODOOOPS_SUBMODULE_TOKEN'
        ),
    }
    return f"Submodule {path} ({repository.name}) can't be fetched with {chosen.how}: {why}; {mends[chosen.how]}."
