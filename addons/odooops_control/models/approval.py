from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError


class OdooopsApproval(models.Model):
    _name = "odooops.approval"
    _description = "Approval"
    _order = "id desc"
    _rec_name = "user_id"

    deployment_id = fields.Many2one("odooops.deployment", readonly=True, ondelete="cascade", index="btree_not_null")
    rollback_id = fields.Many2one("odooops.rollback.request", readonly=True, ondelete="cascade", index="btree_not_null")
    project_id = fields.Many2one("odooops.project", compute="_compute_project", store=True, index=True, precompute=True)
    plan_hash = fields.Char(
        string="Hash", required=True, readonly=True, help="Of the deployment's plan, or of the rollback's preview."
    )
    plan_count = fields.Integer(
        required=True, default=0, readonly=True, help="Which of the plans or previews it was, also of the same hash."
    )
    user_id = fields.Many2one("res.users", required=True, readonly=True, ondelete="restrict")
    for_user_id = fields.Many2one(
        "res.users", string="For", readonly=True, ondelete="restrict", help="Who was away and had named them."
    )
    decision = fields.Selection([("approved", "Approved"), ("rejected", "Rejected")], required=True, readonly=True)
    note = fields.Char(readonly=True, help="What was checked, or why not.")
    ceiling = fields.Json(readonly=True, prefetch=False, help="How much a rollback may lose at most.")
    ceiling_reason = fields.Char(readonly=True, help="Why more than usual may be lost.")
    current = fields.Boolean(compute="_compute_current", help="It is about the current plan or preview.")

    _person_uniq = models.Constraint(
        "UNIQUE (deployment_id, plan_hash, plan_count, user_id)", "This person has decided on this plan already."
    )

    _person_of_rollback_uniq = models.Constraint(
        "UNIQUE (rollback_id, plan_hash, plan_count, user_id)", "This person has decided on this preview already."
    )
    _subject_check = models.Constraint(
        "CHECK (num_nonnulls(deployment_id, rollback_id) = 1)",
        "A decision is about one deployment or one rollback.",
    )

    @api.depends("deployment_id.project_id", "rollback_id.project_id")
    def _compute_project(self):
        for approval in self:
            approval.project_id = approval._subject().project_id

    @api.depends(
        "plan_hash",
        "plan_count",
        "deployment_id.plan_hash",
        "deployment_id.plan_count",
        "rollback_id.preview_hash",
        "rollback_id.preview_count",
    )
    def _compute_current(self):
        for approval in self:
            approval.current = approval._is_current()

    def _subject(self):
        """Return what was decided on."""
        self.ensure_one()
        return self.deployment_id or self.rollback_id

    def _voice(self):
        """Return whose right to decide it was."""
        return self.for_user_id or self.user_id

    def _people(self):
        """Return the ids of the people who decided and whose right it was, for the core."""
        return (self.user_id._odooops_people()[0], self._voice()._odooops_people()[0])

    def _for_grant(self):
        """Return who decided, as a droplet is told."""
        return {"id": self.user_id.id, "name": self._given_by(), "login": self.user_id.login}

    def _given_by(self):
        """Return who decided, and for whom, as people read it."""
        if not self.for_user_id:
            return self.user_id.name
        return self.env._("%(user)s for %(away)s", user=self.user_id.name, away=self.for_user_id.name)

    def _is_current(self):
        """Return whether it is about the plan or preview of now."""
        return (self.plan_hash, self.plan_count) == self._subject()._decided_on()

    def _is_too_old(self):
        """Return whether the policy asks for a newer one."""
        hours = self._subject()._approval_hours()
        return bool(hours) and self.create_date + timedelta(hours=hours) < fields.Datetime.now()

    def write(self, vals):
        """Refuse: a decision stays as it was made."""
        if vals:
            raise UserError(self.env._("A decision can't be changed: reject or cancel what it is about instead."))
        return super().write(vals)
