"""A certificate is asked for only when DNS leads the host here."""

import json
from dataclasses import replace

import pytest
from odooops_agent.certificates import leads_here
from odooops_agent.ports import Route
from odooops_agent.proxy import Answer, CaddyProxy
from odooops_agent.targets import Targets

DNS = {"shop.example": {"203.0.113.7", "2001:db8::7"}, "elsewhere.example": {"198.51.100.1"}}


@pytest.mark.parametrize(
    ("host", "own", "expected"),
    [
        ("shop.example", ["203.0.113.7"], True),
        ("shop.example", ["2001:db8::7"], True),
        ("elsewhere.example", ["203.0.113.7"], False),
        ("elsewhere.example", [], True),
        ("unknown.example", [], False),
        ("unknown.example", ["203.0.113.7"], False),
    ],
)
def test_leads_here(host, own, expected):
    assert leads_here(host, own, lambda name: DNS.get(name, set())) is expected


class Caddy:
    """Answers what the proxy asks of the admin API, from one server's configuration."""

    def __init__(self, path):
        self.path = path  # of the admin socket; no shipped configuration lies beside it
        self.server = {"listen": [":443"], "routes": []}

    def call(self, method, path, value=None, if_match=""):
        if path.startswith("/id/"):
            known = any(route.get("@id") == path.removeprefix("/id/") for route in self.server["routes"])
            return Answer(200 if known else 404, "", None)
        if method == "PATCH":
            self.server = json.loads(json.dumps(value))
        return Answer(200, "one", json.loads(json.dumps(self.server)))


def test_certificates_follow_dns(tmp_path):
    caddy, led = Caddy(tmp_path / "admin.sock"), {"shop.example"}
    proxy = CaddyProxy(caddy, tmp_path / "state", Targets(tmp_path / "targets"), leads_here=led.__contains__)
    route = Route("demo/prod", ("shop.example", "www.shop.example"), ("old.example",), "demo-prod-r1", 45, tls=True)
    proxy.ensure_route(route)
    assert caddy.server["automatic_https"]["skip"] == ["old.example", "www.shop.example"]
    led.add("www.shop.example")
    proxy.restore_routes()
    assert caddy.server["automatic_https"]["skip"] == ["old.example"]


def test_no_certificate_is_asked_for_while_somebody_waits(tmp_path):
    caddy, led = Caddy(tmp_path / "admin.sock"), set()
    proxy = CaddyProxy(caddy, tmp_path / "state", Targets(tmp_path / "targets"), leads_here=led.__contains__)
    route = Route("demo/prod", ("shop.example",), (), "demo-prod-r1", 45, tls=True)
    proxy.ensure_route(route)
    proxy.ensure_route(replace(route, environment="demo/other", hosts=("other.example",), alias="demo-other-r1"))
    proxy.hold("demo/other", "demo-other-r2")
    led.add("shop.example")
    proxy.restore_routes()
    assert "shop.example" in caddy.server["automatic_https"]["skip"]
    proxy.release("demo/other")
    proxy.restore_routes()
    assert "shop.example" not in caddy.server["automatic_https"]["skip"]
