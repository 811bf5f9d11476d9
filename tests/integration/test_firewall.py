"""What a customer's code reaches, tried from inside its container."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from odooops_agent.commands.firewall import bridge_prefix, chain
from odooops_agent.errors import Permanent
from odooops_agent.firewall import Firewall, Target, remove_rules
from parts.caddy import free_port
from parts.engine import PYTHON_BASE, Stack
from parts.world import OURS, listening, machine_at

# In the range of the cloud's metadata service; not its own address, which this machine may need.
METADATA, NEIGHBOUR, INTERNET = "169.254.77.1", "10.213.77.5", "198.51.100.77"
DATABASE, OTHER = 25060, 8022  # ports of the machine beyond
PUBLIC = free_port()
PRIVATE = free_port()
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 1.5).close()
except OSError:
    sys.exit(1)
"""


class Code:
    """A customer's code in its environment's container."""

    def __init__(self, stack: Stack, slug: str) -> None:
        network = f"{stack.name}-{slug}"
        stack.runtime().ensure_network(network, {"odooops.environment": slug.replace("-", "/")})
        argv = ["python3", "-m", "http.server", "8069"]
        name = f"{network}-web"
        stack.runtime().create(stack.spec(f"{slug}-web", *argv, image=stack.image(PYTHON_BASE), network=network))
        stack.runtime().start(name)
        self._container = stack.client.containers.get(name)
        self._container.reload()
        settings = self._container.attrs["NetworkSettings"]["Networks"][network]
        self.address, self.gateway = str(settings["IPAddress"]), str(settings["Gateway"])

    def reaches(self, address: str, port: int) -> bool:
        return bool(self._container.exec_run(["python3", "-c", CONNECT, address, str(port)]).exit_code == 0)


@pytest.fixture(scope="module")
def code(stack: Stack) -> Iterator[dict[str, Code]]:
    stack.start_proxy()
    with machine_at([METADATA, NEIGHBOUR, INTERNET], [DATABASE, OTHER]), listening(PUBLIC), listening(PRIVATE):
        yield {slug: Code(stack, slug) for slug in ("demo-prod", "demo-stage", "demo-copy_closed")}


@pytest.fixture
def firewall(stack: Stack) -> Iterator[Firewall]:
    """Return the firewall; its rules are gone afterwards."""
    yield Firewall(
        stack.name, [Target(NEIGHBOUR, DATABASE, copies_too=True), Target("nobody.invalid", 1)], (PUBLIC, 443)
    )
    remove_rules(stack.name)


def test_only_the_internet_postgresql_and_public_sites_are_reached(
    stack: Stack, code: dict[str, Code], firewall: Firewall
) -> None:
    prod, stage = code["demo-prod"], code["demo-stage"]
    closed = [(METADATA, DATABASE), (METADATA, OTHER), (NEIGHBOUR, OTHER), (prod.gateway, PRIVATE), (OURS, PRIVATE)]
    assert all(prod.reaches(*each) for each in closed), "without the firewall all of it is open: the test sees that"
    firewall.apply()
    assert not any(prod.reaches(*each) for each in closed)
    assert prod.reaches(NEIGHBOUR, DATABASE)
    assert prod.reaches(INTERNET, OTHER)
    assert prod.reaches(OURS, PUBLIC), "Odoo prints its reports through its public address"
    assert prod.reaches(prod.gateway, PUBLIC)
    assert not prod.reaches(stage.address, 8069)
    remove_rules(stack.name)
    assert prod.reaches(*closed[0])


def test_a_copy_of_production_reaches_its_database_and_nothing_else(
    stack: Stack, code: dict[str, Code], tmp_path: Path
) -> None:
    copy, prod = code["demo-copy_closed"], code["demo-prod"]
    closed = [(METADATA, DATABASE), (NEIGHBOUR, OTHER), (INTERNET, OTHER), (INTERNET, DATABASE), (OURS, PUBLIC)]
    closed += [(copy.gateway, PUBLIC), (copy.gateway, PRIVATE), (OURS, PRIVATE)]
    assert all(copy.reaches(*each) for each in closed), "without the firewall all of it is open: the test sees that"
    targets = [Target(NEIGHBOUR, DATABASE, copies_too=True), Target(INTERNET, OTHER)]
    firewall = Firewall(stack.name, targets, (PUBLIC, 443), exceptions=tmp_path)
    try:
        firewall.apply()
        assert [each for each in closed if copy.reaches(*each)] == []
        assert not copy.reaches(prod.address, 8069)
        assert copy.reaches(NEIGHBOUR, DATABASE)
        assert prod.reaches(INTERNET, OTHER), "production is another matter"
        (tmp_path / f"{stack.name}-demo-copy_closed").write_text(f"{INTERNET}:{OTHER}\n")
        firewall.apply()
        assert copy.reaches(INTERNET, OTHER), "what its project names"
        assert not copy.reaches(INTERNET, DATABASE)
    finally:
        remove_rules(stack.name)


def test_the_proxy_reaches_an_environment_behind_the_firewall(
    stack: Stack, code: dict[str, Code], firewall: Firewall
) -> None:
    firewall.apply()
    ask = ["bash", "-c", f"exec 3<>/dev/tcp/{code['demo-prod'].address}/8069"]
    assert stack.client.containers.get(stack.proxy_name).exec_run(ask).exit_code == 0


def test_who_flushes_the_rules_is_noticed_and_they_come_back(
    stack: Stack, code: dict[str, Code], firewall: Firewall
) -> None:
    with pytest.raises(Permanent, match="lacks the rule FORWARD"):
        firewall.check()
    firewall.apply()
    firewall.check()
    subprocess.run(["iptables", "-w", "-t", "mangle", "-F", chain(stack.name, "INPUT")], check=True)
    with pytest.raises(Permanent, match="lacks the rule"):
        firewall.check()
    for _ in range(2):
        firewall.apply()
    firewall.check()
    listed = subprocess.run(["iptables", "-w", "-t", "mangle", "-S"], capture_output=True, text=True, check=True).stdout
    assert listed.count(f"-i {bridge_prefix(stack.name)}+") == 2, "applied twice, led into once"
