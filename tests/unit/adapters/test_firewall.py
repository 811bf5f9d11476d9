"""The firewall's rules and settings."""

import pytest
from odooops_agent.commands import docker
from odooops_agent.commands import firewall as build
from odooops_agent.errors import Permanent, Refused
from odooops_agent.exceptions import ExceptionFiles
from odooops_agent.firewall import Firewall, Target, _call, read_firewall, resolvers

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
    assert firewall._targets == [
        Target("db.internal", 25060, copies_too=True),
        Target("10.0.0.9", 587),
        Target("relay.internal", 25),
    ]
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


def test_a_copy_reaches_its_database_and_what_its_project_names(tmp_path):
    (tmp_path / "odooops-demo-stage_closed").write_text("sandbox.example.com:443\n")
    known = {"db.internal": {"10.0.0.5"}, "relay.internal": {"10.0.0.9"}, "sandbox.example.com": {"198.51.100.7"}}
    targets = [Target("db.internal", 25060, copies_too=True), Target("relay.internal", 25)]
    firewall = Firewall("odooops", targets, (80, 443), known.__getitem__, tmp_path)
    egress = firewall._egress()
    assert egress.cluster == (("10.0.0.5", 25060),), "a relay sends mail: production alone reaches it"
    copies = [rule for rule in build.rules(egress) if "-i" in rule]
    wild = f"{build.closed_prefix('odooops')}+"
    own = build.bridge("odooops", "odooops-demo-stage_closed")
    assert own.startswith(build.closed_prefix("odooops"))
    assert len(own) <= 15
    assert {rule[2] for rule in copies} == {wild, own}
    assert [rule[-1] for rule in copies if rule[3:] == ("-j", "DROP")] == ["DROP", "DROP"], "in both chains"
    assert any("198.51.100.7" in rule and rule[2] == own for rule in copies)
    assert not any("10.0.0.9" in rule for rule in copies)


def test_no_other_environment_s_interface_looks_like_a_copy_s():
    names = [build.bridge("odooops", f"odooops-demo-{number}") for number in range(500)]
    assert not [name for name in names if name.startswith(build.closed_prefix("odooops"))]


def test_copies_ask_the_resolvers_that_docker_asks(tmp_path):
    file = tmp_path / "resolv.conf"
    file.write_text("# x\nsearch example.com\nnameserver 127.0.0.53\nnameserver 10.0.0.2\nnameserver fe80::1\n")
    assert resolvers(file) == ("10.0.0.2",)
    file.write_text("nameserver 127.0.0.53\n")
    assert resolvers(file) == ("8.8.8.8", "8.8.4.4")


@pytest.mark.parametrize("host", ["example.com", "example.com:", "a b:1", "x:70000", "x\n:1", "-A FORWARD:1"])
def test_an_exception_that_is_none_is_refused(tmp_path, host):
    with pytest.raises(Refused, match="host:port"):
        ExceptionFiles(tmp_path).write("odooops-demo-stage_closed", [host])
    assert list(tmp_path.iterdir()) == []


def test_an_exception_counts_until_the_next_copy(tmp_path):
    files = ExceptionFiles(tmp_path)
    files.write("odooops-demo-stage_closed", ["sandbox.example.com:443"])
    assert (tmp_path / "odooops-demo-stage_closed").read_text() == "sandbox.example.com:443\n"
    files.write("odooops-demo-stage_closed", [])
    assert (tmp_path / "odooops-demo-stage_closed").read_text() == ""
    with pytest.raises(Refused):
        files.write("odooops-demo-prod", ["x.example.com:1"])
