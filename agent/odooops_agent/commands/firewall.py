"""What the environments' containers may reach: rules for the kernel's packet filter, as plain words. Pure.

The internet is open to production (payment providers, mail relays), and so are its own network, the cluster of
PostgreSQL and the web sites of the droplet. Every other tier is a copy of production or may become one: of these it has
its own network and the cluster alone, and what its project names. The droplet itself, its private neighbours (the
console's network among them) and the cloud's metadata service, which hands out the droplet's credentials, are closed to
all. One environment is kept from another's
network by Docker itself.

The rules stand in the table `mangle`: no restart of Docker and no other firewall of the droplet puts anything before
them, what is dropped there nobody lets through later, and a packet for a published port still has its first address.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..names import NOWHERE

Rule = tuple[str, ...]

# Private and link-local ranges, and what clouds use for their metadata and agents outside of them (168.63.129.16).
CLOSED = (
    "10.0.0.0/8",
    "100.64.0.0/10",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
)
BUILT_IN = ("FORWARD", "INPUT")


@dataclass(frozen=True, slots=True)
class Egress:
    """What a droplet's environments may reach beside the internet."""

    stack: str
    allowed: tuple[tuple[str, int], ...]  # addresses with their TCP port
    public_ports: tuple[int, ...] = (80, 443)
    cluster: tuple[tuple[str, int], ...] = ()  # of those, what also copies of production reach
    resolvers: tuple[str, ...] = ()
    exceptions: tuple[tuple[str, str, int], ...] = ()  # a copy's network, and an address and port that it may reach


def bridge_prefix(stack: str) -> str:
    """Return how the network interfaces of a stack's environments begin, so that one rule is for all of them."""
    return f"oo{_digest(stack, 4)}-"


def bridge(stack: str, network: str) -> str:
    """Return the name of an environment's network interface; the kernel takes 15 characters."""
    if network.endswith(NOWHERE):
        return closed_prefix(stack) + _digest(network, 7)
    return bridge_prefix(stack) + _digest(network, 8)


def closed_prefix(stack: str) -> str:
    """Return how the interfaces of networks that lead nowhere begin; no digest begins so."""
    return f"{bridge_prefix(stack)}x"


def chain(stack: str, built_in: str) -> str:
    return f"ODOOOPS-{_digest(stack, 4)}-{built_in}"


def jumps(stack: str) -> list[Rule]:
    """Return the rules that lead packets from environments into the chains."""
    return [(where, "-i", f"{bridge_prefix(stack)}+", "-j", chain(stack, where)) for where in BUILT_IN]


def rules(egress: Egress) -> list[Rule]:
    """Return the rules for IPv4, in their order."""
    return [
        (chain(egress.stack, where), *rule)
        for where, act in (("FORWARD", _forwarded), ("INPUT", _to_the_droplet))
        for rule in act(egress)
    ]


def rules_without_ipv6(stack: str) -> list[Rule]:
    """Return the rules for IPv6, which environments' networks do not have."""
    forward, to_the_droplet = (chain(stack, where) for where in BUILT_IN)
    return [(forward, "-o", f"{bridge_prefix(stack)}+", "-j", "RETURN"), *_drop(forward), *_drop(to_the_droplet)]


def restore_text(stack: str, given: Sequence[Rule]) -> str:
    """Return what `iptables-restore --noflush` puts in the chains' place in one go."""
    lines = [f":{chain(stack, where)} - [0:0]" for where in BUILT_IN] + [f"-A {' '.join(rule)}" for rule in given]
    return "\n".join(["*mangle", *lines, "COMMIT", ""])


def _forwarded(egress: Egress) -> Iterator[Rule]:
    yield "-o", f"{bridge_prefix(egress.stack)}+", "-j", "RETURN"
    yield from _copies(egress)
    yield from _open(egress)
    for closed in CLOSED:
        yield "-d", closed, "-j", "DROP"


def _to_the_droplet(egress: Egress) -> Iterator[Rule]:
    yield from _copies(egress)
    yield from _open(egress)
    yield "-j", "DROP"


def _copies(egress: Egress) -> Iterator[Rule]:
    """Copies of production: answers, names, PostgreSQL, and what a project has named; not even the droplet's sites.

    Production's own site is among those, and so may be the console's.
    """
    whoever = ("-i", f"{closed_prefix(egress.stack)}+")
    yield *whoever, "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "RETURN"
    for resolver in egress.resolvers:
        for protocol in ("udp", "tcp"):
            yield *whoever, "-p", protocol, "-d", resolver, "--dport", "53", "-j", "RETURN"
    for address, port in egress.cluster:
        first = ("--ctorigdst", address, "--ctorigdstport", str(port))
        yield *whoever, "-p", "tcp", "-m", "conntrack", *first, "-j", "RETURN"
    for network, address, port in egress.exceptions:
        one = ("-i", bridge(egress.stack, network))
        yield *one, "-p", "tcp", "-m", "tcp", "-d", address, "--dport", str(port), "-j", "RETURN"
    yield *whoever, "-j", "DROP"


def _open(egress: Egress) -> Iterator[Rule]:
    """Answers, names, PostgreSQL, and the droplet's own sites: Odoo prints its reports through its public address."""
    yield "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "RETURN"
    for protocol in ("udp", "tcp"):
        yield "-p", protocol, "--dport", "53", "-j", "RETURN"
    for address, port in egress.allowed:
        first = ("--ctorigdst", address, "--ctorigdstport", str(port))
        yield "-p", "tcp", "-m", "conntrack", *first, "-j", "RETURN"
    for port in egress.public_ports:
        yield "-p", "tcp", "-m", "addrtype", "--dst-type", "LOCAL", "--dport", str(port), "-j", "RETURN"
        # A published port, once Docker has led the packet on to the proxy's container.
        yield "-p", "tcp", "-m", "conntrack", "--ctstate", "DNAT", "--ctorigdstport", str(port), "-j", "RETURN"


def _drop(name: str) -> list[Rule]:
    return [(name, "-j", "DROP")]


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]
