from odoo import api, fields, models


class OdooopsHotfixWizard(models.TransientModel):
    _name = "odooops.hotfix.wizard"
    _description = "Declare a Hotfix"

    deployment_id = fields.Many2one("odooops.deployment", required=True)
    reason = fields.Char(required=True)

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

    def action_hotfix(self):
        """Declare it, under one's name."""
        self.ensure_one()
        return self.deployment_id.action_hotfix(self.reason)
