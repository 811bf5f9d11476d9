"""A droplet for tests: releases of a small workshop addon, operations for them, and an agent on fake ports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..commands.odoo_conf import Cluster
from ..facts import Addon, ImageManifest
from ..journal import Journal
from ..operations import Workshop
from ..plans.deploy import Droplet
from ..plans.hashing import plan_hash
from ..protocol import FinishRequest, Loss, Operation, PlanResult, RollbackPreview, convert, decode
from ..secrets import PasswordStore
from .fakes import fake_ports
from .grants import granted, pin
from .world import Scenario, World

KEY = "demo/prod"
DATABASE = "demo_prod"
UUID = "0c2d3c1e-8f3a-11f0-9d4e-0242ac120002"
ENVIRONMENT_UUID = "6f1f2f0e-7c55-4f0c-9a43-0d8a6c3b1f10"
DROPLET = Droplet("odooops", "/srv/odooops", Cluster("db.internal"))

ENVIRONMENT: dict[str, Any] = {
    "key": KEY,
    "uuid": ENVIRONMENT_UUID,
    "tier": "production",
    "series": "19.0",
    "database": {"name": DATABASE, "uuid": None},
    "modules": ["workshop"],
    "languages": ["en_US"],
    "domains": {"main": "prod.localhost", "aliases": ["www.prod.localhost"], "redirects": ["old.prod.localhost"]},
    "url": "http://prod.localhost:8080",
    "workers": 2,
    "cron_workers": 1,
    "limits": {
        "memory_soft_bytes": 640 << 20,
        "memory_hard_bytes": 768 << 20,
        "container_memory_bytes": 2 << 30,
        "cpus": None,
        "request_seconds": 120,
        "request_cpu_seconds": 60,
    },
    "database_connections_max": 16,
    "mail": None,
}


def image(version: str, content: str, *scripts: str) -> ImageManifest:
    """Return the manifest of an image with `base` and one custom addon."""
    addons = {
        "base": Addon("19.0.1.3", "odoo"),
        "workshop": Addon(version, "custom", depends=("base",), hash=content, migrations=scripts),
    }
    paths = ("/opt/odoo/addons/custom", "/usr/lib/python3/dist-packages/odoo/addons")
    return ImageManifest("19.0", "b" * 40, 10019, 10019, paths, addons)


def digest(number: int) -> str:
    return f"sha256:{str(number) * 64}"


def releases() -> dict[str, Scenario]:
    """1: first; 2: the same modules, another static file; 3: a migration; from 4 on: each fails in its own way."""
    first, migrated = image("19.0.1.0.0", "a"), image("19.0.1.1.0", "b", "19.0.1.1.0/post-migrate.py")
    return {
        digest(1): Scenario(first, "one"),
        digest(2): Scenario(first, "one"),
        digest(3): Scenario(migrated, "two"),
        digest(4): Scenario(migrated, "two", migration_error="ValueError: order 7 has no customer"),
        digest(5): Scenario(migrated, "two", logged_error="odoo.fields: a field without a model"),
        digest(6): Scenario(first, "one", never_healthy=True),
        digest(7): Scenario(migrated, "two", never_healthy=True),
        digest(8): Scenario(migrated, "two", never_warm=True),
        digest(9): Scenario(migrated, "two", import_error="Addon workshop can't be imported: SyntaxError()"),
    }


@dataclass
class FakeOrders:
    """What the control plane orders; a test sets it."""

    called_off: set[int] = field(default_factory=set)
    given_on: set[int] = field(default_factory=set)

    def cancelled(self, operation_id: int) -> bool:
        return operation_id in self.called_off

    def lost(self, operation_id: int) -> bool:
        return operation_id in self.given_on


def ceiling_of(loss: Loss | None) -> dict[str, Any] | None:
    """Return a ceiling that a loss just stays below, with half an hour to spare."""
    if loss is None:
        return None
    return {
        "minutes": loss.minutes + 30,
        "counts": {one.model: {"created": one.created, "changed": one.changed} for one in loss.counts},
        "posted": {one.model: one.posted for one in loss.counts},
    }


class FakeDroplet:
    """An agent that can be killed and started again on the same disk and the same world."""

    def __init__(self, folder: Path, world: World | None = None) -> None:
        self.folder = folder
        self.world = world or World(images=releases())
        self.orders = FakeOrders()
        self.point: Callable[[str], None] = lambda name: None
        self.journal = Journal(folder / "journal.sqlite", durable=False)
        self._operations = 0

    @property
    def workshop(self) -> Workshop:
        return Workshop(
            ports=fake_ports(self.world),
            droplet=DROPLET,
            passwords=PasswordStore(self.folder / "passwords.json"),
            journal=self.journal,
            clock=self.world,
            orders=self.orders,
            point=lambda name: self.point(name),
            console_pin=pin,
        )

    def restart(self) -> None:
        """Start the agent anew and let it bring to an end what it finds."""
        self.journal.close()
        self.journal = Journal(self.folder / "journal.sqlite", durable=False)
        self.orders.called_off.clear()
        self.orders.given_on.clear()
        for entry in self.journal.unfinished():
            self.workshop.recover(entry)

    def operation(self, kind: str, number: int, **changes: Any) -> Operation:
        """Return an operation of the next token for release `number`."""
        self._operations += 1
        database = self.world.databases.get(DATABASE)
        environment = {**ENVIRONMENT, "database": {"name": DATABASE, "uuid": database.uuid if database else None}}
        given = {
            "id": 40 + self._operations,
            "uuid": f"a3a0d3c2-5f6b-4c1e-8a54-{self._operations:012d}",
            "kind": kind,
            "token": 10 + self._operations,
            "environment": {**environment, **changes.pop("environment", {})},
            "release": {
                "tag": f"v1.{number}.0",
                "commit_sha": str(number) * 40,
                "image": "localhost:5000/demo",
                "digest": digest(number),
            },
            "policy_version": "3",
            **changes,
        }
        return granted(convert(given, Operation), self.world.now())

    def plan(self, number: int, **changes: Any) -> FinishRequest[Any]:
        """Run a plan operation and return its outcome."""
        operation = self.operation("plan", number, **changes)
        self.workshop.take_on(operation)
        return self.outcome(operation.id)

    def deployment(self, number: int, **changes: Any) -> Operation:
        """Return a deploy operation whose plan was made and approved just now."""
        planned = self.plan(number, **dict(changes))
        assert planned.error is None, planned.error
        result = convert(planned.result, PlanResult)
        assert result.plan_hash == plan_hash(result.plan)
        return self.operation("deploy", number, plan_hash=result.plan_hash, **changes)

    def deploy(self, number: int, **changes: Any) -> FinishRequest[Any]:
        """Plan, approve and deploy a release; return the outcome as plain values."""
        operation = self.deployment(number, **changes)
        self.workshop.take_on(operation)
        return self.outcome(operation.id)

    def target(self, number: int) -> dict[str, Any] | None:
        """Return the newest restore set of release `number`, as the control plane would have recorded it."""
        copies = [one for one in self.world.databases.values() if one.mark and one.mark.digest == digest(number)]
        if not copies:
            return None
        newest = max(copies, key=lambda one: one.mark.token if one.mark else 0)
        assert newest.mark is not None
        token, since = newest.mark.token, newest.mark.since or self.world.now()
        return {
            "token": token,
            "digest": digest(number),
            "database_snapshot": newest.name,
            "filestore_snapshot": f"snapshots/{token}/filestore",
            "taken_at": since.isoformat(),
            "module_versions": {name: module.version for name, module in newest.modules.items()},
        }

    def preview(self, number: int, **changes: Any) -> FinishRequest[Any]:
        """Ask which ways lead back to a release; return the outcome."""
        rollback = {"request": 7, "restore_set": self.target(number), **changes.pop("rollback", {})}
        return self.plan(number, rollback=rollback, **changes)

    def going_back(self, number: int, mode: str, **changes: Any) -> Operation:
        """Return a rollback whose preview was approved just now, with what it showed as the ceiling."""
        rollback = {"request": 7, "restore_set": self.target(number), **changes.pop("rollback", {})}
        shown = convert(self.preview(number, rollback=rollback).result, RollbackPreview)
        (way,) = [one for one in shown.modes if one.mode == mode]
        assert way.possible, way.reason
        given = {"mode": mode, "ceiling": ceiling_of(way.loss), **rollback}
        return self.operation("rollback", number, plan_hash=way.plan_hash, rollback=given, **changes)

    def go_back(self, number: int, mode: str, **changes: Any) -> FinishRequest[Any]:
        """Preview, approve and carry out a rollback; return the outcome."""
        operation = self.going_back(number, mode, **changes)
        self.workshop.take_on(operation)
        return self.outcome(operation.id)

    def outcome(self, operation_id: int) -> FinishRequest[Any]:
        """Return what the journal says about how an operation ended."""
        entry = self.journal.get(operation_id)
        assert entry is not None
        assert entry.finish is not None, f"operation {operation_id} is still {entry.state}"
        finish: FinishRequest[Any] = decode(entry.finish, FinishRequest)
        return finish
