"""Docker Engine and Compose: find the ones that answer, else install and start them."""

import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

from . import apt, paths, shell
from .errors import SetupError

DAEMON_WAIT_SECONDS = 60
_ENGINES_OWN_CLIENT = "/usr/bin/docker"
_PID_FILE = paths.STATE / "dockerd.pid"


def client():
    """Return the docker client to use: the engine's own before another one earlier in PATH."""
    if Path(_ENGINES_OWN_CLIENT).exists():
        return _ENGINES_OWN_CLIENT
    return shutil.which("docker") or _ENGINES_OWN_CLIENT


def docker(*argv, **options):
    """Run the docker client with BuildKit and return its output."""
    return shell.run([client(), *argv], env={"DOCKER_BUILDKIT": "1"}, **options)


def answers():
    """Tell whether a Docker Engine answers."""
    return shell.answers([client(), "version", "--format", "{{.Server.Version}}"])


def ensure_engine():
    """Use the Docker Engine that answers, else install and start one; return a sentence about it."""
    how = "answers"
    if not answers():
        how = "started"
        if not _daemon():
            apt_install("docker.io")
            how = "installed and started"
        _start()
    _ensure_buildkit()
    return f"{how}, {docker('version', '--format', '{{.Server.Version}}').strip()}"


def apt_install(*packages):
    """Install packages of the machine's own suite."""
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    argv = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if not shell.answers(["apt-cache", "show", *packages]):
        shell.run(["apt-get", "update"], log="apt-update.log")
    shell.run(argv, env=env, log=f"apt-install-{packages[0]}.log")


def _daemon():
    return shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _start():
    if Path("/run/systemd/system").is_dir():
        shell.run(["systemctl", "start", "docker"])
    else:
        _start_daemon_ourselves()
    deadline = time.monotonic() + DAEMON_WAIT_SECONDS
    while not answers():
        if time.monotonic() > deadline:
            log = paths.LOGS / "dockerd.log"
            raise SetupError(f"Docker Engine does not answer after {DAEMON_WAIT_SECONDS} s; see {log}.")
        time.sleep(0.5)


def _start_daemon_ourselves():
    """Start dockerd in a session of its own: no systemd is here to do it, and it must outlive this process."""
    with (paths.LOGS / "dockerd.log").open("ab") as log:
        started = subprocess.Popen(
            [_daemon()], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    _PID_FILE.write_text(str(started.pid))


def stop_own_daemon():
    """Stop the dockerd that an earlier run started; one of the machine's own is left alone."""
    if not _PID_FILE.exists():
        return
    pid = int(_PID_FILE.read_text())
    name = Path(f"/proc/{pid}/comm")
    if name.exists() and name.read_text().strip() == "dockerd":
        os.kill(pid, signal.SIGTERM)


def _ensure_buildkit():
    """Install buildx where the client needs it: from 23 on BuildKit is no longer in the client itself."""
    version = docker("version", "--format", "{{.Client.Version}}")
    if int(version.split(".")[0]) >= 23 and not shell.answers([client(), "buildx", "version"]):
        apt_install("docker-buildx")


def ensure_compose(tell):
    """Find Compose v2, else unpack sid's package; return a sentence about it."""
    if not compose_argv() and not _install_compose():
        (deb,) = apt.download(apt.locked("docker-compose"), tell)
        unpacked = paths.BUILD / "docker-compose"
        shell.run(["dpkg-deb", "-x", deb, unpacked])
        binary = next(path for path in unpacked.rglob("cli-plugins/docker-compose"))
        shutil.copy2(binary, paths.TOOLS / "docker-compose")
        shutil.rmtree(unpacked)
    return shell.run([*compose_argv(), "version", "--short"]).strip()


def _install_compose():
    """Install the machine's own package of Compose v2: Ubuntu's, or the one of Docker's repository."""
    for package in ("docker-compose-v2", "docker-compose-plugin"):
        if shell.answers(["apt-cache", "show", package]):
            apt_install(package)
            return True
    return False


def compose_argv():
    """Return the words that start Compose v2, or an empty list while there is none."""
    own = paths.TOOLS / "docker-compose"
    if own.exists():
        return [str(own)]
    return [client(), "compose"] if shell.answers([client(), "compose", "version"]) else []


def bridge_address():
    """Return the host's address on Docker's default bridge."""
    (network,) = json.loads(docker("network", "inspect", "bridge"))
    for config in network["IPAM"]["Config"]:
        if "Gateway" in config and ":" not in config["Gateway"]:
            return config["Gateway"]
    return _interface_address(network["Options"]["com.docker.network.bridge.name"])


def _interface_address(name):
    """Ask the kernel: Docker Engine does not always tell its default bridge's gateway."""
    get_address = 0x8915  # SIOCGIFADDR
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, get_address, struct.pack("256s", name.encode()[:15]))
    return socket.inet_ntoa(answer[20:24])


def image(name):
    """Return what the engine knows of an image, or None."""
    found = shell.run([client(), "image", "ls", "--quiet", "--no-trunc", name]).split()
    return json.loads(docker("image", "inspect", found[0]))[0] if found else None


def image_label(name, label):
    """Return a label of an image, "" without it and None without the image."""
    found = image(name)
    return None if found is None else (found["Config"].get("Labels") or {}).get(label, "")
