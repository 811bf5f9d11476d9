from odoo import fields, models
from odoo.exceptions import UserError


class OdooopsApprovalWizard(models.TransientModel):
    _name = "odooops.approval.wizard"
    _description = "Decide on a Deployment"

    deployment_id = fields.Many2one("odooops.deployment", required=True)
    plan_hash = fields.Char(required=True, readonly=True)
    plan_html = fields.Html(related="deployment_id.plan_html")
    release_id = fields.Many2one(related="deployment_id.release_id")
    environment_id = fields.Many2one(related="deployment_id.environment_id")
    requested_by_id = fields.Many2one(related="deployment_id.requested_by_id")
    note = fields.Char(string="What did you check?")

    def action_approve(self):
        """Approve the plan that is shown."""
        self.ensure_one()
        if not self.note:
            raise UserError(self.env._("Say in a few words what you checked."))
        return self.deployment_id.action_approve(self.plan_hash, self.note)

    def action_reject(self):
        """Reject the deployment."""
        self.ensure_one()
        return self.deployment_id.action_reject(self.plan_hash, self.note or "")
