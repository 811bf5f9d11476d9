"""`odooops-agent firewall`: keep the environments' containers from the droplet and its private neighbours.

Runs in a container of its own that has the droplet's network and the right to filter it, and nothing else: neither
Docker's socket nor the agent's key. The agent, which has those, has no right to filter.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .commands import firewall as build
from .errors import Permanent, Refused
from .names import NOWHERE
from .settings import egress_hosts, exceptions_root, public_ports, stack_name

_logger = logging.getLogger(__name__)

# Somebody may flush the rules, and PostgreSQL may move to another address.
AGAIN_SECONDS = 30.0
IPTABLES_SECONDS = 20.0
IPV6 = Path("/proc/net/if_inet6")
RESOLV_CONF = Path("/etc/resolv.conf")
DOCKERS_RESOLVERS = ("8.8.8.8", "8.8.4.4")
Resolve = Callable[[str], set[str]]


@dataclass(frozen=True, slots=True)
class Target:
    """A host that environments may reach on one TCP port, by name or address."""

    host: str
    port: int
    copies_too: bool = False  # and not only production


def addresses(host: str) -> set[str]:
    """Return a host's IPv4 addresses now; none when nobody knows the name."""
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return set()
    return {str(each[4][0]) for each in found}


class Firewall:
    """The rules of one stack on this droplet."""

    def __init__(
        self,
        stack: str,
        targets: Sequence[Target],
        ports: tuple[int, ...],
        resolve: Resolve = addresses,
        exceptions: Path | None = None,
    ) -> None:
        """`exceptions` is the folder with a file for each copy's network: what it may reach, host:port a line."""
        self._exceptions = exceptions
        self._stack = stack
        self._targets = targets
        self._ports = ports
        self._resolve = resolve
        self._known: dict[str, set[str]] = {}

    def apply(self) -> None:
        """Put the rules in place, whatever stands there; without a moment in which none do.

        :raises Permanent: this machine's kernel does not let us; the sentence ends with its own words.
        """
        _iptables("iptables", self._stack, build.rules(self._egress()))
        if _has_ipv6():
            _iptables("ip6tables", self._stack, build.rules_without_ipv6(self._stack))

    def check(self) -> None:
        """See that every rule is there. Raises Permanent when one is not."""
        wanted = {"iptables": build.rules(self._egress())}
        if _has_ipv6():
            wanted["ip6tables"] = build.rules_without_ipv6(self._stack)
        for program, given in wanted.items():
            for rule in (*build.jumps(self._stack), *given):
                if not _succeeds([program, "-w", "-t", "mangle", "-C", *rule]):
                    raise Permanent(f"{program} lacks the rule {' '.join(rule)}", code="no_firewall")

    def _egress(self) -> build.Egress:
        allowed = {(one, target.port) for target in self._targets for one in self._addresses(target.host)}
        cluster = {(one, each.port) for each in self._targets if each.copies_too for one in self._addresses(each.host)}
        exceptions = {(network, one, port) for network, host, port in self._excepted() for one in self._addresses(host)}
        return build.Egress(
            self._stack,
            tuple(sorted(allowed)),
            self._ports,
            cluster=tuple(sorted(cluster)),
            resolvers=resolvers(),
            exceptions=tuple(sorted(exceptions)),
        )

    def _addresses(self, host: str) -> set[str]:
        found = self._resolve(host)
        if found:
            self._known[host] = found
        elif host not in self._known:
            _logger.warning("Nobody knows the address of %s yet: no environment reaches it.", host)
        return self._known.get(host, set())

    def _excepted(self) -> Iterator[tuple[str, str, int]]:
        for file in sorted(self._exceptions.glob(f"*{NOWHERE}")) if self._exceptions else ():
            for line in file.read_text("utf-8").splitlines():
                host, _, port = line.rpartition(":")
                yield file.name, host, int(port)


def resolvers(file: Path = RESOLV_CONF) -> tuple[str, ...]:
    """Return where Docker's DNS asks on behalf of containers; in place of the droplet's own loopback, Google's."""
    found = [words[1] for line in file.read_text().splitlines() if (words := line.split())[:1] == ["nameserver"]]
    outside = [each for each in found if ":" not in each and not each.startswith("127.")]
    return tuple(outside or DOCKERS_RESOLVERS)


def remove_rules(stack: str) -> None:
    """Take a stack's rules away; what is not there is gone already."""
    for program in ("iptables", "ip6tables"):
        table = [program, "-w", "-t", "mangle"]
        for jump in build.jumps(stack):
            _succeeds([*table, "-D", *jump])
        for where in build.BUILT_IN:
            for act in ("-F", "-X"):
                _succeeds([*table, act, build.chain(stack, where)])


def read_firewall(environ: Mapping[str, str] = os.environ) -> Firewall:
    """Return the firewall that the settings describe. Raises Refused when one is wrong."""
    cluster, *others = egress_hosts(environ)
    targets = [Target(*cluster, copies_too=True), *(Target(host, port) for host, port in others)]
    return Firewall(stack_name(environ), targets, public_ports(environ), exceptions=exceptions_root(environ))


def keep(firewall: Firewall) -> int:
    """Put the rules in place again and again until told to stop; they stay when this ends."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    firewall.apply()
    _logger.info("the environments are kept from the droplet and its private neighbours")
    while not stop.wait(AGAIN_SECONDS):
        firewall.apply()
    return 0


def _iptables(program: str, stack: str, given: Sequence[build.Rule]) -> None:
    _call([f"{program}-restore", "-w", "--noflush"], build.restore_text(stack, given))
    for where, *rule in build.jumps(stack):
        table = [program, "-w", "-t", "mangle"]
        if not _succeeds([*table, "-C", where, *rule]):
            _call([*table, "-I", where, "1", *rule])


def _succeeds(argv: Sequence[str]) -> bool:
    try:
        _call(argv)
    except Permanent:
        return False
    return True


def _call(argv: Sequence[str], text: str = "") -> None:
    try:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False, timeout=IPTABLES_SECONDS)
    except FileNotFoundError:
        raise Refused(f"There is no {argv[0]}: install the package iptables.", code="no_firewall") from None
    except subprocess.TimeoutExpired:
        raise Permanent(f"{argv[0]} did not end within {IPTABLES_SECONDS:.0f} s.", code="no_firewall") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().replace("\n", " ")
        raise Permanent(
            f"{argv[0]} can't filter what the environments reach ({said}): give the firewall's container NET_ADMIN and "
            "the host's network, on a kernel with netfilter's conntrack and addrtype matches.",
            code="no_firewall",
        )


def _has_ipv6() -> bool:
    return IPV6.exists() and bool(IPV6.read_text().strip())
