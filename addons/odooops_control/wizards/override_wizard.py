from odoo import api, fields, models

from ..core import conditions
from ..models.condition_override import KEYS


class OdooopsOverrideWizard(models.TransientModel):
    _name = "odooops.override.wizard"
    _description = "Override a Condition"

    deployment_id = fields.Many2one("odooops.deployment", required=True)
    # With the user's own rights: the deployment's id comes from the client.
    conditions_html = fields.Html(related="deployment_id.conditions_html", related_sudo=False)
    key = fields.Selection(
        KEYS, string="Condition", required=True, compute="_compute_key", store=True, readonly=False, precompute=True
    )
    reason = fields.Char(required=True)

    @api.depends("deployment_id")
    def _compute_key(self):
        """Propose what stands in the way first."""
        for wizard in self:
            deployment = wizard.deployment_id
            deployment.check_access("read")
            found = deployment.sudo()._standing_in_the_way(conditions.REQUEST) if deployment else []
            wizard.key = next((one.key for one in found if one.key in conditions.OVERRIDABLE), False)

    @api.model_create_multi
    def create(self, vals_list):
        """Refuse deployments that the user may not read."""
        wizards = super().create(vals_list)
        wizards.deployment_id.check_access("read")
        return wizards

    def write(self, vals):
        """Refuse deployments that the user may not read."""
        done = super().write(vals)
        self.deployment_id.check_access("read")
        return done

    def action_override(self):
        """Override the condition under one's name."""
        self.ensure_one()
        return self.deployment_id.action_override(self.key, self.reason)
