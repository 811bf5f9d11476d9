"""Ask the Odoo in this container a page, as its proxy would."""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass

HTTP_PORT = 8069
GEVENT_PORT = 8072


@dataclass(frozen=True)
class Answer:
    """Status 0 means that nobody answered; `seconds` is how long it took."""

    status: int
    seconds: float
    body: bytes = b""
    location: str = ""
    problem: str = ""


def ask(path: str, *, host: str, port: int = HTTP_PORT, timeout: float = 10.0) -> Answer:
    """GET a page with the given Host header, over a connection of its own.

    :param host: the environment's domain; Odoo chooses the database and the website by it.
    :param timeout: seconds for each wait on the socket.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    headers = {"Host": host, "X-Forwarded-Host": host, "X-Forwarded-Proto": "https", "Connection": "close"}
    started = time.monotonic()
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        location = response.getheader("Location") or ""
        return Answer(response.status, time.monotonic() - started, body, location)
    except (OSError, http.client.HTTPException) as error:
        problem = f"{type(error).__name__}: {error}".rstrip(": ")
        return Answer(0, time.monotonic() - started, problem=problem)
    finally:
        connection.close()
