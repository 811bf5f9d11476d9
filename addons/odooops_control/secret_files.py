"""Secrets of GitHub, from files beside the console: its database, and so its web client, never hold them.

The folder is named by ODOOOPS_GITHUB_DIR. Its files, each a line or a PEM, readable by Odoo's user only:

``webhook_secret``, ``token``, ``app_id``, ``app_private_key.pem``
    for every project
``<project>.webhook_secret``, ``<project>.token`` …
    for this project, instead of the ones above

A ``webhook_secret`` may have two lines, the new secret and the one it replaces.
"""

import logging
import os
from pathlib import Path

from .core import names
from .core.github_signature import MIN_SECRET_CHARACTERS

_logger = logging.getLogger(__name__)

VARIABLE = "ODOOOPS_GITHUB_DIR"
_WEBHOOK = "webhook_secret"


class Secret(str):
    """A text that shows itself to nobody."""

    __slots__ = ()

    def __repr__(self):
        return "Secret(…)"


def webhook_secrets():
    """Return pairs of project code, "" for all projects, and webhook secret.

    A secret that is too short counts as none.
    """
    pairs = []
    for path in _files(_WEBHOOK):
        owner = path.name.removesuffix(_WEBHOOK).removesuffix(".")
        for line in _read(path).split():
            if len(line) >= MIN_SECRET_CHARACTERS:
                pairs.append((owner, Secret(line)))
            else:
                _logger.error("%s has a secret of less than %s characters: make a longer one.", path,
                              MIN_SECRET_CHARACTERS)  # fmt: skip
    return pairs


def has_own(code, name):
    """Tell whether a project has a secret of its own of this name, be it a bad one."""
    folder = _folder()
    return folder is not None and bool(names.PROJECT.fullmatch(code)) and (folder / f"{code}.{name}").exists()


def of_project(code, name):
    """Return a project's own secret of this name, else the one for all projects, else ""."""
    folder = _folder()
    if folder is None or not names.PROJECT.fullmatch(code):
        return Secret("")
    own = folder / f"{code}.{name}"
    return Secret(_read(own if own.exists() else folder / name).strip())


def _folder():
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def _files(name):
    folder = _folder()
    if folder is None:
        return []
    try:
        found = sorted(path for path in folder.iterdir() if path.name == name or path.name.endswith(f".{name}"))
    except OSError:
        return []
    return [path for path in found if path.name == name or names.PROJECT.fullmatch(path.name.removesuffix(f".{name}"))]


def _read(path):
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        _logger.error("%s can't be read (%s): Odoo's user needs the right to.", path, type(error).__name__)
        return ""
