"""In the agent's container: decide, several times, that an environment on its own release needs no update.

    no_op_decision.py ENVIRONMENT TIMES

Each decision has new adapters, so that PostgreSQL is connected to anew. The image's manifest was read when the image
was pulled; what that takes is told apart.
"""

import json
import sqlite3
import sys
import time

from odooops_agent.observe import observe
from odooops_agent.plans.deploy import plan_deploy
from odooops_agent.protocol import Operation, decode
from odooops_agent.runtime.manifest import PATH
from odooops_agent.settings import read_settings
from odooops_agent.wiring import password_store, real_ports

environment, times = sys.argv[1], int(sys.argv[2])
settings = read_settings()
passwords = password_store(settings)
with sqlite3.connect(f"file:{settings.state_dir}/journal.sqlite?mode=ro", uri=True) as journal:
    newest = "SELECT document FROM operation WHERE environment = ? AND kind = 'deploy' ORDER BY id DESC LIMIT 1"
    operation = decode(journal.execute(newest, (environment,)).fetchone()[0], Operation)
seconds, modules, changes = [], 0, None
reading = real_ports(settings, passwords).runtime._read_file
began = time.perf_counter()
reading(operation.release.reference, PATH)
manifest_seconds = time.perf_counter() - began
for _ in range(times):
    ports = real_ports(settings, passwords)  # a running agent has them since its start
    began = time.perf_counter()
    facts = observe(ports, operation)
    plan = plan_deploy(operation, facts, settings.droplet, execute=False)
    seconds.append(time.perf_counter() - began)
    modules = sum(1 for module in facts.database.modules.values() if module.state == "installed")
    changes = [module.name for module in plan.document.modules]
told = {"seconds": seconds, "manifest_seconds": manifest_seconds, "modules": modules, "changes": changes}
print(json.dumps({**told, "shape": plan.shape}))
