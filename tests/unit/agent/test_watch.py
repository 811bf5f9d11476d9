"""What the heartbeat says of an environment's health."""

from datetime import date

import pytest
from msgspec import UNSET
from odooops_agent.commands.business import days_left
from odooops_agent.protocol import Busy
from odooops_agent.testing.droplet import KEY, digest
from odooops_agent.testing.fakes import fake_ports
from odooops_agent.watch import BUSINESS_EVERY, Watch


def test_what_was_seen_before_a_deployment_is_not_told_after_it(deployed):
    watch = Watch(fake_ports(deployed.world), deployed.journal, deployed.world, set)
    watch.look()
    assert [(one.key, one.digest) for one in watch.reports()] == [(KEY, digest(1))]
    assert deployed.deploy(2).outcome == "succeeded"
    assert watch.reports() == ()
    watch.look()
    assert [(one.key, one.digest) for one in watch.reports()] == [(KEY, digest(2))]


def test_what_people_are_in_the_midst_of_is_told_of_production(deployed):
    watch = Watch(fake_ports(deployed.world), deployed.journal, deployed.world, set)
    database = deployed.world.databases[deployed.journal.environments()[KEY]["database"]]
    database.busy = tills = (Busy(kind="point_of_sale", count=2),)
    watch.look()
    assert watch.reports()[0].busy == tills
    database.busy = ()
    watch.look()
    assert watch.reports()[0].busy == tills, "a large table is not read at every look"
    deployed.world.seconds += BUSINESS_EVERY.total_seconds()
    watch.look()
    assert watch.reports()[0].busy == ()


def test_below_production_nobody_looks(deployed):
    deployed.journal.set_tier(KEY, "staging")
    watch = Watch(fake_ports(deployed.world), deployed.journal, deployed.world, set)
    watch.look()
    assert watch.reports()[0].busy is UNSET
    assert "database.business" not in deployed.world.calls


@pytest.mark.parametrize(
    ("ends", "today", "left"),
    [
        ([(31, "12")], date(2026, 12, 31), 0),
        ([(31, "12")], date(2026, 12, 28), 3),
        ([(31, "12")], date(2026, 12, 27), None),
        ([(31, "12")], date(2027, 1, 1), None),
        ([(31, "12"), (30, "6")], date(2026, 6, 29), 1),
        ([(31, "2")], date(2028, 2, 28), 1),
        ([(29, "2")], date(2027, 2, 28), 0),
        ([(0, "1")], date(2026, 12, 31), 1),
        ([(None, None), ("x", "13"), (31, "12")], date(2026, 12, 30), 1),
        ([], date(2026, 12, 31), None),
    ],
)
def test_a_fiscal_year_that_is_about_to_end(ends, today, left):
    assert days_left(ends, today) == left
