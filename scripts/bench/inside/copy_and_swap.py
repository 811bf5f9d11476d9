"""In the agent's container: fence a database, then copy it and swap the copy back, several times.

copy_and_swap.py DATABASE TIMES
"""

import json
import sys
import time

from odooops_agent.settings import read_settings
from odooops_agent.wiring import password_store, real_ports

name, times = sys.argv[1], int(sys.argv[2])
settings = read_settings()
database = real_ports(settings, password_store(settings)).database
snapshot, aside = f"{name}__s1", f"{name}__x1"
rounds = []
for left_over in (snapshot, aside):
    database.drop(left_over)
database.fence(name, name, f"{name}_upgrade")
for _ in range(times):
    began = time.perf_counter()
    strategy = database.snapshot(name, snapshot, name)
    copied = time.perf_counter()
    database.swap(name, snapshot, aside)
    swapped = time.perf_counter()
    rounds.append({"snapshot": copied - began, "swap": swapped - copied, "strategy": strategy})
    database.drop(aside)
    database.fence(name, name, f"{name}_upgrade")
print(json.dumps({"rounds": rounds, "bytes": database.facts(name).bytes}))
