"""Wake-ups over the bus: a notification wakes, a lost connection comes back, and nothing here can stop the agent."""

import json
import threading
import time

import pytest
import websocket
from odooops_agent import wakeup
from odooops_agent.secrets import Secret
from odooops_agent.wakeup import WakeUp, websocket_url

KEY = "odooops_agent_7_" + "a" * 43
TEXT = websocket.ABNF.OPCODE_TEXT


class FakeKey:
    current = Secret(KEY)


class FakeSocket:
    """Plays frames, then says nothing or breaks."""

    def __init__(self, frames):
        self.frames = list(frames)
        self.sent = []
        self.pings = 0
        self.closed = threading.Event()

    def send(self, text):
        self.sent.append(json.loads(text))

    def settimeout(self, seconds):
        pass

    def ping(self):
        self.pings += 1

    def recv_data(self, control_frame=False):
        if not self.frames:
            self.closed.wait(5)
            raise websocket.WebSocketConnectionClosedException("closed")
        frame = self.frames.pop(0)
        if isinstance(frame, Exception):
            raise frame
        return frame

    def shutdown(self):
        self.closed.set()

    close = shutdown


@pytest.fixture
def connect(monkeypatch):
    """Make connections out of what a test lists; returns the list and what was asked."""
    plays, asked = [], []

    def create_connection(url, **options):
        asked.append((url, options))
        if not plays:
            raise ConnectionRefusedError
        play = plays.pop(0)
        if isinstance(play, Exception):
            raise play
        return play

    monkeypatch.setattr(wakeup.websocket, "create_connection", create_connection)
    monkeypatch.setattr(wakeup, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(wakeup, "LONGEST_PAUSE_SECONDS", 0.02)
    return plays, asked


def start(wakes):
    thread = WakeUp(
        "https://console.example.com", FakeKey(), lambda: wakes.append(time.monotonic()), jitter=lambda: 0.5
    )
    thread.start()
    return thread


def wait_for(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def notification(kind):
    return TEXT, json.dumps([{"id": 1, "message": {"type": kind, "payload": {}}}]).encode()


def test_a_notification_wakes(connect):
    plays, asked = connect
    socket = FakeSocket([notification("odooops_wake"), notification("something_else"), notification("odooops_wake")])
    plays.append(socket)
    wakes = []
    thread = start(wakes)
    wait_for(lambda: len(wakes) >= 3)
    thread.stop()
    assert len(wakes) == 3, "once after connecting, as a notification may have been missed, and once for each"
    url, options = asked[0]
    assert url == "wss://console.example.com/websocket"
    assert options["origin"] == "https://console.example.com"
    assert socket.sent == [{"event_name": "subscribe", "data": {"channels": [f"odooops_agent:{KEY}"], "last": 0}}]


def test_it_comes_back_after_whatever_happened(connect):
    plays, asked = connect
    plays += [
        ConnectionRefusedError(),
        websocket.WebSocketBadStatusException("Handshake status %d %s", 502, "Bad Gateway"),
        FakeSocket([(websocket.ABNF.OPCODE_CLOSE, b"")]),
        FakeSocket([OSError("reset")]),
        FakeSocket([notification("odooops_wake")]),
    ]
    wakes = []
    thread = start(wakes)
    wait_for(lambda: len(wakes) >= 4)
    thread.stop()
    assert len(asked) >= 5


def test_a_connection_that_is_half_open_is_given_up(connect):
    """No answer to a ping: the peer is gone and nobody said so."""
    plays, _ = connect
    silent = FakeSocket([websocket.WebSocketTimeoutException(), websocket.WebSocketTimeoutException()])
    plays += [silent, FakeSocket([])]
    wakes = []
    thread = start(wakes)
    wait_for(lambda: len(wakes) >= 2)
    thread.stop()
    assert silent.pings == 1


def test_a_quiet_connection_that_answers_pings_is_kept(connect):
    plays, asked = connect
    pong = (websocket.ABNF.OPCODE_PONG, b"")
    socket = FakeSocket([websocket.WebSocketTimeoutException(), pong] * 3 + [notification("odooops_wake")])
    plays.append(socket)
    wakes = []
    thread = start(wakes)
    wait_for(lambda: len(wakes) >= 2)
    assert len(asked) == 1
    assert socket.pings == 3
    thread.stop()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://console.example.com", "wss://console.example.com/websocket"),
        ("http://127.0.0.1:8069/", "ws://127.0.0.1:8069/websocket"),
    ],
)
def test_the_bus_stands_beside_the_pages(url, expected):
    assert websocket_url(url) == expected


def test_nothing_that_is_raised_ends_the_thread(connect):
    plays, _ = connect
    plays += [UnicodeError("label too long"), RuntimeError("no idea"), FakeSocket([notification("odooops_wake")])]
    wakes = []
    thread = start(wakes)
    wait_for(lambda: len(wakes) >= 2)
    thread.stop()


def test_the_bus_trusts_the_same_certificates_as_the_requests(connect, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/own.pem")
    plays, asked = connect
    plays.append(FakeSocket([]))
    thread = start([])
    wait_for(lambda: asked)
    thread.stop()
    assert asked[0][1]["sslopt"] == {"ca_certs": "/etc/ssl/own.pem"}
