"""Build images with what a machine's pip and apt need inside a build, as BuildKit secrets, never in a layer.

`secret_options()` fits any Dockerfile that mounts the secrets `ca_bundle`, `pip_conf`, `apt_conf` and
`apt_sources` and declares `ARG PIP_CONFIG_FILE=` and `ARG APT_CONFIG=`; a Dockerfile built without them
uses the images' own settings.
"""

import hashlib
import os
import sys
import tempfile
from pathlib import Path

from . import apt, engine, paths, shell
from .errors import SetupError

INPUTS_LABEL = "odooops.inputs"
# As in .dockerignore: what tools leave behind is in no image.
_IGNORED = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
_MOUNT = "/run/secrets"
_IN_A_BUILD = {
    "PIP_CONFIG_FILE": f"{_MOUNT}/pip_conf",
    "APT_CONFIG": f"{_MOUNT}/apt_conf",
}
_BUNDLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")
_SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# Host paths are not there in a build; the rest of a machine's pip settings is about the index.
_PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")


def build(name, dockerfile, context, *, target=None, inputs="", labels=None, args=None, log=None):
    """Build an image and tag it.

    :param target: the Dockerfile's stage to stop at
    :param inputs: hash of what it was built from, kept as label to tell later whether it is up to date
    :param log: name of the log file in `.run/log`
    """
    labels = {**(labels or {}), INPUTS_LABEL: inputs}
    argv = ["build", "--progress=plain", "--file", dockerfile, "--tag", name]
    argv += [f"--label={key}={value}" for key, value in labels.items() if value]
    argv += [f"--build-arg={key}={value}" for key, value in (args or {}).items()]
    argv += [f"--target={target}"] if target else []
    before = engine.image(name)
    engine.docker(*argv, *secret_options(), context, log=log or f"build-{Path(context).name}.log")
    if before and before["Id"] != engine.image(name)["Id"]:
        # The old one has no name any more; one that a container still uses stays.
        shell.answers([engine.client(), "image", "rm", before["Id"]])


def is_current(name, inputs):
    """Tell whether an image stands there that was built from the same inputs."""
    return engine.image_label(name, INPUTS_LABEL) == inputs


def fingerprint(*parts):
    """Return a hash of files, folders (names and contents) and words."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            for path in _files(part):
                digest.update(f"{path.relative_to(part.parent)}\0{path.stat().st_mode & 0o111}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
        else:
            digest.update(f"{part}\0".encode())
    return digest.hexdigest()


def secret_options():
    """Return the `docker build` options that pass this machine's pip and apt settings on as secrets."""
    files = secret_files()
    options = [f"--secret=id={name},src={path}" for name, path in sorted(files.items())]
    return options + [f"--build-arg={name}={path}" for name, path in _IN_A_BUILD.items() if Path(path).name in files]


def secret_files():
    """Write the secrets of this machine and return their files by name."""
    folder = paths.BUILD / "secrets"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    texts = {"pip_conf": _pip_settings(), "apt_conf": _apt_settings(), "apt_sources": _apt_sources()}
    files = {name: _write_secret(folder / name, text) for name, text in texts.items()}
    if _ca_bundle():
        files["ca_bundle"] = _ca_bundle()
    return files


def _write_secret(path, text):
    """Write a file that another build may be reading at this moment."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(text)
    os.replace(file.name, path)
    return path


def pip_settings(listing, with_bundle):
    """Turn `pip config list` output into settings that hold inside a build.

    Paths of this host (find-links folders, file:// indexes) are left out: they are not in the build.
    """
    settings = {"cert": f"{_MOUNT}/ca_bundle"} if with_bundle else {}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        key, value = name.rpartition(".")[2].lower().replace("_", "-"), value.strip("'\"")
        reachable = [word for word in value.replace("\\n", " ").split() if not word.startswith(("file:", "/", "."))]
        if key in _PIP_SETTINGS and reachable:
            settings[key] = " ".join(reachable)
    return "[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items())


def _pip_settings():
    return pip_settings(shell.run([sys.executable, "-m", "pip", "config", "list"]), _ca_bundle() is not None)


def _ca_bundle():
    """Return the machine's bundle of certificates, which knows its proxy's or mirror's authority."""
    candidates = [os.environ.get(name) for name in _BUNDLES] + [_SYSTEM_BUNDLE]
    return next((Path(path) for path in candidates if path and Path(path).is_file()), None)


def _apt_sources():
    """Return the machine's own bookworm sources; empty where it has none."""
    try:
        return "".join(f"{source.line()}\n" for source in apt.own_sources())
    except SetupError:
        return ""


def _apt_settings():
    """Point apt to the sources of the machine, where it is a Debian one, and pass its checks on."""
    lines = apt.checks()
    if _apt_sources():
        lines += [f'Dir::Etc::SourceList "{_MOUNT}/apt_sources";', 'Dir::Etc::SourceParts "/dev/null";']
    if _ca_bundle():
        lines.append(f'Acquire::https::CAInfo "{_MOUNT}/ca_bundle";')
    return "".join(f"{line}\n" for line in lines)


def _files(part):
    if part.is_file():
        return [part]
    wanted = (path for path in part.rglob("*") if path.is_file() and _IGNORED.isdisjoint(path.parts))
    return sorted(wanted)
