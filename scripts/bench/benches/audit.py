"""The audit log of a big installation, followed from its first event to its last."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from scripts.bench.registry import Goal, Row, bench, row
from scripts.bench.site import Site

EVENTS = 200_000
CI = Path(__file__).parents[2] / "ci"


@bench("audit")
def audit(site: Site) -> list[Row]:
    inside = site.in_control("verify_audit.py", events=EVENTS)
    return [
        row(f"verifying an audit log of {inside['events']} events in the console", inside["ours"], "s",
            Goal(at_most=5, times=1), inside["orm"], "the same chain read by Odoo's own search and read"),
        row(f"`odooops audit verify` of an export of {EVENTS} events", _offline(site.folder / "audit.jsonl"), "s",
            Goal(at_most=5)),
    ]  # fmt: skip


def _offline(path: Path) -> float:
    write_export(path, EVENTS)
    try:
        return min(_verified(path) for _ in range(3))
    finally:
        path.unlink()


def _verified(path: Path) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, CI / "odooops", "audit", "verify", path], check=True, capture_output=True)
    return time.perf_counter() - began


def write_export(path: Path, count: int) -> None:
    """Write an export as the console does."""
    sys.path.append(str(CI))
    from odooops_ci.audit.chain import GENESIS, digest

    head = GENESIS
    with path.open("w", encoding="utf-8") as file:
        file.write('{"odooops_audit":1}\n')
        for number in range(1, count + 1):
            event = {
                "happened_at": "2026-11-23T10:00:00Z", "user_id": 2, "action": "approval.approved", "project_id": 1,
                "model": "odooops.deployment", "record_id": number, "record_name": f"v1.{number} → demo/prod",
                "details": {"plan_hash": f"{number:064x}", "user": f"person{number % 50}", "note": "looked"},
            }  # fmt: skip
            previous, head = head, digest(head, event)
            line = {"number": number, "previous_hash": previous, "hash": head, "event": event}
            file.write(json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n")
        file.write(json.dumps({"events": count, "head": {"number": count, "hash": head}}) + "\n")
