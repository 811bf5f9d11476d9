"""The command as a workflow and a person run it: exit codes, what it compares with, and its outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from odooops_ci.errors import InvalidInput
from odooops_ci.preflight import base, output
from odooops_ci.preflight.changes import parse_lines
from odooops_ci.preflight.findings import Finding, Report

from .conftest import ROOT, entry

PREFLIGHT = ROOT / "scripts/ci/preflight"
ORDER = "from odoo import models\n\n\nclass Order(models.Model):\n    _name = 'workshop.order'\n"


@pytest.fixture
def workshop(gate):
    gate.addon("addons/custom/workshop", {"views/order.xml": "<odoo/>"}, data=["views/order.xml"])
    gate.branch()
    return gate


def preflight(gate, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, str(PREFLIGHT), *arguments], cwd=gate.path, env={**kept, **environment}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


def test_pass_and_fail(workshop):
    assert preflight(workshop, "version", "allowlist", "risk").returncode == 0
    workshop.write("addons/custom/workshop/views/order.xml", "<odoo><!-- --></odoo>")
    done = preflight(workshop, "version", "allowlist")
    assert done.returncode == 1
    assert "FAIL version" in done.stdout
    assert "ok   allowlist" in done.stdout
    assert "addons/custom/workshop/__manifest__.py:1" in done.stdout
    assert "→ Raise its version" in done.stdout
    assert done.stdout.rstrip().endswith("Preflight fails: version.")


def test_json_tells_all(workshop):
    workshop.write("addons/custom/workshop/views/order.xml", "<odoo><!-- --></odoo>")
    content = json.loads(preflight(workshop, "version", "risk", "--json", "-").stdout)
    assert content["passed"] is False
    assert content["commit_sha"] == workshop.git("rev-parse", "HEAD")
    by_name = {check["check"]: check for check in content["checks"]}
    assert by_name["version"]["status"] == "failed"
    assert by_name["version"]["findings"][0]["mend"]
    assert by_name["risk"]["facts"]["tier"] in ("low", "medium")


def test_github_annotations_and_summary(workshop, tmp_path):
    name = "addons/custom/workshop/migrations/19.0.9,::error::/post-x.py"
    workshop.write(name, "def migrate(cr, version):\n    pass\n")
    summary = tmp_path / "summary.md"
    done = preflight(workshop, "version", GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    lines = [line for line in done.stdout.splitlines() if line.startswith("::")]
    assert lines
    assert all(line.startswith(("::error file=addons/", "::warning file=addons/")) for line in lines)
    assert "title=preflight version::" in lines[0]
    assert "%3A%3Aerror%3A%3A" in done.stdout
    assert "## Preflight fails" in summary.read_text()


@pytest.mark.parametrize(
    "arguments",
    [["version", "--base", "no-such-branch"], ["all", "--skip", "lint", "--skip", "tests", "--skip", "allowlist",
     "--skip", "risk", "--skip", "version"], ["version", "--commit-sha", "main"], ["version", "--project", "Déмо"],
     ["everything"], []],
)  # fmt: skip
def test_wrong_use_is_2(workshop, arguments):
    assert preflight(workshop, *arguments).returncode == 2


def test_outside_a_checkout(gate, tmp_path):
    gate.commit()
    done = preflight(gate, "version", "--source", str(tmp_path))
    assert done.returncode == 1
    assert "is not the root of a git checkout" in done.stderr


def test_commit_that_a_shallow_checkout_lacks(workshop, tmp_path):
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"base": {"sha": "0123456789" * 4}}}))
    done = preflight(workshop, "version", GITHUB_EVENT_PATH=str(event))
    assert done.returncode == 1
    assert "fetch-depth: 0" in done.stderr


def test_event_that_can_not_be_read(workshop, tmp_path):
    assert preflight(workshop, "version", GITHUB_EVENT_PATH=str(tmp_path / "gone.json")).returncode == 2


def test_event_of_a_pull_request():
    event = base.event_from({
        "pull_request": {"base": {"sha": "a" * 40}, "head": {"sha": "b" * 40}, "labels": [{"name": "risk: high"}, {}]},
    })  # fmt: skip
    assert event == base.Event("a" * 40, "b" * 40, ("risk: high",), is_workflow=True)


def test_events_of_a_push_and_a_merge_queue():
    pushed = base.event_from({"before": "a" * 40, "after": "b" * 40})
    assert pushed == base.Event("", "b" * 40, is_workflow=True), "what was there before may be red"
    assert base.event_from({"before": "--output=x", "after": 7}) == base.Event(is_workflow=True)
    assert base.event_from({"merge_group": {"base_sha": "a" * 40, "head_sha": "b" * 40}}).base == "a" * 40


def test_as_a_hook_of_git(workshop):
    """git sets GIT_INDEX_FILE and more for a hook, which must not reach into the submodules."""
    tools = workshop.oca("server-tools", auditlog={})
    workshop.submodule(tools)
    workshop.select(tools, "auditlog")
    workshop.allow(entry(tools, "auditlog"))
    workshop.commit()
    hook = workshop.path / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nexec {sys.executable} {PREFLIGHT} allowlist version\n")
    hook.chmod(0o755)
    workshop.write("addons/custom/workshop/__init__.py", "# more\n")
    workshop.git("commit", "--quiet", "--all", "--message=passes")
    workshop.write("addons/custom/workshop/views/order.xml", "<odoo><!-- --></odoo>")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        workshop.git("commit", "--quiet", "--all", "--message=fails")
    assert "FAIL version" in refused.value.stdout + refused.value.stderr


def test_label_of_the_event_raises(workshop, tmp_path):
    event = tmp_path / "event.json"
    main = workshop.git("rev-parse", "main")
    event.write_text(json.dumps({"pull_request": {"base": {"sha": main}, "labels": [{"name": "risk: critical"}]}}))
    content = json.loads(preflight(workshop, "risk", "--json", "-", GITHUB_EVENT_PATH=str(event)).stdout)
    assert content["checks"][0]["facts"]["tier"] == "critical"


def test_base_is_where_the_branch_left_main(workshop):
    workshop.write("a.txt")
    workshop.commit()
    workshop.git("checkout", "--quiet", "main")
    workshop.write("b.txt")
    main = workshop.commit()
    workshop.git("checkout", "--quiet", "feature")
    assert base.find_base(workshop.path, "", base.Event()) == workshop.git("merge-base", "main", "feature") != main
    workshop.git("checkout", "--quiet", "main")
    assert base.find_base(workshop.path, "", base.Event()) == workshop.git("rev-parse", "HEAD^")
    with pytest.raises(InvalidInput):
        base.find_base(workshop.path, "gone", base.Event())


def test_red_push_stays_red_under_the_next(workshop, tmp_path):
    """What the gate refused on main is looked at again with each push, until a commit passes."""
    event, views = tmp_path / "event.json", "addons/custom/workshop/views/order.xml"
    workshop.git("checkout", "--quiet", "main")
    green = workshop.git("rev-parse", "HEAD")
    workshop.write(views, "<odoo><!-- and no new version --></odoo>")
    red = workshop.commit()
    workshop.write("README.md", "Hello\n")
    event.write_text(json.dumps({"before": red, "after": workshop.commit()}))
    done = preflight(workshop, "version", "--base", green, GITHUB_EVENT_PATH=str(event))
    assert done.returncode == 1
    assert "FAIL version" in done.stdout


def test_workflow_that_knows_no_base_checks_everything(workshop, tmp_path):
    event = tmp_path / "event.json"
    workshop.git("checkout", "--quiet", "main")
    workshop.write("addons/custom/workshop/models/order.py", "def broken(:\n")
    red = workshop.commit()
    workshop.write("README.md", "Hello\n")
    head = workshop.commit()
    for content in ({"before": red, "after": head}, {"before": "0" * 40, "after": head}, {"inputs": {"tag": "v1"}}):
        event.write_text(json.dumps(content))
        done = preflight(workshop, "lint", "risk", GITHUB_EVENT_PATH=str(event))
        assert done.returncode == 1, content
        assert "addons/custom/workshop/models/order.py" in done.stdout


def test_report_that_checked_nothing_is_no_pass():
    assert not Report("lint").passed
    assert "no pass" in Report("lint").summary


def test_summary_shows_no_markup_of_a_finding():
    evil = Finding("a.py", "@team <img src=x> | [x](y) `z`", "", "code")
    text = output.summary([Report("lint", (evil,), checked="1")])
    assert "<img" not in text
    assert "@team" not in text
    assert "\\|" in text


def test_many_findings_are_cut_and_it_is_said():
    many = Report("lint", tuple(Finding(f"{number}.py", "Bad.", "", "code") for number in range(130)), checked="1")
    assert "and 30 more" in output.terminal([many], colour=False)
    assert "and 30 more" in output.summary([many])
    assert len(output.as_json([many], "", "")["checks"][0]["findings"]) == 130


def test_lines_of_a_diff():
    diff = "\n".join([
        "diff --git a/a.py b/a.py", "--- a/a.py", "+++ b/a.py", "@@ -1 +1,2 @@", "-old", "+++ like a header", "+x",
        "@@ -10,2 +11,0 @@", "-a", "-b", "diff --git a/b.py b/b.py", "--- a/b.py", "+++ /dev/null",
        "@@ -1 +0,0 @@", "-z",
    ])  # fmt: skip
    assert parse_lines(diff) == ({"a.py": frozenset({1, 2})}, 4)


class Plane(BaseHTTPRequestHandler):
    """A control plane's `/json/2`, for the one call that the gate makes."""

    status = 200

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.calls.append((self.path, body, self.headers["Authorization"]))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(json.dumps({"id": 1} if self.status == 200 else {"message": "No such project."}).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def plane():
    server = HTTPServer(("127.0.0.1", 0), Plane)
    server.calls = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    Plane.status = 200


def test_results_are_reported_to_the_control_plane(workshop, plane):
    workshop.write("addons/custom/workshop/views/order.xml", "<odoo><!-- --></odoo>")
    there = {"ODOOOPS_URL": f"http://127.0.0.1:{plane.server_port}", "ODOOOPS_API_KEY": "k"}
    assert preflight(workshop, "version", "risk", "--project", "demo", **there).returncode == 1
    assert [path for path, _, _ in plane.calls] == ["/json/2/odooops.check.run/report"] * 2
    first = plane.calls[1][1]
    assert first["project"] == "demo"
    assert first["commit_sha"] == workshop.git("rev-parse", "HEAD")
    by_name = {body["name"]: body for _, body, _ in plane.calls}
    assert by_name["version"]["status"] == "failed"
    assert by_name["version"]["details"]["findings"][0]["file"] == "addons/custom/workshop/__manifest__.py"
    assert by_name["risk"]["details"]["facts"]["tier"]


def test_result_that_nobody_recorded_is_no_pass(workshop, plane):
    Plane.status = 404
    there = {"ODOOOPS_URL": f"http://127.0.0.1:{plane.server_port}", "ODOOOPS_API_KEY": "k"}
    done = preflight(workshop, "risk", "--project", "demo", **there)
    assert done.returncode == 1
    assert "No such project." in done.stderr
    assert preflight(workshop, "risk", "--project", "demo").returncode == 2
