"""In the agent's container: back an environment of the bench's own up, as an operation does; print how it ended.

    back_up.py DATABASE IMAGE NUMBER

The repository, its password and the environment are the bench's own and stay until `forget` is given for IMAGE.
"""

import json
import shutil
import sys
import time
from base64 import b64decode
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import NAMESPACE_DNS, uuid5

from nacl.public import PublicKey
from odooops_agent.clock import SystemClock
from odooops_agent.journal import Journal
from odooops_agent.operations import Workshop
from odooops_agent.protocol import Operation, convert
from odooops_agent.sealing import SealingKey, seal
from odooops_agent.secrets import Secret
from odooops_agent.settings import read_settings
from odooops_agent.testing.droplet import ENVIRONMENT, FakeOrders
from odooops_agent.wiring import password_store, real_ports

name, image, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
key = "bench/backup"
identity = str(uuid5(NAMESPACE_DNS, "backup.bench"))
settings = read_settings()
repository = settings.backup_dir / "bench"
passwords = password_store(settings)
ports = real_ports(settings, passwords)

if image == "forget":
    shutil.rmtree(repository, ignore_errors=True)
    shutil.rmtree(settings.data_root / key, ignore_errors=True)
    print(json.dumps({"forgotten": str(repository)}))
    sys.exit()

# As for any environment: its role has the agent's password, its database the environment's mark.
ports.database.ensure_roles(
    name, passwords.get(name).reveal(), f"{name}_upgrade", passwords.get(f"{name}_upgrade").reveal()
)
ports.database.write_tag(name, identity, 1)
public = PublicKey(b64decode(SealingKey(settings.state_dir / "sealing.key").public))
sealed = seal(Secret(json.dumps({"password": "the bench's own"})), public)
reference, _, digest = image.partition("@")
operation = {
    "id": number,
    "uuid": identity,
    "kind": "backup",
    "token": number,
    "environment": {
        **ENVIRONMENT,
        "key": key,
        "uuid": identity,
        "database": {"name": name, "uuid": None},
        "domains": {"main": "backup.bench.localhost"},
    },
    "release": {"tag": "bench", "commit_sha": "0" * 40, "image": reference, "digest": digest},
    "policy_version": "0",
    "backup": {"backup": number, "repository": {"id": 1, "url": str(repository), "sealed": sealed}},
}
with TemporaryDirectory() as folder:
    journal = Journal(Path(folder) / "journal.sqlite")
    shop = Workshop(ports, settings.droplet, passwords, journal, SystemClock(), FakeOrders())
    began = time.perf_counter()
    shop.take_on(convert(operation, Operation))
    seconds = time.perf_counter() - began
    finish = json.loads(journal.get(number).finish)
print(
    json.dumps({"seconds": seconds, "outcome": finish["outcome"], "error": finish["error"], "result": finish["result"]})
)
