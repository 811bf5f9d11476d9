# In Odoo's shell of the console: queue plans one after the other, each when the agent is idle again, as a person
# would who asks now and then. ARGUMENTS: environment, times, seed.
import json
import random
import time

random.seed(ARGUMENTS["seed"])  # noqa: F821
environment = env["odooops.environment"].search([("key", "=", ARGUMENTS["environment"])])  # noqa: F821
# A deployment that is over: the plan is made and told, and moves nothing.
deployment = environment.running_deployment_id
ENDED = ("succeeded", "failed", "cancelled", "indeterminate")
queued = {}
for _ in range(ARGUMENTS["times"]):  # noqa: F821
    time.sleep(random.uniform(0.2, 0.6))  # noqa: S311
    operation = env["odooops.operation"]._enqueue("plan", environment, deployment)  # noqa: F821
    began = time.time()
    env.cr.commit()  # noqa: F821
    queued[operation.id] = began
    deadline = began + 60
    while operation.state not in ENDED and time.time() < deadline:
        time.sleep(0.05)
        env.cr.rollback()  # noqa: F821
        operation.invalidate_recordset()
    if operation.state != "succeeded":
        raise SystemExit(f"Plan {operation.id} is {operation.state}: {operation.error_message}")
print(json.dumps(queued))
