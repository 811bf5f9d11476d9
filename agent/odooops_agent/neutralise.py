"""What makes a copy safe, read out of `neutralise_rules.toml` and the order. Pure but for reading that one file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from .protocol import CopyRules, Operation

FILE = Path(__file__).with_name("neutralise_rules.toml")
# An address on the environment's own network where nothing but the catcher listens; without one nobody has the name.
MAIL_HOST, MAIL_PORT = "odooops-mail", 1025


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; see the file's head."""

    name: str
    reason: str
    sql: str
    unsafe: str
    modules: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def is_for(self, installed: Collection[str]) -> bool:
        return not self.modules or any(module in installed for module in self.modules)

    def lacks(self, columns: Collection[str]) -> tuple[str, ...]:
        return tuple(need for need in self.needs if need not in columns)


@cache
def _document() -> dict[str, Any]:
    return tomllib.loads(FILE.read_text("utf-8"))


def rules(given: CopyRules) -> tuple[Rule, ...]:
    """Return the agent's own rules, and after them the project's."""
    return (*_own(), *_extra(given))


def _own() -> Iterator[Rule]:
    for one in _document()["rule"]:
        listed = {name: tuple(one.get(name, ())) for name in ("modules", "needs")}
        yield Rule(one["name"], one["reason"], one["sql"].strip(), one["unsafe"].strip(), **listed)


def _extra(given: CopyRules) -> Iterator[Rule]:
    for one in given.extra:
        yield Rule(one.name, one.reason, one.sql.strip(), one.unsafe.strip(), one.modules)


def obfuscated_fields() -> tuple[tuple[str, str], ...]:
    """Return the tables and columns that tell a person."""
    split = (field.partition(".") for field in _document()["obfuscate"]["fields"])
    return tuple((table, column) for table, _, column in split)


def looks_secret(key: str, value: str) -> bool:
    """Tell whether a system parameter is one that a copy would lose; as the rules do, which ask PostgreSQL."""
    document = _document()
    if key in document["keep_parameters"]:
        return False
    named = re.search(document["secret_parameter"], key, re.I)
    return key == "database.secret" or bool(named or re.search(document["secret_value"], value))


def settings(operation: Operation, given: CopyRules, uuid: str, as_of: datetime, source: str) -> dict[str, str]:
    """Return what the rules ask for by `current_setting('odooops.…')`."""
    document = _document()
    banner = f"Copy of {source} as of {as_of:%Y-%m-%d %H:%M} UTC. No mail leaves it, nothing in it counts."
    return {
        "uuid": uuid,
        "url": operation.environment.url,
        "banner": banner,
        "mail_host": MAIL_HOST,
        "mail_port": str(MAIL_PORT),
        "crons": _array((*document["cron_allowlist"], *given.cron_allowlist)),
        "keep": _array((*document["keep_parameters"], *given.keep_parameters)),
        **{name: document[name] for name in ("secret_name", "secret_parameter", "secret_value")},
    }


def _array(words: Collection[str]) -> str:
    """Return a text array as PostgreSQL reads it."""
    quoted = (word.replace("\\", "\\\\").replace('"', '\\"') for word in words)
    return "{" + ",".join(f'"{word}"' for word in quoted) + "}"


def described(found: Mapping[str, str]) -> str:
    """Tell a copy's failed checks to a person."""
    return "; ".join(f"{name} finds {detail}" for name, detail in found.items())
