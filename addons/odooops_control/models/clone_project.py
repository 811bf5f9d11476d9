from odoo import api, fields, models
from odoo.exceptions import ValidationError

from ..core import copy_rules


class OdooopsProject(models.Model):
    _inherit = "odooops.project"

    copy_rules = fields.Text(
        string="Rules for copies",
        tracking=True,
        help="What makes a copy of this project's data safe beside the rules that come with OdooOps, in YAML.",
    )

    @api.constrains("copy_rules")
    def _check_copy_rules(self):
        for project in self:
            try:
                project._copy_rules()
            except copy_rules.BadRules as error:
                raise ValidationError(str(error)) from error  # pylint: disable=missing-gettext

    def _copy_rules(self):
        """Return the rules as an agent gets them."""
        return copy_rules.read(self.copy_rules)
