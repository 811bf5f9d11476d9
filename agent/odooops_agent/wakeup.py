"""Wake-ups over Odoo's own bus: an idle agent holds one websocket and no worker of the control plane.

A lost notification delays an operation until the next poll and never loses it.
"""

from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import websocket

from .agent_key import AgentKey
from .control_plane_http import ca_bundle

_logger = logging.getLogger(__name__)

NOTIFICATION = "odooops_wake"
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
# Proxies cut connections that say nothing for a minute; Odoo answers pings.
PING_SECONDS = 25.0
CONNECT_SECONDS = 10.0


def websocket_url(url: str) -> str:
    parts = urlsplit(url)
    scheme = {"https": "wss", "http": "ws"}[parts.scheme]
    return urlunsplit((scheme, parts.netloc, "/websocket", "", ""))


def _trusted() -> dict[str, str]:
    """Return the same certificates that the requests trust."""
    bundle = ca_bundle()
    return {"ca_certs": bundle} if isinstance(bundle, str) else {}


class WakeUp(threading.Thread):
    """Calls `wake` for every notification, and after every connection, as some may have been missed before it."""

    def __init__(self, url: str, key: AgentKey, wake: Callable[[], None], jitter: Callable[[], float] = random.random):
        super().__init__(name="wake-up", daemon=True)
        parts = urlsplit(url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._url = websocket_url(url)
        self._key = key
        self._wake = wake
        self._jitter = jitter
        self._stopping = threading.Event()
        self._socket: Any = None
        self.connected = False

    def run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            try:
                self._listen()
                pause = FIRST_PAUSE_SECONDS
            except Exception as error:  # noqa: BLE001 whatever it was, the thread has to live and polling goes on
                _logger.info(
                    "The bus of the control plane is away (%s); the agent polls meanwhile.", type(error).__name__
                )
                if self.connected:
                    pause = FIRST_PAUSE_SECONDS
            self.connected = False
            # All agents lose the bus at once when the control plane restarts; they should not come back at once.
            self._stopping.wait(pause * (0.5 + self._jitter()))
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def stop(self) -> None:
        self._stopping.set()
        if self._socket is not None:
            self._socket.shutdown()

    def _listen(self) -> None:
        self._socket = websocket.create_connection(
            self._url, origin=self._origin, timeout=CONNECT_SECONDS, enable_multithread=True, sslopt=_trusted()
        )
        try:
            channel = f"odooops_agent:{self._key.current.reveal()}"
            data = {"channels": [channel], "last": 0}
            self._socket.send(json.dumps({"event_name": "subscribe", "data": data}))
            self.connected = True
            self._wake()
            self._receive()
        finally:
            self._socket.close()

    def _receive(self) -> None:
        self._socket.settimeout(PING_SECONDS)
        silent = False
        while not self._stopping.is_set():
            try:
                opcode, payload = self._socket.recv_data(control_frame=True)
            except websocket.WebSocketTimeoutException:
                if silent:
                    raise OSError("no answer to a ping") from None
                silent = True
                self._socket.ping()
                continue
            silent = False
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return
            if opcode == websocket.ABNF.OPCODE_TEXT and NOTIFICATION.encode() in payload:
                self._wake()
