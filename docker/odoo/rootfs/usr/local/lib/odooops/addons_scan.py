"""Read addons from disk as Odoo would, without starting Odoo: manifest, version, content hash, scripts."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

MODULE_NAME = re.compile(r"\w{1,256}", re.ASCII)
# Odoo's own rule (odoo/modules/migration.py, VERSION_RE), for the series this image may have had before.
MIGRATION_VERSION = re.compile(r"((\d+\.0|saas~\d+\.\d)\.)?\d+\.\d+(\.\d+)?", re.ASCII)
MIGRATION_SCRIPT = re.compile(r"(pre|post|end)-.*\.py", re.DOTALL)
# A change in these needs no `-u`: assets are served from disk, the rest is not loaded at all.
# Translations have hashes of their own, per language.
UNHASHED_FOLDERS = frozenset({"static", "tests", "i18n", "i18n_extra", "readme", "doc", "docs", "__pycache__"})
UNHASHED_SUFFIXES = frozenset({".pyc", ".pyo", ".rst", ".md", ".pot"})


class InvalidAddonError(ValueError):
    """An addon can't be used; the message is one sentence that names it."""


def addon_folders(folder: Path) -> list[Path]:
    """Return the folders right below `folder` that Odoo would take for addons, sorted by name."""
    if not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir() if MODULE_NAME.fullmatch(path.name) and (path / "__manifest__.py").is_file()
    )


def read_manifest(folder: Path) -> dict[str, object]:
    """Return the addon's manifest as written, evaluated as a literal and never run."""
    try:
        manifest = ast.literal_eval((folder / "__manifest__.py").read_text(encoding="utf-8"))
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise InvalidAddonError(
            f"Addon {folder.name}: __manifest__.py is not a plain Python literal ({error})"
        ) from None
    if not isinstance(manifest, dict):
        raise InvalidAddonError(f"Addon {folder.name}: __manifest__.py holds no dictionary")
    return manifest


def adapt_version(version: str, series: str) -> str:
    """Return `version` as Odoo records it: "1.2" is "19.0.1.2" in series "19.0".

    Same rule as `odoo.modules.module.adapt_version` and `check_version`.
    """
    parts = version.split(".")
    if not 2 <= len(parts) <= 5 or not all(part.isdecimal() for part in parts):
        raise ValueError(f"version {version!r} must be 2 to 5 numbers with dots between")
    if len(parts) <= 3 and not version.startswith(series):
        return f"{series}.{version}"
    if not version.startswith(f"{series}."):
        raise ValueError(f"version {version!r} is not of series {series}")
    return version


def describe_addon(folder: Path, origin: str, series: str, *, with_hashes: bool) -> dict[str, object] | None:
    """Return what the image manifest says of one addon, or None if Odoo would not install it.

    :param origin: "odoo", "enterprise", "oca" or "custom".
    :param with_hashes: hash the contents; without it `hash` is None and `i18n` empty (the agent
        decides by version for what Odoo S.A. ships, so that a nightly build is no update of all).
    :raise InvalidAddonError: manifest or version can't be used.
    """
    manifest = read_manifest(folder)
    if not manifest.get("installable", True):
        return None
    try:
        version = adapt_version(str(manifest.get("version", "1.0")), series)
    except ValueError as error:
        raise InvalidAddonError(f"Addon {folder.name}: {error}") from None
    depends = list(_strings(manifest, "depends", folder.name))
    auto_install = manifest.get("auto_install", False)
    return {
        "version": version,
        "origin": origin,
        "depends": depends or ([] if folder.name == "base" else ["base"]),
        # An empty list means "always", so False is the only no (odoo/modules/module.py).
        "auto_install": auto_install is not False and auto_install is not None,
        "hash": content_hash(folder, _loaded_files(manifest)) if with_hashes else None,
        "i18n": translation_hashes(folder) if with_hashes else {},
        "migrations": migration_scripts(folder),
        "path": str(folder),
    }


def _strings(manifest: dict[str, object], key: str, addon: str) -> Iterator[str]:
    value = manifest.get(key) or []
    if not isinstance(value, (list, tuple, set)) or not all(isinstance(item, str) for item in value):
        raise InvalidAddonError(f"Addon {addon}: {key!r} in __manifest__.py must be a list of names")
    yield from value


def _loaded_files(manifest: dict[str, object]) -> frozenset[str]:
    # Files that the manifest loads count wherever they lie.
    lists = (manifest.get(key) for key in ("data", "demo", "init_xml", "update_xml"))
    return frozenset(name for files in lists if isinstance(files, (list, tuple)) for name in files)


def content_hash(folder: Path, loaded: frozenset[str] = frozenset()) -> str:
    """Return the SHA-256 of all that `-u` would read: code, data, security, manifest, migrations.

    :param loaded: relative paths that count although their folder does not (the manifest's data files).
    """
    lines = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and (relative.as_posix() in loaded or _is_hashed(relative)):
            lines.append(f"{relative.as_posix()}\0{_sha256(path)}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _is_hashed(relative: Path) -> bool:
    return UNHASHED_FOLDERS.isdisjoint(relative.parts[:-1]) and relative.suffix not in UNHASHED_SUFFIXES


def translation_hashes(folder: Path) -> dict[str, str]:
    """Return a SHA-256 per language code with a .po file ("fr", "pt_BR"), over all its files."""
    found: dict[str, list[str]] = {}
    for name in ("i18n", "i18n_extra"):
        for path in sorted((folder / name).glob("*.po")):
            found.setdefault(path.stem, []).append(_sha256(path))
    return {
        language: hashlib.sha256("".join(hashes).encode()).hexdigest() for language, hashes in sorted(found.items())
    }


def migration_scripts(folder: Path) -> list[str]:
    """Return the migration scripts as "<version>/<file>", sorted."""
    return sorted(
        {
            f"{path.parent.name}/{path.name}"
            for name in ("migrations", "upgrades")
            for path in (folder / name).glob("*/*.py")
            if MIGRATION_VERSION.fullmatch(path.parent.name) and MIGRATION_SCRIPT.fullmatch(path.name)
        }
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
