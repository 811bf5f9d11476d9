from dataclasses import replace

from odoo import api, fields, models
from odoo.addons.base.models.res_users import check_identity
from odoo.exceptions import AccessError, UserError

from ..core import conditions
from .mixins import interactive_only

_MAX_REASON = 500


class OdooopsDeployment(models.Model):
    """A freeze that an administrator does not wait for; approvals and all else count as ever."""

    _inherit = "odooops.deployment"
    _review_activity = "odooops_control.mail_activity_review_window"
    _audit_noun_of_review = "deployment"

    can_break_glass = fields.Boolean(compute="_compute_can_break_glass")

    @api.depends("state", "break_glass_count")
    def _compute_can_break_glass(self):
        for deployment in self:
            deployment.can_break_glass = bool(deployment.sudo()._freezes_in_the_way())

    def _start_conditions(self, now):
        return [self._past_broken_glass(one) for one in super()._start_conditions(now)]

    def _past_broken_glass(self, condition):
        """Return the condition as it counts: a freeze does not where its glass was broken."""
        if not condition or condition.key not in conditions.FREEZES or condition.state == conditions.GREEN:
            return condition
        if not self._is_glass_broken():
            return condition
        by, why = self.break_glass_by_id.name, self.break_glass_reason
        return replace(condition, state=conditions.OVERRIDDEN, mend="", blocks="", by=by, why=why)

    def _freezes_in_the_way(self):
        """Return the closed window and the business that keep this from beginning."""
        if self.state not in ("awaiting_approval", "approved", "queued"):
            return []
        return [one for one in self._standing_in_the_way(conditions.START) if one.key in conditions.FREEZES]

    def action_open_glass(self):
        """Open the wizard in which the glass of a freeze window is broken."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Break the glass: %s", self.name),
            "res_model": "odooops.glass.wizard",
            "view_mode": "form",
            "target": "new",
            "context": {"default_deployment_id": self.id, "default_plan_hash": self.plan_hash},
        }

    @interactive_only
    @check_identity
    def action_break_glass(self, plan_hash, reason):
        """Let what was agreed to begin although a freeze holds; another person reviews it in any case.

        :param str plan_hash: the hash of the plan they saw
        :param str reason: why it can't wait
        :raises: one sentence for those who are no administrators or saw another plan, and where there is no freeze
        """
        self.ensure_one()
        self.check_access("read")
        self._check_may_break_glass()
        self.sudo()._break_glass(self.env.user, plan_hash, reason)
        return {"type": "ir.actions.act_window_close"}

    def _check_may_break_glass(self):
        if not self.env.user.has_group("odooops_control.group_administrator"):
            raise AccessError(self.env._("Only an administrator breaks the glass: ask one, or wait for the window."))

    def _break_glass(self, user, plan_hash, reason):
        reason = " ".join(reason.split())[:_MAX_REASON] if isinstance(reason, str) else ""
        if not reason:
            raise UserError(self.env._("Say why it can't wait: whoever reviews it reads that."))
        if not plan_hash or plan_hash != self.plan_hash:
            raise UserError(self.env._("The plan has changed since you saw it: reload it and read the new one."))
        freezes = self._freezes_in_the_way()
        if not freezes:
            raise UserError(self.env._("No freeze keeps %s from beginning: there is no glass.", self.name))
        self._note_broken_glass(user, reason, freezes=" ".join(one.detail for one in freezes))
        if self.state == "approved":
            self._enqueue_deploy()

    def _review_summary(self):
        return (
            self.env._("Review: %s did not wait for its window", self.name),
            self.env._(
                "%(user)s broke the glass: %(reason)s Open the deployment, look at how it went, and press Review.",
                user=self.break_glass_by_id.name,
                reason=self.break_glass_reason,
            ),
        )
