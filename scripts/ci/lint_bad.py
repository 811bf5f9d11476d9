"""Deliberately bad files for `lint.py --prove`: each tool has something to find here, or it does not really look."""

from pathlib import Path

MODEL = """from odoo import _, api, models


class ResPartner(models.Model):
    _inherit = "res.partner"

    def lookup(self, ids, name):
        self.env.cr.execute("SELECT id FROM res_partner WHERE name = '%s'" % name)
        return _("found %s of %s") % (len(ids), name)

    @api.onchange("name")
    def _onchange_name(self):
        return {"domain": {"parent_id": []}}
"""

FILES = {
    "addons/odooops_control/__init__.py": "from . import models\n",
    "addons/odooops_control/__manifest__.py": (
        '{"name": "Bad", "version": "1.0", "author": "nobody", "license": "LGPL-3",\n'
        ' "summary": "", "depends": ["base"], "data": ["views.xml"], "no_such_key": 1}\n'
    ),
    "addons/odooops_control/models.py": MODEL,
    "addons/odooops_control/views.xml": (
        '<odoo>\n    <record id="a" model="res.users">\n        <field name="name">A</field>\n    </record>\n</odoo>\n'
    ),
    "addons/odooops_control/tests/__init__.py": "",
    "addons/odooops_control/tests/test_forgotten.py": "",
    "agent/odooops_agent/__init__.py": "import os\n\n\ndef half(number):\n    return undefined / 2\n",
    ".github/workflows/bad.yml": (
        "on: pull_request_target\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n"
        "      - uses: actions/checkout@v4\n"
        "      - run: echo ${{ github.event.pull_request.title }}\n        bad_key: 1\n"
    ),
}


def write(root: Path) -> None:
    """Write the files below `root`, where a tool looks for ours."""
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
