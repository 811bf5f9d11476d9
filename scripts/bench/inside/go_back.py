"""In the agent's container: roll an environment back as the agent does on a lease, and tell when it began.

    go_back.py ENVIRONMENT TAG DIGEST

The plan was made and approved before; what it takes to pick an operation up is the bench pick_up's.
"""

import json
import sys
import time
import uuid
from datetime import datetime
from tempfile import TemporaryDirectory

from msgspec import structs
from odooops_agent.clock import SystemClock
from odooops_agent.journal import Journal
from odooops_agent.operations import Workshop
from odooops_agent.protocol import Release, Rollback, TargetSet
from odooops_agent.settings import read_settings
from odooops_agent.testing.grants import granted, pin
from odooops_agent.wiring import password_store, real_ports

key, tag, digest = sys.argv[1:]
settings = read_settings()
passwords = password_store(settings)
ports = real_ports(settings, passwords)
known = Journal(settings.state_dir / "journal.sqlite")


class NoOrders:
    """Nobody calls it off."""

    def cancelled(self, operation_id):
        return False

    def lost(self, operation_id):
        return False


def last_deployment():
    """Return the environment's newest operation, as the control plane described it."""
    numbers = [number for number, kind, environment, _ in known.latest(200) if (kind, environment) == ("deploy", key)]
    return known.get(max(numbers)).operation


def target_set(environment):
    """Return the newest restore set of the image."""
    sets = ports.database.sets(environment.database.name, environment.uuid)
    kept = [one for one in sets if one.digest == digest][-1]
    return TargetSet(
        token=kept.token,
        digest=digest,
        database_snapshot=f"{environment.database.name}__s{kept.token}",
        filestore_snapshot=f"snapshots/{kept.token}/filestore",
        taken_at=kept.since,
    )


def operation(kind, last, rollback, plan_hash=None):
    """Return an operation under the next token, which the control plane will issue its own above."""
    token = known.tokens()[key] + 1
    made = structs.replace(
        last,
        id=2_000_000 + token,
        uuid=str(uuid.uuid4()),
        kind=kind,
        token=token,
        plan_hash=plan_hash,
        release=Release(tag=tag, commit_sha=last.release.commit_sha, image=last.release.image, digest=digest),
        rollback=rollback,
    )
    known.begin(made)
    known.forget(made.id)
    return made


def carry_out(journal, made):
    """Carry an operation out; return its outcome and its steps."""
    clock = SystemClock()
    # The console signed nothing for a bench: one agent's process, for one operation, obeys a key of its own.
    shop = Workshop(ports, settings.droplet, passwords, journal, clock, NoOrders(), console_pin=pin)
    shop.take_on(granted(made, clock.now()))
    return json.loads(journal.get(made.id).finish)


last = last_deployment()
rollback = Rollback(request=0, restore_set=target_set(last.environment))
with TemporaryDirectory() as folder:
    journal = Journal(f"{folder}/journal.sqlite")
    shown = carry_out(journal, operation("plan", last, rollback))
    (full,) = [one for one in shown["result"]["modes"] if one["mode"] == "full"]
    if not full["possible"]:
        raise SystemExit(full["reason"])
    approved = operation("rollback", last, structs.replace(rollback, mode="full"), full["plan_hash"])
    began = time.time()
    finish = carry_out(journal, approved)
    taken = time.time() - began
    rows = journal._all(
        "SELECT name, started_at, finished_at FROM step WHERE operation_id = ? ORDER BY seq", (approved.id,)
    )
    times = [(name, *(datetime.fromisoformat(at).timestamp() - began for at in moments)) for name, *moments in rows]
    steps = [{"name": name, "after": round(at, 2), "seconds": round(end - at, 2)} for name, at, end in times]
    journal.close()
print(json.dumps({"began": began, "seconds": taken, "finish": finish, "steps": steps}))
