from odoo import api, fields, models
from odoo.exceptions import UserError

from .mixins import interactive_only

_MAX_NOTE = 500


class OdooopsDecisionMixin(models.AbstractModel):
    """What an administrator lets go without what it would have to wait for, and another person reviews afterwards."""

    _inherit = "odooops.decision.mixin"

    # The activity that asks for the review, and the beginning of the names of its audit events.
    _review_activity = None
    _audit_noun_of_review = None
    # Whether the glass stands for the approvals too, or for a closed window alone.
    _glass_replaces_approvals = False

    break_glass = fields.Boolean(string="Glass broken", readonly=True, copy=False, help="It did not wait.")
    break_glass_count = fields.Integer(
        readonly=True, copy=False, help="For which plan or preview the glass was broken."
    )
    break_glass_by_id = fields.Many2one("res.users", string="Glass broken by", readonly=True, copy=False)
    break_glass_reason = fields.Char(readonly=True, copy=False)
    needs_review = fields.Boolean(compute="_compute_needs_review", store=True)
    reviewed_by_id = fields.Many2one("res.users", readonly=True, copy=False)
    reviewed_at = fields.Datetime(readonly=True, copy=False)
    review_note = fields.Char(readonly=True, copy=False)

    @api.depends("break_glass", "reviewed_at")
    def _compute_needs_review(self):
        for record in self:
            record.needs_review = record.break_glass and not record.reviewed_at

    def _is_glass_broken(self):
        """Return whether the glass was broken for the current plan or preview."""
        return self.break_glass and self.break_glass_count == self._decided_on()[1]

    def _note_broken_glass(self, user, reason, **details):
        """Write down who breaks it and why, and ask for the review."""
        self.ensure_one()
        decided_hash, count = self._decided_on()
        self.write(
            {
                "break_glass": True,
                "break_glass_count": count,
                "break_glass_by_id": user.id,
                "break_glass_reason": reason,
                "reviewed_by_id": False,
                "reviewed_at": False,
                "review_note": False,
            }
        )
        self._say(self.env._("%(user)s broke the glass: %(reason)s", user=user.name, reason=reason))
        self.env["odooops.audit.event"]._record(
            self,
            f"{self._audit_noun_of_review}.glass_broken",
            user=user.login,
            reason=reason,
            hash=decided_hash,
            **details,
        )
        self._remind_reviewers()

    def _reviewers(self):
        """Return who is asked to review: other release managers, else other administrators, else all of them."""
        administrators = self.env["res.users"]._odooops_administrators()
        managers = self.project_id._release_managers()
        return managers - self.break_glass_by_id or administrators - self.break_glass_by_id or administrators

    def _review_summary(self):
        """Return summary and note of the activity that asks for the review."""
        raise NotImplementedError

    def _remind_reviewers(self):
        summary, note = self._review_summary()
        for user in self._reviewers():
            self.with_context(mail_activity_automation_skip=False).activity_schedule(
                self._review_activity, user_id=user.id, summary=summary, note=note
            )

    def action_open_review(self):
        """Open the wizard in which a broken glass is reviewed."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Review: %s", self.name),
            "res_model": "odooops.rollback.review.wizard",
            "view_mode": "form",
            "target": "new",
            "context": {f"default_{self._decision_link}": self.id},
        }

    @interactive_only
    def action_review(self, note):
        """Write down the review of a broken glass, which ends its activities.

        :param str note: what was found
        :raises: one sentence for the one who broke the glass, and for those who may not review
        """
        self.ensure_one()
        self._review(note)
        return {"type": "ir.actions.act_window_close"}

    def _review(self, note):
        self.check_access("read")
        self._check_reviewer()
        note = (note or "").strip()[:_MAX_NOTE]
        if not note:
            raise UserError(self.env._("Write down what you found: the review is part of the audit."))
        user, record = self.env.user, self.sudo()
        record.write({"reviewed_by_id": user.id, "reviewed_at": fields.Datetime.now(), "review_note": note})
        record._say(self.env._("Reviewed by %(user)s: %(note)s", user=user.name, note=note))
        action = f"{self._audit_noun_of_review}.reviewed"
        self.env["odooops.audit.event"]._record(record, action, user=user.login, note=note)
        activities = record.with_context(mail_activity_automation_skip=False)
        activities.activity_feedback([self._review_activity], feedback=note)

    def _check_reviewer(self):
        if not self.needs_review:
            raise UserError(self.env._("%s needs no review.", self.name))
        if not self.env.user.has_group("odooops_control.group_administrator"):
            self.project_id._require_role("release_manager")
        # A second account of one's own is no second person.
        if self.env.user._odooops_people() == self.sudo().break_glass_by_id._odooops_people():
            raise UserError(self.env._("You broke this glass yourself: another person has to review it."))

    @api.model
    def _remind_of_reviews(self):
        """Ask again for the reviews that nobody has in hand any more, such as those of people who left."""
        for record in self.sudo().search([("needs_review", "=", True)]):
            if not record.activity_search([self._review_activity]):
                record._remind_reviewers()
