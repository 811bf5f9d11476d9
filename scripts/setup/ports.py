"""Choose the host's ports: the usual ones where they are free, others where not, the same ones every time."""

import errno
import json
import socket

from . import paths

FILE = paths.STATE / "ports.json"
PREFERRED = {"http": 8080, "https": 8443, "registry": 5000, "customers_db": 15432}
_TRIES = 200


def choose(preferred, remembered, is_free):
    """Return a port by name.

    :param preferred: the port each name would like
    :param remembered: the ports of the last run, kept while they are free
    :param is_free: tells whether a port of a name can be had (this stack's own running ports count as free)
    """
    chosen = {}
    for name, wish in preferred.items():
        candidates = [remembered[name]] if name in remembered else []
        candidates += range(wish, wish + _TRIES)
        chosen[name] = next(port for port in candidates if port not in chosen.values() and is_free(name, port))
    return chosen


def sentences(preferred, chosen):
    """Say which ports are other than the usual ones."""
    return [
        f"port {preferred[name]} is taken; {name.replace('_', ' ')} uses {port}"
        for name, port in chosen.items()
        if port != preferred[name]
    ]


def remembered():
    """Return the ports of the last run, none before the first."""
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def remember(ports):
    """Keep the ports for the next run."""
    FILE.write_text(json.dumps(ports, indent=1) + "\n")


def can_bind(address, port):
    """Tell whether nobody listens on an address and port (nor on the port of all addresses)."""
    for host in {address, "127.0.0.1"}:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno in (errno.EADDRINUSE, errno.EACCES):
                    return False
                raise
    return True
