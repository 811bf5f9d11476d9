import pytest
from odooops_agent.testing.droplet import FakeDroplet


@pytest.fixture
def droplet(tmp_path):
    """An agent on a world in which nothing was deployed yet."""
    return FakeDroplet(tmp_path)


@pytest.fixture
def deployed(droplet):
    """The same, with v1.1.0 in production and its visitors watched."""
    assert droplet.deploy(1).outcome == "succeeded"
    droplet.world.watched = "demo/prod"
    return droplet
