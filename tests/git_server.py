"""A git server with accounts, as GitHub is one: `git http-backend` over HTTP, and a stand-in for ssh.

Repositories are bare, at `<root>/<owner>/<name>.git`. A private one opens over HTTP with the token, and over ssh with
the key that was given for it.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

IDENTITY = {f"GIT_{who}_{what}": "t@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
CLEAN = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}

# Stands where ssh does in PATH: notes what it was called with, opens what the key opens and nothing else.
SSH = """#!{python}
import json, os, pathlib, shlex, stat, sys
root, log = pathlib.Path({root!r}), pathlib.Path({log!r})
arguments = sys.argv[1:]
key = pathlib.Path(arguments[arguments.index("-i") + 1])
with log.open("a") as file:
    file.write(json.dumps({{"argv": arguments, "mode": oct(stat.S_IMODE(key.stat().st_mode)),
                           "known_hosts": pathlib.Path(
                               next(a for a in arguments if a.startswith("UserKnownHostsFile=")).partition("=")[2]
                           ).read_text()}}) + "\\n")
program, path = shlex.split(arguments[-1])
repository = root / path.strip("/")
known = repository / "odooops-deploy-key"
if program != "git-upload-pack" or not known.is_file() or known.read_text() != key.read_text():
    sys.exit("git@127.0.0.1: Permission denied (publickey).")
os.execvp("git", ["git", "upload-pack", str(repository)])
"""


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={**os.environ, **IDENTITY, **CLEAN},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    return done.stdout.strip()


class GitServer:
    """The server; use it as a context manager.

    :ivar requests: path and Authorization of each request.
    """

    def __init__(self, root: Path, token: str = "") -> None:
        self.root, self.token = root, token
        self.requests: list[tuple[str, str]] = []
        self.ssh_log = root / "ssh.log"
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"server_of": self}))

    def __enter__(self) -> GitServer:
        self.root.mkdir(parents=True, exist_ok=True)
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def create(self, name: str, source: Path | None = None, *, key: str = "", private: bool = True) -> Path:
        """Make a repository, from a checkout with all its refs or empty; `key` is the deploy key that opens it."""
        path = self.root / f"{name}.git"
        path.parent.mkdir(parents=True, exist_ok=True)
        git(self.root, "init", "--quiet", "--bare", "--initial-branch=main", str(path))
        if source:
            git(source, "push", "--quiet", str(path), "refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*")
        if key:
            (path / "odooops-deploy-key").write_text(key)
        if not private:
            (path / "odooops-public").touch()
        return path

    def install_ssh(self, folder: Path) -> Path:
        """Put the stand-in for ssh into a folder, which is for PATH."""
        folder.mkdir(parents=True, exist_ok=True)
        program = folder / "ssh"
        program.write_text(SSH.format(python=sys.executable, root=str(self.root), log=str(self.ssh_log)))
        program.chmod(0o755)
        return folder

    def answers(self, path: str, authorization: str) -> bool:
        """Tell whether a request may see its repository."""
        folder = self.root / path.strip("/").partition(".git/")[0]
        folder = folder if folder.suffix == ".git" else folder.with_name(folder.name + ".git")
        if (folder / "odooops-public").exists():
            return True
        wanted = base64.b64encode(f"x-access-token:{self.token}".encode()).decode()
        return bool(self.token) and authorization == f"Basic {wanted}"


class _Handler(BaseHTTPRequestHandler):
    server_of: GitServer
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self._body())

    def _serve(self, body: bytes) -> None:
        parts = urlsplit(self.path)
        path, authorization = unquote(parts.path), self.headers.get("Authorization", "")
        self.server_of.requests.append((path, authorization))
        if not self.server_of.answers(path, authorization):
            # As GitHub does: what one may not see might as well not be.
            self.send_response(401 if not authorization else 404)
            self.send_header("WWW-Authenticate", 'Basic realm="GitHub"')
            self.end_headers()
            return
        self._answer(self._backend(path, parts.query, body))

    def _backend(self, path: str, query: str, body: bytes) -> bytes:
        # Any depth of folders: what is a repository ends where info/ or git- begins.
        segments = path.strip("/").split("/")
        cut = next(number for number, part in enumerate(segments) if part == "info" or part.startswith("git-"))
        repository = "/".join(segments[:cut]).removesuffix(".git") + ".git"
        environment = {
            "PATH": os.environ["PATH"], **CLEAN,
            "GIT_PROJECT_ROOT": str(self.server_of.root), "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command, "QUERY_STRING": query,
            "PATH_INFO": f"/{repository}/{'/'.join(segments[cut:])}",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "REMOTE_USER": "x", "REMOTE_ADDR": "127.0.0.1",
        }  # fmt: skip
        return subprocess.run(
            ["git", "-c", "safe.directory=*", "http-backend"],
            input=body,
            env=environment,
            capture_output=True,
            check=True,
        ).stdout

    def _answer(self, answer: bytes) -> None:
        head, _, content = answer.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(headers.pop("Status", "200 OK").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        return b"".join(chunks)

    def log_message(self, *_arguments: object) -> None:
        pass
