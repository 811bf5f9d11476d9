"""The firewall's rules and settings."""

import pytest
from odooops_agent.commands import docker
from odooops_agent.commands import firewall as build
from odooops_agent.errors import Permanent, Refused
from odooops_agent.firewall import Firewall, Target, _call, read_firewall

EGRESS = build.Egress("odooops", (("10.0.0.5", 25060),))
DSN = "postgresql://agent:word@db.internal:25060/defaultdb"


@pytest.mark.parametrize("stack", ["odooops", "a", "x" * 31])
def test_an_environments_interface_has_a_name_that_the_kernel_takes_and_the_rules_know(stack):
    options = docker.network_arguments(f"{stack}-demo-prod", stack, {})["options"]
    name = options[docker.BRIDGE_OPTION]
    assert len(name) <= 15
    assert all(f"{build.bridge_prefix(stack)}+" in jump for jump in build.jumps(stack))
    assert name.startswith(build.bridge_prefix(stack))
    assert name != build.bridge(stack, f"{stack}-demo-stage")
    assert not name.startswith(build.bridge_prefix("another"))


def test_what_is_allowed_comes_before_what_is_dropped():
    text = build.restore_text("odooops", build.rules(EGRESS))
    allowed = text.index("--ctorigdst 10.0.0.5 --ctorigdstport 25060 -j RETURN")
    assert allowed < text.index("-d 10.0.0.0/8 -j DROP")
    assert "-d 169.254.0.0/16 -j DROP" in text
    assert text.startswith("*mangle\n:ODOOOPS-")
    assert text.endswith("-j DROP\nCOMMIT\n"), "all else that is meant for the droplet"


def test_a_name_that_is_unknown_for_a_while_keeps_its_last_addresses():
    known = {"db.internal": {"10.0.0.5"}}
    firewall = Firewall("odooops", [Target("db.internal", 25060)], (80, 443), lambda name: known.get(name, set()))
    first = firewall._egress()
    known.clear()
    assert firewall._egress() == first
    known["db.internal"] = {"10.0.0.6"}
    assert firewall._egress().allowed == (("10.0.0.6", 25060),)


def test_settings():
    given = {"ODOOOPS_EGRESS_ALLOW": "10.0.0.9:587, relay.internal:25", "ODOOOPS_HTTP_PORT": "81"}
    firewall = read_firewall({"ODOOOPS_PG_DSN": DSN, **given})
    assert firewall._targets == [Target("db.internal", 25060), Target("10.0.0.9", 587), Target("relay.internal", 25)]
    assert firewall._ports == (81, 443)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ODOOOPS_EGRESS_ALLOW", "10.0.0.9"),
        ("ODOOOPS_EGRESS_ALLOW", ":25"),
        ("ODOOOPS_EGRESS_ALLOW", "10.0.0.9:mail"),
        ("ODOOOPS_HTTP_PORT", "70000"),
        ("ODOOOPS_STACK", "Two Words"),
    ],
)
def test_a_wrong_setting_is_named(name, value):
    with pytest.raises(Refused, match=name):
        read_firewall({"ODOOOPS_PG_DSN": DSN, name: value})


def test_a_machine_that_can_not_filter_says_why_and_what_to_do():
    with pytest.raises(Permanent, match=r"can't filter .*No such file.*NET_ADMIN"):
        _call(["ls", "/nowhere/at/all"])
    with pytest.raises(Refused, match="install the package iptables"):
        _call(["no-such-program"])
