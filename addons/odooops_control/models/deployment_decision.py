from odoo import api, fields, models
from odoo.addons.base.models.res_users import check_identity
from odoo.exceptions import UserError

from ..core import conditions, policy, rules
from .mixins import interactive_only

_APPROVAL_ACTIVITY = "odooops_control.mail_activity_approval"


class OdooopsDeployment(models.Model):
    _inherit = "odooops.deployment"
    _decision_link = "deployment_id"
    _approval_activity = _APPROVAL_ACTIVITY

    @api.depends("approval_ids.decision", "plan_hash", "plan_count", "policy_id.version", "risk_tier", "hotfix_reason")
    def _compute_approvals(self):
        for deployment in self:
            deployment._fill_approvals()

    @api.depends("state", "plan_hash", "plan_count", "approval_ids")
    @api.depends_context("uid")
    def _compute_can_decide(self):
        person = self.env.user
        for deployment in self:
            deployment.can_decide = not deployment.sudo()._approval_refusal(person, deployment.plan_hash)

    def _decided_on(self):
        return self.plan_hash, self.plan_count

    def _audited_with_decision(self):
        return {"author_unknown": self.author_unknown}

    def _question(self):
        """Return what is to be decided, for the core."""
        self.ensure_one()
        approvals, both = self._valid_approvals(), self._second_groups()
        of_first = approvals.filtered(lambda one: self._is_of_first_group(one._voice()))
        of_second = approvals.filtered(lambda one: both <= one._voice().all_group_ids)
        return policy.Question(
            name=self.name,
            state=self.state,
            state_label=self._label(),
            plan_hash=self.plan_hash or "",
            policy_current=self.policy_reference == self.policy_id._reference(),
            authors=self._author_people(),
            approved_by=frozenset(approvals.user_id._odooops_people()),
            spoken_for=frozenset(approvals.for_user_id._odooops_people()),
            first=frozenset(of_first.user_id._odooops_people()),
            second=frozenset(of_second.user_id._odooops_people()) if both else None,
            groups=self.env._(
                "%(first)s and %(second)s",
                first=", ".join(self._approver_groups().mapped("name")),
                second=", ".join(both.mapped("name")),
            ),
            needed=self._approvals_needed(),
            group_name=(self.policy_id.group_id.name or self.env._("Release Manager")).lower(),
            project=self.project_id.code,
        )

    def _author_people(self):
        return frozenset(self._authors()._odooops_people())

    def _approvals_needed(self):
        """Return how many people have to approve: on production one at least, whatever the policy says."""
        least = 1 if "production" in (self.tier, self.environment_id.tier) else 0
        return rules.approvals(self._rules(), self.risk_tier, least, self._is_hotfix())

    def _ask_for_approval(self):
        """Wait for people when the policy says so, else go on; nobody is asked before a machine is content."""
        for deployment in self:
            if refusal := deployment._request_refusal():
                deployment._say(self.env._("Nobody is asked yet. %s", refusal))
            elif policy.is_approved(deployment._question()):
                deployment._update_state("approved")._enqueue_deploy()
            else:
                for waiting in deployment._update_state("awaiting_approval"):
                    waiting._remind_approvers()

    def _remind_approvers(self):
        users = self._who_may_approve()
        self._ask(users)
        if users:
            self._say(self.env._("Waits for the approval of %s.", ", ".join(users.mapped("name"))))
            if self.author_unknown:
                self._say(
                    self.env._(
                        "The author of %s is no user here: whoever approves says that it is not theirs.", self.tag
                    )
                )
        else:
            self._say(
                self.env._(
                    "Nobody may approve this: make someone else than its author a release manager of project %s.",
                    self.project_id.code,
                )
            )

    def _ask(self, users):
        """Give these people the activity that asks for their decision."""
        for user in users:
            # A caller's context must not leave people unasked.
            self.with_context(mail_activity_automation_skip=False).activity_schedule(
                _APPROVAL_ACTIVITY,
                user_id=user.id,
                summary=self.env._("Approve %s", self.name),
                note=self.env._("Read what changes and what has to be true, then approve or reject."),
            )

    @api.model
    def _cron_reminders(self):
        """Ask again who may decide by now and has nothing to remind them; tell administrators what is overdue."""
        for deployment in self.sudo().search([("state", "=", "awaiting_approval")]):
            asked = deployment.activity_search([_APPROVAL_ACTIVITY])
            deployment._ask(deployment._who_may_approve() - asked.user_id)
            if any(one.date_deadline < fields.Date.context_today(one) for one in asked):
                deployment._escalate()

    def _escalate(self):
        """Tell the administrators that nobody decides, once."""
        summary = self.env._("Nobody decides on %s", self.name)
        kind = "mail.mail_activity_data_warning"
        told = self.activity_search([kind]).filtered(lambda one: one.summary == summary)
        for user in self.env["res.users"]._odooops_administrators() - told.user_id:
            self.with_context(mail_activity_automation_skip=False).activity_schedule(
                kind, user_id=user.id, summary=summary, note=self.env._("Ask those who may, or find somebody else.")
            )

    def action_open_approval(self):
        """Open the wizard that shows the plan and asks for the decision."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Decide on %s", self.name),
            "res_model": "odooops.approval.wizard",
            "view_mode": "form",
            "target": "new",
            "context": {"default_deployment_id": self.id, "default_plan_hash": self.plan_hash},
        }

    @interactive_only
    @check_identity
    def action_approve(self, plan_hash, note=""):
        """Approve the plan that the user saw, from their own session in the web client.

        :param str plan_hash: the hash of the plan they saw
        :param str note: what they checked
        :raises: one sentence for whoever may not, or no longer, approve
        """
        self.ensure_one()
        self.check_access("read")
        if self.author_unknown and not (note or "").strip():
            raise UserError(
                self.env._(
                    "The author of %s is no user here: write in the note what you checked, and that it is not yours.",
                    self.tag,
                )
            )
        self.sudo()._approve(self.env.user, plan_hash, note)
        return {"type": "ir.actions.act_window_close"}

    def action_reject(self, plan_hash=None, note=""):
        """Reject a deployment; this may come over the API as well.

        :param str plan_hash: the hash of the plan they saw, when it matters to them
        :param str note: why
        """
        self.ensure_one()
        self.check_access("read")
        self.sudo()._reject(self.env.user, plan_hash or self.plan_hash, note)
        return {"type": "ir.actions.act_window_close"}

    def _approve(self, user, plan_hash, note=""):
        """Record an approval; with the last one needed, queue the deployment."""
        self.ensure_one()
        if self.state == "planned":
            raise UserError(
                self.env._(
                    "Nobody is asked about %(name)s yet. %(why)s", name=self.name, why=self._request_refusal() or ""
                )
            )
        self._refuse(self._approval_refusal(user, plan_hash))
        self._refuse(self._request_refusal())
        self._decide(user, "approved", note, away=self._away(user, policy.approval_refusal))
        if policy.is_approved(self._question()):
            self._update_state("approved")._enqueue_deploy()

    def _reject(self, user, plan_hash, note=""):
        """Record a rejection, which ends the deployment."""
        self.ensure_one()
        away = self._away(user, policy.refusal)
        self._refuse(policy.refusal(self._question(), self._person(user, away), plan_hash))
        self._decide(user, "rejected", note, away=away)
        self.operation_ids._cancel()
        self._update_state("rejected")

    def _run_refusal(self):
        """Return why what was agreed to does not hold any more, or None; what passes by itself is no reason."""
        lasting = [
            one
            for one in self._standing_in_the_way(conditions.REQUEST, conditions.START)
            if one.key not in conditions.FLEETING
        ]
        if any(one.key == "approvals" for one in lasting):
            return self.env._("An approval is missing, or does not count any more.")
        return lasting[0].sentence() if lasting else None

    def _may_run(self):
        """Return whether everything still holds now that the agent wants to begin.

        Someone may have lost the right to approve meanwhile, or time has passed; then the plan is
        made and asked for anew.
        """
        if refusal := self._run_refusal():
            self._plan_again(self.env._("%s So this is planned, and has to be approved, again.", refusal))
            return False
        self._keep_conditions()
        return True

    def _has_to_wait(self):
        """Return whether nothing but what passes by itself stands in the way of its beginning."""
        found = self._standing_in_the_way(conditions.REQUEST, conditions.START)
        return bool(found) and all(one.key in conditions.FLEETING for one in found)
