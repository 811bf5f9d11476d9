"""`odooops oca`: add, remove, update, list and audit the OCA's modules of a repository."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..addons import OCA_SELECTED
from ..preflight.allowlist import TIERS
from .golden_path import GoldenPath, Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", type=Path, default=Path("."), help="the repository's checkout (default: here)")
    commands = parser.add_subparsers(dest="action", required=True)
    add = commands.add_parser("add", help="select a module: submodule, link, allowlist entry, and its dependencies'")
    add.add_argument("repository", help="server-tools, OCA/server-tools, or an address")
    add.add_argument("module")
    add.add_argument(
        "--tier", choices=TIERS, default="", help="how much a fault would hurt (default: by what it touches)"
    )
    add.add_argument("--branch", default="", help="the repository's branch (default: the series)")
    add.add_argument("--vendored", default="", metavar="VERSION", help="unpack this version of its wheel instead")
    _by(add)
    remove = commands.add_parser("remove", help="take a module out, and its submodule with the last one")
    remove.add_argument("module")
    update = commands.add_parser("update", help="move a repository to its newest commit, and its entries with it")
    update.add_argument("what", help="a selected module, or a repository's folder such as server-tools")
    update.add_argument("--to", default="", help="a commit, or the version of a wheel")
    _by(update)
    commands.add_parser("list", help="show what is selected")
    audit = commands.add_parser("audit", help="show what to look at in a module; with --by, record that somebody did")
    audit.add_argument("module")
    _by(audit)


def _by(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", default="", metavar="ADDRESS", help="who audited it (default: git's user.email)")


def run(options: argparse.Namespace) -> int:
    path = GoldenPath(options.source.resolve(), getattr(options, "by", ""))
    if options.action == "list":
        print(table(path))
        return 0
    print(shown(carry_out(path, options), options.action))
    return 0


def carry_out(path: GoldenPath, options: argparse.Namespace) -> Outcome:
    if options.action == "add" and options.vendored:
        return path.add_vendored(options.repository, options.module, options.vendored, options.tier)
    if options.action == "add":
        return path.add(options.repository, options.module, options.tier, options.branch)
    if options.action == "remove":
        return path.remove(options.module)
    if options.action == "update":
        return path.update(options.what, options.to)
    return path.audit(options.module, record=bool(options.by))


def shown(outcome: Outcome, action: str) -> str:
    lines = [*outcome.done]
    if outcome.sheets:
        lines += ["", "Review before you commit:" if action != "audit" else "Look at:"]
        lines += [sheet.text() for sheet in outcome.sheets]
    if action in ("add", "update"):
        lines += ["", "It is staged. The entry says that you audited it: run preflight allowlist, read it, commit it."]
    return "\n".join(lines)


def table(path: GoldenPath) -> str:
    """Return what is selected, one a line."""
    checkout, entries = path.repository(), path.allowlist().entries
    rows = [("module", "version", "repository", "at", "licence", "tier", "audited")]
    for name in sorted({*entries, *(link.rpartition("/")[2] for link in checkout.tree.links
                                    if link.startswith(f"{OCA_SELECTED}/"))}):  # fmt: skip
        entry, module = entries.get(name), checkout.modules.get(name)
        rows.append((
            name, module.version if module else "not at hand",
            entry.repository.removeprefix("https://github.com/") if entry else "not in the allowlist",
            (entry.commit[:12] or entry.wheel.partition("==")[2]) if entry else "",
            entry.licence if entry else "", entry.tier if entry else "",
            f"{entry.audited_on} by {entry.audited_by}" if entry else "",
        ))  # fmt: skip
    if len(rows) == 1:
        return "No OCA module is selected: odooops oca add <repository> <module> selects one."
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
