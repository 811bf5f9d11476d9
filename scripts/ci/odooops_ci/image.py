"""Build a customer's image from a checkout, push it, and say what it is: repository@digest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import addons, context, docker, git, patterns, requirements, tree
from .errors import Refused

ERROR_MARK = "ODOOOPS_ERROR "  # what the steps within the build write before a sentence for people
SECRETS = ("apt_auth", "apt_conf", "apt_sources", "ca_bundle", "netrc", "pip_conf")


@dataclass(frozen=True)
class Options:
    """What to build and from where.

    :ivar source: the repository's checkout.
    :ivar repository: where the image goes, `host[:port]/name`, without a tag.
    :ivar ref: the git ref this build is for; it must be at the commit that is checked out.
    :ivar tags: more names for the image; the commit's SHA is always one.
    :ivar secrets: files by the name of a build secret (SECRETS).
    """

    source: Path
    repository: str
    base_image: str = "odoo:19.0"
    ref: str | None = None
    tags: tuple[str, ...] = ()
    enterprise: Path | None = None
    secrets: Mapping[str, Path] = field(default_factory=dict)
    network: str | None = None
    allow_dirty: bool = False
    push: bool = True
    rebuild: bool = False
    context: Path | None = None


@dataclass(frozen=True)
class Contents:
    """What a checkout brings into the image."""

    commit_sha: str
    author_email: str
    message: str
    submodules: Mapping[str, str]
    selection: addons.Selection
    needs: requirements.Needs


def build(options: Options) -> dict[str, object]:
    """Build and push; return `image` (repository@digest), `manifest` and how long things took.

    A commit whose image is in the registry is not built again: a release has one digest for ever, also
    when its workflow runs twice.

    :raise Refused: with what is wrong with the repository, or why a step of the build failed.
    """
    started = time.monotonic()
    check(options)
    contents = read_repository(options)
    name = f"{options.repository}:{contents.commit_sha}" + ("-dirty" if options.allow_dirty else "")
    digest = find_pushed(name) if options.push and not options.rebuild and not options.allow_dirty else None
    reused = digest is not None
    if digest is None:
        build_anew(options, contents, name)
        digest = push(options, name) if options.push else None
    image = f"{options.repository}@{digest}" if digest else name
    manifest = json.loads(run(docker.read_manifest(image)))
    name_image(options, image)
    return {
        "image": image,
        "commit_sha": contents.commit_sha,
        "ref": options.ref,
        "reused": reused,
        "manifest": manifest,
        "ancestors": git.ancestors(options.source),
        "not_installable": contents.selection.not_installable,
        "seconds": round(time.monotonic() - started, 2),
    }


def build_anew(options: Options, contents: Contents, name: str) -> None:
    base_image, base_digest = pin_base(options.base_image)
    with tempfile.TemporaryDirectory(prefix="odooops-build-") as temporary:
        folder = options.context or Path(temporary) / "context"
        write_context(folder, options, contents, base_digest)
        run_build(options, folder, name, base_image, contents.commit_sha)


def check(options: Options) -> None:
    patterns.require(patterns.REPOSITORY, options.repository, "an image repository", "localhost:5000/demo")
    patterns.require(patterns.BASE_IMAGE, options.base_image, "a base image", "odoo:19.0")
    for name in options.tags:
        patterns.require(patterns.IMAGE_TAG, name, "a tag of an image", "v1.4.1")
    if options.ref:
        patterns.require_ref(options.ref)
    for name, path in options.secrets.items():
        if name not in SECRETS:
            raise Refused(f"There is no build secret {name!r}: use one of {', '.join(SECRETS)}.")
        if not path.is_file() or "," in str(path):
            raise Refused(f"Build secret {name}: {path} is not a readable file (or has a comma in its name).")
    if options.context and options.context.exists() and any(options.context.iterdir()):
        raise Refused(f"The folder for the build context, {options.context}, is not empty: name another.")


def read_repository(options: Options) -> Contents:
    """Read and judge the checkout; nothing of Docker is needed for it."""
    checkout = tree.read_checkout(options.source, allow_dirty=options.allow_dirty)
    commit_sha = git.head_commit(options.source)
    if options.ref and (at := git.commit_of(options.source, options.ref)) and at != commit_sha:
        raise Refused(f"{options.ref} is at {at[:7]} and {commit_sha[:7]} is checked out: check out the ref.")
    enterprise = tree.read_folder(options.enterprise) if options.enterprise else None
    selection = addons.select(checkout, enterprise)
    needs = requirements.gather(checkout, selection.addons, enterprise)
    submodules = dict(checkout.submodules)
    if options.enterprise and git.is_checkout(options.enterprise):
        submodules["enterprise"] = git.head_commit(options.enterprise)
    author_email, message = git.author_and_subject(options.source)
    return Contents(commit_sha, author_email, message, submodules, selection, needs)


def write_context(folder: Path, options: Options, contents: Contents, base_digest: str | None = None) -> None:
    facts = {
        "base_image": options.base_image,
        "base_digest": base_digest,
        "commit_sha": contents.commit_sha,
        "author_email": contents.author_email,
        "message": contents.message,
        "submodules": contents.submodules,
    }
    context.write(folder, contents.selection, contents.needs, facts)


def pin_base(base_image: str) -> tuple[str, str | None]:
    """Return what to build from and its digest, so that the manifest tells the truth about both.

    A base image that was built on this machine has no digest, as no registry gave it one.
    """
    facts = inspect(base_image)
    if facts is None:
        run(docker.pull(base_image))
        facts = inspect(base_image) or {}
    digest = digest_in(facts, repository_of(base_image))
    return (f"{repository_of(base_image)}@{digest}", digest) if digest else (base_image, None)


def repository_of(image: str) -> str:
    """Return an image's name without tag and digest; a colon before the last slash is a port."""
    path, slash, last = image.partition("@")[0].rpartition("/")
    return f"{path}{slash}{last.partition(':')[0]}"


def digest_in(facts: Mapping[str, list[str]], repository: str) -> str | None:
    """Return the digest that the registry of `repository` gave an image, from what `inspect` tells."""
    for reference in facts.get("RepoDigests") or []:
        name, _, digest = reference.partition("@")
        if name == repository:
            return digest
    return None


def find_pushed(name: str) -> str | None:
    """Return the digest that the registry has for an image's name, or None."""
    done = _start(docker.remote_digest(name))
    if done.returncode:
        return None
    answer = json.loads(done.stdout)
    answer = answer[0] if isinstance(answer, list) else answer
    digest = answer.get("Descriptor", {}).get("digest", "")
    return digest if patterns.DIGEST.fullmatch(digest) else None


def run_build(options: Options, folder: Path, name: str, base_image: str, commit_sha: str) -> None:
    labels = {"org.opencontainers.image.revision": commit_sha}
    argv = docker.build(
        folder, tag=name, base_image=base_image, secrets=options.secrets, labels=labels, network=options.network
    )
    lines = []
    with subprocess.Popen(
        argv, env=docker.environment(os.environ), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace",
    ) as process:  # fmt: skip
        for line in process.stdout or ():
            print(line, end="", file=sys.stderr, flush=True)
            lines.append(line.strip())
    if process.returncode:
        raise Refused(build_errors(lines))


def build_errors(lines: Sequence[str]) -> list[str]:
    """Return the sentences that a failed build wrote for people, or Docker's own last word."""
    marked = [line.partition(ERROR_MARK)[2] for line in lines if ERROR_MARK in line]
    if marked:
        return list(dict.fromkeys(marked))
    last = next((line for line in reversed(lines) if line), "no output")
    return [f"The image can't be built: {last.removeprefix('ERROR: ').rstrip('.')}."]


def push(options: Options, name: str) -> str:
    """Push the image; return its digest in the registry."""
    run(docker.push(name))
    if digest := digest_in(inspect(name) or {}, options.repository):
        return digest
    raise Refused(f"{name} was pushed and Docker does not tell its digest: push it again.")


def name_image(options: Options, image: str) -> None:
    """Give the image its other names, in the registry too; one that was found there is local by now."""
    for tag in options.tags:
        run(docker.tag(image, f"{options.repository}:{tag}"))
        if options.push:
            run(docker.push(f"{options.repository}:{tag}"))


def inspect(image: str) -> dict[str, list[str]] | None:
    done = _start(docker.inspect(image))
    return json.loads(done.stdout) if done.returncode == 0 else None


def run(argv: Sequence[str]) -> str:
    """Return what Docker prints.

    :raise Refused: it failed; its own last line says why.
    """
    done = _start(argv)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise Refused(f"docker {argv[1]} fails: {lines[-1].rstrip('.')}.")
    return done.stdout


def _start(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            list(argv), env=docker.environment(os.environ), capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise Refused("The program docker is not installed: install Docker Engine.") from None
