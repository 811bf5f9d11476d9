"""What people, workflows and agents get wrong or try on purpose: refused with one clear sentence, nothing changed.

The droplet is one on paper (its agent is played by hand), so that each case is only about the console's answers.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scripts.demo import cast
from scripts.demo.ci import SCRIPTS
from scripts.demo.console import Console, RefusalError
from scripts.demo.json2 import Answer, Api
from scripts.setup.stack import Stack

from .conftest import PAPER
from .fake_droplet import FakeDroplet

INJECTION = "v1.0.0; rm -rf /"
LEASE_SECONDS = 10
# What preflight reports of a commit with which nothing is wrong.
PASSED: list[dict[str, Any]] = [
    {"name": name, "status": "success", "summary": "nothing found", "details": {"tier": "low"}}
    for name in ("lint", "tests", "allowlist", "risk", "version")
]


@dataclass
class Office:
    """A project whose droplet is on paper, with everybody who acts in it."""

    project: cast.Project
    admin: Console
    approver: Console
    second_approver: Console
    developer: Console
    ci: Api
    ci_key: str
    droplet: FakeDroplet
    registry: str
    commits: int = 0

    def commit(self) -> tuple[str, str]:
        """Return a commit and the digest of its image that nobody used before."""
        self.commits += 1
        seed = f"{self.project.code} {self.commits}".encode()
        return hashlib.sha1(seed, usedforsecurity=False).hexdigest(), f"sha256:{hashlib.sha256(seed).hexdigest()}"

    def register(
        self, sha: str, digest: str, ref: str = "refs/heads/main", checks: list[dict[str, Any]] = PASSED
    ) -> Answer:
        image = f"{self.registry}/{self.project.code}@{digest}"
        what = {"project": self.project.code, "ref": ref, "commit_sha": sha, "image": image, "manifest": {}}
        return self.ci.call("odooops.release", "register", **what, checks=checks)

    def request(self, environment: str, ref: str, sha: str | None = None) -> Answer:
        return self.ci.call("odooops.deployment", "request", environment=environment, ref=ref, commit_sha=sha)

    def key(self, code: str) -> str:
        return f"{self.project.code}/{code}"

    def state(self, deployment: int) -> str:
        return str(self.admin.read("odooops.deployment", deployment, ["state"])["state"])

    def staged(self, tag: str, checks: list[dict[str, Any]] = PASSED) -> tuple[str, str]:
        """Return a commit that is tagged and live on stage."""
        sha, digest = self.commit()
        assert self.register(sha, digest, checks=checks).status == 200
        self.droplet.plan()
        self.droplet.deploy()
        assert self.register(sha, digest, f"refs/tags/{tag}").status == 200
        return sha, digest

    def waiting_on_prod(self, tag: str) -> dict[str, Any]:
        """Return a deployment that waits for approval on prod."""
        row = self.planned_on_prod(tag, PASSED)
        assert row["state"] == "awaiting_approval"
        return row

    def planned_on_prod(self, tag: str, checks: list[dict[str, Any]]) -> dict[str, Any]:
        """Return a deployment that is asked for and planned on prod."""
        sha, _digest = self.staged(tag, checks)
        asked = self.request(self.key("prod"), f"refs/tags/{tag}", sha)
        assert asked.status == 200, asked
        self.droplet.plan()
        row: dict[str, Any] = self.admin.read("odooops.deployment", asked.body["id"], ["name", "state", "plan_hash"])
        return row

    def cancel(self, deployment: int) -> None:
        if self.state(deployment) in ("draft", "planned", "awaiting_approval", "approved", "queued"):
            self.admin.call("odooops.deployment", "action_cancel", [deployment])


@pytest.fixture(scope="module")
def office(stack: Stack, admin: Console, droplet: FakeDroplet) -> Office:
    code = cast.free_code(admin, PAPER)
    project = cast.create_project(
        admin, code, "Paper", "workshop", droplet.id, cast.create_policy(admin), stack.ports["http"]
    )
    words = cast.passwords(stack.state / "secrets" / "demo_passwords.json")
    cast.invite_people(admin, project.id, words)
    key, _user = cast.give_ci_access(admin, project.id, f"CI of {code}")
    second = {"name": "Second Approver", "email": "second@example.com"}
    user = admin.ensure(
        "res.users",
        {"login": "second"},
        {"password": words[cast.APPROVER]},
        **second,
        group_ids=[[4, admin.ref("odooops_control.group_release_manager")]],
    )
    admin.create("odooops.project.member", project_id=project.id, user_id=user, role="release_manager")

    def log_in(login: str, password: str) -> Console:
        return Console(stack.console_url, stack.control_database, login, password)

    return Office(
        project=project,
        admin=admin,
        approver=log_in(cast.APPROVER, words[cast.APPROVER]),
        second_approver=log_in("second", words[cast.APPROVER]),
        developer=log_in(cast.DEVELOPER, words[cast.DEVELOPER]),
        ci=Api(stack.console_url, key, stack.control_database),
        ci_key=key,
        droplet=droplet,
        registry=stack.registry,
    )


@pytest.fixture
def waiting(office: Office, request: pytest.FixtureRequest) -> Any:
    """A deployment that waits on prod, taken back afterwards."""
    row = office.waiting_on_prod(f"v1.{office.commits + 1}.0")
    yield row
    office.cancel(row["id"])


def approve(console: Console, password: str, deployment: dict[str, Any], plan_hash: str | None = None) -> None:
    action = console.call(
        "odooops.deployment", "action_approve", [deployment["id"]], plan_hash or deployment["plan_hash"], "looked"
    )
    console.confirm(action, password)


@pytest.fixture(scope="module")
def password(stack: Stack) -> str:
    return cast.passwords(stack.state / "secrets" / "demo_passwords.json")[cast.APPROVER]


def one_sentence(text: str) -> bool:
    return bool(text) and "Traceback" not in text and "\n" not in text.strip() and text.strip().endswith((".", "?"))


class TestNames:
    """Unknown or malformed names in CI's calls."""

    def test_unknown_environment(self, office: Office) -> None:
        answer = office.request(office.key("nowhere"), "refs/tags/v1.0.0")
        assert answer.status == 404
        assert one_sentence(answer.sentence), answer

    def test_unknown_project(self, office: Office) -> None:
        answer = office.request("nobody/prod", "refs/tags/v1.0.0")
        assert answer.status == 404
        assert one_sentence(answer.sentence), answer

    def test_unknown_tag(self, office: Office) -> None:
        answer = office.request(office.key("prod"), "refs/tags/v99.0.0")
        assert answer.status == 404
        assert "v99.0.0" in answer.sentence

    def test_unknown_commit(self, office: Office) -> None:
        answer = office.request(office.key("stage"), "refs/heads/main", "f" * 40)
        assert answer.status == 404
        assert one_sentence(answer.sentence), answer

    @pytest.mark.parametrize(
        "image", ["{repository}:v1.0.0", "{repository}@sha256:12", "{repository}", "", "x y@sha256:" + "0" * 64]
    )
    def test_image_without_digest(self, office: Office, image: str) -> None:
        sha, _digest = office.commit()
        name = image.format(repository=f"{office.registry}/{office.project.code}")
        answer = office.ci.call(
            "odooops.release",
            "register",
            project=office.project.code,
            ref="refs/heads/main",
            commit_sha=sha,
            image=name,
        )
        assert answer.status == 422, answer
        assert "push the image first" in answer.sentence

    @pytest.mark.parametrize(
        "tag",
        [INJECTION, "release-1", "1.0.0", "v", "v1.0.0\n", "v1.0.0 ", "../v1.0.0", "v1.0.0$(id)", "v" + "1" * 300],
    )
    def test_tag_of_another_form(self, office: Office, tag: str) -> None:
        sha, digest = office.commit()
        for answer in (
            office.register(sha, digest, f"refs/tags/{tag}"),
            office.request(office.key("prod"), f"refs/tags/{tag}", sha),
        ):
            assert answer.status == 422, answer
            assert "v*" in answer.sentence or "tag" in answer.sentence

    @pytest.mark.parametrize("script", ["register_release.py", "request_deployment.py"])
    def test_scripts_refuse_an_injected_tag(self, office: Office, script: str, tmp_path: Path) -> None:
        canary = tmp_path / "canary"
        canary.touch()
        sha, digest = office.commit()
        build = tmp_path / "build.json"
        build.write_text(
            json.dumps(
                {"image": f"{office.registry}/{office.project.code}@{digest}", "commit_sha": sha, "manifest": {}}
            )
        )
        ref = f"refs/tags/v1.0.0; rm -rf {canary}"
        arguments = {
            "register_release.py": ["--project", office.project.code, "--ref", ref, "--build", str(build)],
            "request_deployment.py": ["--environment", office.key("prod"), "--ref", ref, "--commit-sha", sha],
        }[script]
        done = subprocess.run(
            [sys.executable, str(SCRIPTS / script), *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2, done
        assert one_sentence(done.stderr), done.stderr
        assert canary.exists()


class TestReleasesNeverChange:
    """A tag or commit that is registered keeps what it is."""

    def test_tag_moved_to_another_commit(self, office: Office) -> None:
        office.staged("v2.0.0")
        answer = office.register(*office.commit(), ref="refs/tags/v2.0.0")
        assert answer.status == 409
        assert "a release never changes" in answer.sentence

    def test_commit_with_another_digest(self, office: Office) -> None:
        sha, digest = office.staged("v2.1.0")
        answer = office.register(sha, office.commit()[1], "refs/tags/v2.1.0")
        assert answer.status == 409
        assert digest in answer.sentence
        release = office.admin.one(
            "odooops.release", [["commit_sha", "=", sha], ["project_id", "=", office.project.id]], ["digest"]
        )
        assert release == {"id": release["id"], "digest": digest}

    def test_same_again_changes_nothing(self, office: Office) -> None:
        sha, digest = office.staged("v2.2.0")
        again = office.register(sha, digest, "refs/tags/v2.2.0")
        assert (again.status, again.body["new"]) == (200, False)

    def test_tag_asked_for_with_another_commit(self, office: Office) -> None:
        office.staged("v2.3.0")
        answer = office.request(office.key("prod"), "refs/tags/v2.3.0", "e" * 40)
        assert answer.status == 409


class TestApprovals:
    """Who may not decide, and when it is too late."""

    def refused(
        self, office: Office, console: Console, password: str, deployment: dict[str, Any], plan_hash: str | None = None
    ) -> str:
        with pytest.raises(RefusalError) as refusal:
            approve(console, password, deployment, plan_hash)
        assert one_sentence(refusal.value.message), refusal.value.message
        return refusal.value.message

    def test_by_its_author(self, office: Office, password: str) -> None:
        office.staged("v3.0.0")
        prod = office.project.environments["prod"]
        release = office.admin.one(
            "odooops.release", [["name", "=", "v3.0.0"], ["project_id", "=", office.project.id]], ["id"]
        )
        assert release
        wizard = office.approver.create("odooops.deploy.wizard", environment_id=prod, release_id=release["id"])
        asked = office.approver.call("odooops.deploy.wizard", "action_request", [wizard])["res_id"]
        office.droplet.plan()
        row = office.admin.read("odooops.deployment", asked, ["plan_hash"])
        assert "another person has to approve" in self.refused(office, office.approver, password, {"id": asked, **row})
        assert office.state(asked) == "awaiting_approval"
        office.cancel(asked)

    def test_by_ci_over_the_api(self, office: Office, waiting: dict[str, Any]) -> None:
        answer = office.ci.call(
            "odooops.deployment", "action_approve", ids=[waiting["id"]], plan_hash=waiting["plan_hash"], note="me"
        )
        assert answer.status == 403, answer
        assert office.state(waiting["id"]) == "awaiting_approval"

    def test_by_a_developer(self, office: Office, waiting: dict[str, Any], stack: Stack) -> None:
        word = cast.passwords(stack.state / "secrets" / "demo_passwords.json")[cast.DEVELOPER]
        assert "may not decide" in self.refused(office, office.developer, word, waiting)

    def test_by_one_person_twice(self, office: Office, password: str) -> None:
        policy = office.admin.ensure(
            "odooops.approval.policy", {"name": "paper: two people"},
            approvals_needed=2, staging_soak_minutes=0, soak_minutes=0, rehearsal=False, backup_max_age_hours=0,
        )  # fmt: skip
        prod = office.project.environments["prod"]
        office.admin.write("odooops.environment", prod, policy_id=policy)
        row = office.waiting_on_prod("v3.1.0")
        approve(office.approver, password, row)
        assert "another person has to" in self.refused(office, office.approver, password, row)
        assert office.state(row["id"]) == "awaiting_approval"
        approve(office.second_approver, password, row)
        assert office.state(row["id"]) == "queued"
        office.droplet.deploy()
        office.admin.write("odooops.environment", prod, policy_id=cast.create_policy(office.admin))

    def test_of_what_nobody_checked(self, office: Office, password: str) -> None:
        row = office.planned_on_prod("v3.2.0", [{**one, "status": "skipped"} for one in PASSED])
        assert "lacks checks" in self.refused(office, office.approver, password, row)
        assert office.state(row["id"]) == "planned"
        office.cancel(row["id"])

    def test_of_an_outdated_plan(self, office: Office, waiting: dict[str, Any], password: str) -> None:
        office.developer.call("odooops.deployment", "action_plan_again", [waiting["id"]])
        office.droplet.plan("changed")
        assert "has changed since you saw it" in self.refused(office, office.approver, password, waiting)
        assert office.state(waiting["id"]) == "awaiting_approval"

    def test_after_a_decision(self, office: Office, waiting: dict[str, Any], password: str) -> None:
        office.second_approver.call(
            "odooops.deployment", "action_reject", [waiting["id"]], waiting["plan_hash"], "not today"
        )
        assert "can't be decided any more" in self.refused(office, office.approver, password, waiting)
        assert office.state(waiting["id"]) == "rejected"

    def test_second_deployment_on_prod(self, office: Office, waiting: dict[str, Any]) -> None:
        sha, _digest = office.staged("v3.9.0")
        answer = office.request(office.key("prod"), "refs/tags/v3.9.0", sha)
        assert answer.status == 409
        assert "is busy" in answer.sentence

    def test_release_that_was_never_on_stage(self, office: Office) -> None:
        sha, digest = office.commit()
        assert office.register(sha, digest, "refs/tags/v3.8.0").status == 200
        answer = office.request(office.key("prod"), "refs/tags/v3.8.0", sha)
        assert answer.status == 422
        assert "never live on staging" in answer.sentence


class TestAgents:
    """Keys that open nothing, and leases that are over."""

    def test_wrong_key(self, office: Office) -> None:
        prefix, _underscore, secret = office.droplet.key.rpartition("_")
        for key in (f"{prefix}_{'A' * len(secret)}", "odooops_agent_999999_" + "A" * 43, "nonsense", "", "A" * 100_000):
            answer = office.droplet.heartbeat(key)
            assert answer.status in (401, 431), (key[:40], answer)

    def test_api_keys_of_odoo_open_nothing(self, office: Office, stack: Stack) -> None:
        assert office.droplet.heartbeat(office.ci_key).status == 401

    def test_agent_key_opens_no_other_route(self, office: Office, stack: Stack) -> None:
        answer = Api(stack.console_url, office.droplet.key, stack.control_database).call(
            "res.users", "search_read", domain=[], fields=["login"]
        )
        assert answer.status == 401, answer

    def test_expired_key(self, office: Office, stack: Stack) -> None:
        other = FakeDroplet(office.admin, stack.console_url, f"{office.project.code}-expired")
        assert other.heartbeat().status == 200
        expire_keys(stack, other.id)
        answer = other.heartbeat()
        assert answer.status == 401
        assert "expired" in answer.body["error"]["message"]

    def test_another_droplets_key(self, office: Office, stack: Stack) -> None:
        other = FakeDroplet(office.admin, stack.console_url, f"{office.project.code}-other")
        assert office.register(*office.commit()).status == 200
        operation = office.droplet.lease()
        answer = office.droplet.steps(operation, key=other.key)
        assert (answer.status, answer.body["error"]["code"]) == (404, "unknown_operation")
        assert (
            other.post("lease", {"agent": {"capabilities": []}, "kinds": ["plan", "deploy"], "tokens": {}}).body[
                "operation"
            ]
            is None
        )
        assert office.droplet.finish(operation, {}, outcome="failed").status == 200

    def test_stale_token(self, office: Office) -> None:
        office.admin.write("odooops.agent", office.droplet.id, lease_seconds=LEASE_SECONDS)
        assert office.register(*office.commit()).status == 200
        first = office.droplet.lease()
        time.sleep(LEASE_SECONDS + 1)
        second = office.droplet.lease()
        assert (second["id"], second["token"] > first["token"]) == (first["id"], True)
        for answer in (office.droplet.steps(first), office.droplet.finish(first, {})):
            assert (answer.status, answer.body["error"]["code"]) == (409, "stale_token")
        assert office.droplet.finish(second, {}, outcome="failed").status == 200
        office.admin.write("odooops.agent", office.droplet.id, lease_seconds=30)

    @pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null", b'{"operation_id": "x"}'])
    def test_nonsense_in_the_body(self, office: Office, stack: Stack, body: bytes) -> None:
        answer = office.droplet.post_raw("finish", body)
        assert (answer.status, answer.body["error"]["code"]) == (400, "bad_request")


def expire_keys(stack: Stack, agent: int) -> None:
    """Let the time of an agent's keys be over: nothing in the console can do that, by intent."""
    statement = f"UPDATE odooops_agent_key SET expires_at = '2020-01-01' WHERE agent_id = {agent:d}"  # noqa: S608
    stack.compose(
        "exec",
        "--no-TTY",
        "control-db",
        "psql",
        "--username=postgres",
        f"--dbname={stack.control_database}",
        "--command",
        statement,
    )
