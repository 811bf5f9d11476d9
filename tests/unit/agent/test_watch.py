"""What the heartbeat says of an environment's health."""

from odooops_agent.testing.droplet import KEY, digest
from odooops_agent.testing.fakes import fake_ports
from odooops_agent.watch import Watch


def test_what_was_seen_before_a_deployment_is_not_told_after_it(deployed):
    watch = Watch(fake_ports(deployed.world), deployed.journal, deployed.world, set)
    watch.look()
    assert [(one.key, one.digest) for one in watch.reports()] == [(KEY, digest(1))]
    assert deployed.deploy(2).outcome == "succeeded"
    assert watch.reports() == ()
    watch.look()
    assert [(one.key, one.digest) for one in watch.reports()] == [(KEY, digest(2))]
