"""What a step's handler gets: the ports, the operation, and a way to speak."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..clock import Clock
from ..names import Names
from ..plans.deploy import Droplet
from ..ports import Database, DatabaseDoor, Exceptions, Filestore, Intake, Proxy, Runtime, Uploads, Vault, Workspace
from ..protocol import Operation
from ..secrets import PasswordStore

Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ports:
    """The outside world."""

    runtime: Runtime
    proxy: Proxy
    database: Database
    filestore: Filestore
    vault: Vault
    workspace: Workspace
    door: DatabaseDoor
    exceptions: Exceptions
    intake: Intake
    uploads: Uploads


@dataclass(frozen=True, slots=True)
class Context:
    """Everything but the step's own arguments."""

    ports: Ports
    droplet: Droplet
    passwords: PasswordStore
    clock: Clock
    operation: Operation
    say: Callable[[str], None]  # a line of the agent's own
    line: Callable[[str], None]  # a line of a program that it runs
    cancelled: Callable[[], bool]
    result: Callable[[str], Any]
    keep: Callable[[str, Any], None]  # a result that outlives a crash

    @property
    def key(self) -> str:
        return self.operation.environment.key

    @property
    def names(self) -> Names:
        """The names under the token that the operation began with, whatever lease it runs under now."""
        return Names(self.droplet.stack, self.key, self.operation.environment.database.name, self.operation.token)


Handler = Callable[[Context, Arguments], str | None]
