from odoo import api, fields, models
from odoo.exceptions import ValidationError

from ..core import copy_rules


class OdooopsProject(models.Model):
    _inherit = "odooops.project"

    copy_rules = fields.Text(
        string="Rules for copies",
        help="What makes a copy of this project's data safe beside the rules that come with OdooOps, in YAML.",
    )

    @api.constrains("copy_rules")
    def _check_copy_rules(self):
        for project in self:
            try:
                project._copy_rules()
            except copy_rules.BadRules as error:
                raise ValidationError(str(error)) from error  # pylint: disable=missing-gettext

    def write(self, vals):
        """Note who changes what keeps copies from hurting anybody."""
        before = {project: project.copy_rules for project in self} if "copy_rules" in vals else {}
        done = super().write(vals)
        for project in self:
            if project in before and (project.copy_rules or "") != (before[project] or ""):
                self.env["odooops.audit.event"]._record(
                    project, "project.copy_rules_changed", before=before[project] or "", after=project.copy_rules or ""
                )
                project.message_post(body=self.env._("The rules for copies were changed."))
        return done

    def _copy_rules(self):
        """Return the rules as an agent gets them."""
        return copy_rules.read(self.copy_rules)
