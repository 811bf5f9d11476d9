"""Fetch a checkout's submodules, private ones too, at the commits that the checkout pins."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import git, repositories
from .errors import InvalidInput, Refused
from .repositories import Credentials, Route

# https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/githubs-ssh-key-fingerprints
GITHUB_HOST_KEYS = (
    "github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n"
    "github.com ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9"
    "nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=\n"
)
TIMEOUT_SECONDS = 900
MAX_DEPTH = 5
# What git and ssh say, beside what it means.
REASONS = (
    (r"Permission denied \(publickey", "the server does not accept the key"),
    (r"Host key verification failed|REMOTE HOST IDENTIFICATION", "the server's host key is not a known one"),
    (r"[Ii]nvalid format|error in libcrypto", "the key is not a private key that OpenSSH reads"),
    (
        r"could not read Username|Authentication failed|[Rr]epository .*not found|error: 40[134]|terminal prompts",
        "the server says that there is no such repository, as it does of private ones",
    ),
    (
        r"not our ref|did not contain|[Uu]nable to find current revision|couldn't find remote ref",
        "the commit that is pinned is not there: push it, or pin one that is",
    ),
    (
        r"Could not resolve host|[Cc]onnection (refused|timed out)|[Ff]ailed to connect",
        "the server can't be reached",
    ),
)


@dataclass(frozen=True)
class Submodule:
    """A submodule as its checkout declares it."""

    name: str
    path: str


def fetch(
    root: Path, credentials: Credentials, known_hosts: str = "", environment: Mapping[str, str] = os.environ
) -> list[str]:
    """Fetch every submodule, those within submodules too; return a sentence for each.

    :param known_hosts: host keys of servers other than github.com, as OpenSSH writes them.
    :raise Refused: with a sentence for each that can't be fetched; all are tried.
    """
    told: list[str] = []
    errors: list[str] = []
    with tempfile.TemporaryDirectory(prefix="odooops-ssh-") as folder:
        fetcher = _Fetcher(Path(folder), credentials, known_hosts, environment, told, errors)
        fetcher.fetch_all(root, "", 0)
    if errors:
        raise Refused(errors)
    return told


@dataclass(frozen=True)
class _Fetcher:
    folder: Path
    credentials: Credentials
    known_hosts: str
    environment: Mapping[str, str]
    told: list[str]
    errors: list[str]

    def fetch_all(self, root: Path, prefix: str, depth: int) -> None:
        for submodule in declared(root):
            path = f"{prefix}{submodule.path}"
            try:
                self.fetch_one(root, submodule, path)
                if depth < MAX_DEPTH:
                    self.fetch_all(root / submodule.path, f"{path}/", depth + 1)
                elif declared(root / submodule.path):
                    raise Refused(
                        f"Submodule {path} has submodules of its own, {MAX_DEPTH} levels deep: that is too deep."
                    )
            except Refused as refused:
                self.errors.extend(refused.errors)

    def fetch_one(self, root: Path, submodule: Submodule, path: str) -> None:
        git.run(root, "submodule", "init", "--", submodule.path)
        url = git.run(root, "config", "--get", f"submodule.{submodule.name}.url").strip()
        try:
            repository = repositories.parse(url)
        except Refused as refused:
            raise Refused([f"Submodule {path}: {error}" for error in refused.errors]) from None
        chosen = repositories.route(repository, self.credentials)
        with self._variables(url, chosen) as variables:
            code, said = _run(
                ["git", "-C", str(root), "submodule", "update", "--depth=1", "--", submodule.path], variables
            )
        if code:
            why = self._masked(reason(said))
            raise Refused(repositories.sentence_of_failure(path, repository, chosen, why))
        self.told.append(
            f"{path}: {repository.name} at {git.head_commit(root / submodule.path)[:12]}, with {chosen.how}"
        )

    @contextmanager
    def _variables(self, declared_url: str, chosen: Route) -> Iterator[dict[str, str]]:
        """Lend the environment for git; a key is a file while it is used, for its owner only."""
        settings: list[tuple[str, str]] = []
        if chosen.url and chosen.url != declared_url:
            settings.append((f"url.{chosen.url}.insteadOf", declared_url))
        if chosen.header:
            settings.append((f"http.{self.credentials.server}/.extraHeader", chosen.header))
        variables = {**self.environment, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        if not chosen.key:
            yield with_settings(variables, settings)
            return
        key, hosts = self.folder / "key", self.folder / "known_hosts"
        write_secret(key, chosen.key)
        write_secret(hosts, GITHUB_HOST_KEYS + self.known_hosts.strip() + "\n")
        ssh = ["ssh", "-F", os.devnull, "-i", str(key)]
        for option in ("IdentitiesOnly=yes", "IdentityAgent=none", "BatchMode=yes", "StrictHostKeyChecking=yes"):
            ssh += ["-o", option]
        variables |= {
            "GIT_SSH_COMMAND": shlex.join([*ssh, "-o", f"UserKnownHostsFile={hosts}"]),
            "GIT_SSH_VARIANT": "ssh",
        }
        try:
            yield with_settings(variables, settings)
        finally:
            key.unlink(missing_ok=True)

    def _masked(self, text: str) -> str:
        secrets = (self.credentials.token, *self.credentials.keys.values())
        for secret in filter(None, secrets):
            text = text.replace(secret, "***")
        return text


def declared(root: Path) -> list[Submodule]:
    """Return the submodules that a checkout pins.

    :raise Refused: one is pinned that .gitmodules does not name.
    """
    pinned = [entry.path for entry in git.index_entries(root) if entry.mode == git.SUBMODULE_MODE]
    if not pinned:
        return []
    names = _names_by_path(root)
    unknown = [path for path in pinned if path not in names]
    if unknown:
        raise Refused(
            f"{', '.join(unknown)} is pinned as a submodule and .gitmodules does not say where from: add it there."
        )
    return [Submodule(names[path], path) for path in pinned]


def _names_by_path(root: Path) -> dict[str, str]:
    if not (root / ".gitmodules").is_file():
        return {}
    found = git.run(root, "config", "--file", ".gitmodules", "-z", "--get-regexp", r"^submodule\..*\.path$")
    names = {}
    for entry in filter(None, found.split("\0")):
        key, _, path = entry.partition("\n")
        names[path] = key.removeprefix("submodule.").removesuffix(".path")
    return names


def with_settings(variables: Mapping[str, str], settings: list[tuple[str, str]]) -> dict[str, str]:
    """Return an environment with more of git's settings: what stands there is in no argv and no log."""
    try:
        count = int(variables.get("GIT_CONFIG_COUNT", "0"))
    except ValueError:
        raise InvalidInput("The variable GIT_CONFIG_COUNT is no number: unset it.") from None
    more = {"GIT_CONFIG_COUNT": str(count + len(settings))}
    for number, (name, value) in enumerate(settings, count):
        more |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return {**variables, **more}


def write_secret(path: Path, text: str) -> None:
    """Write a file that nobody else may read, not for a moment."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def reason(said: str) -> str:
    """Return what git's output means; its own words where they are none of the known ones."""
    for pattern, meaning in REASONS:
        if re.search(pattern, said):
            return meaning
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return (fatal or lines or ["git says nothing"])[0].removeprefix("fatal: ").rstrip(".")


def _run(argv: list[str], variables: Mapping[str, str]) -> tuple[int, str]:
    try:
        done = subprocess.run(
            argv, env=dict(variables), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=TIMEOUT_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return 1, f"fatal: it took longer than {TIMEOUT_SECONDS} s"
    return done.returncode, done.stdout.decode(errors="replace")
