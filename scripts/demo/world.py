"""What the story is told about, and the few ways in which its chapters look at it and wait for it."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from . import droplet, evidence, wait
from .cast import Project
from .ci import Workflow
from .console import Console
from .customer import CustomerDatabase
from .json2 import Api
from .load import Load, LoadReport
from .timeline import Timeline

DEPLOYMENT_FIELDS = [
    "name", "tag", "state", "environment_id", "release_id", "requested_by_id", "plan", "plan_hash", "plan_facts",
    "approvals_needed", "held_seconds", "update_seconds", "failure_code", "failure_step", "failure_message",
    "log_tail", "reverted", "operation_ids", "restore_set_ids",
]  # fmt: skip
_UPDATED = re.compile(r"Loading module (\w+) \(")
ENDED = ("live", "superseded", "rejected", "cancelled", "failed", "rolled_back", "indeterminate")
STATUS_PATH = "/workshop/status"
PATIENCE_SECONDS = 150.0
PLAN_SECONDS, DEPLOY_SECONDS = 120, 600
Row = dict[str, Any]


class StoryError(Exception):
    """The story can't go on; the text says why, with what the logs say."""


@dataclass(frozen=True)
class Address:
    """Where the stack's parts listen on this machine."""

    stack: str
    console_url: str
    proxy: tuple[str, int]
    customers_dsn: str
    agent_container: str


@dataclass
class World:
    """One project in a running stack, with everybody who acts in it."""

    address: Address
    timeline: Timeline
    project: Project
    admin: Console
    approver: Console
    workflow: Workflow
    ci: Api
    ci_user: int
    passwords: dict[str, str]
    claims: list[tuple[str, bool]] = field(default_factory=list)
    reports: list[LoadReport] = field(default_factory=list)

    # Telling

    def tell(
        self, event: str, detail: str, environment: str | None = None, tag: str | None = None, timed: bool = True
    ) -> None:
        self.timeline.tell(event, detail, environment, tag, timed)

    def claim(self, sentence: str, holds: object, environment: str | None = None, tag: str | None = None) -> None:
        """Say what the story asserts and whether it is true; a claim that is not makes the whole story fail."""
        self.claims.append((sentence, bool(holds)))
        self.timeline.tell("verified" if holds else "NOT TRUE", sentence, environment, tag, timed=False)

    # Looking

    def key(self, environment: str) -> str:
        return f"{self.project.code}/{environment}"

    def environment(self, code: str, *fields: str) -> Row:
        return self.admin.read("odooops.environment", self.project.environments[code], list(fields))

    def deployment(self, id_: int) -> Row:
        return self.admin.read("odooops.deployment", id_, DEPLOYMENT_FIELDS)

    def newest_deployment(self, environment: str, release: int) -> Row | None:
        domain = [["environment_id", "=", self.project.environments[environment]], ["release_id", "=", release]]
        return self.admin.one("odooops.deployment", domain, DEPLOYMENT_FIELDS, order="id desc")

    def release(self, id_: int) -> Row:
        return self.admin.read("odooops.release", id_, ["name", "image", "digest", "commit_sha", "tag_ids", "state"])

    def updated_modules(self, deployment: int) -> set[str]:
        """Name the modules that Odoo's own log says it updated (the others it loads without a word)."""
        domain = [["operation_id.deployment_id", "=", deployment], ["text", "like", "Loading module"]]
        lines = self.admin.search_read("odooops.operation.log", domain, ["text"])
        return {found[1] for line in lines if (found := _UPDATED.search(line["text"]))}

    def chatter(self, model: str, id_: int) -> str:
        """Return all that was said in a record's chatter, newest first."""
        domain = [["model", "=", model], ["res_id", "=", id_]]
        return "\n".join(row["body"] for row in self.admin.search_read("mail.message", domain, ["body"]))

    def activities(self, model: str, id_: int) -> dict[int, str]:
        """Return who has something to do about a record: user id to summary."""
        domain = [["res_model", "=", model], ["res_id", "=", id_]]
        rows = self.admin.search_read("mail.activity", domain, ["user_id", "summary"])
        return {row["user_id"][0]: row["summary"] for row in rows}

    def database(self, environment: str) -> CustomerDatabase:
        name = self.environment(environment, "database_name")["database_name"]
        return CustomerDatabase(self.address.customers_dsn, name)

    @property
    def cluster(self) -> CustomerDatabase:
        """The customers' PostgreSQL as a whole."""
        return CustomerDatabase(self.address.customers_dsn, "postgres")

    def running_digests(self, environment: str) -> set[str]:
        return droplet.digests(self.address.stack, self.key(environment))

    def get(self, environment: str, path: str) -> tuple[int, bytes]:
        """Ask an environment over Caddy, as a visitor does."""
        connection = http.client.HTTPConnection(*self.address.proxy, timeout=PATIENCE_SECONDS)
        try:
            connection.request("GET", path, headers={"Host": self.project.hosts[environment]})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def status_page(self, environment: str) -> Row:
        """Return what the customer's own status page tells: the release that answers, and sums of its data."""
        status, body = self.get(environment, STATUS_PATH)
        return dict(json.loads(body)) if status == 200 else {"release": None, "http": status}

    def visitor_load(self, environment: str, clients: int = 8) -> Load:
        return Load(self.address.proxy, self.project.hosts[environment], STATUS_PATH, clients, PATIENCE_SECONDS)

    def customer(self, environment: str) -> Console:
        """Log in to a customer's Odoo as its administrator, through Caddy."""
        url, database = "http://{}:{}".format(*self.address.proxy), self.database(environment).name
        return Console(url, database, "admin", self.customer_password(environment), self.project.hosts[environment])

    def customer_password(self, environment: str) -> str:
        return droplet.administrator_password(self.address.agent_container, self.key(environment))

    # Acting and waiting

    def wait_for(self, what: str, ask: Any, timeout_seconds: float) -> Any:
        """Wait; when it is in vain, fail with what the agent's log says."""
        try:
            return wait.until(what, ask, timeout_seconds)
        except wait.WaitError as error:
            raise StoryError(f"{error}\n{evidence.agent_log(self.address.agent_container)}") from error

    def wait_for_state(self, id_: int, *states: str, timeout_seconds: float = DEPLOY_SECONDS) -> Row:
        """Wait until a deployment is in one of these states and return it.

        :raises StoryError: it ended otherwise or took too long; the text has its log and the agent's
        """
        stop = {*states, *ENDED}
        name = self.deployment(id_)["name"]

        def arrived() -> Row | None:
            row = self.deployment(id_)
            return row if row["state"] in stop else None

        try:
            row = wait.until(f"{name} to be {' or '.join(states)}", arrived, timeout_seconds)
        except wait.WaitError as error:
            raise StoryError(f"{error}\n{self.evidence(id_)}") from error
        if row["state"] not in states:
            raise StoryError(f"{name} is {row['state']}, not {' or '.join(states)}.\n{self.evidence(id_)}")
        return row

    def approve(self, deployment: Row, note: str, who: Console | None = None, password: str | None = None) -> None:
        """Approve in the web client as a person does: open the wizard, read the plan, say what was checked."""
        who = who or self.approver
        action = who.call("odooops.deployment", "action_open_approval", [deployment["id"]])
        values = {name.removeprefix("default_"): value for name, value in action["context"].items()}
        wizard = who.create(action["res_model"], **values, note=note)
        answer = who.call(action["res_model"], "action_approve", [wizard])
        who.confirm(answer, password or self.passwords[who.login])

    def evidence(self, deployment: int) -> str:
        """Return what the logs tell about a deployment."""
        return evidence.about(self.admin, deployment, self.address.agent_container)

    @property
    def failed_requests(self) -> int:
        return sum(len(report.failed) for report in self.reports)

    @property
    def longest_wait_seconds(self) -> float:
        return max((report.longest_wait_seconds for report in self.reports), default=0.0)

    def untrue(self) -> Iterable[str]:
        return [sentence for sentence, holds in self.claims if not holds]
