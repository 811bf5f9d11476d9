"""An agent in a process of its own that can be killed: recovers what it finds, then carries one operation out.

    python agent_process.py [OPERATION.json] [POINT]

Settings come from the environment as for the real one. At the executor's POINT (`after:hold_requests`, …) the process
kills itself with SIGKILL; `rename:2` is at the second rename of a swap. Prints the outcome as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from odooops_agent.clock import SystemClock
from odooops_agent.commands import postgres
from odooops_agent.journal import Journal
from odooops_agent.operations import Workshop
from odooops_agent.protocol import Operation, convert
from odooops_agent.settings import read_settings
from odooops_agent.testing.grants import granted, pin
from odooops_agent.wiring import password_store, real_ports


class NoOrders:
    """A control plane that neither cancels nor takes a lease away."""

    def cancelled(self, operation_id: int) -> bool:
        return False

    def lost(self, operation_id: int) -> bool:
        return False


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_second_rename() -> None:
    """A swap renames twice in one transaction: the first is undone by PostgreSQL."""
    rename, count = postgres.rename, 0

    def counted(database: str, new: str) -> Any:
        nonlocal count
        count += 1
        if count == 2:
            die()
        return rename(database, new)

    postgres.rename = counted


class FileUploads:
    """In the console's place: a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, operation_id: int, token: int, offset: int, data: bytes) -> None:
        with self._path.open("r+b" if offset else "wb") as file:
            file.seek(offset)
            file.write(data)


def main(operation_file: str = "", point: str = "") -> None:
    settings = read_settings()
    passwords = password_store(settings)
    journal = Journal(settings.state_dir / "journal.sqlite")
    if point == "rename:2":
        die_at_second_rename()
    shop = Workshop(
        ports=real_ports(settings, passwords, FileUploads(settings.state_dir / "uploaded.zip")),
        droplet=settings.droplet,
        passwords=passwords,
        journal=journal,
        clock=SystemClock(),
        orders=NoOrders(),
        point=lambda name: die() if name == point else None,
        console_pin=pin,
    )
    shop.ports.runtime.reconnect_proxy()
    shop.ports.proxy.restore_routes()
    last = 0
    for entry in journal.unfinished():
        last = entry.operation.id
        shop.recover(entry)
    if operation_file:
        given = json.loads(Path(operation_file).read_text())
        last = given["id"]
        if given["kind"] == "deploy":
            given["plan_hash"] = plan(shop, given)
        if given["kind"] == "rollback":
            approve_way_back(shop, given)
        shop.take_on(granted(convert(given, Operation), datetime.now(UTC)))
    print(outcome(journal, last))


def plan(shop: Workshop, given: dict[str, Any]) -> str:
    """Make the plan and approve it."""
    result = look(shop, given)
    assert result.get("plan_hash"), result
    return str(result["plan_hash"])


def look(shop: Workshop, given: dict[str, Any]) -> dict[str, Any]:
    """Carry out the plan operation that goes before another; return its result."""
    number = given["id"] + 1_000_000
    shop.take_on(convert({**given, "id": number, "kind": "plan"}, Operation))
    return dict(json.loads(outcome(shop.journal, number))["result"] or {})


def approve_way_back(shop: Workshop, given: dict[str, Any]) -> None:
    """Preview a rollback and approve it: with its loss as the ceiling, unless another one is given."""
    rollback = given["rollback"]
    result = look(shop, {**given, "rollback": {**rollback, "mode": None, "ceiling": None}})
    (Path(os.environ["ODOOOPS_STATE_DIR"]) / "preview.json").write_text(json.dumps(result))
    (way,) = [one for one in result["modes"] if one["mode"] == rollback["mode"]]
    assert way["possible"], way
    given["plan_hash"] = way["plan_hash"]
    if way["loss"] and "ceiling" not in rollback:
        rollback["ceiling"] = {
            "minutes": way["loss"]["minutes"] + 30,
            "counts": {
                one["model"]: {"created": one["created"] + 1, "changed": one["changed"]}
                for one in way["loss"]["counts"]
            },
            "posted": {one["model"]: one["posted"] for one in way["loss"]["counts"]},
        }


def outcome(journal: Journal, number: int) -> str:
    entry = journal.get(number)
    return msgspec.json.encode(msgspec.json.decode(entry.finish)).decode() if entry and entry.finish else "{}"


if __name__ == "__main__":
    main(*sys.argv[1:])
