"""A droplet without containers: it speaks the agent protocol by hand, to say what a real agent would not."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import requests

from scripts.demo import cast
from scripts.demo.console import Console
from scripts.demo.json2 import Answer

INFO = {"version": "0.1.0", "host": "nowhere", "boot_id": "acceptance", "capabilities": ["plan", "deploy"]}
DATABASE_UUID = "0c2d3c1e-8f3a-11f0-9d4e-0242ac120002"
CONFIG_HASH = "d" * 64


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class FakeDroplet:
    """An enrolled agent, played by hand."""

    def __init__(self, admin: Console, console_url: str, name: str) -> None:
        self.key = cast.enrol_agent(admin, name).split()[0]  # the console's own key follows
        self._url = f"{console_url}/odooops/agent/v1"
        found = admin.one("odooops.agent", [["name", "=", name]], ["id"])
        assert found
        self.id = int(found["id"])

    def post(self, route: str, body: dict[str, Any], key: str | None = None) -> Answer:
        """Send one message, with another key if given."""
        return self.post_raw(route, json.dumps({"schema": 1, **body}).encode(), key)

    def post_raw(self, route: str, body: bytes, key: str | None = None) -> Answer:
        headers = {"Authorization": f"Bearer {self.key if key is None else key}", "Content-Type": "application/json"}
        with requests.Session() as session:
            # The machine's proxy settings are for the world outside.
            session.trust_env = False
            response = session.post(f"{self._url}/{route}", data=body, headers=headers, timeout=30)
        return Answer(
            response.status_code, response.json() if "json" in response.headers["Content-Type"] else response.text
        )

    def heartbeat(self, key: str | None = None) -> Answer:
        return self.post(
            "heartbeat",
            {"agent": INFO, "at": now(), "operations": [], "tokens": {}, "host": {}, "environments": []},
            key,
        )

    def lease(self, key: str | None = None) -> dict[str, Any]:
        """Return the next operation; there has to be one."""
        answer = self.post("lease", {"agent": INFO, "kinds": ["plan", "deploy"], "tokens": {}}, key)
        assert answer.status == 200, answer
        assert answer.body["operation"], "nothing is queued"
        return dict(answer.body["operation"])

    def steps(self, operation: dict[str, Any], token: int | None = None, key: str | None = None) -> Answer:
        step = {
            "seq": 1,
            "name": "pull_image",
            "state": "running",
            "started_at": now(),
            "finished_at": None,
            "detail": "",
        }
        return self.post("steps", {**self._about(operation, token), "steps": [step]}, key)

    def finish(
        self, operation: dict[str, Any], result: dict[str, Any], token: int | None = None, outcome: str = "succeeded"
    ) -> Answer:
        body = {"outcome": outcome, "finished_at": now(), "error": None, "result": result}
        return self.post("finish", {**self._about(operation, token), **body})

    def plan(self, variant: str = "") -> str:
        """Lease the next plan operation and finish it; returns the plan's hash."""
        operation = self.lease()
        assert operation["kind"] == "plan", operation
        environment = operation["environment"]
        plan_hash = hashlib.sha256(f"{operation['release']['digest']}{variant}".encode()).hexdigest()
        plan = {
            "schema": 1, "environment": environment["key"], "database_uuid": environment["database"]["uuid"],
            "from_digest": None,
            "to_digest": operation["release"]["digest"], "config_hash": CONFIG_HASH, "modules": [], "migrations": [],
            "policy_version": operation["policy_version"],
        }  # fmt: skip
        answer = self.finish(operation, {"plan": plan, "plan_hash": plan_hash, "facts": {"needs_hold": False}})
        assert answer.status == 200, answer
        return plan_hash

    def deploy(self) -> None:
        """Lease the next deployment and say that it went well."""
        operation = self.lease()
        assert operation["kind"] == "deploy", operation
        result = {
            "digest": operation["release"]["digest"],
            "database_uuid": DATABASE_UUID,
            "plan_hash": operation["plan_hash"],
            "held_seconds": 0.0,
            "health": "green",
        }
        answer = self.finish(operation, result)
        assert answer.status == 200, answer

    def _about(self, operation: dict[str, Any], token: int | None) -> dict[str, Any]:
        return {"operation_id": operation["id"], "token": operation["token"] if token is None else token}
