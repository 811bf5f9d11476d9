"""A door to one database for a container that has no network: PostgreSQL's socket in a folder that is mounted there.

What runs behind it (a customer's pg_dump, a restored Odoo, somebody's dump) reaches that database and nothing else: no
host, no other database of its role, no mail server.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import ssl
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from psycopg2.extensions import parse_dsn

_logger = logging.getLogger(__name__)

SOCKET = ".s.PGSQL.5432"
PROTOCOL = 196608
CANCEL = 80877102
SSL_WANTED = 80877103
GSS_WANTED = 80877104
STARTUP_BYTES_MAX = 10_000
CONNECT_SECONDS = 10.0
STARTUP_SECONDS = 30.0
CHUNK = 1 << 16
ANSWER_BYTES_MAX = 1 << 16
SASL = struct.pack("!i", 10)
BOUND = b"SCRAM-SHA-256-PLUS\0"


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where PostgreSQL is for the agent, and how careful the connection is about who answers."""

    host: str
    port: int
    sslmode: str
    root_certificate: str | None

    @classmethod
    def of(cls, dsn: str) -> Upstream:
        parts = parse_dsn(dsn)
        return cls(
            str(parts.get("host") or "localhost"),
            int(parts.get("port") or 5432),
            str(parts.get("sslmode") or "prefer"),
            str(parts["sslrootcert"]) if parts.get("sslrootcert") else None,
        )


class Relay:
    """The relay port: `open` has the socket there for as long as it lasts."""

    def __init__(self, dsn: str) -> None:
        self._upstream = Upstream.of(dsn)

    @contextmanager
    def open(self, folder: Path, database: str) -> Iterator[None]:
        """Let who is in `folder` connect to `database`."""
        with closing(_listen(folder)) as listener:
            thread = threading.Thread(target=self._serve, args=(listener, database), name="relay", daemon=True)
            thread.start()
            try:
                yield
            finally:
                with suppress(OSError):
                    listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
                with suppress(OSError):
                    os.unlink(folder / SOCKET)
                thread.join(5.0)

    def _serve(self, listener: socket.socket, database: str) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client, database), name="relayed", daemon=True).start()

    def _carry(self, client: socket.socket, database: str) -> None:
        with closing(client):
            try:
                client.settimeout(STARTUP_SECONDS)
                code, packet = _first_packet(client)
                if code == PROTOCOL and (problem := refusal(parameters(packet), database)):
                    client.sendall(_error(problem))
                    return
                with closing(self._connect()) as server:
                    server.sendall(packet)
                    if code == PROTOCOL:
                        client.sendall(_first_answer(server))
                    _pump(client, server)
            except (OSError, ValueError, struct.error) as error:
                _logger.info("A connection through the relay to %s ended: %s", database, error)

    def _connect(self) -> socket.socket:
        up = self._upstream
        if up.host.startswith("/"):
            local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            local.connect(f"{up.host}/.s.PGSQL.{up.port}")
            return local
        plain = socket.create_connection((up.host, up.port), CONNECT_SECONDS)
        if up.sslmode in ("disable", "allow"):
            return plain
        plain.sendall(struct.pack("!ii", 8, SSL_WANTED))
        if plain.recv(1) == b"S":
            return _tls(up).wrap_socket(plain, server_hostname=up.host)
        if up.sslmode != "prefer":
            plain.close()
            raise OSError(f"PostgreSQL at {up.host} offers no TLS, and sslmode is {up.sslmode}")
        return plain


def refusal(given: Mapping[str, str], database: str) -> str | None:
    """Return why a connection is not let through."""
    if given.get("database", given.get("user")) != database:
        return f"only the database {database} is reached from here"
    if given.get("replication", "false") not in ("false", "off", "no", "0"):
        return "no replication from here"
    return None


def parameters(packet: bytes) -> dict[str, str]:
    """Return what a startup packet asks for. Raises ValueError."""
    words = packet[8:].split(b"\0")
    if len(words) < 2 or any(words[-2:]):
        raise ValueError("a startup packet without an end")
    texts = [word.decode() for word in words[:-2]]
    if len(texts) % 2:
        raise ValueError("a startup packet with half a parameter")
    names = texts[::2]
    if len(set(names)) != len(names):  # the server might take another of them than the relay looked at
        raise ValueError("a startup packet with a parameter given twice")
    return dict(zip(names, texts[1::2], strict=True))


def _listen(folder: Path) -> socket.socket:
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with suppress(FileNotFoundError):
            os.unlink(SOCKET, dir_fd=directory)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # By the descriptor: a socket's path may have 107 characters at most, and the folder's own may be longer.
        listener.bind(f"/proc/self/fd/{directory}/{SOCKET}")
        owner = os.fstat(directory)
        os.chown(SOCKET, owner.st_uid, owner.st_gid, dir_fd=directory, follow_symlinks=False)
        listener.listen(64)
        return listener
    finally:
        os.close(directory)


def _first_packet(client: socket.socket) -> tuple[int, bytes]:
    while True:
        head = _exactly(client, 8)
        length, code = struct.unpack("!ii", head)
        if code in (SSL_WANTED, GSS_WANTED) and length == 8:
            client.sendall(b"N")  # nobody listens in on a socket in a folder
            continue
        if code not in (PROTOCOL, CANCEL) or not 8 <= length <= STARTUP_BYTES_MAX:
            raise ValueError(f"no startup packet of PostgreSQL ({code})")
        return code, head + _exactly(client, length - 8)


def _exactly(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = client.recv(count - len(data))
        if not chunk:
            raise ValueError("the connection ended in its first packet")
        data += chunk
    return data


def _first_answer(server: socket.socket) -> bytes:
    """Return what the server says first, how to log in, without the way that binds to the TLS that ends here.

    A client without TLS takes the offer of SCRAM-SHA-256-PLUS for an attack.
    """
    answer = b""
    while True:
        kind, length = struct.unpack("!ci", _exactly(server, 5))
        if not 4 <= length <= ANSWER_BYTES_MAX:
            raise ValueError("no answer of PostgreSQL's")
        body = _exactly(server, length - 4)
        if kind == b"R" and body.startswith(SASL):
            body = body.replace(BOUND, b"", 1)
        answer += struct.pack("!ci", kind, len(body) + 4) + body
        if kind in (b"R", b"E"):
            return answer


def _error(sentence: str) -> bytes:
    fields = b"".join(
        kind + text.encode() + b"\0" for kind, text in ((b"S", "FATAL"), (b"C", "28000"), (b"M", sentence))
    )
    return b"E" + struct.pack("!i", len(fields) + 5) + fields + b"\0"


def _tls(up: Upstream) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = up.sslmode == "verify-full"
    if up.sslmode in ("verify-ca", "verify-full"):
        context.load_verify_locations(up.root_certificate) if up.root_certificate else context.load_default_certs()
    else:  # as libpq's own require and prefer: encrypted, whoever answers
        context.verify_mode = ssl.CERT_NONE
    return context


def _pump(client: socket.socket, server: socket.socket) -> None:
    """Carry bytes both ways until one side ends; one thread, as TLS takes no two at a time."""
    for each in (client, server):
        each.settimeout(None)
    while True:
        pending = isinstance(server, ssl.SSLSocket) and server.pending() > 0
        ready = [server] if pending else select.select([client, server], [], [])[0]
        for source, target in ((client, server), (server, client)):
            if source in ready:
                chunk = source.recv(CHUNK)
                if not chunk:
                    return
                target.sendall(chunk)
