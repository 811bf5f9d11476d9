from datetime import timedelta

from odoo import api, fields, models
from odoo.addons.base.models.res_users import check_identity
from odoo.exceptions import AccessError, UserError
from odoo.tools import plaintext2html

from ..core import policy, rollback
from .mixins import interactive_only
from .rollback import _APPROVAL_ACTIVITY


class OdooopsRollbackRequest(models.Model):
    _inherit = "odooops.rollback.request"
    _review_activity = "odooops_control.mail_activity_break_glass"
    _audit_noun_of_review = "rollback"
    _glass_replaces_approvals = True

    @api.depends("approval_ids.decision", "preview_hash", "preview_count", "mode", "policy_id.approvals_needed")
    def _compute_approvals(self):
        for request in self:
            request._fill_approvals()

    @api.depends("state", "preview_hash", "preview_count", "approval_ids")
    @api.depends_context("uid")
    def _compute_can_decide(self):
        person = self.env.user
        for request in self:
            request.can_decide = not request.sudo()._approval_refusal(person, request.preview_hash)

    def _decided_on(self):
        return self.preview_hash, self.preview_count

    def _question(self):
        """Return what is to be decided, for the core.

        Going back with the code alone loses nothing: one release manager is enough, also the one who asked.
        """
        self.ensure_one()
        rules, approvals = self.policy_id, self._valid_approvals()
        return policy.Question(
            name=self.name,
            state=self.state,
            state_label=self._label(),
            plan_hash=self.preview_hash or "",
            policy_current=self.policy_reference == rules._reference(),
            authors=self._author_people(),
            approved_by=frozenset(approvals.user_id._odooops_people()),
            spoken_for=frozenset(approvals.for_user_id._odooops_people()),
            needed=self._approvals_needed(),
            group_name=self._group_name(),
            project=self.project_id.code,
            document="preview",
            renewal=self.env._("look again"),
            unread=("draft", "previewing"),
        )

    def _author_people(self):
        return frozenset() if self.mode == "code" else frozenset(self.requested_by_id._odooops_people())

    def _group_name(self):
        group = self.policy_id.group_id if self.mode != "code" else self.env["res.groups"]
        return (group.name or self.env._("Release Manager")).lower()

    def _approver_groups(self):
        managers = self.env.ref("odooops_control.group_release_manager")
        return managers if self.mode == "code" else super()._approver_groups()

    def _approvals_needed(self):
        """Return how many people have to approve: as for deployments, and at most one where nothing is lost."""
        least = 1 if "production" in (self.tier, self.environment_id.tier) else 0
        needed = max(least, self.policy_id.approvals_needed)
        return min(1, needed) if self.mode == "code" else needed

    def _facts_refusal(self):
        """Return why the preview does not describe what would happen any more, or None."""
        environment = self.environment_id
        if environment.running_deployment_id != self.left_id:
            return self.env._(
                "%(environment)s runs %(tag)s by now, not %(left)s: look again.",
                environment=environment.key,
                tag=environment.running_tag or self.env._("nothing"),
                left=self.left_id.tag,
            )
        age = fields.Datetime.now() - self.preview_at if self.preview_at else timedelta(0)
        if self.mode != "code" and age > timedelta(minutes=rollback.PREVIEW_MINUTES):
            return self.env._(
                "The preview of %(name)s is %(minutes)s minutes old, and people went on working: look again, "
                "then decide.",
                name=self.name,
                minutes=age // timedelta(minutes=1),
            )
        return self._bar_refusal()

    def _bar_refusal(self):
        """Return why the target may not run here, or None."""
        return self.target_release_id._bar_sentence(self.tag) if self.tier == "production" else None

    def _run_refusal(self):
        """Return why the rollback may not begin, or None when nothing bars it and people agreed or broke the glass."""
        if not self._is_glass_broken() and not policy.is_approved(self._question()):
            return self.env._("An approval is missing, or does not count any more.")
        return self._bar_refusal()

    def _may_run(self):
        """Return whether the approvals still hold now that the agent wants to begin; else look and ask again."""
        refusal = self._run_refusal()
        if not refusal:
            return True
        self._preview_again(self.env._("%s So this is looked at, and has to be approved, again.", refusal))
        return False

    def _ask_or_go(self):
        """Wait for people when the policy says so, else go on."""
        for request in self:
            if not request._run_refusal():
                request._go()
                continue
            for waiting in request._update_state("awaiting_approval"):
                waiting._remind_approvers()

    def _go(self):
        """Have the agent carry it out, losing no more than all approvers agreed to."""
        self.ceiling = self._agreed_ceiling() or False
        self._update_state("approved")._enqueue_rollback()

    def _agreed_ceiling(self):
        """Return what all who agreed allow to be lost, None for no bound."""
        return rollback.agreed(self._valid_approvals().mapped("ceiling"))

    def _decision_activity(self):
        """Return summary and note of the activity that asks for a decision."""
        return (
            self.env._("Decide: %s", self.name),
            self.env._("Read what comes back and what would be lost, then approve or reject."),
        )

    def _remind_approvers(self):
        users, (summary, note) = self._who_may_approve(), self._decision_activity()
        for user in users:
            # A caller's context must not leave people unasked.
            self.with_context(mail_activity_automation_skip=False).activity_schedule(
                _APPROVAL_ACTIVITY,
                user_id=user.id,
                summary=summary,
                note=plaintext2html(note),
            )
        if users:
            self._say(self.env._("Waits for the approval of %s.", ", ".join(users.mapped("name"))))
        else:
            self._say(
                self.env._(
                    "Nobody may approve this: make someone a release manager of %s who did not ask for it.",
                    self.project_id.code,
                )
            )

    def action_open_decision(self):
        """Open the wizard in which the preview is approved or rejected."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Decide: %s", self.name),
            "res_model": "odooops.rollback.decision.wizard",
            "view_mode": "form",
            "target": "new",
            "context": {"default_rollback_id": self.id, "default_preview_hash": self.preview_hash},
        }

    @interactive_only
    @check_identity
    def action_approve(self, preview_hash, note="", percent=10, minutes=30, invoices=0, payments=0, ceiling_reason=""):
        """Approve what the user saw, from their own session in the web client.

        :param str preview_hash: the hash of the preview they saw
        :param str note: what they checked
        :param int percent: by how many percent more records than previewed may be lost
        :param int minutes: how many more minutes of work may be lost
        :param int invoices: how many more posted entries may be lost
        :param int payments: how many more payments may be lost
        :param str ceiling_reason: why, when any of these is above the default
        :raises: one sentence for whoever may not, or no longer, approve
        """
        self.ensure_one()
        self.check_access("read")
        allowance = self._allowance(percent, minutes, invoices, payments)
        self.sudo()._approve(self.env.user, preview_hash, note, allowance, ceiling_reason)
        return {"type": "ir.actions.act_window_close"}

    @api.model
    def _allowance(self, *numbers):
        if any(not isinstance(one, int) or isinstance(one, bool) or not 0 <= one <= 100000 for one in numbers):
            raise UserError(self.env._("Give what more may be lost as whole numbers from 0 on."))
        return rollback.Allowance(*numbers)

    def action_reject(self, preview_hash=None, note=""):
        """Reject a rollback; this may come over the API as well.

        :param str preview_hash: the hash of the preview they saw, when it matters to them
        :param str note: why
        """
        self.ensure_one()
        self.check_access("read")
        self.sudo()._reject(self.env.user, preview_hash or self.preview_hash, note)
        return {"type": "ir.actions.act_window_close"}

    def _approve(self, user, preview_hash, note="", allowance=rollback.DEFAULT, ceiling_reason=""):
        """Record an approval with its ceiling; with the last one needed, queue the rollback."""
        self.ensure_one()
        self._refuse(self._approval_refusal(user, preview_hash))
        self._refuse(self._facts_refusal())
        reason = (ceiling_reason or "").strip()
        if rollback.is_raised(allowance) and not reason:
            raise UserError(self.env._("Say why more may be lost than usual: it stands beside your approval."))
        loss = rollback.mode_of(self.preview, self.mode).get("loss")
        self._decide(
            user,
            "approved",
            note,
            away=self._away(user, policy.approval_refusal),
            ceiling=rollback.ceiling(loss, allowance) or False,
            ceiling_reason=reason or False,
        )
        if policy.is_approved(self._question()):
            self._go()

    def _reject(self, user, preview_hash, note=""):
        """Record a rejection, which ends the rollback."""
        self.ensure_one()
        away = self._away(user, policy.refusal)
        self._refuse(policy.refusal(self._question(), self._person(user, away), preview_hash))
        self._decide(user, "rejected", note, away=away)
        self.operation_ids._cancel()
        self._update_state("rejected")

    # Breaking the glass

    @interactive_only
    @check_identity
    def action_break_glass(self, preview_hash, reason):
        """Roll back at once, without approval; another person reviews it afterwards, in any case.

        :param str preview_hash: the hash of the preview they saw
        :param str reason: why it can't wait
        :raises: one sentence for those who are no administrators, or saw another preview
        """
        self.ensure_one()
        self.check_access("read")
        if not self.env.user.has_group("odooops_control.group_administrator"):
            raise AccessError(
                self.env._("Only an administrator breaks the glass: ask one, or a release manager to approve.")
            )
        self.sudo()._break_glass(self.env.user, preview_hash, reason)
        return {"type": "ir.actions.act_window_close"}

    def _break_glass(self, user, preview_hash, reason):
        self.ensure_one()
        self._require_undecided(self.env._("there is no glass to break"))
        reason = self._checked_reason(reason)
        if not preview_hash or preview_hash != self.preview_hash:
            raise UserError(self.env._("The preview has changed since you saw it: reload it and read the new one."))
        if self.environment_id.running_deployment_id != self.left_id:
            self._refuse(self._facts_refusal())
        # A broken glass is no way around a quarantine: lifting that is a decision of its own, with a reason.
        self._refuse(self._bar_refusal())
        self._note_broken_glass(user, reason, mode=self.mode)
        self.ceiling = False
        self._update_state("approved")._enqueue_rollback()

    def _review_summary(self):
        return (
            self.env._("Review: %s went without approval", self.name),
            self.env._(
                "%(user)s broke the glass: %(reason)s Open the rollback, look at what was lost, and press Review.",
                user=self.break_glass_by_id.name,
                reason=self.break_glass_reason,
            ),
        )
