"""Debian packages: the machine's own apt settings, and a private apt folder for packages of newer suites.

Nothing here changes the machine's apt configuration. The mirror's address is always read from it.
"""

import hashlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from . import paths, shell
from .errors import CommandFailed, SetupError

LOCK = paths.ROOT / "docker/base/debs.lock"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
OWN_SUITE = "bookworm"
_ONE_AT_A_TIME = threading.Lock()  # apt locks its lists itself, and would refuse
NO_MIRROR = (
    "This machine's apt configuration names no Debian mirror, and no image registry answers. "
    "Set ODOOOPS_DEBIAN_MIRROR to a Debian mirror's address, or make an image registry reachable."
)


@dataclass(frozen=True)
class Source:
    """One line of the machine's sources: address, suite and component."""

    uri: str
    suite: str
    component: str

    def line(self):
        """Return the source as apt writes it, checked with Debian's own key."""
        return f"deb [signed-by={KEYRING}] {self.uri} {self.suite} {self.component}"


@dataclass(frozen=True)
class Package:
    """A package of the lock file."""

    name: str
    suite: str
    version: str
    sha256: str


def parse_targets(text):
    """Read `apt-get indextargets` output into sources, each once."""
    rows = (line.split("|") for line in text.split() if line.count("|") == 2)
    return sorted({Source(*row) for row in rows}, key=lambda source: (source.suite, source.component))


def parse_lock(text):
    """Read the lock file's `name suite version sha256` lines."""
    lines = (line.split() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {fields[0]: Package(*fields) for fields in lines}


def own_sources():
    """Return this machine's sources of Debian's bookworm, security updates included."""
    mirror = os.environ.get("ODOOOPS_DEBIAN_MIRROR")
    if mirror:
        return [Source(mirror, OWN_SUITE, "main")]
    wanted = "$(REPO_URI)|$(CODENAME)|$(COMPONENT)"
    text = shell.run(["apt-get", "indextargets", "--format", wanted, "Created-By: Packages"])
    return [source for source in parse_targets(text) if source.suite.startswith(OWN_SUITE)]


def mirror():
    """Return the address of the machine's Debian mirror.

    :raises SetupError: the machine is not a Debian one and no mirror is set
    """
    for source in own_sources():
        if (source.suite, source.component) == (OWN_SUITE, "main"):
            return source.uri
    raise SetupError(NO_MIRROR)


def checks():
    """Return the machine's `Acquire::Check-…` settings: a frozen mirror's lists are out of date by design."""
    lines = shell.run(["apt-config", "dump", "Acquire"]).splitlines()
    return [line for line in lines if line.startswith("Acquire::Check-") and line.endswith(";")]


def locked(*names):
    """Return packages of the lock file by name."""
    packages = parse_lock(LOCK.read_text())
    return [packages[name] for name in names]


def download(packages, tell):
    """Download packages that are not here yet; return their files.

    :param tell: gets one sentence when the mirror has another version than the pinned one
    """
    with _ONE_AT_A_TIME:
        missing = [package for package in packages if not _file(package)]
        if missing:
            _update()
        for package in missing:
            _download_one(package, tell)
    return [_file(package) for package in packages]


def _file(package):
    """Return the downloaded file: the pinned version's, or what the mirror had instead of it."""
    version = package.version.replace(":", "%3a")
    pinned = sorted(paths.DOWNLOADS.glob(f"{package.name}_{version}_*.deb"))
    others = sorted((paths.DOWNLOADS / "unpinned").glob(f"{package.name}_*.deb"))
    return (pinned or others or [None])[0]


def _download_one(package, tell):
    paths.DOWNLOADS.mkdir(parents=True, exist_ok=True)
    try:
        shell.run(["apt-get", *_options(), "download", f"{package.name}={package.version}"], cwd=paths.DOWNLOADS)
    except CommandFailed:
        _download_unpinned(package, tell)
        return
    path = _file(package)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if path.name.endswith(("_all.deb", "_amd64.deb")) and digest != package.sha256:
        path.unlink()
        raise SetupError(
            f"{package.name} {package.version} has the SHA-256 {digest}, not the {package.sha256} of "
            f"{LOCK.relative_to(paths.ROOT)}: someone changed the package; do not use this mirror."
        )


def _download_unpinned(package, tell):
    """Take the mirror's newer version, which apt checks against the archive's signature."""
    folder = paths.DOWNLOADS / "unpinned"
    folder.mkdir(exist_ok=True)
    shell.run(["apt-get", *_options(), "download", f"{package.name}/{package.suite}"], cwd=folder)
    took = f"took {_file(package).name}, by apt's signed checksum"
    tell(f"the mirror no longer has {package.name} {package.version}; {took}")


def _options():
    """Return the options that keep apt inside the project's own folder."""
    folder = paths.STATE / "apt"
    return [
        "-o",
        f"Dir::Etc::SourceList={folder}/sources.list",
        "-o",
        "Dir::Etc::SourceParts=/dev/null",
        "-o",
        f"Dir::State::Lists={folder}/lists",
        "-o",
        "Dir::Cache::pkgcache=",
        "-o",
        "Dir::Cache::srcpkgcache=",
        "-o",
        f"Dir::Cache::Archives={folder}/archives",
        "-o",
        "APT::Sandbox::User=root",
    ]


def _update():
    folder = paths.STATE / "apt"
    for part in ("lists/partial", "archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    address = mirror()
    sources = [Source(address, suite, "main") for suite in (OWN_SUITE, "sid")]
    (folder / "sources.list").write_text("".join(f"{source.line()}\n" for source in sources))
    shell.run(["apt-get", *_options(), "update"], log="apt-update.log")
