from odoo import api, fields, models
from odoo.exceptions import UserError

from ..core import rules

_MAX_REASON = 500


class OdooopsDeployment(models.Model):
    _inherit = "odooops.deployment"

    rules_kept = fields.Json(
        readonly=True,
        copy=False,
        prefetch=False,
        help="What the policy asked for since this was requested, at its strictest.",
    )
    hotfix_reason = fields.Char(string="Hotfix", readonly=True, copy=False, help="Why it can't take the long way.")
    hotfix_by_id = fields.Many2one("res.users", string="Hotfix declared by", readonly=True, copy=False)
    can_be_hotfix = fields.Boolean(compute="_compute_can_be_hotfix")

    @api.depends("state", "risk_tier", "hotfix_reason")
    def _compute_can_be_hotfix(self):
        for deployment in self:
            deployment.can_be_hotfix = not deployment.sudo()._hotfix_refusal()

    def _start_planning(self):
        """Keep what the policy asks for: weakened while this is pending, it counts as it was."""
        for deployment in self:
            deployment.rules_kept = deployment._rules()
        return super()._start_planning()

    def _rules(self):
        """Return what the policy asks for, the stricter of then and now."""
        self.ensure_one()
        return rules.stricter(self.rules_kept, self.policy_id._asked())

    def _approval_hours(self):
        return self._rules()["approval_hours"]

    def _soak_minutes(self):
        return 0 if self._is_hotfix() else self._rules()["soak_minutes"]

    # Who decides

    def _authors(self):
        """Return who asked for it, or wrote or registered what is new in it: they don't approve it."""
        written = self.release_id._brought_to(self.environment_id.running_release_id).author_id
        return self.requested_by_id | written | self.release_id.registered_by_id

    def _approvers(self):
        """Add the customer's approvers where the policy says that they count."""
        people = super()._approvers()
        if self._rules()["customer_approves"]:
            people |= self.project_id._members_of_role("approver")
        return people

    def _approver_groups(self):
        """Return the groups that an approver has to be in, those of the policy as it was included."""
        groups = self.env["res.groups"].browse(self._rules()["group_ids"]).exists()
        return groups | self.env.ref("odooops_control.group_release_manager")

    def _second_groups(self):
        """Return the groups of which another approver has to be, with critical risk."""
        asked = self._rules()["second_group_ids"] if self.risk_tier == "critical" else []
        return self.env["res.groups"].browse(asked).exists().sudo()

    def _is_customer(self, user):
        """Return whether they approve for the customer."""
        return self._rules()["customer_approves"] and self.project_id._role_of(user) == "approver"

    def _is_of_first_group(self, user):
        return self._approver_groups() <= user.sudo().all_group_ids or self._is_customer(user)

    def _may_decide(self, voice):
        """Take in who may decide although they are not of the policy's group: customers, and the second group."""
        if super()._may_decide(voice) or (voice.active and self._is_customer(voice)):
            return True
        groups, second = voice.sudo().all_group_ids, self._second_groups()
        manages = self.env.ref("odooops_control.group_release_manager") in groups
        return bool(second) and voice.active and manages and second <= groups

    def _is_decider(self, voice):
        return super()._is_decider(voice) or self._is_customer(voice)

    def _is_needed(self, voice):
        """Prefer, with critical risk, the group of which nobody has approved."""
        second, question = self._second_groups(), self._question()
        if not second or (question.first and question.second):
            return True
        return self._is_of_first_group(voice) if question.second else second <= voice.sudo().all_group_ids

    # Hotfixes

    def _is_hotfix(self):
        """Return whether it goes the short way, which ends when its risk is found to be higher."""
        return bool(self.hotfix_reason) and not rules.hotfix_refusal(self.tag, self._rules(), self.risk_tier)

    def _hotfix_refusal(self):
        """Return why it can't go the short way, or None."""
        if self.tier != "production" or self.state not in ("planned", "awaiting_approval"):
            return self.env._(
                "%(name)s is %(state)s: it can't become a hotfix.", name=self.name, state=self._label().lower()
            )
        if self.hotfix_reason:
            return self.env._("%s is a hotfix already.", self.name)
        return rules.hotfix_refusal(self.tag, self._rules(), self.risk_tier)

    def _overrides(self):
        """A hotfix has no time on staging to wait for, under the name of who declared it."""
        known = super()._overrides()
        if self._is_hotfix():
            known["staging_time"] = (self.hotfix_by_id.name, self.hotfix_reason)
        return known

    def action_open_hotfix(self):
        """Open the wizard in which a hotfix is declared."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Hotfix: %s", self.name),
            "res_model": "odooops.hotfix.wizard",
            "view_mode": "form",
            "target": "new",
            "context": {"default_deployment_id": self.id},
        }

    def action_hotfix(self, reason):
        """Go the short way: no time on staging, no watching, one other person's approval.

        :param str reason: why it can't wait; it stands on the approval page and in the audit
        :raises: one sentence for who may not, and for what is no hotfix
        """
        self.ensure_one()
        self.check_access("read")
        self.project_id._require_role("developer", "release_manager")
        deployment = self.sudo()
        deployment._refuse(deployment._hotfix_refusal())
        reason = " ".join(reason.split())[:_MAX_REASON] if isinstance(reason, str) else ""
        if not reason:
            raise UserError(self.env._("Say why it can't wait: whoever approves reads it."))
        deployment.write({"hotfix_reason": reason, "hotfix_by_id": self.env.uid})
        deployment._say(self.env._("%(user)s made it a hotfix: %(reason)s", user=self.env.user.name, reason=reason))
        self.env["odooops.audit.event"].sudo()._record(
            deployment, "deployment.hotfix", reason=reason, risk=deployment.risk_tier
        )
        deployment._void_decisions(self.env._("It became a hotfix after it was read."))
        deployment.filtered(lambda one: one.state == "planned" and not one._request_refusal())._ask_for_approval()
        return {"type": "ir.actions.act_window_close"}

    # What became void

    @api.model
    def _renew_void(self):
        """Plan again, with notice, what was approved under another policy or too long ago."""
        for deployment in self.sudo().search([("state", "in", ("awaiting_approval", "approved"))]):
            if why := deployment._void_reason():
                deployment._plan_again(self.env._("%s Planned, and to be approved, again.", why))

    def _void_reason(self):
        """Return why what was decided does not count any more, or None."""
        if self.policy_reference != self.policy_id._reference():
            return self.env._("The approval policy changed.")
        old = self.approval_ids.filtered(lambda one: one._is_current() and one._is_too_old())
        if old:
            return self.env._(
                "The approval of %(name)s is older than %(hours)s hours.",
                name=old[0].user_id.name,
                hours=self._approval_hours(),
            )
        return None
