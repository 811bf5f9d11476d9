"""Every `run:` step of every workflow, run as Actions runs it, against the real console, droplet and registry.

GitHub's side is played by `tests.actions` (expressions filled in from GitHub's own examples of payloads) and by a git
server that asks for a token or a deploy key. The tests of this file are one story, told from top to bottom.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from scripts.demo import cast, earlier, opening, wait
from scripts.demo.ci import CHECKS
from scripts.demo.sample_repository import PARTNER_FIRSTNAME, Commit
from scripts.demo.timeline import Timeline
from scripts.demo.world import PLAN_SECONDS, World
from scripts.setup import build, engine, paths
from scripts.setup.stack import Stack
from tests.actions import rules
from tests.actions.runner import Event, Run, Runner, Settings
from tests.git_server import GitServer, git

HUB, CONSOLE = "hub", "console"
REPOSITORY, TOOLS = "acme/shop", "odooops/odooops"
OCA = f"OCA/{PARTNER_FIRSTNAME.repository}"
TOKEN = "ghs_repository-token"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb25seSBmb3IgdGhpcyB0ZXN0\n-----END OPENSSH PRIVATE KEY-----\n"
PAYLOADS = paths.ROOT / "tests/contract/github/payloads.json"
# What preflight hands on, where its own run is not what a test is about: as much as the policy "demo" requires.
FOUND = [{"check": name, "status": "passed", "summary": "nothing found", "facts": {"tier": "low"}} for name in CHECKS]
NEVER_BUILT = {"base": {"commit": ""}, "preflight": {"checks": json.dumps({"checks": FOUND})}}
WORKFLOWS = sorted((paths.ROOT / ".github/workflows").glob("*.yml"))


def example(kind: str, **wanted: object) -> dict[str, Any]:
    """Return GitHub's own example of a payload: the first whose values are these."""
    for one in json.loads(PAYLOADS.read_text()):
        if one["kind"] == kind and all(one["payload"].get(name) == value for name, value in wanted.items()):
            return dict(one["payload"])
    raise AssertionError(f"There is no example of {kind} with {wanted}.")


@dataclass
class Hub:
    """A customer's repository on GitHub, with its settings, and a machine that runs its workflows."""

    world: World
    server: GitServer
    runner: Runner
    settings: Settings
    commits: dict[str, Commit] = field(default_factory=dict)

    @property
    def code(self) -> str:
        return self.world.project.code

    def commit(self, commit: Commit) -> Commit:
        """Push a commit to main, with its tag."""
        source, target = self.world.workflow.repository.path, self.server.root / f"{REPOSITORY}.git"
        git(source, "push", "--quiet", "--force", str(target), "HEAD:refs/heads/main", "refs/tags/*:refs/tags/*")
        if commit.tag:
            self.commits[commit.tag] = commit
        return commit

    def tag(self, tag: str, sha: str) -> None:
        git(self.world.workflow.repository.path, "tag", "--force", tag, sha)
        git(self.world.workflow.repository.path, "push", "--quiet", str(self.server.root / f"{REPOSITORY}.git"), tag)

    def push(self, ref: str, sha: str, repository: str = REPOSITORY) -> Event:
        payload = example("push", ref="refs/heads/master" if ref.startswith("refs/heads/") else "refs/tags/simple-tag")
        payload |= {"ref": ref, "before": "0" * 40, "after": sha, "created": False}
        payload["repository"] = {**payload["repository"], "full_name": repository}
        return Event("push", repository, ref, sha, payload)

    def dispatch(self, repository: str = REPOSITORY, **inputs: str) -> Event:
        sha = git(self.server.root / f"{repository}.git", "rev-parse", "refs/heads/main")
        payload = {"ref": "refs/heads/main", "repository": {"full_name": repository}, "inputs": inputs}
        return Event("workflow_dispatch", repository, "refs/heads/main", sha, payload, inputs)

    def pull_request(self, merge: str, head: str, base: str, repository: str = REPOSITORY, fork: str = "") -> Event:
        payload = example("pull_request", action="opened")
        request = payload["pull_request"]
        for side, name, sha in (("head", fork or repository, head), ("base", repository, base)):
            repo = {**(request[side].get("repo") or {}), "full_name": name}
            request[side] = {**request[side], "sha": sha, "repo": repo}
        return Event("pull_request", repository, "refs/pull/7/merge", merge, payload)

    def run(self, workflow: str, event: Event, settings: Settings | None = None, **given: dict[str, str]) -> Run:
        return self.runner.run(workflow, event, settings or self.settings, given or None)

    def without(self, *names: str) -> Settings:
        """Return the settings without some of the variables and secrets."""

        def left(part: Mapping[str, str]) -> dict[str, str]:
            return {name: text for name, text in part.items() if name not in names}

        return replace(self.settings, vars=left(self.settings.vars), secrets=left(self.settings.secrets))

    def with_bucket(self, environment: str, bucket: str) -> Settings:
        environments = {**self.settings.environments, environment: {"SUPABASE_STORAGE_BUCKET": bucket}}
        return replace(self.settings, environments=environments)

    def deployments(self) -> int:
        domain = [["project_id", "=", self.world.project.id]]
        return int(self.world.admin.call("odooops.deployment", "search_count", domain))


def good(run: Run) -> Run:
    assert run.result == "success", run.told()
    return run


@pytest.fixture(scope="module")
def hub(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("github")
    for family in (HUB, CONSOLE):
        earlier.remove(stack, family)
    world = opening.open_world(stack, Timeline(folder / "demo.json", 0), HUB)
    every_check = {"required_checks": "lint, tests, allowlist, risk, version"}
    policy = world.admin.ensure("odooops.approval.policy", {"name": HUB}, **cast.AT_ONCE, **every_check)
    world.admin.write("odooops.environment", world.project.environments["prod"], policy_id=policy)
    with GitServer(folder / "server", TOKEN) as server:
        settings = settings_of(stack, world, make_console(stack, world))
        yield Hub(world, server, make_runner(server, folder, stack), settings)
    for family in (HUB, CONSOLE):
        earlier.remove(stack, family)
    for name in ("odooops/preflight", "odooops/console-preview"):
        images = engine.docker("image", "ls", "--quiet", name).split()
        if images:
            engine.docker("image", "rm", "--force", *set(images))


def make_console(stack: Stack, world: World) -> cast.Project:
    """Make the project that is the console itself."""
    code = cast.free_code(world.admin, CONSOLE)
    agent = world.environment("stage", "agent_id")["agent_id"][0]
    policy = cast.create_policy(world.admin)
    project = cast.create_project(
        world.admin, code, code.capitalize(), "odooops_control", agent, policy, stack.ports["http"]
    )
    cast.invite_people(world.admin, project.id, world.passwords)
    return project


def settings_of(stack: Stack, world: World, console: cast.Project) -> Settings:
    projects = [world.project.id, console.id]
    wizard = world.admin.create(
        "odooops.ci.access", name=f"Actions of {world.project.code}", project_ids=[[6, 0, projects]]
    )
    key = world.admin.call("odooops.ci.access", "action_create_key", [wizard])["context"]["default_key"]
    # Files, as this machine's bundle of certificates is longer than a secret may be.
    files = {name: {"file": str(path)} for name, path in build.secret_files().items()}
    return Settings(
        vars={
            "ODOOOPS_URL": stack.console_url,
            "ODOOOPS_PROJECT": world.project.code,
            "ODOOOPS_CONSOLE_PROJECT": console.code,
            "ODOOOPS_REGISTRY": stack.registry,
        },
        secrets={
            "ODOOOPS_API_KEY": key,
            "ODOOOPS_SUBMODULE_KEYS": json.dumps({OCA: KEY}),
            "ODOOOPS_BUILD_SECRETS": json.dumps(files),
            "REGISTRY_USERNAME": "ci",
            "REGISTRY_PASSWORD": "not asked for here",
        },
        environments={
            "staging": {"SUPABASE_STORAGE_BUCKET": "staging-files,staging-mail"},
            "production": {"SUPABASE_STORAGE_BUCKET": "prod-files"},
        },
    )


def make_runner(server: GitServer, folder: Path, stack: Stack) -> Runner:
    git_settings = {
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{server.url}/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
    }  # fmt: skip
    path = f"{server.install_ssh(folder / 'bin')}:{os.environ['PATH']}"
    extra = {**git_settings, "PATH": path, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    return Runner(paths.ROOT, server.url, TOKEN, folder / "runs", extra, {"postgres:16": stack.postgres_image})


@pytest.fixture(scope="module")
def tools(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Put this repository, as it is on disk, on the git server; return its commit."""
    folder = tmp_path_factory.mktemp("tools")
    listed = git(paths.ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, listed):
        source = paths.ROOT / name
        if source.is_symlink() or source.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name, follow_symlinks=False)
    git(folder, "init", "--quiet", "--initial-branch=main", ".")
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--message=OdooOps")
    hub.server.create(TOOLS, folder)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def called(tools: str) -> dict[str, str]:
    """What a workflow of another repository says when it calls one of these."""
    return {"tools-repository": TOOLS, "tools-ref": tools}


@pytest.fixture(scope="module")
def first(hub: Hub) -> Commit:
    """The customer's first commit, its OCA addons in a private repository with a deploy key of its own."""
    repository = hub.world.workflow.repository
    repository.create()
    hub.server.create(OCA, repository.oca_path, key=KEY)
    (modules := repository.path / ".gitmodules").write_text(
        modules.read_text().replace(f"../oca/{PARTNER_FIRSTNAME.repository}", f"https://github.com/{OCA}")
    )
    hub.server.create(REPOSITORY)
    return hub.commit(repository.commit("Deploy with OdooOps", "v1.0.0"))


def call(
    hub: Hub, workflow: str, event: Event, inputs: dict[str, Any], settings: Settings | None = None, **given: Any
) -> Run:
    """Run a workflow as the customer's own one calls it, with all the secrets that it takes."""
    settings = settings or hub.settings
    takes = (rules.load(paths.ROOT / ".github/workflows" / workflow)["on"]["workflow_call"] or {}).get("secrets") or {}
    secrets = {} if event.is_fork else {name: text for name, text in settings.secrets.items() if name in takes}
    return hub.runner.call(workflow, event, settings, inputs, secrets, given)


class TestPreflight:
    """A pull request is checked, and one that fails is told why."""

    def merged(self, hub: Hub, first: Commit, name: str, content: dict[str, str]) -> tuple[str, str]:
        """Make a pull request's branch and its merge with main on the git server; return the merge and the head."""
        source = hub.world.workflow.repository.path
        git(source, "checkout", "--quiet", "-b", name, first.sha)
        for path, text in content.items():
            (source / path).write_text(text)
        git(source, "commit", "--quiet", "--all", f"--message={name}")
        head = git(source, "rev-parse", "HEAD")
        git(source, "checkout", "--quiet", "--detach", first.sha)
        git(source, "merge", "--quiet", "--no-ff", "--message=merge", head)
        merge = git(source, "rev-parse", "HEAD")
        target = str(hub.server.root / f"{REPOSITORY}.git")
        git(source, "push", "--quiet", target, f"{merge}:refs/pull/7/merge", "--force")
        git(source, "checkout", "--quiet", "main")
        return merge, head

    def test_a_good_one(self, hub: Hub, first: Commit, called: dict[str, str]) -> None:
        path = "addons/custom/workshop/__manifest__.py"
        manifest = (hub.world.workflow.repository.path / path).read_text()
        change = {
            path: manifest.replace("19.0.1.0.0", "19.0.1.0.1"),
            "addons/custom/workshop/static/release.txt": "1.0.1\n",
        }
        merge, head = self.merged(hub, first, "feature/good", change)
        run = good(call(hub, "preflight.yml", hub.pull_request(merge, head, first.sha), called))
        found = json.loads(run.outputs["checks"])["checks"]
        assert {one["check"]: one["status"] for one in found} == dict.fromkeys(
            ("lint", "tests", "allowlist", "risk", "version"), "passed"
        )
        assert "with its deploy key" in run.step("Fetch the submodules").output
        domain = [["commit_sha", "=", head], ["project_id", "=", hub.world.project.id]]
        recorded = hub.world.admin.search_read("odooops.check.run", domain, ["name", "status"])
        assert {one["name"]: one["status"] for one in recorded}["tests"] == "success"

    def test_a_bad_one_fails_with_the_file(self, hub: Hub, first: Commit, called: dict[str, str]) -> None:
        change = {"addons/custom/workshop/models/workshop_order.py": "def broken(:\n"}
        merge, head = self.merged(hub, first, "feature/bad", change)
        run = call(hub, "preflight.yml", hub.pull_request(merge, head, first.sha), called)
        assert run.failed.name == "Check what can be read"
        assert "::error file=addons/custom/workshop/models/workshop_order.py" in run.failed.output
        assert run.outputs["checks"] == ""

    def test_a_forks_gets_no_secret(self, hub: Hub, first: Commit, called: dict[str, str]) -> None:
        merge, head = self.merged(hub, first, "feature/fork", {"README.md": "Hello\n"})
        event = hub.pull_request(merge, head, first.sha, fork="mallory/shop")
        run = call(hub, "preflight.yml", event, called)
        assert run.failed.name == "Fetch the submodules"
        assert f"Submodule addons/oca/repos/{PARTNER_FIRSTNAME.repository} (github.com/{OCA})" in run.failed.output
        assert "Record it in the console" not in run.ran
        asked = hub.world.admin.call("odooops.check.run", "search_count", [["commit_sha", "=", head]])
        assert asked == 0


class TestStaging:
    """main goes to staging, or nothing does."""

    @pytest.fixture
    def event(self, hub: Hub, first: Commit) -> Event:
        return hub.push("refs/heads/main", first.sha)

    @pytest.mark.parametrize(
        ("names", "sentence"),
        [
            (["ODOOOPS_API_KEY"], "The secret ODOOOPS_API_KEY or the variable ODOOOPS_OIDC_AUDIENCE is not set"),
            (["ODOOOPS_URL"], "The variable ODOOOPS_URL is not set"),
        ],
    )
    def test_a_missing_setting(
        self, hub: Hub, event: Event, called: dict[str, str], names: list[str], sentence: str
    ) -> None:
        run = call(hub, "deploy-staging.yml", event, called, hub.without(*names), **NEVER_BUILT)
        assert (run.failed.name, run.failed.code) == ("Stop where a setting is missing", 2)
        assert sentence in run.failed.output
        assert "Build and push the image" not in run.ran

    @pytest.mark.parametrize(
        ("bucket", "code"), [("prod-files", 1), ("staging-files,prod-files", 1), ("", 2), ("my-staging-files", 1)]
    )
    def test_a_bucket_of_another_environment(
        self, hub: Hub, event: Event, called: dict[str, str], bucket: str, code: int
    ) -> None:
        settings = hub.with_bucket("staging", bucket)
        run = call(hub, "deploy-staging.yml", event, called, settings, **NEVER_BUILT)
        assert (run.failed.name, run.failed.code) == ("Guard the storage bucket", code)
        assert "Build and push the image" not in run.ran
        assert hub.deployments() == 0

    def test_a_registry_without_a_password(self, hub: Hub, event: Event, called: dict[str, str]) -> None:
        settings = hub.without("REGISTRY_PASSWORD")
        run = call(hub, "deploy-staging.yml", event, called, settings, **NEVER_BUILT)
        assert run.failed.name == "Log in to the registry"
        assert hub.deployments() == 0

    def test_a_preflight_that_fails_stops_it(self, hub: Hub, event: Event, called: dict[str, str]) -> None:
        settings = hub.without("ODOOOPS_SUBMODULE_KEYS")
        run = call(hub, "deploy-staging.yml", event, called, settings)
        assert run.results == {"base": "success", "preflight": "failure", "deploy": "skipped"}
        assert hub.deployments() == 0

    def test_main_goes_to_staging(self, hub: Hub, event: Event, called: dict[str, str]) -> None:
        run = good(call(hub, "deploy-staging.yml", event, called))
        assert "runs main-" in run.step("Staging healthcheck").output
        assert hub.world.status_page("stage")["release"] == "1.0.0"
        assert "| Health | green |" in run.summary
        release = hub.world.admin.one(
            "odooops.release", [["commit_sha", "=", event.sha], ["project_id", "=", hub.world.project.id]], ["checks"]
        )
        assert release
        assert "tests" in str(release["checks"])


class TestProduction:
    """A tag goes to production when its image ran on staging and a person approves."""

    def test_a_commit_that_was_never_built(self, hub: Hub, first: Commit, called: dict[str, str]) -> None:
        repository = hub.world.workflow.repository.path
        git(repository, "commit", "--quiet", "--allow-empty", "--message=never pushed to main")
        sha = git(repository, "rev-parse", "HEAD")
        git(repository, "reset", "--quiet", "--hard", first.sha)
        hub.tag("v8.0.0", sha)
        run = call(hub, "deploy-production.yml", hub.push("refs/tags/v8.0.0", sha), called)
        assert run.failed.name == "Name what was built of it"
        assert f"Commit {sha[:7]} of {hub.code} was never built: push it to main first" in run.failed.output
        assert run.results == {"name": "failure", "deploy": "skipped"}

    def test_an_image_that_never_ran_on_staging(self, hub: Hub, first: Commit, called: dict[str, str]) -> None:
        stage = hub.world.project.environments["stage"]
        repository = hub.world.workflow.repository.path
        git(repository, "commit", "--quiet", "--allow-empty", "--message=built, not staged")
        sha = git(repository, "rev-parse", "HEAD")
        git(repository, "reset", "--quiet", "--hard", first.sha)
        hub.tag("v8.1.0", sha)
        hub.world.admin.write("odooops.environment", stage, auto_deploy=False)
        image = f"{hub.settings.vars['ODOOOPS_REGISTRY']}/{REPOSITORY}@sha256:{'8' * 64}"
        answer = hub.world.ci.call(
            "odooops.release", "register", project=hub.code, ref="refs/heads/main", commit_sha=sha, image=image
        )
        hub.world.admin.write("odooops.environment", stage, auto_deploy=True)
        assert answer.status == 200, answer
        run = call(hub, "deploy-production.yml", hub.push("refs/tags/v8.1.0", sha), called)
        assert run.failed.name == "Request, wait for the approval in the console, follow the deployment"
        assert "never live on staging" in run.failed.output

    def test_a_tag_that_is_not_there(self, hub: Hub, first: Commit, called: dict[str, str]) -> None:
        run = call(hub, "deploy-production.yml", hub.dispatch(), {**called, "tag": "v99.0.0"})
        assert run.failed.name == "Check out the tag"

    def test_a_bucket_of_another_environment(self, hub: Hub, first: Commit, called: dict[str, str]) -> None:
        event = hub.push("refs/tags/v1.0.0", first.sha)
        run = call(hub, "deploy-production.yml", event, called, hub.with_bucket("production", "staging-files"))
        assert (run.failed.name, run.failed.code) == ("Guard the storage bucket", 1)
        assert not hub.world.newest_deployment("prod", self.release(hub, first))

    def release(self, hub: Hub, commit: Commit) -> int:
        domain = [["commit_sha", "=", commit.sha], ["project_id", "=", hub.world.project.id]]
        found = hub.world.admin.one("odooops.release", domain, ["id"])
        assert found
        return int(found["id"])

    def while_it_waits(self, hub: Hub, commit: Commit, run: Any, decide: Any) -> Run:
        """Run a workflow, and decide in the console once it waits for the approval."""
        ended: list[Run] = []
        thread = threading.Thread(target=lambda: ended.append(run()))
        thread.start()

        def waiting() -> dict[str, Any] | None:
            row = hub.world.newest_deployment("prod", self.release(hub, commit))
            return row if row and row["state"] == "awaiting_approval" else None

        try:
            decide(wait.until("the request of the workflow", waiting, PLAN_SECONDS))
        finally:
            thread.join(timeout=600)
        assert ended, "The workflow has not ended."
        return ended[0]

    def test_a_person_rejects(self, hub: Hub, first: Commit, called: dict[str, str]) -> None:
        event = hub.push("refs/tags/v1.0.0", first.sha)

        def reject(row: dict[str, Any]) -> None:
            hub.world.approver.call("odooops.deployment", "action_reject", [row["id"]], row["plan_hash"], "not today")

        run = self.while_it_waits(hub, first, lambda: call(hub, "deploy-production.yml", event, called), reject)
        assert run.failed.name == "Request, wait for the approval in the console, follow the deployment"
        assert "ended as rejected" in run.failed.output
        assert "Production healthcheck" not in run.ran

    def test_a_person_approves(self, hub: Hub, first: Commit, called: dict[str, str]) -> None:
        event = hub.push("refs/tags/v1.0.0", first.sha)

        def approve(row: dict[str, Any]) -> None:
            hub.world.approve(row, "Looked at stage.")

        run = good(self.while_it_waits(hub, first, lambda: call(hub, "deploy-production.yml", event, called), approve))
        followed = run.step("Request, wait for the approval in the console, follow the deployment").output
        # Whether it also asked in the moment in which it waited for this approval is chance.
        assert "v1.0.0 is asked for, see http" in followed
        assert "v1.0.0: Live" in followed
        assert f"{hub.code}/prod runs v1.0.0: green" in run.step("Production healthcheck").output
        images = {hub.world.environment(code, "running_digest")["running_digest"] for code in ("stage", "prod")}
        assert len(images) == 1

    def test_the_same_again_changes_nothing(self, hub: Hub, first: Commit, called: dict[str, str]) -> None:
        before = hub.deployments()
        good(call(hub, "deploy-production.yml", hub.dispatch(), {**called, "tag": "v1.0.0"}))
        assert hub.deployments() == before


class TestRollback:
    """An environment goes back to a release that ran there."""

    def roll_back(self, hub: Hub, called: dict[str, str], **inputs: str) -> Run:
        return call(hub, "rollback.yml", hub.dispatch(), {**called, "reason": "the shop is slow", **inputs})

    def test_to_an_unknown_tag(self, hub: Hub, first: Commit, called: dict[str, str]) -> None:
        run = self.roll_back(hub, called, environment="stage", previous_tag="v77.0.0")
        assert run.failed.name == "Request the rollback and follow it"
        assert "v77.0.0" in run.failed.output

    @pytest.mark.parametrize("tag", ["v1.0.0; touch canary", "$(touch canary)", "`touch canary`", "--wait"])
    def test_to_what_is_no_tag(self, hub: Hub, first: Commit, called: dict[str, str], tag: str) -> None:
        run = self.roll_back(hub, called, environment="prod", previous_tag=tag)
        assert (run.failed.name, run.failed.code) == ("Request the rollback and follow it", 2)
        assert not list(hub.runner.folder.rglob("canary"))

    def test_staging_goes_back(self, hub: Hub, first: Commit, called: dict[str, str]) -> None:
        second = hub.commit(hub.world.workflow.repository.change_static("v1.0.1"))
        event = hub.push("refs/heads/main", second.sha)
        pushed = good(call(hub, "deploy-staging.yml", event, called, preflight=NEVER_BUILT["preflight"]))
        # Not with what was there before the push, which may be red: with what passed.
        assert f"Compared with {first.sha}" in pushed.step("Find what this push is compared with").output
        assert hub.world.status_page("stage")["release"] == "1.0.1"
        run = good(self.roll_back(hub, called, environment="stage", previous_tag="v1.0.0"))
        assert hub.world.status_page("stage")["release"] == "1.0.0"
        assert "green" in run.step("Healthcheck").output


class TestConsole:
    """The console itself in its tiers, from this repository."""

    WORKFLOW = "deploy-odooops-console.yml"

    def test_a_pull_request_is_tried_and_thrown_away(self, hub: Hub, tools: str) -> None:
        git(hub.server.root / f"{TOOLS}.git", "update-ref", "refs/pull/7/merge", tools)
        run = good(hub.run(self.WORKFLOW, hub.pull_request(tools, tools, tools, TOOLS)))
        assert "answers at http://127.0.0.1:" in run.step("Start it, look at it, throw it away").output
        assert run.results["staging"] == run.results["production"] == "skipped"
        assert not engine.docker("ps", "--all", "--quiet", "--filter=name=odooops_preview_").strip()

    def test_a_forks_pull_request_does_nothing(self, hub: Hub, tools: str) -> None:
        run = hub.run(self.WORKFLOW, hub.pull_request(tools, tools, tools, TOOLS, fork="mallory/odooops"))
        assert set(run.results.values()) == {"skipped"}

    def test_the_bucket_is_guarded(self, hub: Hub, tools: str) -> None:
        for event, environment in (
            (hub.push("refs/heads/main", tools, TOOLS), "staging"),
            (self.tagged(hub, tools), "production"),
        ):
            settings = hub.with_bucket(environment, "someones-files")
            run = hub.run(self.WORKFLOW, event, settings, **NEVER_BUILT, name={"commit": tools})
            assert (run.failed.name, run.failed.code) == ("Guard the storage bucket", 1)

    def tagged(self, hub: Hub, tools: str) -> Event:
        git(hub.server.root / f"{TOOLS}.git", "tag", "--force", "v1.0.0", tools)
        return hub.push("refs/tags/v1.0.0", tools, TOOLS)

    def test_main_goes_to_staging(self, hub: Hub, tools: str) -> None:
        run = good(hub.run(self.WORKFLOW, hub.push("refs/heads/main", tools, TOOLS), **NEVER_BUILT))
        project = hub.settings.vars["ODOOOPS_CONSOLE_PROJECT"]
        assert f"{project}/stage runs main-" in run.step("Staging healthcheck").output

    def test_a_tag_waits_for_its_approval(self, hub: Hub, tools: str) -> None:
        """As any project's; here it is refused, so that nothing has to be installed a second time."""
        project = hub.settings.vars["ODOOOPS_CONSOLE_PROJECT"]
        ended: list[Run] = []
        event = self.tagged(hub, tools)
        thread = threading.Thread(target=lambda: ended.append(hub.run(self.WORKFLOW, event)))
        thread.start()
        domain = [["environment_id.key", "=", f"{project}/prod"], ["state", "=", "awaiting_approval"]]

        def waiting() -> dict[str, Any] | None:
            return hub.world.admin.one("odooops.deployment", domain, ["plan_hash"])

        try:
            row = wait.until("the console's request", waiting, PLAN_SECONDS)
            hub.world.approver.call("odooops.deployment", "action_reject", [row["id"]], row["plan_hash"], "not today")
        finally:
            thread.join(timeout=300)
        assert "ended as rejected" in ended[0].failed.output


class TestThisRepository:
    """CI runs what a developer runs."""

    def test_ci(self, hub: Hub, tools: str) -> None:
        # `make test` runs this test: so make only says what it would do.
        runner = replace(hub.runner, extra={**hub.runner.extra, "MAKEFLAGS": "n"})
        run = good(runner.run("ci.yml", hub.push("refs/heads/main", tools, TOOLS), hub.settings))
        hub.runner.done.update(runner.done)
        assert "scripts.ci.run_tests" in run.step("Run every test").output
        assert "scripts.ci.lint --prove" in run.step("Prove that every linter finds something").output


def test_every_step_of_every_workflow_was_run(hub: Hub) -> None:
    """The last of the story: no `run:` anywhere that nobody saw succeed."""
    wanted = {
        (path.name, job, step.get("name") or step["run"].splitlines()[0])
        for path in WORKFLOWS
        for job, content in rules.load(path)["jobs"].items()
        for step in content.get("steps") or []
        if "run" in step
    }
    assert wanted
    assert not wanted - hub.runner.done
