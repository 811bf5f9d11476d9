"""Brings caught mails to the console, oldest first; a mail goes once the console says that it has it."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .control_plane import ControlPlane
from .errors import AgentError, Retryable
from .names import Names
from .protocol import CaughtMail, MailsRequest

_logger = logging.getLogger(__name__)

AGAIN_SECONDS = 5.0
AFTER_REFUSAL_SECONDS = 300.0
MAILS_AT_ONCE = 20
BYTES_AT_ONCE = 4 << 20
RAW_BYTES_MAX = 3 << 20


class MailRun:
    """Looks into the catcher's folders again and again."""

    def __init__(
        self, control: ControlPlane, environments: Callable[[], Mapping[str, Mapping[str, Any]]], stack: str, root: Path
    ) -> None:
        self._control = control
        self._environments = environments
        self._stack = stack
        self._root = root

    def deliver(self) -> float:
        """Bring what lies there; returns after how many seconds to look again."""
        pause = AGAIN_SECONDS
        for key, known in self._environments().items():
            folder = self._root / Names(self._stack, key, str(known["database"]), 0).network_of("staging")
            try:
                while self._bring(key, folder):
                    pass
            except Retryable as error:
                _logger.info("Mails of %s wait: %s", key, error.message)
            except AgentError as error:
                _logger.warning("The control plane takes no mails of %s: %s", key, error.message)
                pause = AFTER_REFUSAL_SECONDS
        return pause

    def _bring(self, key: str, folder: Path) -> bool:
        """Bring the oldest; tells whether it may be that more lie there."""
        mails, size = list[CaughtMail](), 0
        for told in sorted(folder.glob("[0-9]*.json"))[:MAILS_AT_ONCE]:
            mail = _read(told)
            if mails and size + len(mail.raw) > BYTES_AT_ONCE:
                break
            mails, size = [*mails, mail], size + len(mail.raw)
        if not mails:
            return False
        accepted = set(self._control.mails(MailsRequest(environment=key, mails=tuple(mails))).accepted)
        for mail in mails:
            if mail.id in accepted:
                for kind in ("json", "eml"):
                    (folder / f"{mail.id}.{kind}").unlink(missing_ok=True)
        return bool(accepted & {mail.id for mail in mails})


def _read(told: Path) -> CaughtMail:
    """Read a mail; one that somebody's hand broke is brought as far as it goes."""
    try:
        given = json.loads(told.read_text("utf-8"))
        at = datetime.fromisoformat(given["received_at"]).astimezone(UTC)
        sender, recipients = str(given["envelope_from"]), tuple(map(str, given["recipients"]))
    except (OSError, ValueError, KeyError, TypeError):
        sender, recipients, at = "", (), datetime.fromtimestamp(told.stat().st_mtime, UTC)
    message = told.with_suffix(".eml")
    size = message.stat().st_size if message.exists() else 0
    with message.open("rb") if size else told.open("rb") as handle:
        raw = handle.read(RAW_BYTES_MAX) if size else b""
    return CaughtMail(
        id=told.stem,
        envelope_from=sender,
        recipients=recipients,
        received_at=at,
        size_bytes=size,
        raw=base64.b64encode(raw).decode(),
        cut=size > RAW_BYTES_MAX,
    )
