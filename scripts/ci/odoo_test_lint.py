"""Run Odoo's own `test_lint` on our addons only; runs inside an Odoo image, with that image's Python.

`test_lint` looks at every addon it finds and most of its tests want a database. Here the list of addons
is narrowed to the folders given, and the tests are told apart: those that read files need no database;
those that read the registry (`--database`) get one in which the addon is installed, and their findings
about Odoo's own addons are left out. Prints one JSON object: {"tests", "files", "findings"}.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
import types
import unittest
from pathlib import Path

import odoo
import odoo.addons
import odoo.addons.test_lint
import odoo.modules
import odoo.tests
import odoo.tests.common
from odoo.modules import Manifest

TESTS = "odoo.addons.test_lint.tests"
# test_pylint, test_checkers and test_eslint run programs that no Odoo image has: scripts/ci/lint.py runs the first.
READ_FILES = (
    "test_dunderinit",
    "test_i18n",
    "test_jstranslate",
    "test_l10n",
    "test_manifests",
    "test_markers",
    "test_onchange_domains",
    "test_orm_import",
    "test_pofile",
    "test_test_holes",
)
READ_REGISTRY = ("test_docstring", "test_index", "test_naming", "test_override_signatures")


class Warnings(logging.Handler):
    """Collects what the tests only warn about: for an addon of ours a warning is a finding."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name.rpartition('.')[2]}: {record.getMessage()}")


def narrow_to(folders: list[Path]) -> None:
    """Let Odoo find these addons and no others."""
    for parent in sorted({str(folder.parent) for folder in folders} - set(odoo.addons.__path__)):
        odoo.addons.__path__.append(parent)  # Odoo opens files of its addons paths only
    own = [manifest for folder in folders if (manifest := Manifest._from_path(str(folder)))]
    Manifest.all_addon_manifests = staticmethod(lambda: own)
    odoo.modules.get_modules = odoo.modules.module.get_modules = lambda: [manifest.name for manifest in own]


def load(names: tuple[str, ...]) -> unittest.TestSuite:
    """Import tests one by one: their package imports all, pylint's helpers included."""
    package = types.ModuleType(TESTS)
    package.__path__ = [str(Path(odoo.addons.test_lint.__file__).parent / "tests")]
    sys.modules[TESTS] = package
    loader = unittest.TestLoader()
    modules = [importlib.import_module(f"{TESTS}.{name}") for name in names]
    return unittest.TestSuite(loader.loadTestsFromModule(module) for module in modules)


def without_database() -> None:
    """Spare the tests that only read files the database their base class would open."""
    odoo.tests.TransactionCase = odoo.tests.common.TransactionCase = odoo.tests.BaseCase


def use_database(arguments: list[str]) -> None:
    from odoo.modules.registry import Registry

    odoo.tools.config.parse_config(arguments)
    Registry(odoo.tests.common.get_db_name())


def narrow_walk(folders: list[Path]) -> None:
    """`test_markers` walks all of Odoo's folders: show it ours."""
    walk, own = os.walk, [str(folder) for folder in folders]

    def walk_own(top, *args, **kwargs):
        tops = [folder for folder in own if str(top) in (folder, str(Path(folder).parent))]
        for folder in tops or ([top] if str(top).startswith(tuple(own)) else []):
            yield from walk(folder, *args, **kwargs)

    os.walk = walk_own


def concerns(test: unittest.TestCase, trace: str, names: list[str]) -> bool:
    """Tell whether a finding is about our code: by the class that defines the method, else by what it says."""
    from odoo.modules.registry import Registry

    parameters = getattr(test, "params", {})
    model = Registry(odoo.tests.common.get_db_name()).models.get(parameters.get("model"))
    if model is None:
        # Fields are named by their model, which begins as our addons do.
        return any(name in trace or f"{name.partition('_')[0]}." in trace for name in names)
    definers = [cls.__module__ for cls in model.__mro__ if parameters["method"] in vars(cls)]
    return any(module.startswith(f"odoo.addons.{name}.") for module in definers for name in names)


def run(folders: list[Path], database: list[str]) -> dict[str, object]:
    warnings = Warnings()
    logging.getLogger("odoo.addons.test_lint").addHandler(warnings)
    narrow_to(folders)
    use_database(database) if database else without_database()
    suite = load(READ_REGISTRY if database else READ_FILES)
    narrow_walk(folders)
    result = unittest.TestResult()
    suite.run(result)
    names = [folder.name for folder in folders]
    found = [
        f"{_short_name(test)}: {_last_lines(trace)}"
        for test, trace in result.failures + result.errors
        if not database or concerns(test, trace, names)
    ]
    files = [
        path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".xml", ".js", ".po", ".pot")
    ]
    return {"tests": result.testsRun, "files": len(files) if _seen(folders) else 0, "findings": found + warnings.lines}


def _seen(folders: list[Path]) -> bool:
    return len(Manifest.all_addon_manifests()) == len(folders)


def _short_name(test: unittest.TestCase) -> str:
    dotted, _, parameters = test.id().partition(" ")
    return f"{dotted.rpartition('.')[2]} {parameters}".strip()


def _last_lines(trace: str) -> str:
    """Return an exception's text without the frames above it."""
    lines = trace.strip().splitlines()
    start = max((number for number, line in enumerate(lines) if line.startswith("  ")), default=-1)
    return " ".join(line.strip() for line in lines[start + 1 :] or lines[-1:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--database", nargs=argparse.REMAINDER, default=[], help="Odoo's own options for the database")
    options = parser.parse_args()
    outcome = run([folder.resolve() for folder in options.folders], options.database)
    print(json.dumps(outcome))
    return 1 if outcome["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
