"""In the agent's container: add random files to the filestore of the bench's own environment; print its folder.

filestore.py DATABASE MEGABYTES UID
"""

import hashlib
import json
import os
import sys

from odooops_agent.settings import read_settings
from odooops_agent.wiring import password_store, real_ports

name, megabytes, owner = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
settings = read_settings()
real_ports(settings, password_store(settings)).filestore.prepare("bench/backup", owner, owner)
folder = settings.data_root / "bench/backup/filestore" / name
# As attachments are: many small ones, some large ones.
sizes = [20_000] * (megabytes * 10) + [800_000] * megabytes
for size in sizes:
    content = os.urandom(size)
    digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    (folder / digest[:2]).mkdir(parents=True, exist_ok=True)
    (folder / digest[:2] / digest).write_bytes(content)
print(json.dumps({"folder": str(folder)}))
