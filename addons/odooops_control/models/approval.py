from datetime import timedelta

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
    plan_count = fields.Integer(
        required=True, default=0, readonly=True, help="Which of the deployment's plans it was, also of the same hash."
    )
    user_id = fields.Many2one("res.users", required=True, readonly=True, ondelete="restrict")
    decision = fields.Selection([("approved", "Approved"), ("rejected", "Rejected")], required=True, readonly=True)
    note = fields.Char(readonly=True, help="What was checked, or why not.")
    current = fields.Boolean(compute="_compute_current", help="It is about the current plan.")

    _person_uniq = models.Constraint(
        "UNIQUE (deployment_id, plan_hash, plan_count, user_id)", "This person has decided on this plan already."
    )

    @api.depends("plan_hash", "plan_count", "deployment_id.plan_hash", "deployment_id.plan_count")
    def _compute_current(self):
        for approval in self:
            approval.current = approval._is_current()

    def _is_current(self):
        """Return whether it is about the deployment's plan of now."""
        deployment = self.deployment_id
        return (self.plan_hash, self.plan_count) == (deployment.plan_hash, deployment.plan_count)

    def _is_too_old(self):
        """Return whether the policy asks for a newer one."""
        hours = self.deployment_id.policy_id.approval_hours
        return bool(hours) and self.create_date + timedelta(hours=hours) < fields.Datetime.now()

    def write(self, vals):
        """Refuse: a decision stays as it was made."""
        if vals:
            raise UserError(self.env._("A decision can't be changed: reject or cancel the deployment instead."))
        return super().write(vals)
