"""Start an image for a look: install modules into an empty database, serve it, see that it answers, throw it away.

    python scripts/ci/preview_image.py --image odooops/console-preview:1234 --modules odooops_control

PostgreSQL comes from PGHOST, PGPORT, PGUSER and PGPASSWORD, a throwaway one; the containers use this machine's own
network. With `--keep SECONDS` it is served for that long, at the address that is printed. Exit codes: 0 it answers,
1 it does not install or answer (its log follows), 2 wrong input.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from odooops_ci import docker, job, patterns
from odooops_ci import image as images
from odooops_ci.errors import InvalidInput, Refused

PAGES = ("/web/health", "/web/login")
WAIT_SECONDS = 900  # the first page comes once the modules are installed
LOG_LINES = "60"


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", required=True)
    parser.add_argument("--modules", required=True, help="what to install, with commas between")
    parser.add_argument("--keep", type=float, default=0, metavar="SECONDS", help="serve it for this long (default: 0)")
    return parser.parse_args(argv)


def preview(image: str, modules: list[str], keep_seconds: float) -> str:
    """Return the address at which the image answered.

    :raise Refused: it does not install, or a page of it does not answer; with the end of its log.
    """
    name, port = f"odooops_preview_{secrets.token_hex(4)}", free_port()
    with configuration(name, addons_path(image)) as conf, container(name):
        if run(serve(image, name, conf, modules, port)):
            raise Refused(f"Docker does not start {image}:\n{log(name)}")
        for page in PAGES:
            wait_for(f"http://127.0.0.1:{port}{page}", name)
        job.tell(f"{image} with {', '.join(modules)} answers at http://127.0.0.1:{port}")
        time.sleep(keep_seconds)
        return f"http://127.0.0.1:{port}"


def require_database() -> None:
    missing = [variable for variable in ("PGHOST", "PGUSER", "PGPASSWORD") if not os.environ.get(variable)]
    if missing:
        raise InvalidInput(f"The variable {missing[0]} is not set: say where a throwaway PostgreSQL is.")


def serve(image: str, name: str, conf: Path, modules: list[str], port: int) -> list[str]:
    """Return what installs the modules and serves them, in one container: what it writes is gone with it."""
    return [
        docker.client(), "run", "--detach", f"--name={name}", "--network=host",
        f"--volume={conf}:/etc/odoo/odoo.conf:ro", image,
        "odoo", "--config", "/etc/odoo/odoo.conf", "--database", name, "--init", ",".join(modules),
        "--http-interface", "127.0.0.1", "--http-port", str(port), "--workers", "0", "--max-cron-threads", "0",
    ]  # fmt: skip


def addons_path(image: str) -> str:
    """Return where the image has its addons, as its own manifest says."""
    try:
        return ",".join(json.loads(images.run(docker.read_manifest(image)))["addons_paths"])
    except (ValueError, KeyError, TypeError):
        raise Refused(f"{image} has no manifest that names its addons: build it with build_image.py.") from None


@contextmanager
def configuration(name: str, addons: str) -> Iterator[Path]:
    """Lend Odoo's configuration file: PostgreSQL's password is in no argument."""
    with tempfile.TemporaryDirectory(prefix="odooops-preview-") as folder:
        conf = Path(folder) / "odoo.conf"
        conf.write_text(
            f"[options]\ndb_host = {os.environ['PGHOST']}\ndb_port = {os.environ.get('PGPORT') or 5432}\n"
            f"db_user = {os.environ['PGUSER']}\ndb_password = {os.environ['PGPASSWORD']}\n"
            f"addons_path = {addons}\ndata_dir = /tmp/odoo\nlist_db = False\ndbfilter = ^{name}$\n",
            encoding="utf-8",
        )
        # The image's own user reads it; the database is as short-lived as the file.
        Path(folder).chmod(0o755)
        conf.chmod(0o644)
        yield conf


@contextmanager
def container(name: str) -> Iterator[None]:
    """Have no container of this name left, however it ends."""
    try:
        yield
    finally:
        run([docker.client(), "rm", "--force", "--volumes", name])


def wait_for(url: str, name: str) -> None:
    deadline, answer = time.monotonic() + WAIT_SECONDS, "no connection"
    while time.monotonic() < deadline and is_running(name):
        try:
            answer = str(requests.get(url, timeout=30, allow_redirects=False).status_code)
        except requests.RequestException:
            answer = "no connection"
        if answer == "200":
            return
        time.sleep(1)
    raise Refused(f"{url} does not answer with 200 but: {answer}.\n{log(name)}")


def is_running(name: str) -> bool:
    argv = [docker.client(), "inspect", "--format={{.State.Running}}", name]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip() == "true"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def log(name: str) -> str:
    argv = [docker.client(), "logs", "--tail", LOG_LINES, name]
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout


def run(argv: list[str]) -> int:
    return subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    modules = [name.strip() for name in options.modules.split(",") if name.strip()]
    try:
        patterns.require(patterns.BASE_IMAGE, options.image, "an image", "odooops/console-preview:1234")
        for name in modules:
            patterns.require(patterns.MODULE, name, "a module", "odooops_control")
        require_database()
        preview(options.image, modules, options.keep)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return refused.exit_code
    job.summarise(job.table("Preview", [("Image", options.image), ("Installed", options.modules), ("Answers", "200")]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
