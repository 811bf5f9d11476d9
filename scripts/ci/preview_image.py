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
INSTALL_SECONDS, START_SECONDS = 900, 180
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
    name = f"odooops_preview_{secrets.token_hex(4)}"
    with configuration(name, addons_path(image)) as conf, container(name):
        install = ["--init", ",".join(modules), "--stop-after-init", "--no-http"]
        if run([*odoo(image, name, conf), *install], INSTALL_SECONDS):
            raise Refused(f"{', '.join(modules)} can't be installed from {image}:\n{log(name)}")
        run([docker.client(), "rm", "--force", "--volumes", name], START_SECONDS)
        port = free_port()
        serve = ["--http-interface", "127.0.0.1", "--http-port", str(port), "--workers", "0", "--max-cron-threads", "0"]
        run([*odoo(image, name, conf, "--detach"), *serve], START_SECONDS)
        url = f"http://127.0.0.1:{port}"
        for page in PAGES:
            wait_for(url + page, name)
        job.tell(f"{image} answers at {url}")
        time.sleep(keep_seconds)
        return url


def require_database() -> None:
    missing = [variable for variable in ("PGHOST", "PGUSER", "PGPASSWORD") if not os.environ.get(variable)]
    if missing:
        raise InvalidInput(f"The variable {missing[0]} is not set: say where a throwaway PostgreSQL is.")


def odoo(image: str, name: str, conf: Path, *options: str) -> list[str]:
    mounts = [f"--volume={conf}:/etc/odoo/odoo.conf:ro", "--tmpfs=/var/lib/odoo:mode=1777"]
    argv = [docker.client(), "run", f"--name={name}", "--network=host", *options, *mounts, image]
    return [*argv, "odoo", "--config", "/etc/odoo/odoo.conf", "--database", name]


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
            f"addons_path = {addons}\ndata_dir = /var/lib/odoo\nlist_db = False\ndbfilter = ^{name}$\n",
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
        run([docker.client(), "rm", "--force", "--volumes", name], START_SECONDS)


def wait_for(url: str, name: str) -> None:
    deadline, answer = time.monotonic() + START_SECONDS, "no connection"
    while time.monotonic() < deadline:
        try:
            answer = str(requests.get(url, timeout=30, allow_redirects=False).status_code)
        except requests.RequestException:
            answer = "no connection"
        if answer == "200":
            return
        time.sleep(1)
    raise Refused(f"{url} does not answer with 200 but: {answer}.\n{log(name)}")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def log(name: str) -> str:
    argv = [docker.client(), "logs", "--tail", LOG_LINES, name]
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout


def run(argv: list[str], seconds: float) -> int:
    try:
        done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return 1
    return done.returncode


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
