"""What the workflows' steps run, each as its command: what it asks, what it says, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import build_image
import check_health
import check_settings
import find_base
import preview_image
import pytest
import register_release
import report_checks
import request_deployment
import request_rollback
from odooops_ci import control, job
from odooops_ci.errors import InvalidInput, Refused

from tests.git_server import git

COMMIT = "a" * 40
REGISTER = "/json/2/odooops.release/register"
STATUS = "/json/2/odooops.environment/status"
TOKEN_PATH = "/token?api-version=2&audience=https%3A%2F%2Fconsole.example.com%2F%3Fa%26b"


def sentences(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


class TestNaming:
    """A tag gets the image that was built of its commit."""

    def test_names_without_an_image(self, server, capsys):
        server.answers[REGISTER] = [(200, {"id": 3, "tag": "v1.0.0", "new": False})]
        argv = ["--project", "demo", "--ref", "refs/tags/v1.0.0", "--commit-sha", COMMIT]
        assert register_release.main(argv) == 0
        assert server.bodies(REGISTER) == [
            {"project": "demo", "ref": "refs/tags/v1.0.0", "commit_sha": COMMIT, "checks": []}
        ]
        assert json.loads(capsys.readouterr().out)["tag"] == "v1.0.0"

    def test_says_what_the_console_says(self, server, capsys):
        server.answers[REGISTER] = [(404, {"message": "Commit aaaaaaa of demo was never built: push it to main."})]
        argv = ["--project", "demo", "--ref", "refs/tags/v1.0.0", "--commit-sha", COMMIT]
        assert register_release.main(argv) == 1
        assert "was never built: push it to main. (404)" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("ref", "commit"), [("refs/heads/main", COMMIT), ("refs/tags/v1.0.0", "abc"), ("refs/tags/v1.0.0", "")]
    )
    def test_wrong_input_asks_nothing(self, server, capsys, ref, commit):
        assert register_release.main(["--project", "demo", "--ref", ref, "--commit-sha", commit]) == 2
        assert server.requests == []
        assert len(sentences(capsys.readouterr().err)) == 1

    def test_either_a_build_or_a_commit(self, server):
        for more in ([], ["--build", "b.json", "--commit-sha", COMMIT]):
            with pytest.raises(SystemExit) as ended:
                register_release.main(["--project", "demo", "--ref", "refs/tags/v1.0.0", *more])
            assert ended.value.code == 2


class TestBase:
    """A push is compared with what passed, not with what was there."""

    CHECKED = "/json/2/odooops.release/checked"

    @pytest.fixture
    def commits(self, tmp_path):
        git(tmp_path, "init", "--quiet", "--initial-branch=main")
        made = []
        for name in ("first", "red", "head"):
            git(tmp_path, "commit", "--quiet", "--allow-empty", f"--message={name}")
            made.append(git(tmp_path, "rev-parse", "HEAD"))
        return made

    def found(self, tmp_path, capsys, monkeypatch):
        given = tmp_path / "given.txt"
        given.write_text("")
        monkeypatch.setenv("GITHUB_OUTPUT", str(given))
        assert find_base.main(["--source", str(tmp_path), "--project", "demo", "--give", "commit"]) == 0
        out, err = capsys.readouterr()
        assert given.read_text() == f"commit={json.loads(out)['base']}\n"
        return json.loads(out)["base"], err

    def test_newest_that_passed_before_this_one(self, server, tmp_path, capsys, monkeypatch, commits):
        first, red, head = commits
        for answer, wanted in (
            ([head, first], first),
            ([COMMIT, red, first], red),
            ([COMMIT], ""),
            # HEAD itself, built again: it passed, and nothing before it.
            ([head], "none"),
            ([], "none"),
        ):
            server.answers[self.CHECKED] = [(200, {"commits": answer})]
            base, err = self.found(tmp_path, capsys, monkeypatch)
            assert base == wanted
            assert (wanted if wanted in commits else "Everything is checked") in err
        assert server.bodies(self.CHECKED)[0] == {"project": "demo"}

    @pytest.mark.parametrize(
        "answer", [(403, {"message": "This job is not trusted."}), (200, {"commits": ["--output=x"]}), (200, [])]
    )
    def test_console_that_does_not_say(self, server, tmp_path, capsys, monkeypatch, commits, answer):
        server.answers[self.CHECKED] = [answer]
        base, err = self.found(tmp_path, capsys, monkeypatch)
        assert base == ""
        assert "::warning::What passed before is not known, so everything is checked." in err

    def test_project_that_is_none(self, server, tmp_path, capsys):
        assert find_base.main(["--source", str(tmp_path), "--project", "De mo"]) == 2


class TestFollowing:
    """Whoever reads the log sees each change once, and where to approve."""

    STATUS = "/json/2/odooops.deployment/status"
    ROW = {"environment": "demo/prod", "tag": "v1.0.0", "console_url": "https://c/7", "ask_again_seconds": 0}

    def follow(self, server, *states):
        server.answers["/json/2/odooops.deployment/request"] = [(200, {"id": 7, "state": "draft", **self.ROW})]
        server.answers[self.STATUS] = [(200, {**self.ROW, **state}) for state in states]
        argv = ["--environment", "demo/prod", "--ref", "refs/tags/v1.0.0", "--commit-sha", COMMIT, "--wait", "600"]
        return request_deployment.main(argv)

    def test_tells_each_change_once(self, server, capsys, tmp_path, monkeypatch):
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
        waiting = {"state": "awaiting_approval", "state_label": "Awaiting approval"}
        waiting["approvals"] = {"needed": 2, "given": 1}
        planned = {"state": "planned", "state_label": "Planned", "waits_for": "demo/stage is red. Look at it."}
        running = {"state": "running", "state_label": "Running"}
        ended = {"state": "live", "state_label": "Live", "digest": "sha256:1|2", "downtime_seconds": 1.5}
        assert self.follow(server, planned, waiting, waiting, running, {**running, "step": "drain"}, ended) == 0
        out, err = capsys.readouterr()
        assert sentences(err) == [
            "demo/prod: v1.0.0 is asked for, see https://c/7",
            "demo/prod v1.0.0: Planned. demo/stage is red. Look at it. See https://c/7",
            "demo/prod v1.0.0: Awaiting approval (1 of 2 given): https://c/7",
            "demo/prod v1.0.0: Running",
            "demo/prod v1.0.0: Running, drain",
            "demo/prod v1.0.0: Live",
        ]
        assert json.loads(out)["state"] == "live"
        summary = (tmp_path / "summary.md").read_text()
        assert "| Image | sha256:1\\|2 |" in summary
        assert "| Held | 1.5 s |" in summary

    def test_tells_that_the_agent_is_away(self, server, capsys):
        away = {"state": "queued", "agent": "The agent droplet-1 is silent."}
        assert self.follow(server, away, {"state": "rejected"}) == 1
        assert "queued (The agent droplet-1 is silent.)" in capsys.readouterr().err


class TestRollback:
    """Back to a release by its name, and followed as a deployment is."""

    SUBMIT, STATUS = "/json/2/odooops.rollback.request/submit", "/json/2/odooops.rollback.request/status"

    def request(self, tag="v1.0.0", reason="orders are lost", *more):
        argv = ["--environment", "demo/stage", f"--previous-tag={tag}", "--reason", reason, *more]
        return request_rollback.main(argv)

    @pytest.mark.parametrize("tag", ["v1.0.0", "main-20261123174500-abcdef0"])
    def test_asks_and_follows(self, server, capsys, tag):
        row = {"id": 5, "environment": "demo/stage", "tag": tag, "console_url": "https://c/5"}
        server.answers[self.SUBMIT] = [(200, {**row, "state": "draft"})]
        server.answers[self.STATUS] = [
            (200, {**row, "state": "previewing", "ask_again_seconds": 0}),
            (200, {**row, "state": "done", "mode": "code_only"}),
        ]
        assert self.request(tag, "orders are lost", "--wait", "60") == 0
        assert server.bodies(self.SUBMIT) == [
            {"environment": "demo/stage", "previous_tag": tag, "reason": "orders are lost"}
        ]
        assert json.loads(capsys.readouterr().out)["mode"] == "code_only"

    def test_one_that_fails(self, server, capsys):
        server.answers[self.SUBMIT] = [(200, {"id": 5})]
        server.answers[self.STATUS] = [(200, {"state": "failed", "error": {"message": "The snapshot is gone."}})]
        assert self.request("v1.0.0", "why", "--wait", "60") == 1
        assert "Rollback 5 ended as failed: The snapshot is gone." in capsys.readouterr().err

    @pytest.mark.parametrize(("tag", "reason"), [("previous", "x"), ("v1.0.0; id", "x"), ("", "x"), ("v1.0.0", "  ")])
    def test_wrong_input_asks_nothing(self, server, capsys, tag, reason):
        assert self.request(tag, reason) == 2
        assert server.requests == []
        assert len(sentences(capsys.readouterr().err)) == 1


class TestOidc:
    """Without a key the job comes with GitHub's word, a new one for each call."""

    @pytest.fixture
    def actions(self, server, monkeypatch):
        monkeypatch.delenv("ODOOOPS_API_KEY")
        monkeypatch.setenv("ODOOOPS_OIDC_AUDIENCE", "https://console.example.com/?a&b")
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{server.url}/token?api-version=2")
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request-SECRET")
        return server

    def test_a_new_token_for_each_call(self, actions):
        actions.answers[TOKEN_PATH] = [(200, {"value": f"token-{number}"}) for number in range(3)]
        actions.answers[STATUS] = [(200, {})]
        plane = control.from_environment()
        for _call in range(2):
            plane.call("odooops.environment", "status", environment="demo/prod")
        asked = [headers["Authorization"] for path, headers, _body in actions.requests if path == STATUS]
        assert asked == ["Bearer token-0", "Bearer token-1"]
        asked = {headers["Authorization"] for path, headers, _body in actions.requests if path == TOKEN_PATH}
        assert asked == {"Bearer request-SECRET"}
        assert "SECRET" not in repr(plane)

    @pytest.mark.parametrize("answer", [(403, {}), (200, {}), (200, {"value": ""}), (200, []), (301, {"value": "x"})])
    def test_no_token(self, actions, answer):
        actions.answers[TOKEN_PATH] = [answer]
        with pytest.raises(Refused, match="permissions: id-token: write"):
            control.from_environment().call("odooops.environment", "status", environment="demo/prod")
        assert not actions.bodies(STATUS)

    def test_a_key_goes_first(self, actions, monkeypatch):
        monkeypatch.setenv("ODOOOPS_API_KEY", "key-0123")
        actions.answers[STATUS] = [(200, {})]
        control.from_environment().call("odooops.environment", "status", environment="demo/prod")
        assert not actions.bodies(TOKEN_PATH)

    @pytest.mark.parametrize("name", ["ODOOOPS_OIDC_AUDIENCE", "ACTIONS_ID_TOKEN_REQUEST_URL"])
    def test_neither_key_nor_token(self, actions, monkeypatch, name):
        monkeypatch.delenv(name)
        with pytest.raises(InvalidInput, match="ODOOOPS_API_KEY is not set"):
            control.from_environment()


class TestHealth:
    """Green is what the console says and what the address answers."""

    def look(self, server, *statuses, web=200, wait="0"):
        server.answers[STATUS] = [
            (200, {"environment": "demo/prod", "url": server.url, "tag": "v1.0.0", **status}) for status in statuses
        ]
        server.answers["/web/health"] = [(web, {"status": "pass"})]
        return check_health.main(["--environment", "demo/prod", "--wait", wait])

    def test_green(self, server, capsys, tmp_path, monkeypatch):
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
        assert self.look(server, {"health": "green", "digest": "sha256:1"}) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["answer"] == "200"
        assert err == f"demo/prod runs v1.0.0: green, /web/health at {server.url}: 200\n"
        assert "| Health | green |" in (tmp_path / "summary.md").read_text()

    @pytest.mark.parametrize("health", ["yellow", "red", "unknown", None])
    def test_not_green(self, server, capsys, health):
        assert self.look(server, {"health": health, "health_detail": "cron is down"}) == 1
        assert "(cron is down)" in (err := capsys.readouterr().err)
        assert "demo/prod is not green: look at it in the console." in err

    @pytest.mark.parametrize("web", [500, 503, 404, 302])
    def test_green_in_the_console_and_not_at_its_address(self, server, capsys, web):
        assert self.look(server, {"health": "green"}, web=web) == 1
        assert f": {web}" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("url", "answer"),
        [(None, "no URL is recorded"), ("http://127.0.0.1:1", "no connection"), ("ftp://x", "no conn")],
    )
    def test_no_address_that_answers(self, server, capsys, url, answer):
        assert self.look(server, {"health": "green", "url": url}) == 1
        assert answer in capsys.readouterr().err

    def test_waits_for_green(self, server, capsys):
        assert self.look(server, {"health": "unknown"}, {"health": "unknown"}, {"health": "green"}, wait="60") == 0
        assert len(sentences(capsys.readouterr().err)) == 2

    def test_names_below_localhost_are_this_machine(self, server):
        port = server.server_port
        server.answers["/web/health"] = [(200, {})]
        assert check_health.answer_of(f"http://prod.demo.localhost:{port}/") == "200"
        assert server.requests[-1][1]["Host"] == f"prod.demo.localhost:{port}"

    def test_unknown_environment(self, server, capsys):
        server.answers[STATUS] = [(404, {"message": "There is no environment demo/qa that you may see."})]
        assert check_health.main(["--environment", "demo/qa"]) == 1
        assert check_health.main(["--environment", "demo/QA; id"]) == 2


class TestSettings:
    """A workflow stops before it does anything."""

    def test_all_are_there(self, monkeypatch, capsys):
        monkeypatch.setenv("ODOOOPS_URL", "https://c")
        monkeypatch.delenv("ODOOOPS_API_KEY", raising=False)
        monkeypatch.setenv("ODOOOPS_OIDC_AUDIENCE", "https://c")
        assert check_settings.main(["ODOOOPS_URL", "ODOOOPS_API_KEY/ODOOOPS_OIDC_AUDIENCE"]) == 0
        assert capsys.readouterr() == ("", "")

    @pytest.mark.parametrize("value", ["", "  ", None])
    def test_a_sentence_for_each_that_is_missing(self, monkeypatch, capsys, value):
        for name in ("ODOOOPS_URL", "ODOOOPS_API_KEY", "ODOOOPS_OIDC_AUDIENCE"):
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)
        assert check_settings.main(["ODOOOPS_URL", "ODOOOPS_API_KEY/ODOOOPS_OIDC_AUDIENCE"]) == 2
        url, key = sentences(capsys.readouterr().err)
        assert url.startswith("The variable ODOOOPS_URL is not set: add it")
        assert key.startswith("The secret ODOOOPS_API_KEY or the variable ODOOOPS_OIDC_AUDIENCE is not set: add it")


class TestChecks:
    """What preflight found goes on to those who need it."""

    REPORT = "/json/2/odooops.check.run/report"

    @pytest.fixture
    def checks(self, tmp_path):
        risk = {"check": "risk", "status": "passed", "summary": "1 file: medium.", "facts": {"tier": "medium"}}
        lint = {"check": "lint", "status": "failed", "summary": "2 addons: 1 error.", "facts": {"addons": ["x" * 5000]}}
        lint["findings"] = [{"file": "a.py", "message": "m" * 100}] * 300
        path = tmp_path / "preflight.json"
        path.write_text(json.dumps({"schema": 1, "checks": [risk, lint]}))
        return path

    def test_given_to_later_jobs(self, server, checks, tmp_path, monkeypatch):
        monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
        assert report_checks.main(["--checks", str(checks), "--give", "checks"]) == 0
        (line,) = sentences((tmp_path / "output").read_text())
        name, _, value = line.partition("=")
        assert name == "checks"
        assert [(one["check"], one["status"]) for one in json.loads(value)["checks"]] == [
            ("risk", "passed"), ("lint", "failed"),
        ]  # fmt: skip
        assert json.loads(value)["checks"][0]["facts"] == {"tier": "medium"}
        assert len(value) < 1000
        assert server.requests == []

    def test_recorded_in_the_console(self, server, checks):
        server.answers[self.REPORT] = [(200, {})]
        argv = ["--checks", str(checks), "--project", "demo", "--commit-sha", COMMIT]
        assert report_checks.main(argv) == 0
        risk, lint = server.bodies(self.REPORT)
        assert (risk["name"], risk["status"], risk["details"]["facts"]) == ("risk", "passed", {"tier": "medium"})
        assert (len(lint["details"]["findings"]), lint["details"]["finding_count"]) == (200, 300)

    def test_one_run_of_two_is_missing(self, server, checks, tmp_path, monkeypatch, capsys):
        monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
        server.answers[self.REPORT] = [(200, {})]
        both = ["--checks", str(checks), "--checks", str(tmp_path / "tests.json")]
        assert report_checks.main([*both, "--give", "checks", "--project", "demo", "--commit-sha", COMMIT]) == 2
        assert len(server.bodies(self.REPORT)) == 2
        assert not (tmp_path / "output").exists()
        assert "tests.json can't be read" in capsys.readouterr().err

    def test_a_result_that_nobody_recorded_is_no_pass(self, server, checks):
        server.answers[self.REPORT] = [(200, {}), (403, {"message": "You may not."})]
        assert report_checks.main(["--checks", str(checks), "--project", "demo", "--commit-sha", COMMIT]) == 1

    @pytest.mark.parametrize(
        "text", ["", "[]", "{}", '{"checks": []}', '{"checks": [{}]}', '{"checks": [{"check": 1}]}']
    )
    def test_no_checks_are_no_pass(self, server, tmp_path, capsys, text):
        path = tmp_path / "bad.json"
        path.write_text(text)
        assert report_checks.main(["--checks", str(path), "--give", "checks"]) == 2
        assert len(sentences(capsys.readouterr().err)) == 1

    def handed_on(self, checks, tmp_path, monkeypatch, **changed):
        """Give, as a job does, and take, as the next one does."""
        content = json.loads(checks.read_text())
        content["checks"][1].update(changed)
        checks.write_text(json.dumps(content))
        (output := tmp_path / "output").write_text("")
        monkeypatch.setenv("GITHUB_OUTPUT", str(output))
        assert report_checks.main(["--checks", str(checks), "--give", "found", "--findings"]) == 0
        value = output.read_text().removeprefix("found=").rstrip("\n")
        output.unlink()
        monkeypatch.setenv("READ", value)
        return value

    def test_findings_go_on_as_far_as_a_variable_holds_them(self, server, checks, tmp_path, monkeypatch):
        findings = [{"file": "a.py", "message": "m" * 1000}] * 300
        value = self.handed_on(checks, tmp_path, monkeypatch, findings=findings)
        assert len(value) < 128 * 1024
        server.answers[self.REPORT] = [(200, {})]
        argv = ["--checks-in", "READ=risk,lint", "--project", "demo", "--commit-sha", COMMIT]
        assert report_checks.main(argv) == 0
        lint = server.bodies(self.REPORT)[1]["details"]
        assert 10 < len(lint["findings"]) < 200
        assert lint["finding_count"] == 300

    def test_what_failed_is_recorded_and_not_passed_on(self, server, checks, tmp_path, monkeypatch, capsys):
        self.handed_on(checks, tmp_path, monkeypatch)
        argv = ["--checks-in", "READ=risk,lint", "--give", "checks", "--require-passed"]
        assert report_checks.main(argv) == 1
        assert capsys.readouterr().err == "Not passed: lint. The jobs that looked at it name file and mend.\n"
        assert not (tmp_path / "output").exists()
        self.handed_on(checks, tmp_path, monkeypatch, status="passed")
        assert report_checks.main(argv) == 0
        assert '"lint"' in (tmp_path / "output").read_text()

    @pytest.mark.parametrize("names", ["lint,risk,tests", "risk", "tests", "lint,lint,risk"])
    def test_a_job_has_a_say_in_its_own_checks_only(self, server, checks, tmp_path, monkeypatch, capsys, names):
        self.handed_on(checks, tmp_path, monkeypatch, status="passed")
        argv = ["--checks-in", f"READ={names}", "--give", "checks", "--require-passed"]
        assert report_checks.main(argv) == 2
        assert f"READ has to hold the checks {names}, each once" in capsys.readouterr().err
        assert not (tmp_path / "output").exists()

    @pytest.mark.parametrize("value", ["", "{", '{"checks": [{"check": "tests", "status": "green", "summary": ""}]}'])
    def test_a_job_that_handed_nothing_on_is_no_pass(self, server, monkeypatch, capsys, value):
        monkeypatch.setenv("TESTED", value)
        assert report_checks.main(["--checks-in", "TESTED=tests", "--give", "checks", "--require-passed"]) == 2
        assert len(sentences(capsys.readouterr().err)) == 1

    def test_bad_project_and_commit(self, server, checks):
        for project, commit in (("De mo", COMMIT), ("demo", "main")):
            argv = ["--checks", str(checks), "--project", project, "--commit-sha", commit]
            assert report_checks.main(argv) == 2
        assert server.requests == []


class TestJob:
    """What a step says to later ones can't become something else."""

    def test_a_value_has_one_line(self, tmp_path):
        output = tmp_path / "output"
        job.give("one", "1", {"GITHUB_OUTPUT": str(output)})
        for value in ("1\nadmin=true", "1\radmin=true"):
            with pytest.raises(InvalidInput):
                job.give("two", value, {"GITHUB_OUTPUT": str(output)})
        assert output.read_text() == "one=1\n"

    def test_outside_of_a_job(self):
        job.give("one", "1", {})
        job.summarise("text", {})

    def test_a_cell_stays_a_cell(self):
        table = job.table("T", [("a", "x | y\n| z | <b>"), ("left out", None), ("kept", 0)])
        assert table.splitlines()[4:] == ["| a | x \\| y \\| z \\| &lt;b> |", "| kept | 0 |"]


class TestPreview:
    """What can't be started is refused before anything is."""

    @pytest.mark.parametrize(
        ("image", "modules", "missing"),
        [("--privileged", "web", ""), ("a b", "web", ""), ("odoo:19.0", "web; id", ""), ("odoo:19.0", "web", "PGHOST")],
    )
    def test_wrong_input_starts_nothing(self, monkeypatch, capsys, image, modules, missing):
        for name in ("PGHOST", "PGUSER", "PGPASSWORD"):
            monkeypatch.setenv(name, "x")
        monkeypatch.delenv(missing or "NOTHING", raising=False)
        monkeypatch.setattr(preview_image, "preview", lambda *_: pytest.fail("started"))
        assert preview_image.main([f"--image={image}", "--modules", modules]) == 2
        assert len(sentences(capsys.readouterr().err)) == 1


class TestBuildSecrets:
    """Secrets of the build come from one secret of the workflow."""

    def test_texts_become_files_and_files_stay(self, tmp_path):
        text = json.dumps({"pip_conf": "[global]\nSECRET", "ca_bundle": {"file": "/etc/hosts"}})
        found = build_image.secrets_of_job(text, tmp_path)
        assert found == {"pip_conf": tmp_path / "pip_conf", "ca_bundle": Path("/etc/hosts")}
        assert (tmp_path / "pip_conf").read_text() == "[global]\nSECRET"
        assert (tmp_path / "pip_conf").stat().st_mode & 0o777 == 0o600
        assert build_image.secrets_of_job("", tmp_path) == {}

    @pytest.mark.parametrize(
        "text", ["SECRET", "[]", '{"other": "SECRET"}', '{"pip_conf": 7}', '{"pip_conf": {"f": 1}}']
    )
    def test_bad_ones(self, tmp_path, monkeypatch, capsys, text):
        monkeypatch.setenv("ODOOOPS_BUILD_SECRETS", text)
        assert build_image.main(["--repository", "localhost:5000/demo", "--source", str(tmp_path)]) == 2
        assert len(sentences(err := capsys.readouterr().err)) == 1
        assert "SECRET" not in err.replace("ODOOOPS_BUILD_SECRETS", "")
