"""Steps that hand a backup to the console, for a person to download."""

from __future__ import annotations

import hashlib
from typing import Any

from ..errors import Cancelled, Retryable
from .backup import run_one_off
from .context import Arguments, Context

CHUNK_BYTES = 2 << 20
# The console may be upgraded meanwhile.
PATIENCE_SECONDS = 900.0
PAUSE_SECONDS = 5.0


def plain_dump(ctx: Context, args: Arguments) -> str | None:
    """Have the environment's own pg_restore write the dump as text; nothing of it is run."""
    ctx.ports.workspace.give_dump(ctx.key, args["workspace"])
    run_one_off(ctx, args, ctx.names.app_role, "pg_restore", code="restore_failed")
    ctx.ports.workspace.drop_dump(ctx.key, args["workspace"])
    return None


def upload_backup(ctx: Context, args: Arguments) -> str | None:
    """Pack it while it goes: the zip never lies on the droplet."""
    stream = _Upload(ctx)
    files = ctx.ports.workspace.pack(ctx.key, args["workspace"], _manifest(ctx), stream.write)
    stream.flush()
    ctx.keep("exported", {"bytes": stream.sent, "files": files, "sha256": stream.digest.hexdigest()})
    return f"{stream.sent / (1 << 20):.0f} MB, {files} files"


def _manifest(ctx: Context) -> dict[str, Any]:
    """Return what Odoo's database manager writes into its zips."""
    manifest, series = ctx.result("manifest"), ctx.operation.environment.series
    return {
        "odoo_dump": "1",
        "db_name": manifest["database"],
        "version": series,
        "major_version": series,
        "modules": manifest["module_versions"],
    }


class _Upload:
    """Gathers what is written into pieces, and sends each until it is there."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._waiting = bytearray()
        self.sent = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._waiting += data
        while len(self._waiting) >= CHUNK_BYTES:
            self._send(CHUNK_BYTES)

    def flush(self) -> None:
        if self._waiting:
            self._send(len(self._waiting))

    def _send(self, size: int) -> None:
        ctx, piece = self._ctx, bytes(self._waiting[:size])
        deadline = ctx.clock.monotonic() + PATIENCE_SECONDS
        while True:
            if ctx.cancelled():
                raise Cancelled("The download was called off.")
            try:
                ctx.ports.uploads.send(ctx.operation.id, ctx.operation.token, self.sent, piece)
                break
            except Retryable as error:
                if ctx.clock.monotonic() >= deadline:
                    raise
                ctx.say(error.message)
            ctx.clock.sleep(PAUSE_SECONDS)
        del self._waiting[:size]
        self.sent += size
        self.digest.update(piece)
