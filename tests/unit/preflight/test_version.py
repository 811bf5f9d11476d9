"""What needs a version bump, what does not, and migration folders that nothing runs."""

from __future__ import annotations

import itertools
import sys

import pytest
from odooops_ci import odoo_versions

from .conftest import ROOT

MODEL = """from odoo import api, fields, models


class Order(models.Model):
    _name = "workshop.order"

    name = fields.Char(required=True)
    total = fields.Float()

    def confirm(self):
        return True
"""
WORKSHOP = "addons/custom/workshop"


@pytest.fixture
def workshop(gate):
    files = {
        "models/order.py": MODEL, "views/order.xml": "<odoo/>", "security/ir.model.access.csv": "id\n",
        "data/stages.xml": "<odoo/>", "static/src/a.js": "1", "README.md": "x", "i18n/fr.po": "x",
        "tests/test_order.py": "x = 1\n", "demo/demo.xml": "<odoo/>",
        "migrations/19.0.1.0.0/post-fill.py": "def migrate(cr, version):\n    pass\n",
    }  # fmt: skip
    data = ["security/ir.model.access.csv", "data/stages.xml", "views/order.xml"]
    gate.addon(WORKSHOP, files, data=data, demo=["demo/demo.xml"], version="19.0.1.0.0")
    gate.branch()
    gate.data = data
    return gate


def bump(gate, version: str, **manifest: object) -> None:
    gate.addon(WORKSHOP, version=version, **{"data": gate.data, "demo": ["demo/demo.xml"], **manifest})


def codes(gate) -> dict[str, object]:
    report = gate.report("version")
    for finding in report.findings:
        assert finding.file
        assert finding.mend
    return {finding.code: finding for finding in report.findings}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("views/order.xml", "<odoo><!-- --></odoo>"),
        ("data/stages.xml", "<odoo><!-- --></odoo>"),
        ("security/ir.model.access.csv", "id,name\n"),
        ("security/rules.xml", "<odoo/>"),
        ("models/order.py", MODEL.replace("total = fields.Float()", "total = fields.Integer()")),
        ("models/order.py", MODEL.replace("    total = fields.Float()\n", "")),
        ("models/order.py", MODEL.replace("fields.Float()", "fields.Float(index=True)")),
        ("models/more.py", MODEL.replace('_name = "workshop.order"', '_name = "workshop.more"')),
        ("models/order.py", MODEL.replace("    def confirm", "    _total_check = models.Constraint('CHECK (total > 0)')"
                                          "\n\n    def confirm")),
    ],
)  # fmt: skip
def test_change_that_needs_a_version(workshop, path, text):
    workshop.write(f"{WORKSHOP}/{path}", text)
    found = codes(workshop)["version-not-raised"]
    assert found.file == f"{WORKSHOP}/__manifest__.py"
    assert found.line == 1
    assert "19.0.1.0.1" in found.mend
    bump(workshop, "19.0.1.0.1")
    assert not codes(workshop)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("static/src/a.js", "2"), ("README.md", "y"), ("i18n/fr.po", "y"), ("tests/test_order.py", "x = 2\n"),
        ("demo/demo.xml", "<odoo><!-- --></odoo>"), ("models/order.py", MODEL.replace("return True", "return False")),
        ("models/order.py", MODEL.replace("fields.Float()", "fields.Float(string='Sum', help='All of it')")),
        ("controllers/main.py", "x = 1\n"),
        ("models/order.py", MODEL.replace("    def confirm", "    @api.constrains('total')\n    def confirm")),
    ],
)  # fmt: skip
def test_change_that_needs_none(workshop, path, text):
    workshop.write(f"{WORKSHOP}/{path}", text)
    assert not codes(workshop)


def test_field_that_moves_to_another_file_is_no_change(workshop):
    workshop.write(f"{WORKSHOP}/models/order.py", MODEL.replace("    total = fields.Float()\n", ""))
    moved = 'from odoo import fields, models\n\n\nclass More(models.Model):\n    _inherit = "workshop.order"\n\n'
    workshop.write(f"{WORKSHOP}/models/more.py", moved + "    total = fields.Float()\n")
    assert not codes(workshop)


def test_manifest_that_loads_more(workshop):
    bump(workshop, "19.0.1.0.0", depends=["base", "mail"])
    assert "depends in the manifest" in codes(workshop)["version-not-raised"].message


def test_data_file_that_is_gone(workshop):
    (workshop.path / WORKSHOP / "data/stages.xml").unlink()
    assert "data/stages.xml" in codes(workshop)["version-not-raised"].message


@pytest.mark.parametrize("version", ["19.0.0.9.0", "18.0.9.0.0", "0.9.0"])
def test_backwards(workshop, version):
    bump(workshop, version)
    assert {"version-backwards", "version-form"} & codes(workshop).keys()


@pytest.mark.parametrize("version", ["one", "19.0.1.0.0.0", "1", "20.0.1.0.0", ""])
def test_version_that_odoo_refuses(workshop, version):
    bump(workshop, version or "x")
    assert "version-form" in codes(workshop)


def test_short_version_counts_with_its_series(workshop):
    bump(workshop, "1.0.1")
    workshop.write(f"{WORKSHOP}/views/order.xml", "<odoo><!-- --></odoo>")
    assert not codes(workshop)


def test_new_addon_needs_no_bump(workshop):
    workshop.addon("addons/custom/shop", {"models/shop.py": MODEL})
    assert not codes(workshop)


@pytest.mark.parametrize(
    ("folder", "version", "code"),
    [
        ("19.0.1.1.0", "19.0.1.0.0", "migration-not-run"),
        ("19.0.1.2.0", "19.0.1.1.0", "migration-not-run"),
        ("1.2.0", "19.0.1.1.0", "migration-not-run"),
        ("19.0.0.9.0", "19.0.1.1.0", "migration-not-run"),
        ("0.0.0", "19.0.1.0.0", "migration-not-run"),
        ("v19.0.1.1.0", "19.0.1.1.0", "migration-form"),
        ("next", "19.0.1.1.0", "migration-form"),
    ],
)
def test_migration_folder_that_no_bump_runs(workshop, folder, version, code):
    bump(workshop, version)
    workshop.write(f"{WORKSHOP}/migrations/{folder}/post-more.py", "def migrate(cr, version):\n    pass\n")
    assert codes(workshop)[code].file == f"{WORKSHOP}/migrations/{folder}"


@pytest.mark.parametrize("folder", ["19.0.1.1.0", "1.1.0", "1.1", "0.0.0", "19.0.1.0.5"])
def test_migration_folder_that_runs(workshop, folder):
    bump(workshop, "19.0.1.1.0")
    workshop.write(f"{WORKSHOP}/migrations/{folder}/post-more.py", "def migrate(cr, version):\n    pass\n")
    assert not codes(workshop)


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("more.py", "def migrate(cr, version):\n    pass\n", "migration-name"),
        ("post-more.py", "def migration(cr, version):\n    pass\n", "migration-no-function"),
        ("post-more.py", "def migrate(cr, version:\n", "python-syntax"),
    ],
)
def test_script_that_odoo_can_not_run(workshop, name, text, code):
    bump(workshop, "19.0.1.1.0")
    workshop.write(f"{WORKSHOP}/migrations/19.0.1.1.0/{name}", text)
    assert codes(workshop)[code].file.endswith(name)


def test_script_that_has_run_already_is_a_warning(workshop):
    workshop.write(f"{WORKSHOP}/migrations/19.0.1.0.0/post-fill.py", "def migrate(cr, version):\n    print(1)\n")
    report = workshop.report("version")
    assert report.passed
    assert [finding.code for finding in report.findings] == ["migration-changed"]


def test_oca_module_that_goes_backwards(gate):
    tools = gate.oca("server-tools", auditlog={"version": "19.0.1.0.0"})
    older = tools.git("rev-parse", "HEAD")
    tools.addon("auditlog", version="19.0.1.1.0", license="AGPL-3")
    tools.commit()
    path = gate.submodule(tools)
    gate.select(tools, "auditlog")
    gate.branch()
    gate.git("-C", path, "checkout", "--quiet", older)
    gate.git("add", "--all")
    assert "goes back from 19.0.1.1.0 to 19.0.1.0.0" in codes(gate)["version-backwards"].message


def test_the_agent_has_the_same_rule():
    sys.path.insert(0, str(ROOT / "agent"))
    from odooops_agent.plans import migrations

    versions = ["19.0.1.0.0", "19.0.1.0.1", "19.0.1.10.0", "19.0.2.0.0", "18.0.1.5.0"]
    folders = ["0.0.0", "1.0.1", "1.1", "19.0.1.0.1", "19.0.2.0", "19.0.2.0.0", "18.0.1.0.0"]
    for folder, before, after in itertools.product(folders, versions, versions):
        theirs = bool(migrations.scripts_to_run([f"{folder}/post-x.py"], before, after, "19.0"))
        assert odoo_versions.runs(folder, before, after, "19.0") == theirs, (folder, before, after)


def test_no_commit_to_compare_with_is_no_pass(workshop, tmp_path):
    """In a workflow that was told of none: every addon would pass for a new one."""
    event = tmp_path / "event.json"
    event.write_text("{}")
    environment = {"GITHUB_EVENT_PATH": str(event)}
    found = workshop.report("version", environment=environment).findings
    assert [one.code for one in found] == ["version-no-base"]
    assert "merge the commit that was released last" in found[0].mend
    assert workshop.report("version", "--base", "none", environment=environment).passed
    assert workshop.report("version", "--base", "main", environment=environment).passed
