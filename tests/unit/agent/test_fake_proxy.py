"""The proxy's fake forgets a route as the real one does."""

import pytest
from odooops_agent.errors import Permanent
from odooops_agent.ports import Route
from odooops_agent.testing.fakes import FakeProxy
from odooops_agent.testing.world import World


def route(environment):
    return Route(environment, (f"{environment[5:]}.localhost",), (), f"{environment}-r1", 20, tls=False)


def test_a_removed_route_leads_nowhere_and_is_forgotten_once():
    world = World()
    proxy = FakeProxy(world)
    proxy.ensure_route(route("demo/prod"))
    proxy.ensure_route(route("demo/stage"))
    proxy.hold("demo/prod", "demo-prod-r2")
    for _ in range(2):
        proxy.remove_route("demo/prod")
    assert proxy.upstream("demo/prod") is None
    assert proxy.upstream("demo/stage") == "demo/stage-r1"
    with pytest.raises(Permanent, match="no route"):
        proxy.switch("demo/prod", "demo-prod-r3")
    assert world.held == set()


def test_removing_during_the_hold_of_another_is_a_violation():
    world = World()
    proxy = FakeProxy(world)
    proxy.ensure_route(route("demo/stage"))
    proxy.hold("demo/stage", "demo-stage-r2")
    proxy.remove_route("demo/prod")
    assert world.violations
