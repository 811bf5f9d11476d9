"""The relay before a server that only listens: what it lets through and what it answers itself."""

import socket
import struct
import threading

import pytest
from odooops_agent.relay import CANCEL, GSS_WANTED, PROTOCOL, SSL_WANTED, Relay, parameters, refusal

OK = struct.pack("!cii", b"R", 8, 0)


class Server:
    """Keeps what it is sent and answers each first packet with one word."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.got = []
        self.answer = OK
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def dsn(self):
        return f"postgresql://agent:secret@127.0.0.1:{self.listener.getsockname()[1]}/postgres?sslmode=disable"

    def _serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.got.append(client.recv(4096))
            client.sendall(self.answer)
            self.got.append(client.recv(4096))
            client.close()


def startup(*words, protocol=PROTOCOL):
    body = b"".join(word.encode() + b"\0" for word in words) + b"\0"
    return struct.pack("!ii", len(body) + 8, protocol) + body


@pytest.fixture
def server():
    made = Server()
    yield made
    made.listener.close()


@pytest.fixture
def ask(server, tmp_path):
    """Send bytes through the relay and return the answer."""
    with Relay(server.dsn).open(tmp_path, "demo_prod__t1"):

        def _ask(*packets):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(5)
                client.connect(str(tmp_path / ".s.PGSQL.5432"))
                answers = []
                for packet in packets:
                    client.sendall(packet)
                    try:
                        answers.append(client.recv(4096))
                    except ConnectionResetError:
                        answers.append(b"")
                return answers

        yield _ask


def test_the_one_database_is_reached(ask, server):
    packet = startup("user", "demo_prod", "database", "demo_prod__t1")
    assert ask(packet) == [OK]
    assert server.got[0] == packet


@pytest.mark.parametrize(
    "words",
    [
        ("user", "demo_prod", "database", "demo_prod"),
        ("user", "demo_prod", "database", "postgres"),
        ("user", "demo_prod"),
        ("user", "demo_prod", "database", "demo_prod__t1", "replication", "database"),
    ],
    ids=["live", "maintenance", "by default", "replication"],
)
def test_no_other_database_is_reached(ask, server, words):
    answer = ask(startup(*words))[0]
    assert answer.startswith(b"E")
    assert b"FATAL" in answer
    assert server.got == []


def test_a_database_given_twice_is_not_let_through(ask, server):
    assert ask(startup("user", "u", "database", "demo_prod__t1", "database", "demo_prod")) == [b""]
    assert server.got == []


@pytest.mark.parametrize("code", [SSL_WANTED, GSS_WANTED])
def test_encryption_is_declined_and_the_connection_goes_on(ask, code):
    answers = ask(struct.pack("!ii", 8, code), startup("user", "u", "database", "demo_prod__t1"))
    assert answers == [b"N", OK]


@pytest.mark.parametrize("packet", [b"GET / HTTP/1.1\r\n\r\n", struct.pack("!ii", 1 << 30, PROTOCOL), startup("half")])
def test_what_is_no_startup_packet_ends_the_connection(ask, server, packet):
    assert ask(packet) == [b""]
    assert server.got == []


def test_a_query_can_be_cancelled(ask, server):
    packet = struct.pack("!iiii", 16, CANCEL, 7, 9)
    ask(packet)
    assert server.got[0] == packet


def test_a_login_bound_to_the_relay_s_own_tls_is_not_offered(server, tmp_path):
    offered, left = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", b"SCRAM-SHA-256\0\0"
    server.answer = struct.pack("!cii", b"R", 8 + len(offered), 10) + offered
    with Relay(server.dsn).open(tmp_path, "d"), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(tmp_path / ".s.PGSQL.5432"))
        client.sendall(startup("user", "u", "database", "d"))
        assert client.recv(4096) == struct.pack("!cii", b"R", 8 + len(left), 10) + left


def test_the_socket_is_gone_afterwards(server, tmp_path):
    with Relay(server.dsn).open(tmp_path, "x"):
        assert (tmp_path / ".s.PGSQL.5432").exists()
    assert not (tmp_path / ".s.PGSQL.5432").exists()


def test_a_long_path_is_no_obstacle(server, tmp_path):
    deep = tmp_path / ("a" * 60) / ("b" * 60)
    deep.mkdir(parents=True)
    with Relay(server.dsn).open(deep, "x"):
        assert (deep / ".s.PGSQL.5432").is_socket()


def test_pure_parts():
    assert parameters(startup("user", "u", "database", "d")) == {"user": "u", "database": "d"}
    assert refusal({"user": "d"}, "d") is None
