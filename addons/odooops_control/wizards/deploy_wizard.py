from odoo import api, fields, models


class OdooopsDeployWizard(models.TransientModel):
    _name = "odooops.deploy.wizard"
    _description = "Ask for a Deployment"

    environment_id = fields.Many2one("odooops.environment", required=True)
    project_id = fields.Many2one(related="environment_id.project_id")
    tier = fields.Selection(related="environment_id.tier")
    release_id = fields.Many2one(
        "odooops.release",
        required=True,
        compute="_compute_release",
        store=True,
        readonly=False,
        domain="[('project_id', '=', project_id)]",
    )
    tag = fields.Char(related="release_id.name")

    @api.depends("environment_id")
    def _compute_release(self):
        for wizard in self:
            domain = [("project_id", "=", wizard.environment_id.project_id.id)]
            if wizard.tier == "production":
                domain.append(("state", "!=", "registered"))
            wizard.release_id = self.env["odooops.release"].search(domain, limit=1)

    def action_request(self):
        """Ask for the deployment and open it."""
        self.ensure_one()
        self.environment_id.check_access("read")
        environment = self.environment_id.sudo()
        environment.project_id._require_role("developer", "release_manager")
        Deployment = self.env["odooops.deployment"]
        if environment.tier == "production":
            Deployment._find_release(environment, self.release_id.name, None)
        deployment, _is_new = Deployment._request(environment, self.release_id.sudo(), self.release_id.name)
        return {
            "type": "ir.actions.act_window",
            "res_model": "odooops.deployment",
            "res_id": deployment.id,
            "view_mode": "form",
        }
