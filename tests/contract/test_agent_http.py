"""The agent's HTTP adapter against a real server: paths, key, status codes, renewal."""

import json
import socket
import threading
from pathlib import Path

import pytest
from odooops_agent.agent_key import AgentKey
from odooops_agent.control_plane_http import HttpControlPlane
from odooops_agent.errors import LeaseLost, Permanent, Retryable, Unauthorized, UnknownOperation
from odooops_agent.protocol import (
    ErrorResponse,
    HeartbeatRequest,
    LeaseRequest,
    LeaseResponse,
    decode,
)
from odooops_agent.testing.control import FakeControlPlane, HttpServer

FIXTURES = Path(__file__).parent / "fixtures"
KEY = "odooops_agent_7_" + "a" * 43
NEW_KEY = "odooops_agent_8_" + "k" * 43


def load(name):
    return (FIXTURES / f"{name}.json").read_bytes()


@pytest.fixture
def server():
    server = HttpServer(FakeControlPlane(), KEY)
    yield server
    server.close()


@pytest.fixture
def key(tmp_path):
    (tmp_path / "agent.key").write_text(KEY + "\n")
    return AgentKey(tmp_path / "agent.key", tmp_path)


@pytest.fixture
def control(server, key):
    return HttpControlPlane(server.url, key)


def test_a_lease_arrives_as_the_fixture_says(server, control):
    operation = decode(load("lease_response_deploy"), LeaseResponse).operation
    server.control.queue(operation)
    leased = control.lease(decode(load("lease_request"), LeaseRequest)).operation
    assert leased.environment == operation.environment
    assert leased.token == 17
    path, headers = server.requests[0]
    assert path == "/odooops/agent/v1/lease"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"].startswith("odooops-agent/")


def test_no_work(control):
    assert control.lease(decode(load("lease_request"), LeaseRequest)).operation is None


def test_a_heartbeat_and_its_orders(control):
    answer = control.heartbeat(decode(load("heartbeat_request"), HeartbeatRequest))
    assert [(one.id, one.order) for one in answer.operations] == [(41, "lost")]


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (LeaseLost("given on"), LeaseLost),
        (UnknownOperation("no such"), UnknownOperation),
        (Unauthorized("wrong key"), Unauthorized),
        (Retryable("restarting"), Retryable),
        (Permanent("no JSON"), Permanent),
    ],
)
def test_status_codes_drive_what_happens_next(server, control, raised, expected):
    def refuse(route):
        raise raised

    server.before_answer = refuse
    with pytest.raises(expected) as caught:
        control.report("steps", load("steps_request"))
    assert caught.value.message == raised.message


def test_the_stale_token_s_fixture_is_understood():
    assert decode(load("error_stale_token"), ErrorResponse).error.code == "stale_token"


def test_a_wrong_key(server, tmp_path):
    (tmp_path / "agent.key").write_text(NEW_KEY)
    control = HttpControlPlane(server.url, AgentKey(tmp_path / "agent.key", tmp_path))
    with pytest.raises(Unauthorized):
        control.lease(decode(load("lease_request"), LeaseRequest))


def test_no_error_quotes_the_key(server, control):
    def refuse(route):
        raise Unauthorized("no")

    server.before_answer = refuse
    with pytest.raises(Unauthorized) as caught:
        control.lease(decode(load("lease_request"), LeaseRequest))
    assert KEY not in repr(caught.value)
    assert KEY not in str(caught.value.__cause__)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 11\r\n\r\n<h1>404</h1",
        b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n",
        b"",
        b"\0\0",
    ],
)
def test_nonsense_redirects_and_hang_ups_are_away(tmp_path, key, answer):
    """A redirect would carry the key elsewhere; what is no HTTP is a control plane that is not there.

    And a 404 that it did not say itself, but a proxy on the way, must not cost an operation its reports.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.sendall(answer)
        connection.close()

    threading.Thread(target=serve, daemon=True).start()
    control = HttpControlPlane(f"http://127.0.0.1:{listener.getsockname()[1]}", key)
    with pytest.raises(Retryable):
        control.lease(decode(load("lease_request"), LeaseRequest))
    listener.close()


def test_nobody_listens(key):
    with pytest.raises(Retryable, match="does not answer"):
        HttpControlPlane("http://127.0.0.1:9", key).lease(decode(load("lease_request"), LeaseRequest))


# -- the key


def test_a_renewed_key_is_used_at_once_and_after_a_restart(server, key, control, tmp_path):
    server.keys.add(NEW_KEY)
    key.renew(NEW_KEY)
    control.lease(decode(load("lease_request"), LeaseRequest))
    assert server.requests[-1][1]["Authorization"] == f"Bearer {NEW_KEY}"
    again = AgentKey(tmp_path / "agent.key", tmp_path)
    assert again.current.reveal() == NEW_KEY
    assert (tmp_path / "agent-key.json").stat().st_mode & 0o777 == 0o600


def test_a_renewed_key_that_is_refused_gives_way_to_the_key_file(server, key, control):
    key.renew(NEW_KEY)
    control.lease(decode(load("lease_request"), LeaseRequest))
    assert server.requests[-1][1]["Authorization"] == f"Bearer {KEY}"


def test_a_droplet_that_is_enrolled_anew_uses_the_new_file(key, tmp_path):
    key.renew(NEW_KEY)
    other = "odooops_agent_9_" + "b" * 43
    (tmp_path / "agent.key").write_text(other)
    assert AgentKey(tmp_path / "agent.key", tmp_path).current.reveal() == other


@pytest.mark.parametrize("text", ["", "nonsense", NEW_KEY + "\nevil", "odooops_agent_8_short"])
def test_a_new_key_that_is_none_is_refused(key, text):
    with pytest.raises(Permanent):
        key.renew(text)
    assert key.current.reveal() == KEY


def test_a_key_file_that_is_missing_or_no_key_says_what_to_do(tmp_path):
    with pytest.raises(Permanent, match="enrol the droplet"):
        AgentKey(tmp_path / "agent.key", tmp_path)
    (tmp_path / "agent.key").write_text(json.dumps({"key": KEY}))
    with pytest.raises(Permanent, match="holds no agent key"):
        AgentKey(tmp_path / "agent.key", tmp_path)


def test_the_key_does_not_print(key):
    assert KEY not in f"{key.current} {key.current!r} {key.current:>5}"
