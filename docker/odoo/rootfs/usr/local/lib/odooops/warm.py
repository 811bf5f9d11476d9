"""Warm every web worker of this container, so that the first visitor after a switch waits no longer.

`warm.py --host shop.example.com [--limit 60]`. Each prefork worker's first page costs 0.3 s and more, and
which worker answers is the kernel's choice. So ask as many pages at once as there are workers, until
every worker has used CPU time and a whole round was fast. The websocket process loads its registry at its
first request; it gets one too. Prints {"workers": N, "warmed": N, "websocket": bool, "seconds": S}; exit
code 1 when the limit passed first.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from local_http import GEVENT_PORT, HTTP_PORT, Answer, ask

PROC = Path("/proc")
PAGE = "/web/login"
# A first page takes 0.2 s and more, a later one 0.01 to 0.02 s, waiting nothing: so this much CPU time
# means that a first page is behind.
WARM_CPU_SECONDS = 0.1
FAST_SECONDS = 1.0
PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    command: str
    cpu_seconds: float


def read_process(folder: Path) -> Process | None:
    """Read one folder of /proc; None when the process is gone."""
    try:
        # The name in parentheses may hold spaces and parentheses itself.
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return None
    if fields[0] == "Z":
        return None
    ticks = int(fields[11]) + int(fields[12])
    return Process(int(folder.name), int(fields[1]), command, ticks / os.sysconf("SC_CLK_TCK"))


def read_processes(proc: Path = PROC) -> list[Process]:
    found = (read_process(folder) for folder in proc.iterdir() if folder.name.isdigit())
    return [process for process in found if process is not None]


def is_odoo(process: Process) -> bool:
    # "odoo -c …", "python3 /usr/bin/odoo …", or the title "odoo: WorkerHTTP 12" that setproctitle gives.
    return any(Path(word).name in {"odoo", "odoo-bin", "odoo:"} for word in process.command.split()[:2])


def http_workers(processes: list[Process]) -> list[Process]:
    """Return the prefork HTTP workers, or the server itself where it serves with threads."""
    odoos = [process for process in processes if is_odoo(process)]
    pids = {process.pid for process in odoos}
    # Process 1, or below a small init when Docker was asked for one.
    servers = [process for process in odoos if process.parent not in pids]
    workers = [
        process
        for process in odoos
        if process.parent in pids and " gevent" not in process.command and "WorkerCron" not in process.command
    ]
    return workers or servers


def warm(
    ask_page: Callable[[], Answer],
    read_workers: Callable[[], list[Process]],
    *,
    limit_seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[int, int]:
    """Ask pages until every worker is warm and a whole round is fast; return (workers, warmed).

    :param limit_seconds: give up after this long; then warmed is less than workers.
    """
    deadline = clock() + limit_seconds
    with ThreadPoolExecutor(max_workers=32) as pool:
        while True:
            count = min(max(1, len(read_workers())), 32)
            answers = list(pool.map(lambda _: ask_page(), range(count)))
            workers = read_workers()
            warmed = sum(worker.cpu_seconds >= WARM_CPU_SECONDS for worker in workers)
            fast = all(answer.status == 200 and answer.seconds <= FAST_SECONDS for answer in answers)
            if workers and warmed == len(workers) and fast:
                return len(workers), warmed
            if clock() >= deadline:
                return len(workers), min(warmed, len(workers) - 1) if workers else 0
            sleep(PAUSE_SECONDS)


def warm_websocket(
    ask_page: Callable[[float], Answer], web_is_warm: Callable[[], bool], deadline: float
) -> bool | None:
    """Make the websocket process load its registry; None where there is none.

    It is started right after the web workers, so once these are warm it is there or will never be.
    """
    while time.monotonic() < deadline:
        last_look = web_is_warm()
        if any(" gevent" in process.command for process in read_processes()):
            if ask_page(max(1.0, deadline - time.monotonic())).status == 200:
                return True
        elif last_look:
            return None
        time.sleep(PAUSE_SECONDS)
    return False


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="localhost", help="the Host header to send")
    parser.add_argument("--port", type=int, default=HTTP_PORT)
    parser.add_argument("--gevent-port", type=int, default=GEVENT_PORT)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds after which to give up")
    parser.add_argument("--no-websocket", action="store_true", help="do not wait for it: visitors wait for pages")
    options = parser.parse_args(argv)
    started = time.monotonic()
    with ThreadPoolExecutor(max_workers=1) as beside:
        web = beside.submit(
            warm,
            lambda: ask(PAGE, host=options.host, port=options.port, timeout=options.limit),
            lambda: http_workers(read_processes()),
            limit_seconds=options.limit,
        )
        reached = None
        if not options.no_websocket:
            reached = warm_websocket(
                lambda timeout: ask(PAGE, host=options.host, port=options.gevent_port, timeout=timeout),
                web.done,
                started + options.limit,
            )
        workers, warmed = web.result()
    seconds = round(time.monotonic() - started, 2)
    print(json.dumps({"workers": workers, "warmed": warmed, "websocket": reached, "seconds": seconds}))
    return 0 if 0 < workers == warmed and reached is not False else 1


if __name__ == "__main__":
    sys.exit(main())
