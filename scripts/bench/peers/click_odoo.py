"""click-odoo-update, in a container of the customer's own image, on a copy of its database."""

from __future__ import annotations

import json
from pathlib import Path

from scripts.bench import postgres
from scripts.bench.peers.odoo_conf import PeerFiles
from scripts.bench.site import Site
from scripts.setup import build, engine

ROLE = "bench_click"
DOCKERFILE = Path(__file__).with_name("click_odoo.Dockerfile")
# Times the whole process from within the container, so that `docker exec` costs the peer nothing.
_TIMED = """
import json, subprocess, sys, time
seconds = []
for _ in range(int(sys.argv[1])):
    began = time.perf_counter()
    subprocess.run(sys.argv[2:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds.append(time.perf_counter() - began)
print(json.dumps(seconds))
"""


class ClickOdoo:
    """A container that sleeps, to run click-odoo-update in."""

    def __init__(self, site: Site) -> None:
        self._site, self._stack = site, site.stack
        self._name = f"{site.stack.name}-bench-click"

    def __enter__(self) -> ClickOdoo:
        image = self._site.running_image()
        tag = f"{self._stack.name}/bench-click"
        files = PeerFiles(self._site, ROLE)
        postgres.make_role(self._site, ROLE, files.password)
        postgres.dump_and_restore(self._stack, self._site.customer.database("prod").name, ROLE, ROLE)
        files.write()
        labels, arguments = {"odooops.stack": self._stack.name}, {"BASE_IMAGE": image}
        build.build(tag, DOCKERFILE, DOCKERFILE.parent, labels=labels, args=arguments, log="bench-click.log")
        self._remove()
        engine.docker(
            "run", "--detach", "--name", self._name, "--label", f"odooops.stack={self._stack.name}", *files.mounts(),
            "--entrypoint", "sleep", tag, "infinity",
        )  # fmt: skip
        return self

    def __exit__(self, *_exc: object) -> None:
        self._remove()
        postgres.drop(self._stack, ROLE)

    def nothing_to_update(self, times: int) -> list[float]:
        """Return the seconds of each run that finds nothing to do; the hashes are recorded before."""
        update = ["click-odoo-update", "--config=/etc/odoo/odoo.conf", f"--database={ROLE}"]
        self._exec(*update, "--only-compute-hashes")
        return list(json.loads(self._exec("odooops-python", "-c", _TIMED, str(times), *update)))

    def _exec(self, *argv: str) -> str:
        return engine.docker("exec", self._name, *argv)

    def _remove(self) -> None:
        engine.docker("rm", "--force", "--volumes", self._name)
