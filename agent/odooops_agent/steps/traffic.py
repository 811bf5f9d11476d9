"""Steps around what visitors notice: hold, drain, switch, release."""

from __future__ import annotations

from datetime import datetime

from ..errors import Permanent
from ..ports import Route
from .context import Arguments, Context

DRAIN_POLL_SECONDS = 0.05
# A request may sit between the proxy's count and its dial; two empty looks in a row exclude that.
EMPTY_LOOKS = 2


def hold_requests(ctx: Context, args: Arguments) -> str | None:
    """Let requests wait from now on; without a route there is nobody to wait."""
    if ctx.ports.proxy.upstream(ctx.key) is None:
        return "no route yet"
    if ctx.result("held_at") is None:
        ctx.keep("held_at", ctx.clock.now().isoformat())
    ctx.ports.proxy.hold(ctx.key, args["alias"])
    return None


def resume_requests(ctx: Context, args: Arguments) -> str | None:
    """Give the waiting requests to the old web container, under whatever alias the route dials now."""
    alias = ctx.ports.proxy.upstream(ctx.key)
    if alias is not None and args["old_web"] is not None:
        ctx.ports.runtime.expose(args["old_web"], alias)
    _end_hold(ctx)
    return None


def release_requests(ctx: Context, args: Arguments) -> str | None:
    """Give the waiting requests to the new web container."""
    ctx.ports.runtime.expose(args["web"], args["alias"])
    _end_hold(ctx)
    return None


def _end_hold(ctx: Context) -> None:
    ctx.ports.proxy.release(ctx.key)
    held_at = ctx.result("held_at")
    if held_at and ctx.result("held_seconds") is None:
        seconds = (ctx.clock.now() - datetime.fromisoformat(held_at)).total_seconds()
        ctx.keep("held_seconds", round(max(seconds, 0.0), 2))


def drain_requests(ctx: Context, args: Arguments) -> str | None:
    """Wait until the old web container answers nobody any more."""
    if args["old_alias"] is None:
        return None
    left = _drain(ctx, args["old_alias"], args["limit_seconds"])
    if left:
        ctx.keep("undrained", left)
    return f"{left} requests still ran after {args['limit_seconds']} s" if left else None


def _drain(ctx: Context, alias: str, limit_seconds: float) -> int:
    deadline = ctx.clock.monotonic() + limit_seconds
    empty = 0
    while True:
        left = ctx.ports.proxy.in_flight(alias)
        empty = empty + 1 if left == 0 else 0
        if empty >= EMPTY_LOOKS or ctx.clock.monotonic() >= deadline or ctx.cancelled():
            return left
        ctx.clock.sleep(DRAIN_POLL_SECONDS)


def switch_route(ctx: Context, args: Arguments) -> str | None:
    """Lead the route to the new web container and read it back."""
    ctx.ports.runtime.expose(args["web"], args["alias"])
    if ctx.ports.proxy.upstream(ctx.key) is None:
        return "no route yet"
    ctx.ports.proxy.switch(ctx.key, args["alias"])
    _require_upstream(ctx, args["alias"])
    return None


def switch_back(ctx: Context, args: Arguments) -> str | None:
    """Lead the route back to the old web container, and let the new one end what it had begun to answer."""
    if args["old_web"] is None or args["old_alias"] is None or ctx.ports.proxy.upstream(ctx.key) is None:
        return None
    ctx.ports.proxy.switch(ctx.key, args["old_alias"])
    _require_upstream(ctx, args["old_alias"])
    _drain(ctx, args["alias"], 30)
    return None


def _require_upstream(ctx: Context, alias: str) -> None:
    upstream = ctx.ports.proxy.upstream(ctx.key)
    if upstream != alias:
        raise Permanent(
            f"The proxy dials {upstream} instead of {alias} after the switch: look at its log.", code="not_switched"
        )


def publish_route(ctx: Context, args: Arguments) -> str | None:
    """Have the environment's hosts at the proxy and its route at the new web container."""
    given = args["route"]
    route = Route(**{**given, "hosts": tuple(given["hosts"]), "redirects": tuple(given["redirects"])})
    ctx.ports.proxy.ensure_route(route)
    if ctx.ports.proxy.upstream(ctx.key) != route.alias:
        ctx.ports.proxy.switch(ctx.key, route.alias)
    return None
