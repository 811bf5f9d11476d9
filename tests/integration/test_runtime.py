"""The real Docker Engine: images by digest, containers without privileges, environments that can't reach each other."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from odooops_agent.errors import Cancelled, Permanent, Refused, Retryable
from odooops_agent.facts import Container
from odooops_agent.ports import Cancelled as Cancellation
from odooops_agent.ports import ContainerSpec, Mount, OnLine, Route
from odooops_agent.proxy import AdminSocket, CaddyProxy
from parts.caddy import free_port, wait_until
from parts.engine import PYTHON_BASE, Stack
from parts.load import Load

KEY = "demo/prod"


def never() -> bool:
    return False


def run(stack: Stack, spec: ContainerSpec, limit: float, on_line: OnLine, cancelled: Cancellation = never) -> int:
    runtime = stack.runtime()
    runtime.create(spec)
    return runtime.run(spec.name, lambda: runtime.start(spec.name), limit, on_line, cancelled)


def test_an_image_comes_by_digest_and_tells_what_is_in_it(stack: Stack) -> None:
    runtime, lines = stack.runtime(), []
    image = stack.push(stack.customer_image(), "demo")
    runtime.pull(image, lines.append)
    assert any("Digest: sha256:" in line or "complete" in line.lower() for line in lines), lines
    lines.clear()
    runtime.pull(image, lines.append)
    assert lines == [f"{image} is here already"]
    began = time.monotonic()
    manifest = runtime.read_manifest(image)
    print(f"manifest read in {(time.monotonic() - began) * 1000:.0f} ms")
    assert manifest.addons["workshop"].version == "19.0.1.0.0"
    assert manifest.uid == 10019
    began = time.monotonic()
    runtime.read_manifest(image)
    assert time.monotonic() - began < 0.01  # by digest, so it can't have changed


def test_an_image_that_is_gone_and_a_registry_that_is_away_are_told_apart(stack: Stack) -> None:
    runtime, repository = stack.runtime(), f"{stack.registry()}/demo"
    with pytest.raises(Permanent, match="no longer has") as gone:
        runtime.pull(f"{repository}@sha256:{'0' * 64}", print)
    assert gone.value.code == "image_gone"
    with pytest.raises(Permanent) as unknown:
        runtime.pull(f"{stack.registry()}/nothing@sha256:{'0' * 64}", print)
    assert unknown.value.code == "image_gone"
    with pytest.raises(Retryable, match="see that it is up"):
        runtime.pull(f"localhost:{free_port()}/demo@sha256:{'0' * 64}", print)


def test_an_image_without_a_manifest_says_how_to_build_one(stack: Stack) -> None:
    with pytest.raises(Permanent, match="docker/odoo"):
        stack.runtime().read_manifest("debian:bookworm-slim")
    with pytest.raises(Permanent, match="update the agent"):
        stack.runtime().read_manifest(stack.customer_image({"schema": 9}))
    with pytest.raises(Permanent, match="can't be read"):
        stack.runtime().read_manifest(stack.image_with({"/etc/odooops/manifest.json": "{"}))


def test_a_container_has_no_privilege_whatever_it_is_for(stack: Stack) -> None:
    home = stack.data_root / "demo" / "prod"
    home.mkdir(parents=True, exist_ok=True)
    spec = stack.spec(
        "schema",
        "sleep",
        "60",
        mounts=(Mount(str(home), "/var/lib/odoo"),),
        memory_bytes=256 << 20,
        cpus=0.5,
        restart=True,
    )
    runtime = stack.runtime()
    runtime.create(spec)
    made = stack.client.api.inspect_container(spec.name)
    host = made["HostConfig"]
    assert (host["Privileged"], host["CapAdd"], host["CapDrop"]) == (False, None, ["ALL"])
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert (host["PidMode"], host["IpcMode"], host["UTSMode"], host["UsernsMode"]) == ("", "private", "", "")
    assert (host["Devices"], host["Binds"], host["VolumesFrom"]) == (None, None, None)
    assert host["Memory"] == host["MemorySwap"] == 256 << 20
    assert host["PidsLimit"] == 512
    assert host["NanoCpus"] == 500_000_000
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "5"}}
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert made["Config"]["User"] == "10019:10019"
    runtime.remove(spec.name)


@pytest.mark.parametrize(
    "source", ["/", "/etc", "/var/run/docker.sock", "{root}", "{root}/../x", "{root}/link", "relative"]
)
def test_nothing_from_outside_the_data_root_is_mounted(stack: Stack, source: str) -> None:
    link = stack.data_root / "link"
    if not link.is_symlink():
        link.symlink_to("/etc")
    path = source.format(root=stack.data_root)
    with pytest.raises(Refused, match="no container may mount it"):
        stack.runtime().create(stack.spec("mounts", "true", mounts=(Mount(path, "/mnt"),)))


def test_every_verb_can_be_asked_for_twice(stack: Stack) -> None:
    runtime, spec = stack.runtime(), stack.spec("twice", "sleep", "60")
    for _ in range(2):
        runtime.create(spec)
    first = stack.client.api.inspect_container(spec.name)["Id"]
    for _ in range(2):
        runtime.start(spec.name)
    with pytest.raises(Permanent, match="runs with other settings"):
        runtime.create(replace(spec, argv=("sleep", "61")))
    for _ in range(2):
        runtime.stop(spec.name, 0)
    runtime.create(replace(spec, argv=("sleep", "61")))
    assert stack.client.api.inspect_container(spec.name)["Id"] != first
    for _ in range(2):
        runtime.remove(spec.name)
        runtime.stop(spec.name, 0)


def test_a_container_that_somebody_pruned_is_made_again_from_what_it_told(stack: Stack) -> None:
    runtime, spec = stack.runtime(), stack.spec("pruned", "sleep", "60")
    runtime.create(spec)
    runtime.start(spec.name)
    told = runtime.spec(spec.name)
    assert told == spec
    runtime.stop(spec.name, 0)
    stack.client.api.remove_container(spec.name)
    assert runtime.spec(spec.name) is None
    runtime.create(told)
    runtime.start(spec.name)
    assert runtime.spec(spec.name) == spec
    runtime.remove(spec.name)


def test_another_stacks_container_is_left_alone(stack: Stack) -> None:
    spec = stack.spec("foreign", "sleep", "60")
    stack.client.api.create_container(
        "debian:bookworm-slim", ["true"], name=spec.name, labels={"odooops.stack": "theirs"}
    )
    for act in (lambda: stack.runtime().create(spec), lambda: stack.runtime().remove(spec.name)):
        with pytest.raises(Permanent, match="not of this stack"):
            act()
    stack.client.api.remove_container(spec.name)


def test_containers_are_told_from_their_labels(stack: Stack) -> None:
    labels = {
        "odooops.environment": KEY,
        "odooops.role": "web",
        "odooops.token": "18",
        "odooops.digest": "sha256:1",
        "odooops.config_hash": "c",
        "odooops.operation": "41",
    }
    spec = stack.spec("labels", "sleep", "60", labels=labels)
    runtime = stack.runtime()
    runtime.create(spec)
    assert runtime.containers(KEY) == (Container(spec.name, "web", 18, "sha256:1", "c", False, 41),)
    runtime.start(spec.name)
    assert runtime.containers(KEY)[0].running
    assert runtime.containers("demo/stage") == ()
    runtime.remove(spec.name)


def test_a_one_off_streams_its_lines_and_is_gone_at_its_end(stack: Stack) -> None:
    lines: list[str] = []
    spec = stack.spec("run", "sh", "-c", "echo first; echo second >&2; printf 'no end'; exit 3")
    assert run(stack, spec, 30, lines.append) == 3
    assert sorted(lines) == ["first", "no end", "second"]
    assert stack.runtime()._inspect(spec.name) is None


def test_no_line_is_lost_of_one_that_waited(stack: Stack) -> None:
    runtime = stack.runtime()
    for number in range(10):  # a line written while somebody attaches is lost now and then
        lines: list[str] = []
        spec = stack.spec(f"waiting{number}", "sh", "-c", "echo early; until [ -e /tmp/go ]; do :; done; echo late")
        runtime.create(spec)
        runtime.start(spec.name)
        begin = lambda name=spec.name: runtime.execute(name, ["touch", "/tmp/go"], 5, print)  # noqa: E731
        assert runtime.run(spec.name, begin, 30, lines.append, never) == 0
        assert lines == ["early", "late"]


def test_lines_come_while_it_runs(stack: Stack) -> None:
    arrivals: list[float] = []
    spec = stack.spec("stream", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.5; done")
    run(stack, spec, 30, lambda _: arrivals.append(time.monotonic()))
    assert arrivals[2] - arrivals[0] > 0.8


def test_a_one_off_that_takes_too_long_is_stopped_and_removed(stack: Stack) -> None:
    spec = stack.spec("slow", "sh", "-c", "trap '' TERM; echo began; while :; do sleep 0.2; done")
    began = time.monotonic()
    with pytest.raises(Permanent) as raised:
        run(stack, spec, 1, print)
    assert raised.value.code == "timed_out"
    assert time.monotonic() - began < 20
    assert stack.runtime()._inspect(spec.name) is None


def test_a_one_off_can_be_called_off(stack: Stack) -> None:
    called_off = threading.Event()
    threading.Timer(1, called_off.set).start()
    spec = stack.spec("cancelled", "sleep", "60")
    with pytest.raises(Cancelled):
        run(stack, spec, 60, print, called_off.is_set)
    assert stack.runtime()._inspect(spec.name) is None


def test_a_one_off_is_followed_to_its_own_end_whoever_gets_its_name(stack: Stack) -> None:
    runtime, spec, lines = stack.runtime(), stack.spec("named", "sh", "-c", "echo one; sleep 2; echo two; exit 3"), []
    other = replace(spec, argv=("sh", "-c", "echo other; exit 9"))

    def take(line: str) -> None:
        lines.append(line)
        if line == "one":
            subprocess.run(["docker", "rename", spec.name, f"{spec.name}-moved"], check=True)
            runtime.create(other)
            runtime.start(spec.name)

    assert run(stack, spec, 30, take) == 3
    assert lines == ["one", "two"]
    assert runtime.spec(spec.name) == other
    assert runtime._inspect(f"{spec.name}-moved") is None


def test_executing_in_a_running_container(stack: Stack) -> None:
    runtime, spec, lines = stack.runtime(), stack.spec("execute", "sleep", "60"), []
    runtime.create(spec)
    runtime.start(spec.name)
    assert runtime.execute(spec.name, ["sh", "-c", "echo hello; exit 4"], 10, lines.append) == 4
    assert lines == ["hello"]
    began = time.monotonic()
    assert runtime.execute(spec.name, ["sleep", "30"], 1, lines.append) == 124
    assert time.monotonic() - began < 5
    runtime.remove(spec.name)


def test_a_container_that_wants_more_memory_than_its_limit_is_killed_alone(stack: Stack) -> None:
    eat = "a=x; while :; do a=$a$a; done"
    spec = stack.spec("memory", "sh", "-c", eat, memory_bytes=64 << 20)
    assert run(stack, spec, 60, print) == 137


def test_odoos_image_runs_as_the_pinned_user_without_any_capability(stack: Stack) -> None:
    lines: list[str] = []
    argv = ("sh", "-c", "id -u; grep CapEff /proc/self/status; odoo --version; touch /usr/x 2>&1 || echo read-only")
    spec = stack.spec("odoo", *argv, image=stack.image(PYTHON_BASE))
    assert run(stack, spec, 120, lines.append) == 0
    assert lines[0] == "10019"
    assert lines[1].split()[1] == "0" * 16
    assert any("Odoo Server 19.0" in line for line in lines)
    assert lines[-1] == "read-only"


def serving(stack: Stack, environment: str, name: str) -> ContainerSpec:
    program = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = sys.argv[1].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("", 8069), Handler).serve_forever()
"""
    slug = environment.replace("/", "-")
    return stack.spec(
        f"{slug}-{name}",
        "python3",
        "-c",
        program,
        name,
        image=stack.image(PYTHON_BASE),
        network=f"{stack.name}-{slug}",
        labels={"odooops.environment": environment, "odooops.role": "web"},
    )


@pytest.fixture(scope="module")
def served(stack: Stack) -> tuple[Stack, int]:
    """Two environments with a web container each, behind Caddy in a container."""
    port = free_port()
    config = {
        "admin": {"listen": f"unix/{stack.folder}/run/admin.sock|0600"},
        "apps": {"http": {"servers": {"odooops": {"listen": [":80"], "routes": []}}}},
    }
    (stack.folder / "caddy.json").write_text(json.dumps(config))
    stack.start_proxy(stack.folder / "caddy.json", port)
    for environment in ("demo/prod", "demo/stage"):
        slug = environment.replace("/", "-")
        stack.runtime().ensure_network(f"{stack.name}-{slug}", {"odooops.environment": environment})
        spec = serving(stack, environment, "web-1")
        stack.runtime().create(spec)
        stack.runtime().start(spec.name)
    wait_until((stack.folder / "run" / "admin.sock").exists, 10, "Caddy starts")
    return stack, port


def proxy_of(stack: Stack) -> CaddyProxy:
    return CaddyProxy(AdminSocket(stack.folder / "run" / "admin.sock"), stack.folder / "state", stack.targets)


def test_a_container_is_reached_once_it_is_exposed_and_the_switch_loses_nothing(served: tuple[Stack, int]) -> None:
    stack, port = served
    runtime, proxy = stack.runtime(), proxy_of(stack)
    old, new = serving(stack, "demo/prod", "web-1"), serving(stack, "demo/prod", "web-2")
    runtime.expose(old.name, "demo-prod-r1")
    assert runtime.exposed_as(old.name) == "demo-prod-r1"
    proxy.ensure_route(Route("demo/prod", ("prod.localhost",), (), "demo-prod-r1", 20, tls=False))
    with Load(("127.0.0.1", port), "prod.localhost", clients=8) as load:
        proxy.hold("demo/prod", "demo-prod-r2")
        runtime.create(new)
        runtime.start(new.name)
        wait_until(
            lambda: runtime.execute(new.name, ["curl", "-sf", "http://127.0.0.1:8069"], 5, print) == 0, 10, "it is up"
        )
        exposed_at = time.monotonic()
        runtime.expose(new.name, "demo-prod-r2")
        proxy.release("demo/prod")
        time.sleep(1)
        after = [sent + seconds - exposed_at for sent, seconds in load.waits if sent < exposed_at < sent + seconds]
        runtime.stop(old.name, 5)
        runtime.remove(old.name)
        time.sleep(1)
    print(f"{len(after)} held requests, the last answered {max(after) * 1000:.0f} ms after the container was exposed")
    assert load.failures == []
    assert len(after) > 4  # the others were just between two requests
    assert max(after) < 0.5
    runtime.remove(new.name)
    runtime.create(old)
    runtime.start(old.name)


def test_environments_reach_neither_each_other_nor_caddys_admin(served: tuple[Stack, int]) -> None:
    stack, _ = served
    here, there = serving(stack, "demo/prod", "web-1"), serving(stack, "demo/stage", "web-1")
    networks = stack.client.api.inspect_container(there.name)["NetworkSettings"]["Networks"]
    address = networks[f"{stack.name}-demo-stage"]["IPAddress"]
    caddy = stack.client.api.inspect_container(stack.proxy_name)["NetworkSettings"]["Networks"]
    caddy_here = caddy[f"{stack.name}-demo-prod"]["IPAddress"]

    def curl(*arguments: str) -> int:
        return stack.runtime().execute(here.name, ["curl", "-s", "-o", "/dev/null", "-m", "2", *arguments], 10, print)

    wait_until(lambda: curl("http://127.0.0.1:8069") == 0, 20, "it serves")
    assert curl(f"http://{address}:8069") == 28  # times out: the bridges are apart
    assert curl(f"http://{there.name}:8069") == 6  # has no such name
    assert curl(f"http://{caddy_here}:80") == 0  # its own way in is there
    assert curl(f"http://{caddy_here}:2019/config/") == 7  # and the admin is not
    assert curl("--unix-socket", str(stack.folder / "run" / "admin.sock"), "http://caddy/config/") == 7


def test_a_recreated_proxy_is_connected_again(served: tuple[Stack, int]) -> None:
    stack, _ = served
    stack.client.api.remove_container(stack.proxy_name, force=True)
    stack.start_proxy()
    stack.runtime().reconnect_proxy()
    stack.runtime().reconnect_proxy()
    networks = stack.client.api.inspect_container(stack.proxy_name)["NetworkSettings"]["Networks"]
    assert {f"{stack.name}-demo-prod", f"{stack.name}-demo-stage"} <= set(networks)
    with pytest.raises(Retryable, match="not-there is not there"):
        stack.runtime("not-there").reconnect_proxy()


def test_a_docker_that_is_away_is_worth_another_try(stack: Stack) -> None:
    import docker

    away = docker.DockerClient(base_url="unix:///run/nothing-here.sock", version="1.41")
    runtime = stack.runtime()
    runtime._api = away.api
    with pytest.raises(Retryable, match="start it"):
        runtime.version()


def labelled_image(stack: Stack, label: str) -> str:
    """Push an image that carries a label, so that a prune can be told to look at nothing else on this machine."""
    made = stack.client.api.create_container(stack.customer_image(), ["true"], labels={"odooops.stack": stack.name})
    stack.client.api.commit(made["Id"], repository=f"{stack.name}-kept", tag="latest", changes=[f"LABEL {label}=yes"])
    stack.client.api.remove_container(made["Id"], force=True)
    return stack.push(f"{stack.name}-kept:latest", "kept")


def prune(stack: Stack, label: str) -> None:
    """Prune all that `docker system prune -a` would, of what carries the label."""
    only = {"label": [label]}
    stack.client.api.prune_containers(filters=only)
    stack.client.api.prune_images(filters={**only, "dangling": False})


def test_the_image_of_a_restore_set_outlives_every_prune(stack: Stack) -> None:
    label = f"oot-{stack.name}"
    image = labelled_image(stack, label)
    stack.client.images.remove(f"{stack.name}-kept:latest")
    runtime = stack.runtime()
    runtime.pull(image, print)
    prune(stack, label)
    assert not stack.client.images.list(filters={"label": label}), "a prune takes what nobody keeps"
    runtime.pull(image, print)
    before = {one.name for one in runtime.containers(KEY)}
    for _ in range(2):
        runtime.keep_images(KEY, [image])
    prune(stack, label)
    command = ["docker", "system", "prune", "--all", "--force", "--filter", f"label={label}"]
    assert subprocess.run(command, capture_output=True, check=True).returncode == 0
    assert stack.client.images.list(filters={"label": label})
    # None of the environment's own, so no deployment trips over it.
    assert {one.name for one in runtime.containers(KEY)} == before
    stats = keeper(stack).stats(stream=False)["memory_stats"]
    print(f"keeping an image takes {stats.get('usage', 0) / 1e6:.1f} MB of memory")


def keeper(stack: Stack) -> Any:
    labels = [f"odooops.stack={stack.name}", f"odooops.keeps={KEY}"]
    (found,) = stack.client.containers.list(all=True, filters={"label": labels})
    return found


def test_an_image_is_let_go_when_its_restore_set_is_gone(stack: Stack) -> None:
    label = f"oot-gone-{stack.name}"
    image = labelled_image(stack, label)
    stack.client.images.remove(f"{stack.name}-kept:latest")
    runtime = stack.runtime()
    runtime.pull(image, print)
    runtime.keep_images(KEY, [image])
    keeper(stack).kill()
    runtime.keep_images(KEY, [image])
    assert keeper(stack).status == "running"
    runtime.keep_images("other/prod", [])
    assert keeper(stack).status == "running"
    runtime.keep_images(KEY, [])
    prune(stack, label)
    assert not stack.client.images.list(filters={"label": label})
    with pytest.raises(Permanent):
        runtime.keep_images(KEY, [image])  # not here: whoever keeps it pulls it first
