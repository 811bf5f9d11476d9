"""What is read within a customer's database. Nothing there is trusted, and nothing that it holds is run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from .commands import postgres as build
from .facts import InstalledModule, RecordedModule
from .postgres import one, rows

INSTALLED_MANIFEST = "odooops.installed_manifest"
DATABASE_UUID = "database.uuid"


@dataclass(frozen=True, slots=True)
class Inside:
    """What Odoo says of itself; empty when it is not in the database or nobody may enter."""

    modules: Mapping[str, InstalledModule] = field(default_factory=dict)
    languages: tuple[str, ...] = ()
    uuid: str | None = None
    recorded_digest: str | None = None
    recorded: Mapping[str, RecordedModule] = field(default_factory=dict)


def read_inside(cursor: Cursor) -> Inside:
    """Read modules, languages, identity and what the last deployment recorded."""
    if not one(cursor, build.ODOO_TABLE):
        return Inside()
    modules = rows(cursor, build.modules(one(cursor, build.IMPORTED_COLUMN)))
    parameters = _parameters(cursor, DATABASE_UUID, INSTALLED_MANIFEST)
    digest, recorded = _recorded(parameters.get(INSTALLED_MANIFEST))
    return Inside(
        modules={name: InstalledModule(state, version, imported) for name, state, version, imported in modules},
        languages=tuple(code for (code,) in rows(cursor, build.LANGUAGES)),
        uuid=parameters.get(DATABASE_UUID),
        recorded_digest=digest,
        recorded=recorded,
    )


def read_uuid(cursor: Cursor) -> str | None:
    """Read the database's own identity alone."""
    if not one(cursor, build.PARAMETERS_TABLE):
        return None
    return _parameters(cursor, DATABASE_UUID).get(DATABASE_UUID)


def _parameters(cursor: Cursor, *keys: str) -> dict[str, str]:
    return dict(rows(cursor, build.PARAMETERS, (list(keys),)))


def _recorded(text: str | None) -> tuple[str | None, dict[str, RecordedModule]]:
    try:
        value = json.loads(text or "{}")
        return value.get("digest"), {str(name): _module(each) for name, each in value.get("modules", {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, {}  # somebody's hand in it: as if nothing were recorded


def _module(value: Mapping[str, Any]) -> RecordedModule:
    return RecordedModule(str(value["version"]), value.get("hash"), dict(value.get("i18n") or {}))
