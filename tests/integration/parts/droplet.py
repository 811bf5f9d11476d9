"""A droplet with real parts: Caddy in a container, a registry, a cluster, and the sample repository's images."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from odooops_agent.testing.droplet import ENVIRONMENT

from .caddy import SHIPPED, free_port, wait_until
from .engine import Stack
from .postgres import Cluster, execute

ROOT = Path(__file__).resolve().parents[3]
AGENT = Path(__file__).with_name("agent_process.py")
STATUS = "/workshop/status"
AGENT_SECONDS = 600


@dataclass
class Environment:
    """An environment as the control plane would describe it."""

    key: str
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def host(self) -> str:
        return f"{self.key.replace('/', '-')}.localhost"

    @property
    def database(self) -> str:
        return self.key.replace("/", "_").replace("-", "_")


class Droplet:
    """Deploys by an agent's process, as `odooops-agent run` would on a lease."""

    def __init__(self, stack: Stack, cluster: Cluster, images: dict[str, str]) -> None:
        self.stack, self.cluster, self.images = stack, cluster, images
        self.port = free_port()
        self.state, self.backups = stack.folder / "state", stack.folder / "backups"
        self.backups.mkdir()
        self._tokens = itertools.count(11)
        self.sets: dict[str, dict[str, Any]] = {}  # the newest restore set of each image, by digest
        self._start_caddy()

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def deploy(self, environment: Environment, tag: str, kill: str = "") -> dict[str, Any]:
        """Deploy a release; `kill` names the point at which the agent dies. Returns how it ended."""
        return self._ended(self.start(environment, tag, kill), kill)

    def go_back(self, environment: Environment, tag: str, mode: str, kill: str = "", **rollback: Any) -> dict[str, Any]:
        """Preview a rollback, approve what it showed and carry it out, as `deploy` does a release."""
        operation = self._operation(environment, tag)
        target = self.sets.get(operation["release"]["digest"])
        given = {"request": 7, "mode": mode, "restore_set": target, **rollback}
        return self._ended(self._begin({**operation, "kind": "rollback", "rollback": given}, kill), kill)

    def preview(self) -> dict[str, Any]:
        """Return what the last rollback showed before it was approved."""
        return dict(json.loads((self.state / "preview.json").read_text()))

    def start(self, environment: Environment, tag: str, kill: str = "") -> subprocess.Popen[str]:
        return self._begin(self._operation(environment, tag), kill)

    def _begin(self, operation: dict[str, Any], kill: str = "") -> subprocess.Popen[str]:
        path = self.stack.folder / "operation.json"
        path.write_text(json.dumps(operation))
        return self._agent(str(path), kill)

    def _ended(self, agent: subprocess.Popen[str], kill: str = "") -> dict[str, Any]:
        output, _ = agent.communicate(timeout=AGENT_SECONDS)
        if kill:
            assert agent.returncode == -9, f"The agent did not die at {kill}:\n{self.log()}"
            return {}
        assert agent.returncode == 0, self.log()
        ended = dict(json.loads(output.splitlines()[-1]))
        self._remember_set((ended.get("result") or {}).get("restore_set"))
        return ended

    def _remember_set(self, made: dict[str, Any] | None) -> None:
        if made:
            number = int(made["database_snapshot"].rpartition("__s")[2])
            named = ("config_hash", "database_snapshot", "filestore_snapshot", "taken_at", "module_versions")
            digest = made["from_digest"]
            self.sets[digest] = {"token": number, "digest": digest, **{name: made[name] for name in named}}

    def work(self, operation: dict[str, Any], kill: str = "") -> dict[str, Any]:
        """Carry out an operation that `describe` made; returns how it ended."""
        file = self.stack.folder / "operation.json"
        file.write_text(json.dumps(operation))
        agent = self._agent(str(file), kill)
        output, _ = agent.communicate(timeout=AGENT_SECONDS)
        if kill:
            assert agent.returncode == -9, f"The agent did not die at {kill}:\n{self.log()}"
            return {}
        assert agent.returncode == 0, self.log()
        return dict(json.loads(output.splitlines()[-1]))

    def describe(self, environment: Environment, tag: str, kind: str, **more: Any) -> dict[str, Any]:
        """Return an operation of a kind."""
        return {**self._operation(environment, tag), "kind": kind, **more}

    def recover(self) -> dict[str, Any]:
        """Start the agent again, with nothing to do but what it finds."""
        return self._ended(self._agent())

    def log(self) -> str:
        return (self.stack.folder / "agent.log").read_text()[-6000:]

    def status(self, environment: Environment) -> dict[str, Any] | None:
        """Ask the environment's page through the proxy."""
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        try:
            connection.request("GET", STATUS, headers={"Host": environment.host})
            response = connection.getresponse()
            body = response.read()
            return dict(json.loads(body)) if response.status == 200 else None
        finally:
            connection.close()

    def sql(self, environment: Environment, *statements: str) -> list[tuple[Any, ...]]:
        return self.cluster.as_superuser(*statements, database=environment.database)

    def databases(self) -> set[str]:
        return {row[0] for row in self.cluster.as_superuser("SELECT datname FROM pg_database WHERE NOT datistemplate")}

    def containers(self, environment: Environment) -> dict[str, str]:
        """Return the running containers' names by role."""
        label = [f"odooops.stack={self.stack.name}", f"odooops.environment={environment.key}", "odooops.role"]
        found = self.stack.client.api.containers(filters={"label": label})
        return {each["Labels"]["odooops.role"]: each["Names"][0].lstrip("/") for each in found}

    def _agent(self, *arguments: str) -> subprocess.Popen[str]:
        with (self.stack.folder / "agent.log").open("a") as log:
            return subprocess.Popen(
                [sys.executable, str(AGENT), *arguments],
                env=self._settings(),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def _settings(self) -> dict[str, str]:
        bridge = self.stack.client.api.inspect_network("bridge")["IPAM"]["Config"][0]
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT / "agent"),
            "ODOOOPS_URL": "http://127.0.0.1:1",
            "ODOOOPS_STACK": self.stack.name,
            "ODOOOPS_STATE_DIR": str(self.state),
            "ODOOOPS_DATA_ROOT": str(self.stack.data_root),
            "ODOOOPS_BACKUP_DIR": str(self.backups),
            "ODOOOPS_PG_DSN": self.cluster.agent_dsn,
            "ODOOOPS_PG_ODOO_HOST": bridge.get("Gateway") or "172.17.0.1",
            "ODOOOPS_CADDY_ADMIN": f"unix://{self.stack.folder}/run/admin.sock",
            "ODOOOPS_CADDY_CONTAINER": self.stack.proxy_name,
            "ODOOOPS_TARGETS_DIR": str(self.stack.targets.root),
        }

    def _operation(self, environment: Environment, tag: str) -> dict[str, Any]:
        number = next(self._tokens)
        image, _, digest = self.images[tag].partition("@")
        described = {
            **ENVIRONMENT,
            "key": environment.key,
            "uuid": environment.uuid,
            "database": {"name": environment.database, "uuid": self._uuid(environment)},
            "modules": ["workshop"],
            "domains": {"main": environment.host, "aliases": [], "redirects": []},
            "url": f"http://{environment.host}:{self.port}",
        }
        return {
            "id": number,
            "uuid": str(uuid.uuid4()),
            "kind": "deploy",
            "token": number,
            "environment": described,
            "release": {"tag": tag, "commit_sha": "a" * 40, "image": image, "digest": digest},
            "policy_version": "1",
        }

    def _uuid(self, environment: Environment) -> str | None:
        if environment.database not in self.databases():
            return None
        rows = self.sql(environment, "SELECT value FROM ir_config_parameter WHERE key = 'database.uuid'")
        return str(rows[0][0]) if rows else None

    def _start_caddy(self) -> None:
        config = json.loads(SHIPPED.read_text())
        config["admin"]["listen"] = f"unix/{self.stack.folder}/run/admin.sock|0600"
        server = config["apps"]["http"]["servers"]["odooops"]
        server["listen"] = [":80"]
        server["routes"] = []
        (self.stack.folder / "caddy.json").write_text(json.dumps(config))
        self.stack.start_proxy(self.stack.folder / "caddy.json", self.port)
        wait_until((self.stack.folder / "run" / "admin.sock").exists, 20, "Caddy starts")
        time.sleep(0.5)


def build_images(stack: Stack, folder: Path) -> dict[str, str]:
    """Build the sample repository's releases as a workflow does; returns the images by tag."""
    from scripts.demo.sample_repository import SampleRepository
    from scripts.setup import base_images, build

    base_images.ensure(base_images.ODOO, print)
    repository = SampleRepository(folder)
    machine = [f"--secret={name}={path}" for name, path in build.secret_files().items()]
    steps = {
        "v1.0.0": repository.create,
        "v1.0.1": lambda: repository.change_static("v1.0.1"),
        "v1.1.0": repository.change_model,
        "v1.2.0": repository.break_on_production,
    }
    images = {}
    for tag, step in steps.items():
        step()
        argv = [sys.executable, str(ROOT / "scripts/ci/build_image.py"), f"--source={repository.path}", *machine]
        argv += [f"--repository={stack.registry()}/demo", f"--tag={tag}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        images[tag] = str(json.loads(done.stdout)["image"])
    return images


__all__ = ["STATUS", "Droplet", "Environment", "build_images", "execute"]
