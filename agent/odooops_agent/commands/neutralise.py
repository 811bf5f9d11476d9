"""The one-off that runs the modules' own neutralize.sql, in the image that has them, on one database. Pure.

Odoo is not started for it, and no registry loaded: a copy that nobody neutralised yet must run no line of its addons.
"""

from __future__ import annotations

import json

from .dump import FOLDER
from .odoo import PYTHON

SCRIPT, ORDER = "neutralise.py", "neutralise.json"
SCRIPT_TEXT = """
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import psycopg2

order = json.load(open("/odooops/neutralise.json"))
paths = [Path(path) for path in order["addons_paths"]]
paths += [Path(path) / "addons" for path in find_spec("odoo").submodule_search_locations]


def fail(sentence):
    print(sentence.replace("\\n", " "))
    sys.exit(1)


connection = psycopg2.connect(host="/odooops", dbname=order["database"], user=order["role"])
ran = []
with connection, connection.cursor() as cursor:
    cursor.execute("SELECT to_regclass('public.ir_module_module') IS NOT NULL")
    if not cursor.fetchone()[0]:
        fail("There is no Odoo in the copy.")
    states = "('installed', 'to upgrade', 'to remove')"
    cursor.execute("SELECT name FROM public.ir_module_module WHERE state IN " + states + " AND NOT coalesce("
                   "(to_jsonb(ir_module_module) ->> 'imported')::boolean, false) ORDER BY name = 'base' DESC, name")
    for (name,) in cursor.fetchall():
        found = [path / name for path in paths if (path / name / "__manifest__.py").is_file()]
        if not found:
            fail(f"The image lacks the module {name}, so nobody knows what neutralises it.")
        file = found[0] / "data" / "neutralize.sql"
        if file.is_file():
            try:
                cursor.execute(file.read_text("utf-8"))
            except psycopg2.Error as error:
                fail(f"The neutralize.sql of {name} fails: {error}")
            ran.append(name)
print("ODOOOPS_NEUTRALISED " + json.dumps(ran))
"""
MARK = "ODOOOPS_NEUTRALISED "


def run() -> tuple[str, ...]:
    return (PYTHON, f"{FOLDER}/{SCRIPT}")


def order(database: str, role: str, addons_paths: tuple[str, ...]) -> str:
    return json.dumps({"database": database, "role": role, "addons_paths": list(addons_paths)})
