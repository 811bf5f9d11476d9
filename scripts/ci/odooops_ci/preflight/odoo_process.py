"""How Odoo is started for the tests: on this machine, or in an image. Builds argument lists; `run` runs one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import Refused

DATABASE_VARIABLES = ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGSSLMODE")
FIND_PROGRAM = (
    "import shutil; path = shutil.which('odoo') or ''; print(path); print(open(path).readline() if path else '')"
)


@dataclass(frozen=True)
class Odoo:
    """A way to start Odoo.

    :ivar prefix: what stands before the Python program (of `docker run`, say).
    :ivar python: the Python that runs it, `script` its program.
    :ivar identity: changes when another Odoo is used: the template is made anew then.
    """

    prefix: tuple[str, ...]
    python: str
    script: str
    identity: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def argv(self, arguments: Sequence[str], coverage: Sequence[str] = ()) -> list[str]:
        return [*self.prefix, self.python, *coverage, self.script, *arguments]


def on_this_machine(program: str, python: str, libraries: Path, login: Mapping[str, str]) -> Odoo:
    """Return Odoo as it is installed here.

    :param login: libpq's variables that differ from this process's.

    :raise Refused: it is not.
    """
    path = shutil.which(program)
    if path is None:
        raise Refused(
            f"There is no program {program} here: name Odoo's with --odoo, or an image that has one with --image."
        )
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        python = python or python_of(file.readline())
    search = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH", ""), str(libraries))))
    environment = {"PYTHONPATH": search, **login}
    done = _run([python, path, "--version"], environment)
    if done.returncode:
        raise Refused(f"{path} --version fails: {_last(done)}.")
    return Odoo((), python, path, f"{path} {done.stdout.strip()}", environment)


def in_image(image: str, network: str, mounts: Mapping[Path, str], libraries: Path, login: Mapping[str, str]) -> Odoo:
    """Return Odoo as an image has it.

    :param mounts: folders by "ro" or "rw", mounted where they are.
    :raise Refused: Docker or the image can't be used, or the image has no Odoo.
    """
    docker = shutil.which("docker")
    if docker is None:
        raise Refused("--image needs Docker, which is not installed here.")
    inspected = _run([docker, "image", "inspect", "--format={{.Id}}", image])
    if inspected.returncode:
        raise Refused(f"There is no image {image} here: docker pull or build it first.")
    volumes = [f"--volume={folder}:{folder}:{mode}" for folder, mode in mounts.items()]
    options = [f"--network={network}"] if network else []
    # By name alone: the password stays out of the command line, and comes from the client's environment.
    variables = [f"--env={name}" for name in DATABASE_VARIABLES if name in os.environ or name in login]
    prefix = [
        docker,
        "run",
        "--rm",
        "--init",
        *options,
        *volumes,
        *variables,
        f"--env=PYTHONPATH={libraries}",
        "--env=PYTHONDONTWRITEBYTECODE=1",
        # As this process's user, so that what Odoo writes can be removed; a user without a name, so it gets one.
        f"--user={os.getuid()}:{os.getgid()}",
        "--env=HOME=/tmp",
        "--env=USER=odoo",
        "--label=odooops.preflight=1",
    ]
    found = _run([*prefix, "--entrypoint=python3", image, "-c", FIND_PROGRAM]).stdout.splitlines()
    if not found or not found[0]:
        raise Refused(f"The image {image} has no program odoo: name one made by docker/odoo, or odoo:19.0.")
    python = python_of(found[1] if len(found) > 1 else "")
    return Odoo((*prefix, f"--entrypoint={python}", image), "", found[0], inspected.stdout.strip(), dict(login))


def python_of(first_line: str) -> str:
    """Return the Python that a program's first line names."""
    words = first_line.removeprefix("#!").split()
    if not first_line.startswith("#!") or not words or "python" not in first_line:
        return "python3"
    return words[1] if words[0].endswith("/env") and len(words) > 1 else words[0]


def run(odoo: Odoo, arguments: Sequence[str], coverage: Sequence[str], seconds: float) -> tuple[int, str]:
    """Run Odoo to its end; return its exit code and its log.

    :raise Refused: it has not ended in time.
    """
    argv = [word for word in odoo.argv(arguments, coverage) if word]
    try:
        done = _run(argv, odoo.environment, seconds)
    except subprocess.TimeoutExpired:
        raise Refused(
            f"Odoo has not ended after {seconds / 60:.0f} minutes: give it fewer addons or more --jobs."
        ) from None
    return done.returncode, done.stdout + done.stderr


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def configuration(addons_path: Sequence[str], data: Path) -> str:
    """Return an odoo.conf: the database's address comes from the environment, as libpq reads it."""
    return (
        "[options]\n"
        f"addons_path = {','.join(addons_path)}\n"
        f"data_dir = {data}\n"
        "http_interface = 127.0.0.1\nworkers = 0\nmax_cron_threads = 0\nlist_db = False\nlog_level = info\n"
    )


def _run(
    argv: Sequence[str], environment: Mapping[str, str] | None = None, seconds: float | None = 120
) -> subprocess.CompletedProcess[str]:
    # The machine's own odoo.conf stays out of it.
    kept = {name: value for name, value in os.environ.items() if name not in ("ODOO_RC", "OPENERP_SERVER")}
    return subprocess.run(
        list(argv),
        env={**kept, **(environment or {})},
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=seconds,
    )


def _last(done: subprocess.CompletedProcess[str]) -> str:
    return ((done.stderr or done.stdout).strip().splitlines() or ["it said nothing"])[-1]
