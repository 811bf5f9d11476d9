"""A lease that the agent can't read is one that it can refuse."""

import json

import pytest
from odooops_agent.control_plane_http import HttpControlPlane
from odooops_agent.errors import Permanent, UnreadableOperation
from odooops_agent.testing.droplet import ENVIRONMENT


@pytest.fixture
def control(monkeypatch):
    plane = HttpControlPlane("https://console.example.com", None)
    answers = []
    monkeypatch.setattr(plane, "_post", lambda route, body: answers.pop())
    return plane, answers


def leased(**environment):
    release = {"tag": "v1", "commit_sha": "1" * 40, "image": "localhost:5000/demo", "digest": "sha256:" + "1" * 64}
    operation = {"id": 41, "uuid": "u", "kind": "deploy", "token": 17, "policy_version": "1", "release": release}
    return json.dumps({"operation": {**operation, "environment": {**ENVIRONMENT, **environment}}}).encode()


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({"url": None}, "$.operation.environment.url"),
        ({"domains": {"main": None}}, "$.operation.environment.domains.main"),
        ({"mail": {"host": "a", "encryption": "quantum"}}, "$.operation.environment.mail.encryption"),
    ],
)
def test_it_names_the_operation_and_the_field(control, environment, path):
    plane, answers = control
    answers.append(leased(**environment))
    with pytest.raises(UnreadableOperation) as caught:
        plane.lease({})
    assert (caught.value.operation_id, caught.value.token, caught.value.code) == (41, 17, "bad_message")
    assert path in caught.value.message


def test_ssl_is_an_encryption(control):
    plane, answers = control
    answers.append(leased(mail={"host": "a", "encryption": "ssl"}))
    assert plane.lease({}).operation.environment.mail.encryption == "ssl"


def test_an_answer_that_names_no_operation_is_only_told(control):
    plane, answers = control
    answers.append(b'{"operation": {"id": "x"}}')
    with pytest.raises(Permanent):
        plane.lease({})
