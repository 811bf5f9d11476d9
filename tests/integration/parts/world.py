"""A machine beyond the droplet: a network namespace that answers at addresses of the tests' choice."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

OURS, THEIRS = "203.0.113.1", "203.0.113.2"
LISTENER = """
import socket, sys
server = socket.create_server(("0.0.0.0", int(sys.argv[1])))
print("ready", flush=True)
while True:
    server.accept()[0].close()
"""


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def listening(port: int, *prefix: str) -> Iterator[None]:
    """Accept connections on a TCP port of all addresses; `prefix` says where, as `ip netns exec NAME`."""
    listener = subprocess.Popen([*prefix, sys.executable, "-c", LISTENER, str(port)], stdout=subprocess.PIPE)
    try:
        assert listener.stdout
        assert listener.stdout.readline() == b"ready\n"
        yield
    finally:
        listener.kill()
        listener.wait()


@contextmanager
def machine_at(addresses: Sequence[str], ports: Sequence[int]) -> Iterator[None]:
    """Let a machine beyond the droplet accept connections at these addresses and ports."""
    name = f"oot{secrets.token_hex(3)}"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", name, "type", "veth", "peer", "name", "out", "netns", name)
        _ip("addr", "add", f"{OURS}/30", "dev", name)
        _ip("link", "set", name, "up")
        for words in (("addr", "add", f"{THEIRS}/30", "dev", "out"), ("link", "set", "out", "up")):
            _ip("-n", name, *words)
        for address in addresses:
            _ip("-n", name, "addr", "add", f"{address}/32", "dev", "out")
            _ip("route", "add", f"{address}/32", "via", THEIRS, "dev", name)
        inside = ("ip", "netns", "exec", name)
        with listening(ports[0], *inside), listening(ports[1], *inside):
            yield
    finally:
        _ip("netns", "delete", name)
        subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True)  # goes with its peer
