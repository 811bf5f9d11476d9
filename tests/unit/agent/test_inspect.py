"""What was configured by hand is asked for beside everything else and changes nothing."""

import copy

import pytest
from odooops_agent.heartbeat import CAPABILITIES
from odooops_agent.leases import BESIDE
from odooops_agent.neutralise import looks_secret
from odooops_agent.protocol import InspectResult, convert
from odooops_agent.testing.droplet import DATABASE


def inspect(droplet, **changes):
    operation = droplet.operation("inspect", 1, inspect={"since": None}, **changes)
    droplet.workshop.take_on(operation)
    return droplet.outcome(operation.id)


def test_the_agent_says_that_it_can_and_runs_it_beside():
    assert {"clone", "inspect"} <= set(CAPABILITIES)
    assert "inspect" in BESIDE


def test_it_changes_nothing_and_needs_no_image(deployed):
    before = copy.deepcopy((deployed.world.databases, deployed.world.containers))
    deployed.world.gone.update(deployed.world.images)
    finish = inspect(deployed)
    assert finish.outcome == "succeeded", finish.error
    assert convert(finish.result, InspectResult).database_uuid == deployed.world.databases[DATABASE].uuid
    assert (deployed.world.databases, deployed.world.containers) == before


def test_another_s_database_is_not_looked_into(deployed):
    finish = inspect(deployed, environment={"uuid": "00000000-0000-0000-0000-000000000000"})
    assert finish.error.code == "identity_mismatch"


def test_without_a_database_it_says_so(droplet):
    assert inspect(droplet).error.code == "no_database"


@pytest.mark.parametrize(
    ("key", "value", "secret"),
    [
        ("shop.api_key", "x", True),
        ("database.secret", "x", True),
        ("mail.catchall.domain", "example.com", False),
        ("auth_signup.reset_password", "True", False),
        ("shop.endpoint", "https://user:word@example.com/", True),
        ("shop.cert", "-----BEGIN PRIVATE KEY-----", True),
        ("shop.note", "nine to five", False),
    ],
)
def test_parameters_that_look_like_secrets(key, value, secret):
    assert looks_secret(key, value) is secret
