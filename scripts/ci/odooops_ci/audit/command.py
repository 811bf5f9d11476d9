"""`odooops audit verify`: is the console's audit log whole? Of an export file, of a database, or over the network."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from ..control import from_environment
from ..errors import InvalidInput
from . import sources
from .chain import Head, Link, Verdict, verify

_HEAD = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", required=True)
    check = commands.add_parser("verify", help="follow the hash chain and say where it breaks")
    check.add_argument(
        "source",
        nargs="?",
        default="",
        help="an exported file, or postgresql://…; without it the console named by ODOOOPS_URL, with ODOOOPS_API_KEY",
    )
    check.add_argument(
        "--head", action="append", default=[], metavar="NUMBER:HASH",
        help="a head that was kept elsewhere (odooops-agent audit prints them); may be given several times",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    verdict = verify(links(options.source), [read_head(text) for text in options.head])
    print(shown(verdict))
    return 1 if verdict.fault else 0


def links(source: str) -> Iterator[Link]:
    if source.startswith(("postgresql://", "postgres://")) or "dbname=" in source:
        return sources.from_database(source)
    if source:
        return sources.from_file(Path(source))
    return sources.from_console(from_environment())


def read_head(text: str) -> Head:
    found = _HEAD.fullmatch(text)
    if not found:
        raise InvalidInput(f"{text!r} is no head: give NUMBER:HASH as odooops-agent audit prints it.")
    return Head(int(found[1]), found[2])


def shown(verdict: Verdict) -> str:
    if verdict.fault:
        good = f"the chain is good up to event {verdict.head.number}" if verdict.head else "nothing of it is good"
        return f"BROKEN: {verdict.fault} ({good})"
    if verdict.head is None:
        return "The audit log is empty."
    return f"ok: {verdict.events} events, an unbroken chain; head {verdict.head.number}:{verdict.head.hash}"
