"""What a workflow of ours has to be, beyond what actionlint and zizmor look at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
OWN = re.compile(r"\$/\.github/workflows/[\w-]+\.ya?ml")
VERSION_COMMENT = re.compile(r"uses: *[\w.-]+/[\w./-]+@[0-9a-f]{40} +# v[0-9]+\.[0-9]+\.[0-9]+$")
# Runs on what a stranger sends with rights and secrets of the repository.
DANGEROUS = ("pull_request_target", "workflow_run", "issue_comment")


class _Loader(yaml.SafeLoader):
    """YAML 1.2's booleans, as GitHub has them: `on` is a name."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))


def load(path: Path) -> dict[str, Any]:
    """Read a workflow."""
    return dict(yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader))  # noqa: S506 (a SafeLoader)


def findings(path: Path) -> list[str]:
    """Return a sentence for each rule that a workflow breaks."""
    return [f"{path.name}: {sentence}" for sentence in _of_workflow(load(path), path.read_text(encoding="utf-8"))]


def _of_workflow(workflow: dict[str, Any], text: str) -> Iterator[str]:
    events = workflow.get("on") or {}
    for event in DANGEROUS:
        if event in events:
            yield f"starts on {event}, which gives a stranger's code our rights."
    if "workflow_call" not in events:
        yield "can't be called from another repository: add workflow_call."
    if workflow.get("permissions") != {}:
        yield "must begin with permissions: {}, so that each job says what it needs."
    group = workflow.get("concurrency")
    if not isinstance(group, dict) or not group.get("group") or "cancel-in-progress" not in group:
        yield "needs concurrency with a group and cancel-in-progress."
    elif "deploy" in str(workflow.get("name", "")).lower() and group["cancel-in-progress"] is not False:
        yield "deploys, and cancels what is under way: set cancel-in-progress: false."
    yield from _of_versions(text)
    for name, job in (workflow.get("jobs") or {}).items():
        for sentence in _of_job(job, workflow):
            yield f"job {name} {sentence}"


def _of_versions(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if "uses:" in line and "@" in line and not VERSION_COMMENT.search(line):
            yield f"names no version behind {line.strip()!r}: add # v1.2.3."


def _of_job(job: dict[str, Any], workflow: dict[str, Any]) -> Iterator[str]:
    permissions = job.get("permissions")
    if not isinstance(permissions, dict):
        yield "needs permissions of its own."
    elif "write-all" in permissions or len(permissions) > 4:
        yield "has more permissions than it can need."
    if job.get("secrets") == "inherit":
        yield "hands on all secrets: name those it needs."
    if "uses" in job:
        yield from _of_uses(job["uses"])
        return
    if not isinstance(job.get("timeout-minutes"), int):
        yield "needs timeout-minutes."
    if "latest" in str(job.get("runs-on")):
        yield "runs on a moving image: name a version."
    if _shell(job, workflow) != "bash":
        yield "needs defaults: run: shell: bash, or a failure before a pipe's end passes."
    for step in job.get("steps") or []:
        for sentence in _of_step(step):
            yield f"step {step.get('name') or step.get('uses')!r} {sentence}"


def _of_step(step: dict[str, Any]) -> Iterator[str]:
    if "uses" in step:
        yield from _of_uses(step["uses"])
        if (
            step["uses"].startswith("actions/checkout@")
            and (step.get("with") or {}).get("persist-credentials") is not False
        ):
            yield "leaves its token in .git/config: set persist-credentials: false."
        return
    if "${{" in step.get("run", ""):
        yield "has an expression in its shell line: hand it over in env."
    if step.get("continue-on-error"):
        yield "goes on after a failure: a gate that fails has to stop."


def _of_uses(uses: str) -> Iterator[str]:
    if not PINNED.fullmatch(uses) and not OWN.fullmatch(uses):
        yield f"uses {uses}, which is not pinned by its full commit."


def _shell(job: dict[str, Any], workflow: dict[str, Any]) -> str:
    for place in (job, workflow):
        if shell := ((place.get("defaults") or {}).get("run") or {}).get("shell"):
            return str(shell)
    return ""
