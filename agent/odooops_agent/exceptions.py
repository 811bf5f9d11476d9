"""What copies of production may reach: a file for each network, which the firewall reads and can't write."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from .errors import Refused
from .names import HOST, NOWHERE

NETWORK = re.compile(rf"[a-z][a-z0-9-]{{0,100}}{NOWHERE}")


class ExceptionFiles:
    """The exceptions port on a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, network: str, hosts: Sequence[str]) -> None:
        """Say what a network's containers may reach."""
        if not NETWORK.fullmatch(network):
            raise Refused(f"{network!r} is no copy's network.", code="bad_name")
        for each in hosts:
            check_host(each)
        if not hosts and not (self._root / network).exists():
            return
        self._root.mkdir(parents=True, exist_ok=True)
        passing = self._root / f".{network}"
        passing.write_text("".join(f"{each}\n" for each in hosts), "utf-8")
        passing.replace(self._root / network)


def check_host(text: str) -> None:
    """Refuse what is no host:port."""
    host, _, port = text.rpartition(":")
    if not HOST.fullmatch(host) or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
        raise Refused(f"{text!r} is no host:port such as sandbox.example.com:443.", code="bad_name")
