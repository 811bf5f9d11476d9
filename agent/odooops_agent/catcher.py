"""`odooops-agent catch-mail`: takes every mail that an environment's copy sends, keeps it for the console, sends none.

Runs in a container of its own that is on the environments' networks and on no other: nothing that it has leads outside.
Which environment a mail is from is told by Docker's own DNS, not by the sender: by the network that its address is of.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import signal
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from .neutralise import MAIL_PORT
from .settings import mails_root

_logger = logging.getLogger(__name__)

NETWORK = re.compile(r"[a-z][a-z0-9-]{0,100}_closed")
MAIL_BYTES_MAX = 25 << 20
# What no console fetched: an environment that mails in a loop must not fill the droplet's disk.
WAITING_MAX = 500
NetworkOf = Callable[[str], str | None]


def network_of(address: str) -> str | None:
    """Return the network on which a container has an address: Docker names it `<container>.<network>`."""
    try:
        name = socket.gethostbyaddr(address)[0]
    except OSError:
        return None
    _, _, network = name.partition(".")
    return network if NETWORK.fullmatch(network) else None


class Catcher:
    """Keeps mails as files, a folder for each network: the message, then beside it what the envelope said."""

    def __init__(self, root: Path, of: NetworkOf = network_of) -> None:
        self._root = root
        self._network_of = of

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 aiosmtpd's name
        network = await asyncio.to_thread(self._network_of, str((session.peer or ("",))[0]))
        if network is None:
            return "451 4.3.0 Nobody knows whose container this is"
        folder = self._root / network
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if sum(1 for _ in folder.glob("*.json")) >= WAITING_MAX:
                return "452 4.3.1 Too many mails wait for the console"
            self._keep(folder, envelope)
        except OSError as error:
            _logger.error("A mail of %s was not kept: %s", network, error)
            return "452 4.3.1 The mail can't be kept"
        return "250 2.0.0 Caught: it goes nowhere"

    @staticmethod
    def _keep(folder: Path, envelope: Envelope) -> None:
        at = datetime.now(UTC)
        number = f"{at:%Y%m%dT%H%M%S}-{secrets.token_hex(6)}"
        content = envelope.content or b""
        raw = content.encode() if isinstance(content, str) else content
        told: dict[str, Any] = {
            "envelope_from": envelope.mail_from or "",
            "recipients": list(envelope.rcpt_tos),
            "received_at": at.isoformat(),
        }
        _write(folder / f"{number}.eml", raw)
        _write(folder / f"{number}.json", json.dumps(told).encode())


def _write(path: Path, content: bytes) -> None:
    passing = path.with_name(f".{path.name}")
    passing.write_bytes(content)
    passing.replace(path)


async def serve(catcher: Catcher, host: str, port: int) -> asyncio.Server:
    """Listen; no login, no TLS, no relaying: it is the end of the way."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: SMTP(catcher, data_size_limit=MAIL_BYTES_MAX, enable_SMTPUTF8=True, hostname="odooops-mail"), host, port
    )


def catch() -> int:
    """Catch mail until told to stop."""
    logging.getLogger("mail.log").setLevel(logging.WARNING)  # it writes down who mails whom
    asyncio.run(_catch(Catcher(mails_root())))
    return 0


async def _catch(catcher: Catcher) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with await serve(catcher, "0.0.0.0", MAIL_PORT):  # noqa: S104 each environment's network is one more address
        _logger.info("mails are caught on port %s", MAIL_PORT)
        await stop.wait()
