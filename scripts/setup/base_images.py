"""The images everything stands on: official ones where an image registry answers, else built from Debian's packages."""

import json
import os
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

from . import apt, build, engine, paths, shell
from .errors import CommandFailed

FOLDER = paths.ROOT / "docker/base"
LOCK = FOLDER / "images.lock"
PULLED = paths.STATE / "images.json"
_ONE_AT_A_TIME = threading.Lock()
DEBIAN = "debian:bookworm-slim"
ODOO = "odoo:19.0"
CADDY = "caddy:2.11.4"
REGISTRY = "registry:2"
POSTGRES = "postgres:16"
POSTGRES_FROM_DEBIAN = "postgres:15"
ALL = (DEBIAN, ODOO, CADDY, REGISTRY, POSTGRES, POSTGRES_FROM_DEBIAN)
REGISTRY_WAIT_SECONDS = 15
# What the stand-in of an image unpacks, from debs.lock.
DEBS = {
    ODOO: (
        "odoo-19",
        "libjs-jquery",
        "libjs-jquery-form",
        "libjs-underscore",
        "fonts-font-awesome",
        "fonts-glyphicons-halflings",
        "fonts-inconsolata",
        "fonts-montserrat",
        "fonts-ocr-b",
        "fonts-roboto-unhinted",
    ),
    CADDY: ("caddy",),
}


@dataclass(frozen=True)
class Outcome:
    """Which image is there now, and how it came."""

    name: str
    how: str


def ensure_all(tell):
    """Make every base image be there; return a sentence about them."""
    outcomes = [ensure(DEBIAN, tell)]
    # The two that take long run side by side: one mostly compresses, the other mostly waits.
    with ThreadPoolExecutor(2) as pool:
        rest = [pool.submit(ensure, name, tell) for name in (ODOO, CADDY, REGISTRY)]
        rest.insert(1, pool.submit(ensure_postgres, tell))
        outcomes += [future.result() for future in rest]
    by_how = {}
    for outcome in outcomes:
        by_how.setdefault(outcome.how, []).append(outcome.name)
    return "; ".join(f"{', '.join(names)} {how}" for how, names in by_how.items())


def ensure_postgres(tell):
    """Make PostgreSQL's image be there: 16 where it can be pulled, else Debian's 15 under its honest name."""
    if engine.image(POSTGRES) or registry_answers():
        return ensure(POSTGRES, tell)
    return ensure(POSTGRES_FROM_DEBIAN, tell)


def ensure(name, tell):
    """Make one base image be there.

    :param tell: gets a sentence about anything a person should know
    :raises SetupError: it can neither be pulled nor built
    """
    made_of = engine.image_label(name, build.INPUTS_LABEL)
    if made_of == "":
        return Outcome(name, "here")
    if made_of is None and registry_answers():
        _pull(name, tell)
        return Outcome(name, "pulled")
    inputs = _inputs(name)
    if made_of == inputs:
        return Outcome(name, "here, built from Debian's packages")
    _build_debian(inputs) if name == DEBIAN else _build_stand_in(name, inputs, tell)
    return Outcome(name, "built from Debian's packages")


@cache
def registry_answers():
    """Tell whether the engine reaches an image registry: at once where its name does not resolve."""
    import docker

    try:
        docker.from_env(version="auto", timeout=REGISTRY_WAIT_SECONDS).images.get_registry_data(DEBIAN)
    except (docker.errors.DockerException, OSError):
        return False
    return True


def pinned(text):
    """Read the lock file's `name digest` lines; a dash stands for "the tag as it is"."""
    rows = (line.split() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {name: "" if digest == "-" else digest for name, digest in rows}


def _pull(name, tell):
    digest = pinned(LOCK.read_text()).get(name)
    reference = f"{name.rpartition(':')[0]}@{digest}" if digest else name
    engine.docker("pull", reference, log=f"pull-{name.replace(':', '-')}.log")
    if digest:
        engine.docker("tag", reference, name)
    else:
        with _ONE_AT_A_TIME:
            sentence = remember(name, engine.image(name).get("RepoDigests") or [])
        if sentence:
            tell(sentence)


def remember(name, repo_digests):
    """Keep the digest that a tag stood for; return a sentence when it stood for another one before.

    :param repo_digests: the image's `repository@digest` names, as the engine tells them
    """
    repository = name.rpartition(":")[0]
    digest = next((each.partition("@")[2] for each in repo_digests if each.partition("@")[0] == repository), "")
    known = json.loads(PULLED.read_text()) if PULLED.exists() else {}
    before = known.get(name, digest)
    if digest:
        PULLED.write_text(json.dumps({**known, name: digest}, indent=1, sort_keys=True) + "\n")
    if digest and before != digest:
        return f"{name} is another image than before: {digest}, not {before}; pin one of them in {LOCK.name}"
    return ""


def _folder(name):
    return FOLDER / name.partition(":")[0]


def _inputs(name):
    parts = [_folder(name), *(f"{package}" for package in apt.locked(*DEBS.get(name, ())))]
    if name != DEBIAN:
        parts.append(engine.image_label(DEBIAN, build.INPUTS_LABEL))
    return build.fingerprint(*parts)


def _build_stand_in(name, inputs, tell):
    """Build an image from its folder and the packages it unpacks, hard-linked into the build context."""
    context = paths.BUILD / name.partition(":")[0]
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(_folder(name), context)
    (context / "debs").mkdir()
    for deb in apt.download(apt.locked(*DEBS.get(name, ())), tell):
        os.link(deb, context / "debs" / deb.name)
    build.build(name, context / "Dockerfile", context, inputs=inputs)
    shutil.rmtree(context)


def _build_debian(inputs):
    """Bootstrap a minimal Debian and import it as an image with the official one's name."""
    if not shutil.which("debootstrap"):
        engine.apt_install("debootstrap")
    tree = paths.BUILD / "debian"
    shutil.rmtree(tree, ignore_errors=True)
    shell.run(
        ["debootstrap", "--variant=minbase", f"--keyring={apt.KEYRING}", apt.OWN_SUITE, tree, apt.mirror()],
        log="debootstrap.log",
    )
    (tree / "etc/apt/sources.list").write_text("".join(f"{source.line()}\n" for source in apt.own_sources()))
    _import(tree, inputs)
    shutil.rmtree(tree)


def _import(tree, inputs):
    pack = ["tar", "--create", "--numeric-owner", f"--exclude-from={FOLDER}/debian/trim.list", "--directory", tree, "."]
    changes = [f"--change=LABEL {build.INPUTS_LABEL}={inputs}", '--change=CMD ["bash"]']
    with subprocess.Popen(pack, stdout=subprocess.PIPE) as packing:
        engine.docker("import", *changes, "-", DEBIAN, stdin=packing.stdout, log="import-debian.log")
    if packing.returncode:
        raise CommandFailed(pack, packing.returncode, "tar could not read the bootstrapped Debian")
