# In Odoo's shell of the console: tell how often each delivery of the bench was noted once all are processed, and
# take them away. ARGUMENTS: mark.
import json
import time

Event = env["odooops.event"]  # noqa: F821
ours = [("delivery_id", "=like", ARGUMENTS["mark"] + "-%")]  # noqa: F821
deadline = time.time() + 120
while Event.search_count([*ours, ("state", "=", "received")]):
    if time.time() > deadline:
        raise SystemExit("Deliveries are still waiting to be processed after 120 s.")
    time.sleep(1)
    env.cr.rollback()  # noqa: F821
events = Event.search(ours)
failed = events.filtered(lambda event: event.state != "processed")
if failed:
    raise SystemExit(f"{len(failed)} deliveries failed: {failed[:1].error}")
counts = {}
for event in events:
    counts[event.delivery_id] = counts.get(event.delivery_id, 0) + 1
events.unlink()
env.cr.commit()  # noqa: F821
print(json.dumps(counts))
