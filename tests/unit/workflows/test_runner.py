"""The runner does with steps what Actions does, or what it says of our workflows would be worth nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.actions.runner import Event, Runner, Settings

INNER = """\
name: Inner
on:
  workflow_call:
    inputs:
      who: {type: string, required: true}
    secrets:
      KEY: {description: a key}
    outputs:
      greeting: {value: "${{ jobs.a.outputs.said }}"}
jobs:
  a:
    outputs: {said: "${{ steps.say.outputs.said }}"}
    steps:
      - id: say
        run: |
          echo "said=hello $WHO $KEY" >> "$GITHUB_OUTPUT"
          echo "# page" >> "$GITHUB_STEP_SUMMARY"
        env: {WHO: "${{ inputs.who }}", KEY: "${{ secrets.KEY }}"}
"""
OUTER = """\
name: Outer
on:
  push: {branches: [main], tags: ["v*"]}
  workflow_dispatch:
    inputs:
      environment: {type: choice, options: [stage, prod], required: true}
jobs:
  call:
    uses: $/.github/workflows/inner.yml
    with: {who: "${{ vars.WHO }}"}
    secrets: {KEY: "${{ secrets.KEY }}"}
  work:
    needs: call
    environment: staging
    env: {GREETING: "${{ needs.call.outputs.greeting }}", BUCKET: "${{ vars.BUCKET }}"}
    steps:
      - name: pass
        run: test "$GREETING" = "hello world s3cret" -a "$BUCKET" = staging-files -a "$GITHUB_REF" = refs/heads/main
      - name: carry
        run: echo "CARRIED=yes" >> "$GITHUB_ENV"
      - name: pipe
        run: test "$CARRIED" = yes; false | true
      - name: not reached
        run: "true"
      - name: clean
        if: always()
        run: echo "still here"
      - name: on a branch of its own
        if: ${{ failure() && github.event_name == 'push' }}
        run: "true"
  after:
    needs: work
    steps:
      - name: skipped with its job
        run: "true"
"""


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    folder = tmp_path / ".github/workflows"
    folder.mkdir(parents=True)
    (folder / "inner.yml").write_text(INNER)
    (folder / "outer.yml").write_text(OUTER)
    return Runner(tmp_path, "http://nowhere", "token", tmp_path / "runs")


def push(ref: str = "refs/heads/main") -> Event:
    return Event("push", "acme/shop", ref, "a" * 40, {})


SETTINGS = Settings({"WHO": "world", "BUCKET": "none"}, {"KEY": "s3cret"}, {"staging": {"BUCKET": "staging-files"}})


def test_a_run(runner):
    run = runner.run("outer.yml", push(), SETTINGS)
    results = {step.name: step.result for step in run.steps if step.job != "a"}
    assert results == {
        "pass": "success", "carry": "success", "pipe": "failure", "not reached": "skipped", "clean": "success",
        "on a branch of its own": "success",
    }  # fmt: skip
    assert run.results == {"call": "success", "work": "failure", "after": "skipped"}
    assert (run.result, run.failed.name, run.failed.code) == ("failure", "pipe", 1)
    assert run.summary == "# page\n"
    assert ("outer.yml", "work", "pipe") not in runner.done
    assert ("outer.yml", "work", "carry") in runner.done


def test_given_jobs_are_not_run(runner):
    run = runner.run("outer.yml", push(), SETTINGS, {"call": {"greeting": "hello world s3cret"}})
    assert run.step("pass").result == "success"
    assert all(step.job != "a" for step in run.steps)


def test_what_starts_a_workflow(runner):
    assert runner.run("outer.yml", push("refs/tags/v1.0.0"), SETTINGS).failed.name == "pass"
    for event in (push("refs/heads/other"), push("refs/tags/x1"), Event("pull_request", "a/b", "refs/heads/x", "", {})):
        with pytest.raises(AssertionError):
            runner.run("outer.yml", event, SETTINGS)


@pytest.mark.parametrize("inputs", [{}, {"environment": "qa"}, {"environment": "prod", "more": "x"}])
def test_inputs_are_checked(runner, inputs):
    with pytest.raises(AssertionError):
        runner.run("outer.yml", Event("workflow_dispatch", "a/b", "refs/heads/main", "", {}, inputs), SETTINGS)


def test_a_fork_gets_no_secret():
    repositories = {side: {"repo": {"full_name": f"{side}/shop"}} for side in ("head", "base")}
    assert Event("pull_request", "base/shop", "refs/pull/1/merge", "", {"pull_request": repositories}).is_fork
    assert not push().is_fork
