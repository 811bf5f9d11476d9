# In Odoo's shell of the console: fill the audit log up to ARGUMENTS["events"], follow its chain, and read the same by
# Odoo's own ORM. Nothing of it is committed: an event can't be taken away again.
import json
import time

from odoo.addons.odooops_control.core import chain
from odoo.tools import SQL

Event = env["odooops.audit.event"].sudo()  # noqa: F821
NAMES = ("happened_at", "user_id", "action", "model", "record_id", "record_name", "project_id", "details")


def fill(count):
    head = (Event._head_event() or {"hash": chain.GENESIS})["hash"]
    [(at,)] = env.execute_query(SQL("SELECT date_trunc('second', now() AT TIME ZONE 'UTC')"))  # noqa: F821
    rows = []
    for number in range(count):
        details = {"plan_hash": f"{number:064x}", "user": f"person{number % 50}", "note": "looked", "number": number}
        vals = dict(zip(NAMES, (at, 2, "approval.approved", "odooops.deployment", number, f"v1.{number} → demo/prod", 1,
                                details), strict=True))  # fmt: skip
        digest = chain.link(head, Event._content(vals))
        rows.append((*vals.values(), head, digest))
        head = digest
    query = f"INSERT INTO odooops_audit_event ({', '.join(NAMES)}, previous_hash, hash) VALUES %s"  # noqa: S608
    shown = [(*row[:7], json.dumps(row[7]), *row[8:]) for row in rows]
    env.cr.execute_values(query, shown, page_size=2000)  # noqa: F821


def by_orm():
    expected, last = chain.GENESIS, 0
    while events := Event.search([("id", ">", last)], order="id", limit=1000):
        for one in events.read([*NAMES, "previous_hash", "hash"]):
            if chain.fault(one["previous_hash"], one["hash"], Event._content(one), expected):
                raise SystemExit(f"Broken at {one['id']}.")
            expected = one["hash"]
        last = events[-1].id
        events.invalidate_recordset(flush=False)


def seconds(act):
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def ours():
    found = Event.verify()
    if not found["ok"]:
        raise SystemExit(found["reason"])
    counts.append(found["events"])


counts = []
fill(max(ARGUMENTS["events"] - Event.search_count([]), 0))  # noqa: F821
times = {"ours": min(seconds(ours) for _ in range(3)), "orm": seconds(by_orm), "events": counts[0]}
env.cr.rollback()  # noqa: F821
print(json.dumps(times))
