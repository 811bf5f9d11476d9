"""Whether restore sets that the control plane counts on could still be put back."""

from __future__ import annotations

import logging

from .errors import AgentError
from .facts import KeptSet
from .names import DIGEST, Names, require
from .protocol import KnownSet, Operation, SetReport, SetsResult
from .steps import Ports

_logger = logging.getLogger(__name__)


def check_sets(ports: Ports, operation: Operation) -> SetsResult:
    """Look for every part of each set; an image that was pruned and that the registry has is fetched again."""
    environment = operation.environment
    found = {one.token: one for one in ports.database.sets(environment.database.name, environment.uuid)}
    return SetsResult(sets=tuple(_report(ports, operation, found, one) for one in operation.known_sets))


def _report(ports: Ports, operation: Operation, found: dict[int, KeptSet], known: KnownSet) -> SetReport:
    try:
        reason = _problem(ports, operation, found, known)
    except AgentError as error:
        reason = error.message
    return SetReport(token=known.token, restorable=not reason, reason=reason)


def _problem(ports: Ports, operation: Operation, found: dict[int, KeptSet], known: KnownSet) -> str:
    """Return what is wrong with a set, in a sentence; nothing when it could be put back."""
    environment = operation.environment
    require(DIGEST, known.digest, "image digest")
    names = Names("", environment.key, environment.database.name, operation.token)
    number = next((token for token in found if names.snapshot_of(token) == known.database_snapshot), None)
    if number is None:
        return f"Its database snapshot {known.database_snapshot} is gone."
    if known.filestore_snapshot != f"snapshots/{number}/filestore":
        return f"Its files ({known.filestore_snapshot}) are not those of {known.database_snapshot}."
    if not ports.filestore.has_snapshot(environment.key, number):
        return f"Its files ({known.filestore_snapshot}) are gone or not whole."
    ports.runtime.pull(f"{operation.release.image}@{known.digest}", lambda line: None)
    lost = _lost_files(ports, names, number)
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        return f"{lost[0]}{more} of its attachments' files are gone from {known.filestore_snapshot}."
    return ""


def _lost_files(ports: Ports, names: Names, number: int) -> tuple[str, ...]:
    """Return the files that the set lost. What the environment lacks too was perhaps never there, and is no alarm.

    A database that can't be looked into, as it is just being put in its place, says nothing of its files.
    """
    try:
        wanted = ports.database.set_files(names.snapshot_of(number), names.app_role, names.upgrade_role)
        return ports.filestore.lost_files(names.key, names.database, number, wanted)
    except AgentError as error:
        _logger.warning("The files of %s can't be compared: %s", names.snapshot_of(number), error.message)
        return ()
