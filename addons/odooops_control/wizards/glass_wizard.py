from odoo import api, fields, models


class OdooopsGlassWizard(models.TransientModel):
    _name = "odooops.glass.wizard"
    _description = "Break the Glass of a Freeze Window"

    deployment_id = fields.Many2one("odooops.deployment", required=True)
    # With the user's own rights: the deployment's id comes from the client.
    conditions_html = fields.Html(related="deployment_id.conditions_html", related_sudo=False)
    plan_hash = fields.Char(readonly=True)
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

    def action_break_glass(self):
        """Break it, under one's name."""
        self.ensure_one()
        return self.deployment_id.action_break_glass(self.plan_hash, self.reason)
