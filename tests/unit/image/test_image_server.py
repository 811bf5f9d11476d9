"""The server's own start: what it changes about Odoo's workers."""

from __future__ import annotations

import os
import select
import sys
import types
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[3] / "docker/odoo/rootfs/usr/local/lib/odooops/server/odoo"


class Worker:
    """As odoo/service/server.py has it: a byte in the pipe wakes it, `alive` says whether it goes on."""

    def __init__(self) -> None:
        self.alive = True
        self.wakeup_fd_r, self.wakeup_fd_w = os.pipe()
        os.set_blocking(self.wakeup_fd_w, False)

    def signal_handler(self, _signal: int, _frame: object) -> None:
        self.alive = False

    def wakes(self) -> bool:
        return bool(select.select([self.wakeup_fd_r], [], [], 0)[0])


@pytest.fixture
def worker(monkeypatch):
    own = type("Worker", (Worker,), {})
    for name in ("odoo", "odoo.service"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    server = types.ModuleType("odoo.service.server")
    server.Worker = own
    monkeypatch.setitem(sys.modules, "odoo.service.server", server)
    loader = SourceFileLoader("odooops_server", str(PATH))
    script = module_from_spec(spec_from_loader("odooops_server", loader))
    loader.exec_module(script)
    script.stop_at_once()
    worker = own()
    yield worker
    os.close(worker.wakeup_fd_r)
    os.close(worker.wakeup_fd_w)


def test_a_worker_wakes_after_it_was_marked_too(worker):
    assert not worker.wakes()  # its thread took the signal's own byte before the handler ran
    worker.signal_handler(2, None)
    assert not worker.alive
    assert worker.wakes()


def test_a_full_pipe_is_no_error(worker):
    while select.select([], [worker.wakeup_fd_w], [], 0)[1]:
        os.write(worker.wakeup_fd_w, b"." * 4096)
    worker.signal_handler(2, None)
    assert not worker.alive
