"""Which rule fires for which change, the tier that follows, and that labels only raise it."""

from __future__ import annotations

import re

import pytest
import yaml
from odooops_ci.preflight import rules

WORKSHOP = "addons/custom/workshop"
MODEL = """from odoo import api, fields, models


class Order(models.Model):
    _name = "workshop.order"

    name = fields.Char()
    total = fields.Float()
    label = fields.Char(compute="_compute_label")

    def confirm(self):
        return True
"""
CLASS = "class Order(models.Model):\n"


@pytest.fixture
def workshop(gate):
    gate.addon(WORKSHOP, {"models/order.py": MODEL, "views/order.xml": "<odoo/>", "controllers/main.py": ""})
    gate.write("Dockerfile", "FROM odoo:19.0\n")
    gate.branch()
    return gate


def fired(gate, *arguments: str) -> dict[str, dict]:
    report = gate.report("risk", *arguments)
    return {one["rule"]: one for one in report.facts["fired"]}


def tier(gate, *arguments: str) -> str:
    return gate.report("risk", *arguments).facts["tier"]


def test_nothing_changed_is_low(workshop):
    assert tier(workshop, "--base", "main") == "low"


def test_documentation_is_low(workshop):
    workshop.write("README.md", "more")
    assert tier(workshop) == "low"
    assert set(fired(workshop)) == {"any-change"}


@pytest.mark.parametrize(
    ("old", "new", "rule", "expected"),
    [
        ("    total", "    minutes = fields.Integer()\n    total", "field-added", "medium"),
        ("    total = fields.Float()\n", "", "field-gone", "high"),
        ("fields.Float()", "fields.Integer()", "field-retyped", "high"),
        ("fields.Float()", "fields.Float(required=True)", "field-required", "high"),
        ("fields.Float()", "fields.Float(index=True)", "field-changed", "medium"),
        ('compute="_compute_label"', 'compute="_compute_label", store=True', "field-stored", "high"),
        ("    def confirm", '    _most = models.Constraint("CHECK (x > 0)")\n    def confirm', "constraint", "high"),
        ("    def confirm", '    _sql_constraints = [("a", "CHECK (1)", "no")]\n    def confirm', "constraint", "high"),
        ("    def confirm", '    @api.constrains("total")\n    def confirm', "python-constraint", "medium"),
        ('_name = "workshop.order"', '_name = "workshop.other"', "model-gone", "high"),
        ('_name = "workshop.order"', '_name = "workshop.order"\n    _table = "orders"', "model-changed", "high"),
        ("return True", 'self.env.cr.execute("DELETE FROM x")', "raw-sql", "high"),
        ("return True", "return self.sudo()", "sudo", "medium"),
        ("return True", 'return self.env["account.move"]', "area-accounting", "high"),
        ("return True", 'return self.env["payment.transaction"]', "area-payments", "critical"),
        ("return True", 'return self.env["stock.move"]', "area-stock", "medium"),
        ("return True", 'return self.env["hr.payslip"]', "area-payroll", "high"),
        (CLASS + '    _name = "workshop.order"', CLASS + '    _inherit = "res.users"', "area-authentication", "high"),
    ],
)  # fmt: skip
def test_code(workshop, old, new, rule, expected):
    assert old in MODEL
    workshop.write(f"{WORKSHOP}/models/order.py", MODEL.replace(old, new))
    found = fired(workshop)[rule]
    assert found["tier"] == expected
    assert found["reason"]
    assert found["places"][0]["file"] == f"{WORKSHOP}/models/order.py"
    assert rules.TIERS.index(tier(workshop)) >= rules.TIERS.index(expected)


@pytest.mark.parametrize(
    "new",
    ["return 'total = fields.Integer()'", "# _positive = models.Constraint('x')\n        return True",
     "return 'self.env.cr.execute(x)'", "return \"self.env['account.move']\""],
)  # fmt: skip
def test_text_that_only_looks_like_it(workshop, new):
    """Parsed, not searched for: words in strings and comments fire nothing."""
    workshop.write(f"{WORKSHOP}/models/order.py", MODEL.replace("return True", new))
    assert set(fired(workshop)) == {"any-change"}


@pytest.mark.parametrize(
    ("path", "text", "rule"),
    [
        (f"{WORKSHOP}/security/ir.model.access.csv", "id\n", "security"),
        (f"{WORKSHOP}/migrations/19.0.1.1.0/post-x.py", "def migrate(cr, v):\n    pass\n", "migration"),
        (f"{WORKSHOP}/migrations/19.0.1.1.0/post-x.py", "def migrate(cr, v):\n    cr.execute('x')\n", "raw-sql"),
        (f"{WORKSHOP}/views/order.xml", '<odoo><record model="ir.ui.view"><field name="model">account.move</field>'
         "</record></odoo>", "area-accounting"),
        (f"{WORKSHOP}/views/order.xml", '<odoo><record id="account.action_x" model="ir.ui.view"/></odoo>',
         "area-accounting"),
        (f"{WORKSHOP}/security/ir.model.access.csv", "a,a,model_payment_transaction,,1,1,1,1\n", "area-payments"),
        (f"{WORKSHOP}/controllers/main.py", "class A:\n    @http.route('/x', auth='public')\n    def x(self):\n"
         "        pass\n", "open-route"),
        (f"{WORKSHOP}/controllers/main.py", "class A:\n    @route('/x', auth='user', csrf=False)\n    def x(self):\n"
         "        pass\n", "open-route"),
        ("Dockerfile", "FROM odoo:19.1\n", "dockerfile"),
        ("requirements.txt", "requests\n", "python-dependency"),
        ("apt.txt", "poppler-utils\n", "debian-dependency"),
        (".github/workflows/ci.yml", "on: push\n", "workflow"),
        ("allowlist.yaml", "modules: []\n", "allowlist"),
        ("risk_rules.yaml", None, "workflow"),
        ("big.txt", "x\n" * 401, "size-large"),
        ("big.txt", "x\n" * 2001, "size-huge"),
    ],
)  # fmt: skip
def test_files(workshop, path, text, rule):
    workshop.write(path, rules.SHIPPED.read_text() if text is None else text)
    assert fired(workshop)[rule]["places"][0]["file"] in (path, ".")


def test_constraint_of_a_new_model_meets_no_data(workshop):
    model = MODEL.replace("workshop.order", "workshop.new").replace(
        "    def", "    _a = models.Constraint('x')\n    def"
    )
    workshop.write(f"{WORKSHOP}/models/new.py", model)
    assert {"model-added", "field-added"} <= fired(workshop).keys()
    assert "constraint" not in fired(workshop)


def test_manifest(workshop):
    workshop.addon(WORKSHOP, depends=["base", "payment_stripe"], post_init_hook="hook")
    found = fired(workshop)
    assert found["area-payments"]["tier"] == "critical"
    assert "hook" in found
    workshop.addon("addons/custom/shop")
    assert "module-new" in fired(workshop)


def test_removed_addon(workshop):
    workshop.git("rm", "-rq", WORKSHOP)
    assert fired(workshop)["model-gone"]["places"][0]["what"] == "addon workshop is gone"


def test_oca_module_new_moved_and_gone(workshop):
    tools = workshop.oca("server-tools", auditlog={}, session_db={})
    path = workshop.submodule(tools)
    workshop.select(tools, "auditlog")
    workshop.git("add", "--all")
    assert {"OCA module auditlog is selected", "submodule server-tools is new"} == {
        place["what"] for place in fired(workshop)["oca-new"]["places"]
    }
    workshop.commit()
    workshop.git("checkout", "--quiet", "-B", "main")
    tools.write("auditlog/models.py", MODEL.replace("workshop.order", "auditlog.log"))
    tools.commit()
    workshop.git("-C", path, "pull", "--quiet", "origin", "main")
    workshop.git("add", "--all")
    found = fired(workshop)
    assert "moves" in found["oca-new"]["places"][0]["what"]
    assert found["model-added"]["places"][0]["file"] == f"{path}/auditlog/models.py"
    workshop.commit()
    (workshop.path / "addons/oca/selected/auditlog").unlink()
    assert "oca-gone" in fired(workshop)


def test_python_that_does_not_parse_fails(workshop):
    workshop.write(f"{WORKSHOP}/models/order.py", MODEL + "def broken(:\n")
    report = workshop.report("risk")
    [finding] = report.errors
    assert not report.passed
    assert (finding.code, finding.file, finding.line) == ("python-syntax", f"{WORKSHOP}/models/order.py", 13)


@pytest.mark.parametrize("text", ["x = '\0'", "(" * 300, "-" * 100_000 + "1", "\ufeffx = 1\nclass A(:"])
def test_python_that_breaks_the_parser_fails_too(workshop, text):
    workshop.write(f"{WORKSHOP}/models/order.py", text)
    assert not workshop.report("risk").passed


@pytest.mark.parametrize(
    ("label", "expected"),
    [("risk: high", "high"), ("Risk: Critical", "critical"), ("risk/high", "high"), ("RISK-critical", "critical"),
     ("risk: low", "medium"), ("risk: medium", "medium"),
     ("bug", "medium")],
)  # fmt: skip
def test_labels_raise_and_never_lower(workshop, label, expected):
    workshop.write(f"{WORKSHOP}/models/order.py", MODEL + "    minutes = fields.Integer()\n")
    report = workshop.report("risk", "--label", label)
    assert report.facts["tier"] == expected
    assert report.facts["computed_tier"] == "medium"


def test_label_that_would_lower_is_told(workshop):
    report = workshop.report("risk", "--label", "risk: low")
    assert [finding.code for finding in report.findings if finding.code == "risk-label"]


def own_rules(gate) -> None:
    text = {"schema": 1, "rules": [{"id": "all", "when": {"fact": "file"}, "tier": "critical", "reason": "A bank."}]}
    gate.write("risk_rules.yaml", yaml.safe_dump(text))


def test_own_rules_take_the_place_of_ours(workshop):
    own_rules(workshop)
    workshop.commit()
    workshop.git("branch", "--force", "main")
    workshop.write("README.md", "more")
    report = workshop.report("risk")
    assert (report.facts["tier"], report.facts["rules"]) == ("critical", "own")


def test_change_is_judged_by_the_rules_before_it(workshop):
    """A pull request must not bring the rules that call it harmless."""
    own_rules(workshop)
    workshop.commit()
    workshop.git("branch", "--force", "main")
    lenient = (workshop.path / "risk_rules.yaml").read_text().replace("critical", "low")
    workshop.write("risk_rules.yaml", lenient)
    assert tier(workshop) == "critical"
    (workshop.path / "risk_rules.yaml").unlink()
    assert tier(workshop) == "critical"


def test_new_rules_do_not_judge_the_change_that_brings_them(workshop):
    own_rules(workshop)
    report = workshop.report("risk")
    assert report.facts["rules"] == "shipped"
    assert report.facts["tier"] == "high"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("schema: 1", "schema: 2", "schema: 1"),
        ("fact: field_retyped", "fact: field_retypd", "'field_retypd' is no fact"),
        ("role: dockerfile", "role: docker", "'docker' is no role"),
        ("area: payments", "area: payment", "'payment' is no area"),
        ("over: 400", "over: many", "whole number"),
        ("when: {fact: file}\n", "when: {fact: file, status: added}\n", "fires for every file"),
        ("id: field-gone", "id: model-gone", "two rules are called model-gone"),
        ("tier: critical", "tier: deadly", "'deadly'"),
        ("origin: [custom, enterprise]", "from: [custom]", "'from' is no condition"),
        ("reason: Money leaves", "reasons: Money leaves", "'reason' is missing"),
        ("schema: 1", "schema: 1\nschema: 1", "stands twice"),
    ],
)
def test_rules_that_can_not_be_understood_are_refused(workshop, old, new, sentence):
    """A rule with a typing error would pass everything in silence."""
    text = rules.SHIPPED.read_text()
    assert old in text
    workshop.write("risk_rules.yaml", text.replace(old, new))
    report = workshop.report("risk")
    assert not report.passed
    assert any(sentence in finding.message for finding in report.errors)


def test_every_shipped_rule_can_fire():
    """Each rule's facts, roles and areas are known, and each has a reason that is a sentence."""
    shipped = rules.read(rules.SHIPPED)
    assert all(re.fullmatch(r".{20,}\.", rule.reason) for rule in shipped.rules)
    assert {rule.tier for rule in shipped.rules} == set(rules.TIERS)


def test_rules_that_judged_before_and_are_broken(workshop):
    workshop.write("risk_rules.yaml", "rules: 1")
    workshop.commit()
    workshop.git("branch", "--force", "main")
    assert not workshop.report("risk").passed
