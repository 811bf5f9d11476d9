"""Caddy under real load: what a hold, a switch and a change of configuration do to people who are asking."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from odooops_agent.errors import Permanent, Retryable
from odooops_agent.ports import Route
from parts.caddy import START, Backends, Caddy, wait_until
from parts.load import Load

HOST = "prod.localhost"
ROUTE = Route("demo/prod", (HOST,), (), "demo-prod-r1", 20, tls=False)
OTHER = Route("demo/stage", ("stage.localhost",), (), "demo-stage-r1", 20, tls=False)
OLD, NEW = "demo-prod-r1", "demo-prod-r2"


def each_post_once(load: Load, backends: Backends, *hosts: str) -> None:
    total: dict[str, int] = {}
    for host in hosts:
        for token, times in backends.seen(host).items():
            total[token] = total.get(token, 0) + times
    assert {token: total.get(token, 0) for token in load.posted if total.get(token, 0) != 1} == {}


def test_a_hundred_switches_under_load_lose_nothing(caddy: Caddy, backends: Backends) -> None:
    proxy, first, second = caddy.proxy(), backends.start("A"), backends.start("B")
    caddy.targets.answer(OLD, first)
    caddy.targets.answer(NEW, second)
    proxy.ensure_route(ROUTE)
    with Load(caddy.address, HOST) as load:
        for number in range(100):
            proxy.switch("demo/prod", NEW if number % 2 == 0 else OLD)
            assert proxy.upstream("demo/prod") == (NEW if number % 2 == 0 else OLD)
    print(f"100 switches, {len(load.waits)} requests, longest {load.longest_seconds * 1000:.0f} ms")
    assert load.failures == []
    assert load.longest_seconds < 0.5
    each_post_once(load, backends, first, second)


def test_a_hold_keeps_requests_and_releases_them_to_the_new_container(caddy: Caddy, backends: Backends) -> None:
    proxy, old = caddy.proxy(), backends.start("old")
    new = backends.host()
    caddy.targets.answer(OLD, old)
    proxy.ensure_route(ROUTE)
    with Load(caddy.address, HOST) as load:
        held_at = time.monotonic()
        proxy.hold("demo/prod", NEW)
        wait_until(lambda: proxy.in_flight(OLD) == 0, 5, "the old one is drained")
        answered_by_old = backends.seen(old)
        time.sleep(3)
        assert backends.seen(old) == answered_by_old
        backends.start("new", new)
        exposed_at = time.monotonic()
        caddy.targets.answer(NEW, new)
        wait_until(lambda: len(backends.seen(new)) > 0, 2, "the new one is asked")
        proxy.release("demo/prod")
        time.sleep(1)
    after = max(sent + seconds - exposed_at for sent, seconds in load.waits if sent < exposed_at)
    print(
        f"held {exposed_at - held_at:.2f} s, {len(load.waits)} requests, the last held one {after * 1000:.0f} ms later"
    )
    assert load.failures == []
    assert load.longest_seconds > 3
    assert after < 1
    each_post_once(load, backends, old, new)


def test_falling_back_lets_the_old_container_answer_the_held_alias(caddy: Caddy, backends: Backends) -> None:
    proxy, old = caddy.proxy(), backends.start("old")
    caddy.targets.answer(OLD, old)
    proxy.ensure_route(ROUTE)
    with Load(caddy.address, HOST) as load:
        proxy.hold("demo/prod", NEW)
        time.sleep(1)
        caddy.targets.answer(NEW, old)
        proxy.release("demo/prod")
        time.sleep(0.5)
    assert load.failures == []
    assert caddy.targets.answered_as(old) == NEW
    assert caddy.targets.address(OLD) is None
    each_post_once(load, backends, old)


def test_an_old_container_that_is_killed_after_its_drain_is_missed_by_nobody(caddy: Caddy, backends: Backends) -> None:
    proxy, old, new = caddy.proxy(), backends.start("old"), backends.start("new")
    caddy.targets.answer(OLD, old)
    caddy.targets.answer(NEW, new)
    proxy.ensure_route(ROUTE)
    with Load(caddy.address, HOST) as load:
        proxy.switch("demo/prod", NEW)
        wait_until(lambda: proxy.in_flight(OLD) == 0, 5, "the old one is drained")
        backends.kill(old)
        caddy.targets.forget(old)
        time.sleep(1)
    assert load.failures == []


def test_in_flight_counts_what_is_being_answered_and_nothing_held(caddy: Caddy, backends: Backends) -> None:
    proxy, old = caddy.proxy(), backends.start("old")
    caddy.targets.answer(OLD, old)
    proxy.ensure_route(ROUTE)
    with ThreadPoolExecutor(8) as pool:
        slow = [pool.submit(caddy.ask, HOST, "/sleep/2") for _ in range(3)]
        wait_until(lambda: proxy.in_flight(OLD) == 3, 1, "three are counted")
        proxy.hold("demo/prod", NEW)
        held = [pool.submit(caddy.ask, HOST, "/") for _ in range(4)]
        time.sleep(0.5)
        assert proxy.in_flight(OLD) == 3
        assert proxy.in_flight(NEW) == 0
        assert [each.result().status for each in slow] == [200] * 3
        assert proxy.in_flight(OLD) == 0
        caddy.targets.answer(NEW, old)
        assert [each.result().status for each in held] == [200] * 4


def test_past_its_limit_a_hold_turns_to_the_maintenance_page(caddy: Caddy) -> None:
    proxy = caddy.proxy()
    proxy.ensure_route(replace(ROUTE, hold_limit_seconds=1))
    proxy.hold("demo/prod", NEW)
    began = time.monotonic()
    answer = caddy.ask(HOST, "/", "POST", b"kept until then")
    assert 0.9 < time.monotonic() - began < 2
    assert answer.status == 503
    assert answer.headers["retry-after"] == "15"
    assert b"Back in a moment" in answer.body


def test_a_large_post_that_was_held_arrives_whole_and_once(caddy: Caddy, backends: Backends) -> None:
    proxy, old = caddy.proxy(), backends.start("old")
    caddy.targets.answer(OLD, old)
    proxy.ensure_route(ROUTE)
    proxy.hold("demo/prod", NEW)
    body = os.urandom(5_000_000)
    with ThreadPoolExecutor(1) as pool:
        posted = pool.submit(caddy.ask, HOST, "/upload", "POST", body)
        time.sleep(1.5)
        caddy.targets.answer(NEW, old)
        answer = posted.result()
    assert answer.json()["bytes"] == len(body)
    assert sum(backends.seen(old).values()) == 1


def test_another_routes_change_waits_while_one_is_held(caddy: Caddy, backends: Backends) -> None:
    proxy, old = caddy.proxy(), backends.start("old")
    caddy.targets.answer(OLD, old)
    proxy.ensure_route(ROUTE)
    with Load(caddy.address, HOST, clients=8) as load:
        proxy.hold("demo/prod", NEW)
        started = time.monotonic()
        written: list[float] = []
        writer = threading.Thread(
            # Another process' view: nothing but the files tells it of the hold.
            target=lambda: (caddy.proxy().ensure_route(OTHER), written.append(time.monotonic() - started))
        )
        writer.start()
        time.sleep(1.5)
        assert proxy.upstream("demo/stage") is None
        caddy.targets.answer(NEW, old)
        time.sleep(0.5)
        before_the_write = list(load.failures)
        proxy.release("demo/prod")
        writer.join(timeout=10)
    assert written
    assert written[0] > 1.5
    assert before_the_write == []
    assert proxy.upstream("demo/stage") == OTHER.alias


def test_a_change_that_waits_too_long_names_who_is_held(caddy: Caddy) -> None:
    proxy = caddy.proxy(write_wait_seconds=0.3)
    proxy.ensure_route(ROUTE)
    proxy.hold("demo/prod", NEW)
    with pytest.raises(Retryable, match="demo-prod is held"):
        proxy.ensure_route(OTHER)
    proxy.ensure_route(replace(ROUTE, hosts=(HOST, "www.localhost")))  # its own hold does not lock an environment out


def test_a_route_that_is_so_already_is_not_written(caddy: Caddy) -> None:
    proxy = caddy.proxy(write_wait_seconds=0.1)
    proxy.ensure_route(ROUTE)
    proxy.ensure_route(OTHER)
    proxy.hold("demo/stage", "demo-stage-r2")
    proxy.ensure_route(ROUTE)  # would wait for the hold, and fail, if it wrote
    proxy.ensure_route(replace(ROUTE, alias=NEW))
    assert proxy.upstream("demo/prod") == OLD  # an existing route keeps where it leads


def test_a_killed_agent_leaves_the_mark_but_no_lock(caddy: Caddy) -> None:
    proxy = caddy.proxy(write_wait_seconds=0.3)
    proxy.ensure_route(ROUTE)
    program = f"""
import fcntl, sys, time
from pathlib import Path
sys.path.insert(0, {str(next(p for p in sys.path if p.endswith("agent")))!r})
from odooops_agent.proxy import AdminSocket, CaddyProxy
from odooops_agent.targets import Targets
proxy = CaddyProxy(AdminSocket(Path({str(caddy.socket)!r})), Path({str(caddy.folder / "state")!r}),
                   Targets(Path({str(caddy.targets.root)!r})))
proxy.hold("demo/prod", "{NEW}")
with proxy._locked():
    print("held", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as agent:
        assert agent.stdout
        assert agent.stdout.readline() == b"held\n"
        agent.kill()
    with pytest.raises(Retryable, match="demo-prod is held"):
        proxy.ensure_route(OTHER)
    proxy.release("demo/prod")
    proxy.ensure_route(OTHER)


def test_a_restarted_caddy_goes_on_holding_and_releases(caddy: Caddy, backends: Backends) -> None:
    proxy, old = caddy.proxy(), backends.start("old")
    proxy.ensure_route(ROUTE)
    proxy.hold("demo/prod", NEW)
    caddy.kill()
    caddy.start()
    assert proxy.upstream("demo/prod") == NEW
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(caddy.ask, HOST)
        time.sleep(0.5)
        caddy.targets.answer(NEW, old)
        assert held.result().status == 200


def test_routes_that_a_new_caddy_lost_are_written_again(caddy: Caddy, backends: Backends) -> None:
    proxy, old = caddy.proxy(), backends.start("old")
    caddy.targets.answer(OLD, old)
    proxy.ensure_route(ROUTE)
    proxy.ensure_route(OTHER)
    proxy.hold("demo/stage", "demo-stage-r2")
    caddy.kill()
    caddy.start(resume=False)
    assert proxy.upstream("demo/prod") is None
    caddy.proxy().restore_routes()
    assert proxy.upstream("demo/prod") == OLD
    assert proxy.upstream("demo/stage") == "demo-stage-r2"
    assert caddy.ask(HOST).status == 200


def change_shipped(caddy: Caddy, **values: object) -> None:
    """Change the shipped configuration, as an upgrade of OdooOps does."""
    config = json.loads((caddy.folder / "caddy.json").read_text())
    config["apps"]["http"]["servers"]["odooops"] |= values
    (caddy.folder / "caddy.json").write_text(json.dumps(config))


def test_an_upgrade_of_the_shipped_configuration_takes_effect_and_no_route_is_missed(
    caddy: Caddy, backends: Backends
) -> None:
    proxy, old = caddy.proxy(), backends.start("old")
    caddy.targets.answer(OLD, old)
    proxy.ensure_route(OTHER)
    proxy.ensure_route(ROUTE)
    before = caddy.config()
    caddy.kill()
    gone = [route for route in before["routes"] if route.get("@id") == "odooops-console"]
    answer = {"handler": "static_response", "status_code": 404, "body": "upgraded"}
    change_shipped(caddy, idle_timeout="7m", routes=[{"@id": "odooops-new", "handle": [answer]}])
    caddy.start()
    assert gone
    assert caddy.ask(HOST).status == 200, "a restarted Caddy serves its routes before the agent has looked"
    caddy.proxy().restore_routes()
    after = caddy.config()
    assert after["idle_timeout"] == "7m"
    assert [route["@id"] for route in after["routes"]] == ["odooops-demo-prod", "odooops-demo-stage", "odooops-new"]
    assert after["automatic_https"] == before["automatic_https"]
    assert caddy.ask(HOST).status == 200
    assert caddy.ask("nobody.localhost").body == b"upgraded"
    saved = caddy.folder / "config" / "caddy" / "autosave.json"
    written = saved.stat().st_mtime_ns
    caddy.proxy().restore_routes()
    assert saved.stat().st_mtime_ns == written, "what is so already is not written again"


def test_an_upgrade_waits_while_anybody_is_held(caddy: Caddy) -> None:
    proxy = caddy.proxy()
    proxy.ensure_route(ROUTE)
    caddy.kill()
    change_shipped(caddy, idle_timeout="7m")
    caddy.start()
    proxy.hold("demo/prod", NEW)
    proxy.restore_routes()
    assert "idle_timeout" not in caddy.config()
    proxy.release("demo/prod")
    proxy.restore_routes()
    assert caddy.config()["idle_timeout"] == "7m"


def test_without_the_agents_routes_caddy_starts_with_the_shipped_configuration(caddy: Caddy) -> None:
    caddy.kill()
    change_shipped(caddy, idle_timeout="7m")
    caddy.start()
    assert caddy.config()["idle_timeout"] == "7m"


def test_a_removed_route_is_served_no_more_and_stays_so(caddy: Caddy, backends: Backends) -> None:
    proxy, old = caddy.proxy(), backends.start("old")
    caddy.targets.answer(OLD, old)
    proxy.ensure_route(ROUTE)
    proxy.ensure_route(OTHER)
    proxy.hold("demo/prod", NEW)
    proxy.remove_route("demo/prod")
    assert caddy.ask(HOST).status == 404
    assert proxy.upstream("demo/prod") is None
    assert proxy.upstream("demo/stage") == OTHER.alias
    assert caddy.config()["automatic_https"]["skip"] == ["console.localhost", "stage.localhost"]
    proxy.remove_route("demo/prod")  # again: what is gone is success
    caddy.proxy().restore_routes()
    assert caddy.ask(HOST).status == 404
    assert caddy.targets.alias_of("demo-prod") is None
    # Its hold is gone with it: the other one's hosts may change.
    replaced = replace(OTHER, hosts=("two.localhost",))
    caddy.proxy(write_wait_seconds=0.1).ensure_route(replaced)


def test_a_route_is_not_removed_while_another_environment_is_held(caddy: Caddy) -> None:
    proxy = caddy.proxy(write_wait_seconds=0.3)
    proxy.ensure_route(ROUTE)
    proxy.ensure_route(OTHER)
    proxy.hold("demo/stage", "demo-stage-r2")
    with pytest.raises(Retryable, match="demo-stage"):
        proxy.remove_route("demo/prod")
    proxy.release("demo/stage")
    proxy.remove_route("demo/prod")
    assert caddy.ask(HOST).status == 404


def test_what_a_trusted_load_balancer_tells_of_the_visitor(caddy: Caddy, backends: Backends) -> None:
    proxy, old = caddy.proxy(), backends.start("old")
    caddy.targets.answer(OLD, old)
    proxy.ensure_route(replace(ROUTE, redirects=("old.localhost",)))
    told = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": HOST}
    for trusted, proto in (("10.0.0.0/8,127.0.0.1", "https"), ("10.0.0.0/8", "http")):
        caddy.kill()
        caddy.start(trusted_proxies=trusted)
        proxy.restore_routes()
        seen = caddy.ask(HOST, "/headers", **told).json()
        assert seen["x-forwarded-proto"] == proto
        assert seen["x-forwarded-for"].startswith("6.6.6.6, 203.0.113.9") is (proto == "https")


@pytest.mark.parametrize("wrong", ["proxy.example", '10.0.0.1"],"x":["', "10.0.0.1|e"])
def test_a_trusted_proxy_that_is_no_address_stops_caddy_with_a_sentence(caddy: Caddy, wrong: str) -> None:
    caddy.kill()
    environment = {**os.environ, "ODOOOPS_TRUSTED_PROXIES": wrong, "ODOOOPS_CADDY_SHARED": str(caddy.folder / "run")}
    argv = ["sh", str(START)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 1
    assert "ODOOOPS_TRUSTED_PROXIES" in done.stderr


def test_a_get_whose_worker_dies_is_not_repeated(caddy: Caddy, backends: Backends) -> None:
    proxy, old = caddy.proxy(), backends.start("old")
    caddy.targets.answer(OLD, old)
    proxy.ensure_route(ROUTE)
    answer = caddy.ask(HOST, "/die?id=poison")
    assert answer.status == 502
    assert "retry-after" not in answer.headers
    assert backends.seen(old)["poison"] == 1


def test_what_odoo_is_told_about_the_visitor(caddy: Caddy, backends: Backends) -> None:
    proxy, old = caddy.proxy(), backends.start("old")
    caddy.targets.answer(OLD, old)
    proxy.ensure_route(ROUTE)
    forged = {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
    seen = caddy.ask(f"{HOST}:{caddy.port}", "/headers", **forged).json()
    assert seen["host"] == f"{HOST}:{caddy.port}"
    assert seen["x-forwarded-host"] == f"{HOST}:{caddy.port}"
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "http"


@pytest.mark.parametrize(
    "path",
    [
        "/web/database",
        "/web/database/manager",
        "/web/database/restore/",
        "//web/database/manager",
        "/web//database/manager",
        "/WEB/database/manager",
        "/web/%64atabase/manager",
        "/web/x/../database/manager",
    ],
)
def test_the_database_manager_is_not_there(caddy: Caddy, backends: Backends, path: str) -> None:
    proxy, old = caddy.proxy(), backends.start("old")
    caddy.targets.answer(OLD, old)
    proxy.ensure_route(ROUTE)
    assert caddy.ask(HOST, path).status == 404


def test_redirects_keep_the_path_and_the_port(caddy: Caddy) -> None:
    caddy.proxy().ensure_route(replace(ROUTE, redirects=("old.localhost",)))
    with_port = caddy.ask(f"old.localhost:{caddy.port}", "/shop?page=2")
    assert with_port.status == 308
    assert with_port.headers["location"] == f"//{HOST}:{caddy.port}/shop?page=2"
    assert caddy.ask("old.localhost", "/shop").headers["location"] == f"//{HOST}/shop"


def test_only_the_hosts_without_tls_are_kept_from_asking_for_certificates(caddy: Caddy) -> None:
    proxy = caddy.proxy()
    proxy.ensure_route(ROUTE)
    assert caddy.config()["automatic_https"]["skip"] == ["console.localhost", HOST]
    proxy.ensure_route(replace(ROUTE, hosts=("other.localhost",)))
    assert caddy.config()["automatic_https"]["skip"] == ["console.localhost", "other.localhost"]
    routes = [route.get("@id") for route in caddy.config()["routes"]]
    assert routes[:2] == ["odooops-demo-prod", "odooops-console"]


def test_too_large_a_body_is_refused(caddy: Caddy, backends: Backends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odooops_agent.commands.caddy.BODY_BYTES_MAX", 100_000)
    proxy, old = caddy.proxy(), backends.start("old")
    caddy.targets.answer(OLD, old)
    proxy.ensure_route(ROUTE)
    assert caddy.ask(HOST, "/", "POST", b"x" * 100_000).status == 200
    assert caddy.ask(HOST, "/", "POST", b"x" * 100_001).status == 413


def test_a_websocket_outlives_a_switch_and_a_change_of_configuration(caddy: Caddy, backends: Backends) -> None:
    proxy, old, new = caddy.proxy(), backends.start("old"), backends.start("new")
    caddy.targets.answer(OLD, old)
    caddy.targets.answer(NEW, new)
    proxy.ensure_route(ROUTE)
    with socket.create_connection(caddy.address) as client:
        key = base64.b64encode(os.urandom(16)).decode()
        client.sendall(
            f"GET /websocket HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        assert b" 101 " in client.recv(4096)
        for change in (lambda: proxy.switch("demo/prod", NEW), lambda: proxy.ensure_route(OTHER)):
            change()
            client.sendall(b"still there?")
            assert client.recv(4096) == b"still there?"


def test_without_a_route_or_a_caddy_the_sentence_says_what_to_do(caddy: Caddy) -> None:
    proxy = caddy.proxy()
    with pytest.raises(Permanent, match="no route for demo/prod"):
        proxy.switch("demo/prod", NEW)
    caddy.kill()
    with pytest.raises(Retryable, match="start the proxy's container"):
        proxy.upstream("demo/prod")
