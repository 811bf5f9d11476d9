"""What the benches share: the running stack, and a customer that is made once and kept for the next run."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from scripts.demo.console import Console
from scripts.demo.world import World
from scripts.setup import engine
from scripts.setup.errors import SetupError
from scripts.setup.stack import Stack

from . import customer

INSIDE = Path(__file__).parent / "inside"


@dataclass
class Site:
    """One running stack.

    :ivar notes: what stands below the table: what was used again, where the time went
    """

    stack: Stack
    notes: list[str] = field(default_factory=list)

    @classmethod
    def open(cls) -> Site:
        """Start the stack, quickly when all is there."""
        return cls(Stack.load().ensure_up())

    @property
    def folder(self) -> Path:
        folder = Path(self.stack.state) / "bench"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @cached_property
    def admin(self) -> Console:
        return Console(self.stack.console_url, self.stack.control_database, "admin", self.stack.admin_password)

    @cached_property
    def customer(self) -> World:
        """The bench's customer: `prod` has the six big apps and is live on a release."""
        world, sentence = customer.ensure(self.stack, self.admin, self.folder)
        self.note(sentence)
        return world

    def running_image(self) -> str:
        """Return what `prod` runs, as repository@digest."""
        (deployment, _name) = self.customer.environment("prod", "running_deployment_id")["running_deployment_id"]
        release = self.customer.release(self.customer.deployment(deployment)["release_id"][0])
        return f"{release['image']}@{release['digest']}"

    def note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)

    def in_agent(self, script: str, *arguments: str) -> Any:
        """Run a script of `inside/` with the agent's own Python, settings and rights; return the JSON it prints."""
        return self._inside(["agent"], ["python", "-", *arguments], (INSIDE / script).read_text())

    def in_control(self, script: str, **arguments: Any) -> Any:
        """Run a script of `inside/` in Odoo's shell of the console; `ARGUMENTS` is a dict there."""
        text = f"ARGUMENTS = {arguments!r}\n" + (INSIDE / script).read_text()
        shell = ["odoo", "shell", "--config=/run/odooops/odoo.conf", f"--database={self.stack.control_database}"]
        return self._inside(["--user=odoo", "control"], [*shell, "--no-http", "--log-level=error"], text)

    def _inside(self, where: list[str], argv: list[str], text: str) -> Any:
        *options, service = where
        source = self.folder / f"{service}-script.py"
        source.write_text(text)
        with source.open("rb") as stdin:
            output = engine.docker("exec", "--interactive", *options, self.stack.container(service), *argv, stdin=stdin)
        return json.loads(output.strip().splitlines()[-1])


def ask(address: tuple[str, int], host: str, path: str) -> tuple[int, bytes]:
    """Return the status and body of one request, or (0, b"") where nobody answers."""
    connection = http.client.HTTPConnection(*address, timeout=30)
    try:
        connection.request("GET", path, headers={"Host": host})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def wait_for_release(address: tuple[str, int], host: str, release: str, timeout_seconds: float = 180) -> None:
    """Wait until the customer's status page tells this release."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        status, body = ask(address, host, "/workshop/status")
        if status == 200 and json.loads(body)["release"] == release:
            return
        if time.monotonic() > deadline:
            raise SetupError(f"{host} does not answer with release {release} after {timeout_seconds:.0f} s.")
        time.sleep(0.1)
