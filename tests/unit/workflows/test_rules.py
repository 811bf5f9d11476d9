"""Every workflow keeps the rules, and each rule finds the workflow that breaks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.actions import rules

FOLDER = Path(__file__).resolve().parents[3] / ".github/workflows"
NAMES = (
    "ci.yml",
    "deploy-odooops-console.yml",
    "deploy-production.yml",
    "deploy-staging.yml",
    "preflight.yml",
    "rollback.yml",
)
SHA = "a" * 40
GOOD = f"""\
name: Deploy
on:
  push:
  workflow_call:
permissions: {{}}
defaults:
  run:
    shell: bash
concurrency:
  group: one
  cancel-in-progress: false
jobs:
  a:
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    permissions:
      contents: read
    steps:
      - uses: actions/checkout@{SHA} # v7.0.1
        with:
          persist-credentials: false
      - name: Say it
        run: echo "$TITLE"
        env:
          TITLE: ${{{{ github.event.pull_request.title }}}}
  b:
    permissions:
      contents: read
    uses: $/.github/workflows/preflight.yml
"""
# What is taken out, what stands there instead, and the rule that sees it.
BROKEN = {
    "a moving tag": (f"@{SHA} # v7.0.1", "@v7", "not pinned"),
    "a short commit": (f"@{SHA} #", "@abc1234 #", "not pinned"),
    "no version": (" # v7.0.1", "", "names no version"),
    "an expression in a shell line": ('echo "$TITLE"', "echo ${{ github.event.pull_request.title }}", "shell line"),
    "no permissions": ("permissions: {}\n", "", "begin with permissions"),
    "all permissions": ("permissions: {}\n", "permissions: write-all\n", "begin with permissions"),
    "no permissions of the job": (
        "    permissions:\n      contents: read\n    steps",
        "    steps",
        "permissions of its",
    ),
    "no permissions of a job that calls": (
        "    permissions:\n      contents: read\n    uses",
        "    uses",
        "of its own",
    ),
    "no timeout": ("    timeout-minutes: 5\n", "", "timeout-minutes"),
    "no concurrency": ("concurrency:\n  group: one\n  cancel-in-progress: false\n", "", "needs concurrency"),
    "no group": ("  group: one\n", "", "needs concurrency"),
    "a deployment that is cancelled": ("in-progress: false", "in-progress: true", "what is under way"),
    "a token that stays": ("persist-credentials: false", "fetch-depth: 0", "leaves its token"),
    "a stranger's code": ("  push:\n", "  pull_request_target:\n", "a stranger's code"),
    "not callable": ("  workflow_call:\n", "", "can't be called"),
    "no pipefail": ("    shell: bash\n", "    shell: sh\n", "pipe's end"),
    "a moving image": ("ubuntu-24.04", "ubuntu-latest", "moving image"),
    "goes on": ("        env:\n", "        continue-on-error: true\n        env:\n", "goes on after a failure"),
    "all secrets": ("    uses: $/.g", "    secrets: inherit\n    uses: $/.g", "hands on all secrets"),
    "a workflow of elsewhere": ("$/.github/workflows/preflight.yml", "o/r/.github/workflows/p.yml@main", "not pinned"),
}


def test_the_workflows_are_these():
    assert sorted(path.name for path in FOLDER.iterdir()) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_workflow_keeps_the_rules(name):
    assert rules.findings(FOLDER / name) == []


def test_a_good_one_is_found_good(tmp_path):
    (tmp_path / "good.yml").write_text(GOOD)
    assert rules.findings(tmp_path / "good.yml") == []


@pytest.mark.parametrize("what", BROKEN)
def test_each_rule_finds_what_breaks_it(tmp_path, what):
    before, after, sentence = BROKEN[what]
    assert before in GOOD
    path = tmp_path / "broken.yml"
    path.write_text(GOOD.replace(before, after, 1))
    found = rules.findings(path)
    assert any(sentence in finding for finding in found), found


@pytest.mark.parametrize("name", NAMES)
def test_secrets_only_where_they_are_used(name):
    """No secret in a job's or workflow's env: each step gets its own."""
    workflow = rules.load(FOLDER / name)
    for place in (workflow, *workflow["jobs"].values()):
        assert "secrets." not in str(place.get("env", ""))


def test_deployments_are_never_started_by_a_pull_request():
    for name in ("deploy-staging.yml", "deploy-production.yml", "rollback.yml"):
        assert "pull_request" not in rules.load(FOLDER / name)["on"]


def test_only_jobs_that_come_to_the_console_may_ask_for_a_token():
    for name in NAMES:
        for job in rules.load(FOLDER / name)["jobs"].values():
            asks = job["permissions"].get("id-token") == "write"
            calls = "uses" in job or any("ODOOOPS_API_KEY" in str(step) for step in job["steps"])
            assert calls or not asks, (name, job)
            assert not asks or job["permissions"]["id-token"] == "write"


def test_production_builds_nothing():
    steps = [step for job in rules.load(FOLDER / "deploy-production.yml")["jobs"].values() for step in job["steps"]]
    text = str([step.get("run") for step in steps])
    assert "build_image" not in text
    assert "docker" not in text


def test_preflight_runs_none_of_the_changes_code_where_the_key_is():
    """Nor where anything but the tests is judged; and the gate runs also where a job before it has failed."""
    jobs = rules.load(FOLDER / "preflight.yml")["jobs"]
    runs = {name: str([step.get("run") for step in job["steps"]]) for name, job in jobs.items()}
    has_code = {name for name, job in jobs.items() if "'path': 'repository'" in str(job["steps"])}
    assert [name for name, job in jobs.items() if "ODOOOPS_API_KEY" in str(job)] == ["preflight"]
    assert has_code == {"read", "test"}
    assert [name for name, text in runs.items() if "build_image" in text or "preflight tests" in text] == ["test"]
    assert set(jobs["preflight"]["needs"]) == has_code
    assert jobs["preflight"]["if"] == "${{ !cancelled() }}"
