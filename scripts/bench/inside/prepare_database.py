"""In the agent's container: make an empty database with its roles, as for a new environment.

prepare_database.py DATABASE PASSWORD
"""

import json
import sys

from odooops_agent.settings import read_settings
from odooops_agent.wiring import password_store, real_ports

name, password = sys.argv[1:]
settings = read_settings()
database = real_ports(settings, password_store(settings)).database
for existing in (f"{name}__s1", f"{name}__x1", name):
    database.drop(existing)
database.ensure_roles(name, password, f"{name}_upgrade", password)
database.create(name, name)
print(json.dumps({"created": name}))
