from odoo import api, fields, models
from odoo.exceptions import UserError


class OdooopsApprovalWizard(models.TransientModel):
    _name = "odooops.approval.wizard"
    _description = "Decide on a Deployment"

    deployment_id = fields.Many2one("odooops.deployment", required=True)
    plan_hash = fields.Char(required=True, readonly=True)
    # With the user's own rights: the deployment's id comes from the client.
    summary_html = fields.Html(related="deployment_id.summary_html", related_sudo=False)
    conditions_html = fields.Html(related="deployment_id.conditions_html", related_sudo=False)
    has_manual_changes = fields.Boolean(related="deployment_id.has_manual_changes", related_sudo=False)
    manual_changes_html = fields.Html(related="deployment_id.manual_changes_html", related_sudo=False)
    release_id = fields.Many2one(related="deployment_id.release_id", related_sudo=False)
    environment_id = fields.Many2one(related="deployment_id.environment_id", related_sudo=False)
    requested_by_id = fields.Many2one(related="deployment_id.requested_by_id", related_sudo=False)
    author_unknown = fields.Boolean(related="deployment_id.author_unknown", related_sudo=False)
    note = fields.Char(string="What did you check?")

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
