from odoo import api, fields, models
from odoo.exceptions import UserError


class OdooopsApproval(models.Model):
    _name = "odooops.approval"
    _description = "Approval"
    _order = "id desc"
    _rec_name = "user_id"

    deployment_id = fields.Many2one("odooops.deployment", required=True, readonly=True, ondelete="cascade", index=True)
    project_id = fields.Many2one(related="deployment_id.project_id", store=True, index=True)
    plan_hash = fields.Char(required=True, readonly=True)
    user_id = fields.Many2one("res.users", required=True, readonly=True, ondelete="restrict")
    decision = fields.Selection([("approved", "Approved"), ("rejected", "Rejected")], required=True, readonly=True)
    note = fields.Char(readonly=True, help="What was checked, or why not.")
    current = fields.Boolean(compute="_compute_current", help="It is about the current plan.")

    _person_uniq = models.Constraint(
        "UNIQUE (deployment_id, plan_hash, user_id)", "This person has decided on this plan already."
    )

    @api.depends("plan_hash", "deployment_id.plan_hash")
    def _compute_current(self):
        for approval in self:
            approval.current = approval.plan_hash == approval.deployment_id.plan_hash

    def write(self, vals):
        """Refuse: a decision stays as it was made."""
        if vals:
            raise UserError(self.env._("A decision can't be changed: reject or cancel the deployment instead."))
        return super().write(vals)
