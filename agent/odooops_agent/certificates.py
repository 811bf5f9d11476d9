"""Whether a certificate may be asked for: a name that does not lead here only burns the authority's rate limits."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection

Resolve = Callable[[str], Collection[str]]


def addresses_of(host: str) -> frozenset[str]:
    """Return the addresses that DNS tells for a host; none when it knows no such name or does not answer."""
    try:
        return frozenset(str(found[4][0]) for found in socket.getaddrinfo(host, 443, proto=socket.IPPROTO_TCP))
    except (OSError, UnicodeError):
        return frozenset()


def leads_here(host: str, own: Collection[str], resolve: Resolve = addresses_of) -> bool:
    """Tell whether DNS leads `host` to this droplet.

    :param own: the droplet's public addresses; empty when they are unknown (a load balancer or a CDN stands
        in front): then a name that leads anywhere will do.
    """
    found = resolve(host)
    return bool(found) and (not own or not frozenset(own).isdisjoint(found))
