"""An HTTP backend that counts: started as a process of its own, so that it can be killed.

    python backend.py NAME HOST PORT [PORT…]

`/sleep/<seconds>` answers late, `/die` ends the process' connection without an answer, `/seen` tells how often each
body or `?id=` came, `/headers` what arrived, `/websocket` echoes frames.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sys
from collections import Counter

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Backend:
    """One backend; every answer carries its name in `X-Backend`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        method, path, headers = await self._head(reader)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if path.startswith("/websocket"):
            await self._websocket(reader, writer, headers)
            return False
        answer = await self._answer(method, path, headers, body)
        if answer is None:
            return False
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Backend: %s\r\nContent-Length: %d\r\n\r\n"
            % (self.name.encode(), len(answer))
            + answer
        )
        await writer.drain()
        return headers.get("connection", "").lower() != "close"

    @staticmethod
    async def _head(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str]]:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ")
        pairs = (line.split(":", 1) for line in lines[1:] if ":" in line)
        return method, path, {key.strip().lower(): value.strip() for key, value in pairs}

    async def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> bytes | None:
        if path == "/seen":
            return json.dumps(self.seen).encode()
        if path == "/headers":
            return json.dumps(headers).encode()
        token = path.partition("?id=")[2] or (hashlib.sha256(body).hexdigest() if len(body) > 100 else body.decode())
        if token:
            self.seen[token] += 1
        if path.startswith("/die"):
            return None
        await asyncio.sleep(float(path.split("/")[2].split("?")[0]) if path.startswith("/sleep/") else 0.01)
        return json.dumps({"backend": self.name, "method": method, "bytes": len(body)}).encode()

    async def _websocket(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: dict[str, str]
    ) -> None:
        accept = base64.b64encode(hashlib.sha1(headers["sec-websocket-key"].encode() + MAGIC).digest())  # noqa: S324
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %s\r\nX-Backend: %s\r\n\r\n" % (accept, self.name.encode())
        )
        while chunk := await reader.read(4096):
            writer.write(chunk)
            await writer.drain()


async def main(name: str, host: str, *ports: str) -> None:
    backend = Backend(name)
    servers = [await asyncio.start_server(backend.serve, host, int(port), backlog=1024) for port in ports]
    print("ready", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
