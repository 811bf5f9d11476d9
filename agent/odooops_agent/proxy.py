"""Caddy: routes through its admin API, holds and switches through the files it reads (see `targets`)."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .commands import caddy
from .errors import Permanent, Retryable
from .ports import Route
from .targets import Targets, slug

# Between Caddy's reading of a target file and its counting of the request lies far less than this.
SETTLE_SECONDS = 0.05
# A connection made while Caddy changes its configuration may be closed unanswered.
CONFIG_SETTLE_SECONDS = 0.2
# A hold older than this has long turned to the maintenance page; it keeps no other environment waiting.
HOLD_HONOURED_SECONDS = 900.0
WRITE_WAIT_SECONDS = 960.0
POLL_SECONDS = 0.1
CONFLICTS_MAX = 5
# Written by docker/caddy/start.sh beside the admin socket: what this Caddy was started with.
BASE_FILE = "base.json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the admin API said."""

    status: int
    etag: str
    body: Any


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("127.0.0.1", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class AdminSocket:
    """Caddy's admin API on a unix socket, which no container of a customer can reach.

    A dozen lines of http.client: no further package, and a fresh connection per call can't be a stale one.
    """

    def __init__(self, path: Path, timeout_seconds: float = 30.0) -> None:
        self.path = path
        self._timeout_seconds = timeout_seconds

    def call(self, method: str, path: str, value: object = None, if_match: str = "") -> Answer:
        """Make one call. Raises Retryable when Caddy is away."""
        connection = _UnixConnection(self.path, self._timeout_seconds)
        headers = {"Content-Type": "application/json", **({"If-Match": if_match} if if_match else {})}
        try:
            connection.request(method, path, None if value is None else json.dumps(value), headers)
            response = connection.getresponse()
            return Answer(response.status, response.getheader("Etag") or "", _decode(response.read()))
        except (OSError, http.client.HTTPException) as error:
            raise Retryable(
                f"Caddy's admin socket {self.path} does not answer ({error}); "
                "start the proxy's container and share its socket."
            ) from error
        finally:
            connection.close()


def _decode(body: bytes) -> Any:
    try:
        return json.loads(body) if body.strip() else None
    except ValueError:
        return body.decode(errors="replace")


class CaddyProxy:
    """The proxy port on Caddy 2.11.2 or later (which counts requests by the address it dialled)."""

    def __init__(
        self,
        admin: AdminSocket,
        state_dir: Path,
        targets: Targets,
        server: str = "odooops",
        write_wait_seconds: float = WRITE_WAIT_SECONDS,
        leads_here: Callable[[str], bool] = lambda host: True,
    ) -> None:
        """`leads_here` tells of a host whether a certificate may be asked for."""
        self._leads_here = leads_here
        self._admin = admin
        self._targets = targets
        self._server_name = server
        self._server = f"/config/apps/http/servers/{server}"
        self._write_wait_seconds = write_wait_seconds
        self._holds = state_dir / "holds"
        self._routes = state_dir / "routes"
        for folder in (self._holds, self._routes):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = state_dir / "proxy.lock"

    def ensure_route(self, route: Route) -> None:
        """Create the route or bring its hosts up to date; see the port."""
        name = slug(route.environment)
        if self._targets.alias_of(name) is None:
            self._targets.point(name, route.alias)
        _write_json(self._routes / name, asdict(route))
        current = self._server_config().body
        if self._wanted(current, [route]) != current:
            with self._no_hold_of_others(name):
                self._write_routes([route])

    def remove_route(self, environment: str) -> None:
        """Take the environment out of the configuration and forget its route; see the port."""
        name = slug(environment)
        (self._routes / name).unlink(missing_ok=True)  # first: restore_routes would bring it back
        if self._has_route(name):
            with self._no_hold_of_others(name):
                self._write_server(
                    lambda current: caddy.without_route(current, caddy.route_id(name)), f"to forget {environment}"
                )
        self.release(environment)
        self._targets.unpoint(name)

    def restore_routes(self) -> None:
        """Write every known route that Caddy has lost, and what the shipped configuration says by now.

        For a lost route it waits for no hold: a Caddy without its routes has just started, so nobody waits at it.
        """
        known = [_read_route(path) for path in sorted(self._routes.iterdir()) if not path.name.startswith(".")]
        lost = [route for route in known if not self._has_route(slug(route.environment))]
        if lost:
            with self._locked():
                self._write_routes(lost)
        self._bring_up_to_date()
        self._certify([route for route in known if route.tls and route not in lost])

    def _bring_up_to_date(self) -> None:
        """Bring what Caddy resumed up to the configuration it was started with; not while anybody waits at it."""
        try:
            base = json.loads((self._admin.path.with_name(BASE_FILE)).read_text())
        except FileNotFoundError:
            return  # somebody runs Caddy without the script that ships with OdooOps: its configuration is theirs
        with self._locked():
            read = self._admin.call("GET", "/config/")
            if self._held_by_others("") or not isinstance(read.body, dict):
                return
            try:
                wanted = caddy.with_base(read.body, base, self._server_name, str(self._targets.root))
            except (KeyError, TypeError):
                raise Permanent(
                    f"The configuration that Caddy was started with has no server `{self._server_name}`: "
                    "begin with docker/caddy/caddy.json."
                ) from None
            if wanted != read.body:
                answer = self._admin.call("POST", "/config/", wanted, if_match=read.etag)
                if answer.status not in (200, 412):  # 412: somebody else wrote since; the next look does it
                    raise Permanent(f"Caddy refused the configuration that ships with OdooOps: {_reason(answer)}")
                time.sleep(CONFIG_SETTLE_SECONDS)

    def _certify(self, routes: list[Route]) -> None:
        """Ask for the certificates of hosts that DNS has come to lead here; not while anybody waits at the proxy."""
        skipped = set((self._server_config().body.get("automatic_https") or {}).get("skip") or ()) if routes else set()
        ready = [route for route in routes if any(map(self._leads_here, skipped.intersection(_names(route))))]
        if ready:
            with self._locked():
                if not self._held_by_others(""):
                    self._write_routes(ready)

    def upstream(self, environment: str) -> str | None:
        """Return the alias the route leads to, once Caddy says that it has the route."""
        name = slug(environment)
        return self._targets.alias_of(name) if self._has_route(name) else None

    def switch(self, environment: str, alias: str) -> None:
        """Lead the route to `alias` at once. Raises Permanent("no_route") when Caddy has none."""
        self._require_route(environment)
        self._point(environment, alias)

    def hold(self, environment: str, alias: str) -> None:
        """Lead the route to an alias nobody answers yet and mark the hold."""
        self._require_route(environment)
        with self._locked():
            _write_json(self._holds / slug(environment), {"since": time.time()})
        self._targets.silence(alias)
        self._point(environment, alias)

    def release(self, environment: str) -> None:
        """Forget the hold's mark."""
        (self._holds / slug(environment)).unlink(missing_ok=True)

    def in_flight(self, alias: str) -> int:
        """Count the requests that `alias`:8069 is answering."""
        address = self._targets.address(alias)
        answer = self._admin.call("GET", "/reverse_proxy/upstreams")
        if answer.status != 200:
            raise Retryable(f"Caddy did not tell its requests under way (HTTP {answer.status}); ask again.")
        return sum(each["num_requests"] for each in answer.body or () if each["address"] == address)

    def version(self) -> str:
        """Return what Caddy tells of itself: the release when it was built with one, else the Go it was built by."""
        text = str(self._admin.call("GET", "/metrics").body)
        found = re.search(r'go_(?:build_)?info\{[^}]*version="((?:v|go)[^"]+)"', text)
        return found.group(1) if found else "unknown"

    def _point(self, environment: str, alias: str) -> None:
        name = slug(environment)
        if self._targets.alias_of(name) != alias:
            self._targets.point(name, alias)
            time.sleep(SETTLE_SECONDS)

    def _has_route(self, name: str) -> bool:
        return self._admin.call("GET", f"/id/{caddy.route_id(name)}").status == 200

    def _require_route(self, environment: str) -> None:
        if not self._has_route(slug(environment)):
            raise Permanent(f"Caddy has no route for {environment}; deploy it again to make one.", code="no_route")

    # -- configuration: rare (a new environment, another domain), and never while somebody waits

    def _server_config(self) -> Answer:
        answer = self._admin.call("GET", self._server)
        if answer.status != 200 or not isinstance(answer.body, dict):
            raise Permanent(
                f"Caddy has no server at {self._server}; start it with the configuration that ships with OdooOps."
            )
        return answer

    def _wanted(self, current: Any, routes: Iterable[Route]) -> Any:
        for route in routes:
            name = slug(route.environment)
            made = caddy.environment_route(route, name, partial(self._targets.placeholder, name))
            unready = [host for host in _names(route) if not self._leads_here(host)] if route.tls else []
            current = caddy.with_route(current, made, route.tls, unready)
        return current

    def _write_routes(self, routes: list[Route]) -> None:
        self._write_server(lambda current: self._wanted(current, routes), f"the route of {routes[0].environment}")

    def _write_server(self, change: Callable[[Any], Any], what: str) -> None:
        for _ in range(CONFLICTS_MAX):
            read = self._server_config()
            wanted = change(read.body)
            if wanted == read.body:
                return
            answer = self._admin.call("PATCH", self._server, wanted, if_match=read.etag)
            if answer.status == 200:
                time.sleep(CONFIG_SETTLE_SECONDS)
                return
            if answer.status != 412:  # 412: somebody else wrote since; read again
                raise Permanent(f"Caddy refused {what}: {_reason(answer)}")
        raise Retryable("Caddy's configuration keeps changing under the agent; try again in a minute.")

    @contextmanager
    def _no_hold_of_others(self, name: str) -> Iterator[None]:
        deadline = time.monotonic() + self._write_wait_seconds
        while True:
            with self._locked():
                held = self._held_by_others(name)
                if not held:
                    yield
                    return
            if time.monotonic() >= deadline:
                raise Retryable(
                    f"Caddy's configuration can't change while {', '.join(held)} is held; try again after its deploy."
                )
            time.sleep(POLL_SECONDS)

    def _held_by_others(self, name: str) -> list[str]:
        marks = [path for path in self._holds.iterdir() if path.name != name and not path.name.startswith(".")]
        return [path.name for path in marks if _age_seconds(path) < HOLD_HONOURED_SECONDS]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # The kernel drops this lock when the agent dies, whatever it was doing.
        with self._lock.open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _names(route: Route) -> tuple[str, ...]:
    return (*route.hosts, *route.redirects)


def _reason(answer: Answer) -> str:
    return str(answer.body.get("error", answer.body) if isinstance(answer.body, dict) else answer.body)


def _age_seconds(mark: Path) -> float:
    try:
        return time.time() - float(json.loads(mark.read_text())["since"])
    except FileNotFoundError:
        return HOLD_HONOURED_SECONDS
    except (ValueError, KeyError):
        return 0.0  # half-written by a crash: a hold all the same


def _write_json(path: Path, value: object) -> None:
    passing = path.with_name(f".{path.name}")
    with passing.open("w") as handle:
        json.dump(value, handle)
        handle.flush()
        os.fsync(handle.fileno())
    passing.replace(path)


def _read_route(path: Path) -> Route:
    value = json.loads(path.read_text())
    return Route(**{**value, "hosts": tuple(value["hosts"]), "redirects": tuple(value["redirects"])})
