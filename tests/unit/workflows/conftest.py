"""The scripts that workflows run on the path, and a control plane and a GitHub that answer as they are told."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
for folder in ("scripts/ci", "."):
    if str(ROOT / folder) not in sys.path:
        sys.path.append(str(ROOT / folder))

from odooops_ci import control  # noqa: E402


class Server(ThreadingHTTPServer):
    """Answers by path, in the order given, the last one for ever; remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, list[tuple[int, object]]] = {}
        self.requests: list[tuple[str, dict[str, str], object]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def bodies(self, path: str) -> list[object]:
        return [body for asked, _headers, body in self.requests if asked == path]


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: object) -> None:
        self.server.requests.append((self.path, dict(self.headers), body))
        answers = self.server.answers.get(self.path) or [(404, {"message": f"Nothing at {self.path}."})]
        status, answer = answers.pop(0) if len(answers) > 1 else answers[0]
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "ODOOOPS_DATABASE", "ODOOOPS_OIDC_AUDIENCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("ODOOOPS_URL", server.url)
    monkeypatch.setenv("ODOOOPS_API_KEY", "key-0123")
    monkeypatch.setattr(control, "PAUSES_SECONDS", (0,))
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    yield server
    server.shutdown()
    server.server_close()
