"""Run a workflow's jobs and steps on this machine, in their order, each with what GitHub would give it and no more.

`uses:` of the few actions that ours name is done by hand: checkout from a git server, Python, a registry's login.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tests.actions import expressions, rules

# What a runner's machine has of its own; nothing of ours.
INHERITED = (
    "PATH", "HOME", "LANG", "DOCKER_HOST", "TMPDIR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE",
    *(name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")),
)  # fmt: skip
STEP_SECONDS = 1800
SERVICE_SECONDS = 120
TIER_ENVIRONMENTS = ("staging", "production", "preview")


@dataclass(frozen=True)
class Settings:
    """What is set in a repository, and the variables of its environments by their names."""

    vars: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """Why a workflow runs.

    :ivar payload: as GitHub's webhook has it; `github.event`.
    """

    name: str
    repository: str
    ref: str
    sha: str
    payload: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    actor: str = "octocat"

    @property
    def is_fork(self) -> bool:
        request = self.payload.get("pull_request") or {}
        head, base = ((request.get(side) or {}).get("repo") or {} for side in ("head", "base"))
        return self.name == "pull_request" and head.get("full_name") != base.get("full_name")

    @property
    def ref_name(self) -> str:
        return self.ref.removeprefix("refs/").removeprefix("heads/").removeprefix("tags/").removeprefix("pull/")


@dataclass(frozen=True)
class Step:
    """How a step ended; `output` has all it wrote."""

    job: str
    name: str
    result: str
    output: str = ""
    code: int = 0
    ran: str = ""


@dataclass
class Run:
    """How a workflow ended."""

    steps: list[Step] = field(default_factory=list)
    results: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    job_outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    summary: str = ""

    @property
    def result(self) -> str:
        return "failure" if "failure" in self.results.values() else "success"

    @property
    def failed(self) -> Step:
        """The first step that failed; there has to be one."""
        return next(step for step in self.steps if step.result == "failure")

    def step(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)

    @property
    def ran(self) -> set[str]:
        """The names of the steps that ran."""
        return {step.name for step in self.steps if step.result != "skipped"}

    def told(self) -> str:
        return "\n".join(f"--- {step.job} / {step.name}: {step.result}\n{step.output[-3000:]}" for step in self.steps)


@dataclass
class Runner:
    """A machine that runs workflows.

    :ivar root: where the workflows' files are.
    :ivar git_url: the git server that stands for github.com.
    :ivar token: what `github.token` is there.
    :ivar folder: workspaces are made here.
    :ivar extra: more of the machine's environment.
    :ivar images: what stands for an image that this machine has by another name.
    :ivar done: workflow, job and name of each step that ended well.
    """

    root: Path
    git_url: str
    token: str
    folder: Path
    extra: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    done: set[tuple[str, str, str]] = field(default_factory=set)
    _count: int = 0
    _given: Mapping[str, dict[str, str]] = field(default_factory=dict)

    def run(
        self, workflow: str, event: Event, settings: Settings, given: Mapping[str, dict[str, str]] | None = None
    ) -> Run:
        """Run a workflow file for an event, as GitHub starts it.

        :param given: the outputs of jobs that are taken as done, by their names; of called workflows' jobs too
        :raises AssertionError: the event does not start it, or an input has no place in it
        """
        self._given = given or {}
        content = rules.load(self.root / ".github/workflows" / workflow)
        assert event.name in content["on"], f"{event.name} does not start {workflow}"
        trigger = content["on"][event.name] or {}
        assert _is_started(trigger, event), f"{event.ref} does not start {workflow}"
        inputs = _inputs(trigger.get("inputs") or {}, event.inputs)
        return self._run(workflow, content, event, settings, inputs, settings.secrets if not event.is_fork else {})

    def call(
        self, workflow: str, event: Event, settings: Settings, inputs: Mapping[str, Any], secrets: Mapping[str, str],
        given: Mapping[str, dict[str, str]] | None = None,
    ) -> Run:  # fmt: skip
        """Run a workflow as another one calls it: `uses:`, with these inputs and secrets and no others."""
        self._given = self._given if given is None else given
        content = rules.load(self.root / ".github/workflows" / workflow)
        trigger = content["on"]["workflow_call"] or {}
        known = trigger.get("secrets") or {}
        assert not secrets.keys() - known.keys(), f"{workflow} takes no {secrets.keys() - known.keys()}"
        inputs = {name: value for name, value in inputs.items() if value is not None}
        run = self._run(workflow, content, event, settings, _inputs(trigger.get("inputs") or {}, inputs), secrets)
        contexts = {"jobs": {name: {"outputs": outputs} for name, outputs in run.job_outputs.items()}}
        declared = trigger.get("outputs") or {}
        run.outputs = _texts(expressions.fill_in({name: one["value"] for name, one in declared.items()}, contexts))
        return run

    def _run(
        self, workflow: str, content: dict[str, Any], event: Event, settings: Settings, inputs: dict[str, Any],
        secrets: Mapping[str, str],
    ) -> Run:  # fmt: skip
        run = Run()
        needs: dict[str, dict[str, Any]] = {}
        for name, job in _in_order(content["jobs"]):
            contexts = {
                "github": self._github(event), "inputs": inputs, "vars": dict(settings.vars), "secrets": dict(secrets),
                "needs": {one: needs[one] for one in _needs(job)},
            }  # fmt: skip
            stopped = any(needs[one]["result"] != "success" for one in _needs(job))
            if name in self._given:
                result, outputs = "success", self._given[name]
            elif not self._is_due(job.get("if"), contexts, failed=stopped):
                result, outputs = "skipped", {}
            elif "uses" in job:
                result, outputs = self._call_job(run, name, job, event, settings, contexts)
            else:
                one = _Job(self, workflow, name, job, content, event, settings, contexts, run)
                result, outputs = one.run()
            needs[name] = {"result": result, "outputs": outputs}
            run.results[name] = result
            run.job_outputs[name] = outputs
        return run

    def _call_job(
        self, run: Run, name: str, job: dict[str, Any], event: Event, settings: Settings, contexts: dict[str, Any]
    ) -> tuple[str, dict[str, str]]:
        called = job["uses"].removeprefix("$/.github/workflows/")
        inputs = expressions.fill_in(job.get("with") or {}, contexts)
        secrets = {one: text for one, text in expressions.fill_in(job.get("secrets") or {}, contexts).items() if text}
        inner = self.call(called, event, settings, inputs, secrets)
        run.steps += inner.steps
        run.summary += inner.summary
        return inner.result, inner.outputs

    def _github(self, event: Event) -> dict[str, Any]:
        return {
            "event_name": event.name, "event": {**event.payload, "inputs": dict(event.inputs)},
            "repository": event.repository, "repository_owner": event.repository.partition("/")[0], "ref": event.ref,
            "ref_name": event.ref_name, "sha": event.sha, "actor": event.actor, "token": self.token,
            "server_url": "https://github.com", "run_id": "1", "job": "",
        }  # fmt: skip

    @staticmethod
    def _is_due(condition: Any, contexts: Mapping[str, Any], *, failed: bool) -> bool:
        """Tell whether a job or step runs; without a word of its own on failures it needs success."""
        text = str(condition if condition is not None else "success()").strip()
        text = text.removeprefix("${{").removesuffix("}}") if text.startswith("${{") else text
        asked: list[str] = []

        def status(name: str, value: bool) -> Callable[[], bool]:
            return lambda: asked.append(name) or value

        functions = {
            "success": status("success", not failed), "failure": status("failure", failed),
            "always": status("always", True), "cancelled": status("cancelled", False),
        }  # fmt: skip
        due = expressions.is_true(expressions.evaluate(text, contexts, functions))
        return due and (bool(asked) or not failed)

    def new_folder(self, name: str) -> Path:
        self._count += 1
        folder = self.folder / f"{self._count:02}-{name}"
        folder.mkdir(parents=True)
        return folder


class _Job:
    """One job on one fresh workspace."""

    def __init__(
        self, runner: Runner, workflow: str, name: str, job: dict[str, Any], content: dict[str, Any], event: Event,
        settings: Settings, contexts: dict[str, Any], run: Run,
    ) -> None:  # fmt: skip
        self._runner, self._workflow, self._name, self._job, self._event = runner, workflow, name, job, event
        self._run, self._content = run, content
        self._folder = runner.new_folder(name)
        self._workspace, self._temp = self._folder / "work", self._folder / "temp"
        for folder in (self._workspace, self._temp):
            folder.mkdir()
        self._contexts = {**contexts, "steps": {}, "runner": {"temp": str(self._temp), "os": "Linux"}}
        self._enter_environment(settings)
        self._contexts["env"] = _texts(
            expressions.fill_in({**(content.get("env") or {}), **(job.get("env") or {})}, self._contexts)
        )
        self._added: dict[str, str] = {}
        self._failed = False

    def _enter_environment(self, settings: Settings) -> None:
        """Add the variables of the environment that the job names."""
        named = self._job.get("environment")
        named = named.get("name") if isinstance(named, dict) else named
        environment = expressions.as_text(expressions.fill_in(named, self._contexts))
        assert environment in ("", *TIER_ENVIRONMENTS), environment
        if not environment or self._event.is_fork:
            return
        self._contexts["vars"] = {**self._contexts["vars"], **settings.environments.get(environment, {})}

    def run(self) -> tuple[str, dict[str, str]]:
        services = {name: self._start(one) for name, one in (self._job.get("services") or {}).items()}
        self._contexts["job"] = {"services": services}
        try:
            for number, step in enumerate(self._job["steps"]):
                self._one(number, step)
        finally:
            for service in services.values():
                self._docker("rm", "--force", "--volumes", service["id"])
        outputs = _texts(expressions.fill_in(self._job.get("outputs") or {}, self._contexts))
        return ("failure" if self._failed else "success"), outputs

    def _start(self, service: dict[str, Any]) -> dict[str, Any]:
        """Start a service's container and wait until it is healthy; return what `job.services` tells of it."""
        service = expressions.fill_in(service, self._contexts)
        ports = [str(port) for port in service.get("ports") or []]
        options = [f"--env={name}={value}" for name, value in (service.get("env") or {}).items()]
        options += [f"--publish=127.0.0.1::{port}" for port in ports] + shlex.split(service.get("options") or "")
        image = self._runner.images.get(service["image"], service["image"])
        container = self._docker("run", "--detach", *options, image)
        deadline = time.monotonic() + SERVICE_SECONDS
        while self._docker("inspect", "--format={{.State.Health.Status}}", container) != "healthy":
            assert time.monotonic() < deadline, self._docker("logs", container)
            time.sleep(0.5)
        told = {port: self._docker("port", container, port).split()[0].rpartition(":")[2] for port in ports}
        return {"id": container, "network": "bridge", "ports": told}

    @staticmethod
    def _docker(*arguments: str) -> str:
        done = subprocess.run(["/usr/bin/docker", *arguments], capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr
        return done.stdout.strip()

    def _one(self, number: int, step: dict[str, Any]) -> None:
        name = step.get("name") or step.get("uses") or step["run"].splitlines()[0]
        if not self._runner._is_due(step.get("if"), self._contexts, failed=self._failed):
            self._run.steps.append(Step(self._name, name, "skipped"))
            return
        output, env, summary = (self._folder / f"{number}-{part}" for part in ("output", "env", "summary"))
        for path in (output, env, summary):
            path.touch()
        if "run" in step:
            variables = _texts(expressions.fill_in(step.get("env") or {}, self._contexts))
            code, said = self._shell(number, step["run"], {**variables, "GITHUB_OUTPUT": str(output)}, env, summary)
        else:
            code, said = self._use(step["uses"], _texts(expressions.fill_in(step.get("with") or {}, self._contexts)))
        if step.get("id"):
            self._contexts["steps"][step["id"]] = {
                "outputs": _values(output),
                "outcome": "failure" if code else "success",
            }
        self._added |= _values(env)
        self._run.summary += summary.read_text()
        self._failed |= bool(code)
        result = "failure" if code else "success"
        self._run.steps.append(Step(self._name, name, result, said, code, step.get("run", "")))
        if not code:
            self._runner.done.add((self._workflow, self._name, name))

    def _shell(self, number: int, text: str, variables: dict[str, str], env: Path, summary: Path) -> tuple[int, str]:
        script = self._folder / f"{number}.sh"
        script.write_text(text)
        event = self._folder / "event.json"
        event.write_text(json.dumps(self._contexts["github"]["event"]))
        github = self._contexts["github"]
        environment = {
            **self._machine(),
            "CI": "true", "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self._workspace), "GITHUB_EVENT_PATH": str(event),
            "GITHUB_EVENT_NAME": github["event_name"], "GITHUB_REF": github["ref"], "GITHUB_SHA": github["sha"],
            "GITHUB_REPOSITORY": github["repository"], "GITHUB_SERVER_URL": github["server_url"],
            "GITHUB_STEP_SUMMARY": str(summary), "GITHUB_ENV": str(env), "RUNNER_TEMP": str(self._temp),
            **self._contexts["env"], **self._added, **variables,
        }  # fmt: skip
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)], cwd=self._workspace, env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            timeout=STEP_SECONDS, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    def _machine(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        docker = self._folder / "docker"
        docker.mkdir(exist_ok=True)
        return {**inherited, "DOCKER_CONFIG": str(docker), **self._runner.extra}

    def _use(self, uses: str, values: dict[str, str]) -> tuple[int, str]:
        action = uses.partition("@")[0]
        actions = {
            "actions/checkout": self._check_out,
            "actions/setup-python": self._set_up_python,
            "docker/login-action": self._log_in,
        }
        return actions[action](values)

    def _check_out(self, values: dict[str, str]) -> tuple[int, str]:
        """Fetch one commit, or all of the history with fetch-depth 0, as the action does."""
        assert values.get("persist-credentials") == "false"
        github = self._contexts["github"]
        repository = values.get("repository") or github["repository"]
        own = repository == github["repository"]
        ref = values.get("ref") or (github["sha"] if own else "HEAD")
        folder = self._workspace / values.get("path", ".")
        token = values.get("token") or self._runner.token
        depth = [] if values.get("fetch-depth") == "0" else ["--depth=1"]
        url = f"{self._runner.git_url}/{repository}"
        refs = [ref] if depth else ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*", ref]
        commands = [
            ["git", "init", "--quiet", str(folder)],
            ["git", "-C", str(folder), "remote", "add", "origin", url],
            ["git", "-C", str(folder), *_with_token(token), "fetch", "--quiet", "--no-tags", *depth, "origin", *refs],
            ["git", "-C", str(folder), "checkout", "--quiet", "--detach", _checked_out(ref)],
        ]
        return self._commands(commands)

    def _set_up_python(self, values: dict[str, str]) -> tuple[int, str]:
        """Give each workflow a Python with nothing installed, so that it needs what its requirements say."""
        assert values.get("python-version")
        folder = self._runner.folder / "python" / self._workflow
        self._added["PATH"] = f"{folder}/bin:{self._machine()['PATH']}"
        return (0, "") if folder.exists() else self._commands([[sys.executable, "-m", "venv", str(folder)]])

    def _log_in(self, values: dict[str, str]) -> tuple[int, str]:
        if not values.get("username") or not values.get("password"):
            return 1, "Error: Username and password required"
        argv = ["docker", "login", values["registry"], "--username", values["username"], "--password-stdin"]
        return self._commands([argv], stdin=values["password"])

    def _commands(self, commands: list[list[str]], stdin: str = "") -> tuple[int, str]:
        said = ""
        for argv in commands:
            done = subprocess.run(
                argv, input=stdin, env=self._machine(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                errors="replace", timeout=STEP_SECONDS, check=False,
            )  # fmt: skip
            said += done.stdout
            if done.returncode:
                return done.returncode, said
        return 0, said


def _with_token(token: str) -> list[str]:
    basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    return ["-c", f"http.extraHeader=Authorization: Basic {basic}"]


def _checked_out(ref: str) -> str:
    return "FETCH_HEAD" if ref.startswith("refs/") or ref == "HEAD" else ref


def _is_started(trigger: Mapping[str, Any], event: Event) -> bool:
    if event.name != "push":
        return True
    for kind, prefix in (("branches", "refs/heads/"), ("tags", "refs/tags/")):
        patterns = trigger.get(kind)
        name = event.ref.removeprefix(prefix)
        if patterns and name != event.ref and any(fnmatchcase(name, pattern) for pattern in patterns):
            return True
    return not trigger


def _inputs(declared: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    assert not given.keys() - declared.keys(), f"There are no inputs {given.keys() - declared.keys()}."
    filled = {}
    for name, one in declared.items():
        value = given.get(name, one.get("default"))
        assert value is not None or not one.get("required"), f"The input {name} is missing."
        assert one.get("type") != "choice" or value in one["options"], f"{value} is no choice of {name}."
        filled[name] = value
    return filled


def _needs(job: Mapping[str, Any]) -> list[str]:
    needs = job.get("needs") or []
    return [needs] if isinstance(needs, str) else list(needs)


def _in_order(jobs: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    left, ordered = dict(jobs), []
    while left:
        ready = [name for name, job in left.items() if not set(_needs(job)) & left.keys()]
        assert ready, f"The jobs {list(left)} need each other."
        ordered += [(name, left.pop(name)) for name in ready]
    return ordered


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: expressions.as_text(value) for name, value in values.items()}


def _values(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
