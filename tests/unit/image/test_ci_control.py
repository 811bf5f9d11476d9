"""How the CI's scripts speak with the control plane: retries, refusals, and a key that nobody sees."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import register_release
import request_deployment
import request_rollback
from odooops_ci import control
from odooops_ci.errors import InvalidInput, NotYet, Refused, Unreachable

COMMIT = "a" * 40
DIGEST = "sha256:" + "b" * 64
KEY = "secret-key-0123"


class Plane(HTTPServer):
    """A control plane that gives prepared answers and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, object]] = []
        self.requests: list[tuple[str, dict, dict]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, dict(self.headers), body))
        status, answer = self.server.answers.pop(0)
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if 300 <= status < 400:
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def plane(monkeypatch):
    server = Plane()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    monkeypatch.setenv("ODOOOPS_URL", server.url + "/")
    monkeypatch.setenv("ODOOOPS_API_KEY", KEY)
    monkeypatch.delenv("ODOOOPS_DATABASE", raising=False)
    monkeypatch.setattr(control, "PAUSES_SECONDS", (0, 0))
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def build(tmp_path):
    path = tmp_path / "build.json"
    path.write_text(
        json.dumps({"image": f"localhost:5000/demo@{DIGEST}", "commit_sha": COMMIT, "manifest": {"schema": 1}})
    )
    return path


def test_registering_a_release(plane, build, capsys):
    plane.answers = [(200, {"id": 3, "tag": "v1.0.0"})]
    assert register_release.main(["--project", "demo", "--ref", "refs/tags/v1.0.0", "--build", str(build)]) == 0
    ((path, headers, body),) = plane.requests
    assert path == "/json/2/odooops.release/register"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert body == {
        "project": "demo", "ref": "refs/tags/v1.0.0", "commit_sha": COMMIT,
        "image": f"localhost:5000/demo@{DIGEST}", "manifest": {"schema": 1}, "checks": [], "ancestors": None,
    }  # fmt: skip
    output = capsys.readouterr()
    assert json.loads(output.out) == {"id": 3, "tag": "v1.0.0"}
    assert "fetch-depth: 0" in output.err


@pytest.mark.parametrize("ancestors", [[], ["c" * 40, "d" * 40]])
def test_a_release_comes_with_the_commits_before_it(plane, build, capsys, ancestors):
    plane.answers = [(200, {"id": 3, "tag": "v1.0.0"})]
    build.write_text(json.dumps({**json.loads(build.read_text()), "ancestors": ancestors}))
    assert register_release.main(["--project", "demo", "--ref", "refs/tags/v1.0.0", "--build", str(build)]) == 0
    assert plane.requests[0][2]["ancestors"] == ancestors
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("ancestors", ["x", {"a": 1}, ["abc"], [7], ["c" * 40 + "; id"]])
def test_commits_that_are_none_ask_nothing(plane, build, ancestors):
    build.write_text(json.dumps({**json.loads(build.read_text()), "ancestors": ancestors}))
    assert register_release.main(["--project", "demo", "--ref", "refs/tags/v1.0.0", "--build", str(build)]) == 2
    assert plane.requests == []


@pytest.mark.parametrize(
    "wrong",
    [["--ref", "refs/tags/v1.0.0; rm -rf /"], ["--ref", "v1.0.0"], ["--project", "De mo"], ["--build", "/none.json"]],
)
def test_wrong_input_asks_nothing(plane, build, capsys, wrong):
    given = ["--project", "demo", "--ref", "refs/tags/v1.0.0", "--build", str(build), *wrong]
    assert register_release.main(given) == 2
    assert plane.requests == []
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("image", ["localhost:5000/demo:v1", "localhost:5000/demo@sha256:1", f"{DIGEST}", None])
def test_image_without_digest_is_refused(plane, build, image):
    build.write_text(json.dumps({"image": image, "commit_sha": COMMIT}))
    assert register_release.main(["--project", "demo", "--ref", "refs/tags/v1.0.0", "--build", str(build)]) == 2


def request(*more):
    return request_deployment.main(
        ["--environment", "demo/prod", "--ref", "refs/tags/v1.0.0", "--commit-sha", COMMIT, *more]
    )


def test_requesting_a_deployment(plane, capsys):
    plane.answers = [(200, {"id": 7, "state": "draft"})]
    assert request() == 0
    assert plane.requests[0][0] == "/json/2/odooops.deployment/request"
    assert plane.requests[0][2] == {"environment": "demo/prod", "ref": "refs/tags/v1.0.0", "commit_sha": COMMIT}
    assert json.loads(capsys.readouterr().out)["state"] == "draft"


def test_waiting_for_the_end(plane, capsys, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    plane.answers = [
        (200, {"id": 7, "state": "draft"}),
        (200, {"state": "running", "ask_again_seconds": 0}),
        (200, {"state": "live"}),
    ]
    assert request("--wait", "60") == 0
    assert plane.requests[-1][2] == {"id": 7}
    assert json.loads(capsys.readouterr().out)["state"] == "live"


def test_deployment_that_fails(plane, capsys):
    plane.answers = [(200, {"id": 7}), (200, {"state": "failed", "error": {"message": "The update failed."}})]
    assert request("--wait", "60") == 1
    assert "Deployment 7 ended as failed: The update failed." in capsys.readouterr().err


def test_deployment_that_does_not_end_in_time(plane, capsys):
    plane.answers = [(200, {"id": 7}), (200, {"state": "awaiting_approval", "console_url": "https://c/7"})]
    assert request("--wait", "1") == 4
    assert "still awaiting_approval after 1 s: see https://c/7" in capsys.readouterr().err


def roll_back(*more):
    return request_rollback.main(
        ["--environment", "demo/prod", "--previous-tag", "v1.0.0", "--reason", " orders fail ", *more]
    )


def test_requesting_a_rollback(plane, capsys):
    plane.answers = [(200, {"id": 9, "state": "previewing"})]
    assert roll_back() == 0
    assert plane.requests[0][0] == "/json/2/odooops.rollback.request/submit"
    assert plane.requests[0][2] == {"environment": "demo/prod", "previous_tag": "v1.0.0", "reason": "orders fail"}
    assert json.loads(capsys.readouterr().out)["state"] == "previewing"


def test_a_build_of_the_main_branch_is_gone_back_to(plane):
    plane.answers = [(200, {"id": 9})]
    assert roll_back("--previous-tag", "main-20261123100000-aaaaaaa") == 0


def test_waiting_for_the_end_of_a_rollback(plane, capsys, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    plane.answers = [
        (200, {"id": 9, "state": "previewing"}),
        (200, {"state": "awaiting_approval", "ask_again_seconds": 0}),
        (200, {"state": "done"}),
    ]
    assert roll_back("--wait", "60") == 0
    assert plane.requests[-1][0] == "/json/2/odooops.rollback.request/status"
    assert plane.requests[-1][2] == {"id": 9}
    assert json.loads(capsys.readouterr().out)["state"] == "done"


def test_rollback_that_does_not_end_well(plane, capsys):
    plane.answers = [(200, {"id": 9}), (200, {"state": "rejected"})]
    assert roll_back("--wait", "60") == 1
    assert "Rollback 9 ended as rejected" in capsys.readouterr().err
    plane.answers = [(200, {"id": 9}), (200, {"state": "awaiting_approval", "console_url": "https://c/9"})]
    assert roll_back("--wait", "1") == 4
    assert "Rollback 9 is still awaiting_approval after 1 s: see https://c/9" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        ["--previous-tag", "previous"],
        ["--previous-tag", "v1.0.0\n"],
        ["--previous-tag", "v1.0.0; rm -rf /"],
        ["--previous-tag=--upload-pack=x"],
        ["--previous-tag", ""],
        ["--environment", "PROD"],
        ["--reason", "  "],
    ],
)
def test_a_rollback_with_wrong_input_asks_nothing(plane, capsys, wrong):
    assert roll_back(*wrong) == 2
    assert plane.requests == []
    assert capsys.readouterr().err


def test_gateway_errors_are_tried_again(plane):
    plane.answers = [(502, b"bad gateway"), (503, {}), (200, {"id": 7})]
    assert request() == 0
    assert len(plane.requests) == 3


@pytest.mark.parametrize(
    ("status", "answer", "sentence"),
    [
        (422, {"name": "odoo.exceptions.UserError", "message": "v1.0.0 is\nnot built."}, "v1.0.0 is not built. (422)"),
        (401, b"", "The control plane answers 401: the key is wrong or has expired."),
        (500, b"<html>", "The control plane answers 500: see its log."),
        (301, b"", "The control plane answers 301: see its log."),
        (200, b"<html>", "The control plane's answer is no JSON"),
    ],
)
def test_refusals_are_not_tried_again(plane, capsys, status, answer, sentence):
    plane.answers = [(status, answer)]
    assert request() == 1
    assert sentence in capsys.readouterr().err
    assert len(plane.requests) == 1


def test_nobody_answers(plane, monkeypatch, capsys):
    monkeypatch.setenv("ODOOOPS_URL", "http://127.0.0.1:1")
    assert request() == 3
    error = capsys.readouterr().err
    assert "can't be reached (no connection): try again later." in error
    assert KEY not in error


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ODOOOPS_URL", "", "The variable ODOOOPS_URL is not set"),
        ("ODOOOPS_API_KEY", " ", "The variable ODOOOPS_API_KEY is not set"),
        ("ODOOOPS_URL", "http://console.example.com", "must begin with https://"),
        ("ODOOOPS_URL", "console.example.com", "such as https://console.example.com"),
        ("ODOOOPS_URL", "https://user:pw@console.example.com", "such as https://console.example.com"),
        ("ODOOOPS_API_KEY", "a\nb", "is not a key"),
    ],
)
def test_environment_is_checked(name, value, sentence):
    environment = {"ODOOOPS_URL": "https://console.example.com", "ODOOOPS_API_KEY": KEY, name: value}
    with pytest.raises(InvalidInput) as caught:
        control.from_environment(environment)
    assert sentence in str(caught.value)
    assert KEY not in str(caught.value)


def test_key_is_shown_to_nobody():
    plane = control.from_environment({"ODOOOPS_URL": "https://console.example.com", "ODOOOPS_API_KEY": KEY})
    assert KEY not in repr(plane)
    assert KEY not in repr(plane.key)


def test_errors_have_exit_codes():
    assert [error.exit_code for error in (Refused, InvalidInput, Unreachable, NotYet)] == [1, 2, 3, 4]
