"""The linters really look: each finds its fault in a bad addon, with its file and line."""

from __future__ import annotations

import pytest
from odooops_ci.preflight import check_lint

GOOD = {
    "name": "Workshop", "summary": "Orders", "author": "Ada", "license": "LGPL-3", "depends": ["base"],
    "category": "Tools", "website": "https://example.com", "data": ["views/order.xml"],
}  # fmt: skip
BAD_SQL = """from odoo import models


class Order(models.Model):
    _name = "workshop.order"
    _description = "Order"

    def find(self, name):
        self.env.cr.execute("SELECT id FROM x WHERE name = '%s'" % name)
"""
HEAD = '<?xml version="1.0" encoding="UTF-8" ?>\n'
TWICE = """<odoo>
    <record id="a" model="res.partner.category"><field name="name">A</field></record>
    <record id="a" model="res.partner.category"><field name="name">B</field></record>
</odoo>
"""


@pytest.fixture
def workshop(gate):
    gate.addon("addons/custom/workshop", {"views/order.xml": f"{HEAD}<odoo />\n", "README.rst": "Workshop\n"}, **GOOD)
    gate.addon("addons/custom/untouched", {"models.py": "import os\n"}, **{**GOOD, "data": []})
    gate.branch()
    return gate


def codes(report) -> dict[str, object]:
    return {finding.code: finding for finding in report.findings}


def test_good_addon_passes(workshop):
    workshop.write("addons/custom/workshop/README.rst", "Orders of a workshop\n")
    report = workshop.report("lint")
    assert not report.findings
    assert report.facts["addons"] == ["workshop"]


NATURAL = "from . import models\n"
LONG = f"NAME = {'x' * 100!r}\n"


@pytest.fixture
def natural(gate):
    """An addon as every addon is: its packages import for effect, its manifest is an expression."""
    gate.write("README.md", "A shop\n")
    gate.branch()
    files = {"__init__.py": NATURAL, "models/__init__.py": "from . import order\n", "models/order.py": LONG}
    gate.addon("addons/custom/natural", {**files, "README.rst": "Natural\n"}, **{**GOOD, "data": []})
    return gate


def test_an_addon_needs_no_settings_for_ruff(natural):
    report = natural.report("lint")
    assert not [code for code in codes(report) if code.startswith("ruff")], report.findings


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("ruff.toml", "line-length = 80\n[lint]\nselect = ['E501']\n"),
        ("addons/custom/.ruff.toml", "line-length = 80\n[lint]\nselect = ['E501']\n"),
        ("pyproject.toml", "[tool.ruff]\nline-length = 80\nlint.select = ['E501']\n"),
    ],
)
def test_settings_of_the_repository_go_first(natural, path, text):
    natural.write(path, text)
    assert not [code for code in codes(natural.report("lint")) if code.startswith("ruff")], "not its own"
    natural.git("add", path)
    natural.git("commit", "--quiet", "--message=settings")
    found = [code for code in codes(natural.report("lint", "--base", "HEAD")) if code.startswith("ruff")]
    assert found == ["ruff-E501"]


@pytest.mark.parametrize(
    ("path", "text", "code"),
    [
        (".pylintrc", "[MESSAGES CONTROL]\ndisable=all\nenable=unreachable\n", "pylint-sql-injection"),
        ("ruff.toml", "lint.select = ['E9']\n", "ruff-F401"),
        ("addons/custom/workshop/.ruff.toml", "lint.select = ['E9']\n", "ruff-F401"),
        (".oca_hooks.cfg", "[MESSAGES_CONTROL]\ndisable=xml-duplicate-record-id\n", "oca-xml-duplicate-record-id"),
    ],
)
def test_a_change_does_not_choose_its_linters(workshop, path, text, code):
    workshop.write("addons/custom/workshop/models.py", "import os\n" + BAD_SQL)
    workshop.write("addons/custom/workshop/views/order.xml", HEAD + TWICE)
    workshop.write(path, text)
    found = codes(workshop.report("lint"))
    assert {"pylint-sql-injection", "ruff-F401", "oca-xml-duplicate-record-id"} <= found.keys()
    assert found["lint-settings"].file == path
    assert found[code].file.startswith("addons/custom/workshop/")
    workshop.git("add", path)
    workshop.git("commit", "--quiet", "--message=settings")
    assert code not in codes(workshop.report("lint", "--base", "HEAD")), "it counts from the next change on"


@pytest.mark.parametrize(
    "line",
    ["init-hook=open('ran', 'w')", "load-plugins=pylint_odoo,mine", "init_hook: open('ran', 'w')", "Load-Plug = mine"],
)
def test_settings_that_run_code_are_refused(workshop, line):
    workshop.write(".pylintrc", f"[MAIN]\n{line}\n")
    workshop.write("addons/custom/workshop/models.py", "x = 1\n")
    workshop.write("mine.py", "open('ran', 'w')\n")
    workshop.git("add", ".pylintrc")
    workshop.git("commit", "--quiet", "--message=settings")
    report = workshop.report("lint", "--base", "HEAD")
    assert not report.passed
    assert "Take it out" in codes(report)["lint-settings-run-code"].mend
    assert not (workshop.path / "ran").exists()


def test_the_ocas_own_settings_are_fine(workshop):
    workshop.write(".pylintrc", "[MASTER]\nload-plugins=pylint_odoo\nscore=n\n")
    workshop.write("addons/custom/workshop/models.py", BAD_SQL)
    workshop.git("add", ".pylintrc")
    workshop.git("commit", "--quiet", "--message=settings")
    found = codes(workshop.report("lint", "--base", "HEAD"))
    assert "pylint-sql-injection" in found
    assert "lint-settings-run-code" not in found


def test_a_pyproject_about_other_things_is_no_settings(natural):
    natural.write("pyproject.toml", "[project]\nname = 'shop'\n")
    assert not [code for code in codes(natural.report("lint")) if code.startswith("ruff")]


def test_nothing_to_lint_says_so(workshop):
    workshop.write("README.md", "x")
    report = workshop.report("lint")
    assert report.passed
    assert "No addon" in report.summary


def test_each_tool_finds_its_fault(workshop):
    workshop.write("addons/custom/workshop/models.py", "import os\n" + BAD_SQL)
    workshop.write("addons/custom/workshop/views/order.xml", HEAD + TWICE)
    report = workshop.report("lint")
    found = codes(report)
    assert not report.passed
    assert found["ruff-F401"].file == "addons/custom/workshop/models.py"
    assert found["ruff-F401"].line == 1
    assert found["pylint-sql-injection"].line == 10
    assert found["oca-xml-duplicate-record-id"].file == "addons/custom/workshop/views/order.xml"
    assert all(finding.mend for finding in report.findings)
    assert not [finding for finding in report.findings if "untouched" in finding.file]


def test_all_finds_what_did_not_change(workshop):
    assert "addons/custom/untouched/models.py" in {
        finding.file for finding in workshop.report("lint", "--all").findings
    }


def test_oca_modules_are_mended_upstream(workshop):
    tools = workshop.oca("server-tools", auditlog={})
    tools.write("auditlog/models.py", "import os\n" + BAD_SQL)
    tools.commit()
    workshop.submodule(tools)
    workshop.select(tools, "auditlog")
    workshop.git("add", "--all")
    assert workshop.report("lint").facts["addons"] == []
    report = workshop.report("lint", "--with-oca")
    assert report.passed
    assert {"ruff-F401", "pylint-sql-injection"} <= codes(report).keys()
    assert {finding.level for finding in report.findings} == {"warning"}


def test_python_that_does_not_parse(workshop):
    workshop.write("addons/custom/workshop/models.py", "def broken(:\n")
    report = workshop.report("lint")
    assert not report.passed
    assert any(finding.code.startswith("ruff-") and finding.line == 1 for finding in report.errors)


@pytest.mark.parametrize("name", ["ruff", "pylint", "oca-checks-odoo-module"])
def test_missing_tool_is_a_failure(workshop, monkeypatch, name):
    real = check_lint.tool
    monkeypatch.setattr(check_lint, "tool", lambda wanted: "/nowhere/it" if wanted == name else real(wanted))
    workshop.write("addons/custom/workshop/models.py", "x = 1\n")
    report = workshop.report("lint")
    assert not report.passed
    assert name in codes(report)["lint-missing"].message
    assert "pip install" in codes(report)["lint-missing"].mend


@pytest.mark.parametrize("name", ["ruff", "pylint", "oca-checks-odoo-module"])
def test_tool_that_crashes_is_a_failure(workshop, monkeypatch, name):
    crashing = workshop.folder / "crashing"
    crashing.write_text("#!/bin/sh\necho 'Traceback: it broke' >&2\nexit 3\n")
    crashing.chmod(0o755)
    real = check_lint.tool
    monkeypatch.setattr(check_lint, "tool", lambda wanted: str(crashing) if wanted == name else real(wanted))
    workshop.write("addons/custom/workshop/models.py", "x = 1\n")
    found = codes(workshop.report("lint"))["lint-broken"]
    assert "it broke" in found.message


def test_manifest_that_is_not_a_literal_fails_every_check(workshop):
    workshop.write("addons/custom/workshop/__manifest__.py", "{'name': __import__('os').getcwd()}\n")
    for check in ("lint", "version", "risk"):
        report = workshop.report(check)
        assert not report.passed
        assert codes(report)["manifest-not-literal"].file == "addons/custom/workshop/__manifest__.py"
