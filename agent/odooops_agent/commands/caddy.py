"""What is written into Caddy's configuration: plain JSON values, made from a Route."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..ports import Route

Json = dict[str, Any]
Dial = Callable[[str], str]  # "web" | "websocket" → what to dial

TRY_INTERVAL = "100ms"
STREAM_CLOSE_DELAY = "1h"  # a change of configuration must not cut every environment's websockets
BODY_BYTES_MAX = 256 * 1024 * 1024  # Odoo's own limit for a request is 128 MiB by default; beyond this nothing serves
RETRY_AFTER_SECONDS = 15
DATABASE_MANAGER = ["/web/database", "/web/database/*"]

MAINTENANCE_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="15"><title>Back in a moment</title>
<style>body{font:1.1rem/1.6 system-ui,sans-serif;color:#374151;display:grid;place-items:center;min-height:90vh;margin:0}
main{max-width:32rem;padding:1rem;text-align:center}h1{color:#111827}</style></head>
<body><main><h1>Back in a moment</h1><p>This site is being updated. Nothing of what you saved is lost;
the page asks again by itself.</p></main></body></html>
"""


def route_id(slug: str) -> str:
    """Return the `@id` of an environment's route."""
    return f"odooops-{slug}"


def environment_route(route: Route, slug: str, dial: Dial) -> Json:
    """Return the whole route of an environment: redirects, refusals, websocket, pages and the maintenance page."""
    return {
        "@id": route_id(slug),
        "match": [{"host": [*route.hosts, *route.redirects]}],
        "terminal": True,
        "handle": [
            {
                "handler": "subroute",
                "routes": [*_redirects(route), _refuse(DATABASE_MANAGER), *_pages(route, dial)],
                "errors": {"routes": _error_pages()},
            }
        ],
    }


def with_route(server: Mapping[str, Any], route: Json, tls: bool, unready: Collection[str] = ()) -> Json:
    """Return the server's configuration with this route in it, before any other that it did not replace.

    :param unready: hosts that get no certificate yet, because DNS does not lead them here
    """
    changed: Json = copy.deepcopy(dict(server))
    routes: list[Json] = changed.get("routes") or []
    places = [index for index, each in enumerate(routes) if each.get("@id") == route["@id"]]
    former = _hosts(routes[places[0]]) if places else set()
    if places:
        routes[places[0]] = route
    else:
        routes.insert(0, route)
    changed["routes"] = routes
    _skip_certificates(changed, former, set(unready) if tls else _hosts(route))
    return changed


def without_route(server: Mapping[str, Any], identifier: str) -> Json:
    """Return the server's configuration without the route of this `@id`."""
    changed: Json = copy.deepcopy(dict(server))
    routes: list[Json] = changed.get("routes") or []
    gone = [route for route in routes if route.get("@id") == identifier]
    if gone:
        changed["routes"] = [route for route in routes if route not in gone]
        _skip_certificates(changed, set().union(*map(_hosts, gone)), set())
    return changed


def with_base(config: Mapping[str, Any], base: Mapping[str, Any], server: str, targets: str) -> Json:
    """Return the shipped configuration with what the agent had added to the running one.

    :param targets: the folder that all of the agent's routes name; every other route is the shipped configuration's
    """
    wanted: Json = copy.deepcopy(dict(base))
    ours: Json = wanted["apps"]["http"]["servers"][server]
    running: Mapping[str, Any] = config["apps"]["http"]["servers"][server]
    routes = [copy.deepcopy(route) for route in running.get("routes") or () if f"{{file.{targets}/" in str(route)]
    skipped = set((running.get("automatic_https") or {}).get("skip") or ())
    ours["routes"] = [*routes, *(ours.get("routes") or ())]
    _skip_certificates(ours, set(), skipped & set().union(*map(_hosts, routes)))
    return wanted


def _skip_certificates(server: Json, former: set[str], hosts: set[str]) -> None:
    """Ask for no certificate for hosts that are served without TLS: behind a load balancer, on a laptop, or not yet."""
    https: Json = dict(server.get("automatic_https") or {})
    if https.get("disable"):
        return
    skip = (set(https.get("skip") or ()) - former) | hosts
    if skip or "skip" in https:
        server["automatic_https"] = {**https, "skip": sorted(skip)}


def _hosts(route: Mapping[str, Any]) -> set[str]:
    return {host for matcher in route.get("match") or () for host in matcher.get("host") or ()}


def _redirects(route: Route) -> list[Json]:
    if not route.redirects:
        return []
    hosts = list(route.redirects)
    # Without a scheme: the visitor keeps the one that he came by, also where a load balancer in front does TLS.
    with_port = {"host": hosts, "header_regexp": {"Host": {"name": "port", "pattern": ":[0-9]+$"}}}
    return [
        _redirect(with_port, f"//{route.hosts[0]}{{http.regexp.port.0}}{{http.request.uri}}"),
        _redirect({"host": hosts}, f"//{route.hosts[0]}{{http.request.uri}}"),
    ]


def _redirect(match: Json, location: str) -> Json:
    return {
        "match": [match],
        "terminal": True,
        "handle": [{"handler": "static_response", "status_code": 308, "headers": {"Location": [location]}}],
    }


def _refuse(paths: list[str]) -> Json:
    return {
        "match": [{"path": paths}],
        "terminal": True,
        "handle": [{"handler": "static_response", "status_code": 404, "body": "Not found"}],
    }


def _pages(route: Route, dial: Dial) -> list[Json]:
    websocket = {
        "match": [{"path": ["/websocket", "/websocket/*"]}],
        "terminal": True,
        "handle": [{**_proxy(route, dial("websocket")), "stream_close_delay": STREAM_CLOSE_DELAY}],
    }
    pages = {
        "handle": [
            {"handler": "request_body", "max_size": BODY_BYTES_MAX},
            {"handler": "encode", "encodings": {"zstd": {}, "gzip": {}}, "prefer": ["zstd", "gzip"]},
            _proxy(route, dial("web")),
        ]
    }
    return [websocket, pages]


def _proxy(route: Route, dial: str) -> Json:
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": dial}],
        "flush_interval": -1,
        # Odoo's workers close after each answer; a connection kept here could only be a stale one.
        "transport": {"protocol": "http", "dial_timeout": "2s", "keep_alive": {"enabled": False}},
        "load_balancing": {
            "try_duration": f"{route.hold_limit_seconds}s",
            "try_interval": TRY_INTERVAL,
            # Only what never reached Odoo is tried again. Caddy would also repeat a GET whose worker died of it,
            # killing worker after worker; no method is "-", so this leaves the failed dials alone.
            "retry_match": [{"method": ["-"]}],
        },
    }


def _error_pages() -> list[Json]:
    return [
        {
            # Never reached Odoo: safe to ask again. Other failures keep their own status, without an invitation.
            "match": [{"expression": "{http.error.message}.startsWith('dial ')"}],
            "terminal": True,
            "handle": [
                {
                    "handler": "static_response",
                    "status_code": 503,
                    "headers": {
                        "Retry-After": [str(RETRY_AFTER_SECONDS)],
                        "Cache-Control": ["no-store"],
                        "Content-Type": ["text/html; charset=utf-8"],
                    },
                    "body": MAINTENANCE_PAGE,
                }
            ],
        },
        {"handle": [{"handler": "static_response", "status_code": "{http.error.status_code}"}]},
    ]
