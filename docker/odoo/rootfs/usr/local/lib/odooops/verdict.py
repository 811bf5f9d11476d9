"""What makes an update good: the checks that follow `-u`, and the errors that were there before."""

from __future__ import annotations

import html
import logging
import re
import sys
import traceback
from collections.abc import Collection, Iterable
from pathlib import Path

MAX_SENTENCE = 500  # characters; a view's error may quote the whole view
# What differs from run to run, so that the same error compares equal: addresses, ids, times, counts.
VARYING = (
    (re.compile(r"0x[0-9a-fA-F]+"), "0xN"),
    (re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"), "UUID"),
    (re.compile(r"\d+"), "N"),
)


def sentence(text: object) -> str:
    """Return `text` on one line, cut to a length a person reads."""
    line = " ".join(str(text).split())
    return line if len(line) <= MAX_SENTENCE else line[: MAX_SENTENCE - 1] + "…"


def normalise(line: str) -> str:
    """Return an error line without what varies from run to run; doing it twice changes nothing more."""
    for pattern, replacement in VARYING:
        line = pattern.sub(replacement, line)
    return sentence(line)


def new_errors(lines: Iterable[str], baseline: Iterable[str]) -> list[str]:
    """Return the lines, each once, whose like is not in the baseline of the last green deployment."""
    known = {normalise(line) for line in baseline if line.strip()}
    found: dict[str, str] = {}
    for line in lines:
        if normalise(line) not in known:
            found.setdefault(normalise(line), line)
    return list(found.values())


class ErrorLog(logging.Handler):
    """Collects what is logged as ERROR or worse, one line each."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f" ({describe(record.exc_info[1])})"
        self.lines.append(sentence(f"{record.name}: {text}"))


def describe(error: BaseException) -> str:
    """Return an exception as one sentence, with the addon's file that raised it."""
    text = sentence("".join(traceback.format_exception_only(error)))
    place = _addon_place(error)
    return f"{text} [{place}]" if place else text


def _addon_place(error: BaseException) -> str | None:
    folders = list(getattr(sys.modules.get("odoo.addons"), "__path__", []))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        for folder in folders:
            if frame.filename.startswith(f"{folder}/"):
                return f"{Path(frame.filename).relative_to(folder)}, line {frame.lineno}"
    return None


def modules_left(cr) -> list[str]:
    """Return the modules that an update began and did not finish."""
    cr.execute(
        "SELECT name, state FROM ir_module_module"
        " WHERE state IN ('to install', 'to upgrade', 'to remove') ORDER BY name"
    )
    return [f"{name} ({state})" for name, state in cr.fetchall()]


def missed_modules(cr, install: Collection[str], update: Collection[str], updated: Collection[str]) -> list[str]:
    """Return a sentence per module that was asked for and not done: Odoo itself only warns."""
    cr.execute("SELECT name, state FROM ir_module_module WHERE name = ANY(%s)", [[*install, *update]])
    states = dict(cr.fetchall())
    return [
        f"Module {name} was to be installed and is {states.get(name, 'unknown to Odoo')}"
        for name in sorted(install)
        if states.get(name) != "installed"
    ] + [
        f"Module {name} was to be updated and was not: it is {states.get(name, 'unknown to Odoo')}"
        for name in sorted(set(update) - set(install))
        if name not in updated
    ]


def broken_views(env, modules: Collection[str]) -> list[str]:
    """Return a sentence per view that does not validate, among those the modules define or extend.

    A view is validated with everything that extends it, custom views included, so only the views that
    extensions finally apply to are looked at, each once.
    """
    if not modules:
        return []
    roots = env["ir.ui.view"].browse(_root_view_ids(env.cr, modules)).with_context(load_all_views=True)
    errors = []
    for view in roots:
        try:
            with env.cr.savepoint(flush=False):
                view._check_xml()
        except Exception as error:  # noqa: BLE001 any failure to render is the finding
            errors.append(sentence(f"View {view.xml_id or view.name} does not validate: {html.unescape(str(error))}"))
    return errors


def _root_view_ids(cr, modules: Collection[str]) -> list[int]:
    # A view's `key` tells the module of a website's own copy, which has no XML id.
    cr.execute(
        """
        WITH RECURSIVE up AS (
            SELECT v.id, v.inherit_id, v.mode
              FROM ir_ui_view v
         LEFT JOIN ir_model_data d ON d.model = 'ir.ui.view' AND d.res_id = v.id
             WHERE v.active AND (d.module = ANY(%(modules)s) OR split_part(v.key, '.', 1) = ANY(%(modules)s))
             UNION
            SELECT v.id, v.inherit_id, v.mode
              FROM up JOIN ir_ui_view v ON v.id = up.inherit_id
             WHERE up.mode <> 'primary'
        )
        SELECT id FROM up WHERE inherit_id IS NULL OR mode = 'primary' ORDER BY id
        """,
        {"modules": list(modules)},
    )
    return [row[0] for row in cr.fetchall()]


def probe(env) -> tuple[str | None, str | None]:
    """Create a contact and flush it, in a savepoint that is rolled back; return (error, note).

    A rule of the customer's own may refuse a contact that has nothing but a name: that is a note, as
    long as a write works.
    """
    import psycopg2
    from odoo.exceptions import UserError

    quiet = env(context=dict(env.context, tracking_disable=True, mail_create_nosubscribe=True, no_reset_password=True))
    partner = quiet["res.partner"]
    error = _try(quiet, lambda: partner.create({"name": "OdooOps probe"}))
    if error is None:
        return None, None
    if isinstance(error, (UserError, psycopg2.IntegrityError)):
        company = quiet.company.partner_id
        second = _try(quiet, lambda: company.write({"name": company.name}))
        if second is None:
            return None, f"The probe's contact was refused by a rule: {describe(error)}"
        error = second
    return f"A probe transaction fails: {describe(error)}", None


def _try(env, action) -> Exception | None:
    class UndoError(Exception):
        pass

    try:
        with env.cr.savepoint():
            action()
            env.flush_all()
            raise UndoError
    except UndoError:
        return None
    except Exception as error:  # noqa: BLE001 any failure is the finding
        return error
    finally:
        env.invalidate_all(flush=False)
