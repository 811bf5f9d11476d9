"""The console's audit chain, checked by code that shares nothing with the console but the test vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

GENESIS = "0" * 64
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


@dataclass(frozen=True)
class Link:
    """One event as it stands in the log."""

    number: int
    previous_hash: str
    hash: str
    event: dict[str, Any]


@dataclass(frozen=True)
class Head:
    """The newest event that somebody was told of."""

    number: int
    hash: str


@dataclass(frozen=True)
class Verdict:
    """What was found; `fault` is empty where the chain is whole, else one sentence that says where it breaks."""

    events: int
    head: Head | None
    fault: str = ""


def digest(previous_hash: str, event: dict[str, Any]) -> str:
    return hashlib.sha256(f"{previous_hash}\n{_canonical(event)}".encode()).hexdigest()


def verify(links: Iterable[Link], known: Iterable[Head] = ()) -> Verdict:
    """Follow the chain from its beginning.

    :param known: heads that were kept elsewhere, as agents do; the chain has to contain them
    """
    missing = {one.number: one for one in known}
    expected, number, count = GENESIS, 0, 0
    for link in links:
        count += 1
        if fault := _fault(link, expected, number) or _contradicts(link, missing.pop(link.number, None)):
            return Verdict(count, Head(number, expected) if number else None, fault)
        expected, number = link.hash, link.number
    head = Head(number, expected) if number else None
    if missing:
        gone = min(missing)
        return Verdict(count, head, f"Event {gone} is gone: the log was cut off or rewritten since that head was told.")
    return Verdict(count, head)


def _fault(link: Link, expected: str, number: int) -> str:
    if link.number <= number:
        return f"Event {link.number} stands after event {number}: the log is out of order."
    if link.previous_hash != expected:
        after = f"after event {number}" if number else "at the beginning"
        return f"Something {after} and before event {link.number} was taken out or put in."
    if digest(link.previous_hash, link.event) != link.hash:
        return f"Event {link.number} was changed after it was written."
    return ""


def _contradicts(link: Link, known: Head | None) -> str:
    if known is None or known.hash == link.hash:
        return ""
    return f"Event {link.number} is another one than when that head was told: history was rewritten."
