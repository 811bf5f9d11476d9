"""What happens when production turns red while a deployment is watched: people are told, or it goes back by itself."""

import json
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import MissingError, UserError

from ..core import rollback, rules, summary


class OdooopsEnvironment(models.Model):
    _inherit = "odooops.environment"

    red_since = fields.Datetime(readonly=True, copy=False, help="Without a break, as its agent reports.")

    def write(self, vals):
        """Note since when it is red, whoever says so."""
        red = self.filtered("red_since")
        done = super().write(vals)
        if vals.get("health") == "red":
            super(OdooopsEnvironment, (self - red).sudo()).write({"red_since": fields.Datetime.now()})
        elif "health" in vals and red:
            super(OdooopsEnvironment, red.sudo()).write({"red_since": False})
        return done


class OdooopsDeployment(models.Model):
    _inherit = "odooops.deployment"

    former_id = fields.Many2one(
        "odooops.deployment",
        string="Ran before",
        readonly=True,
        copy=False,
        ondelete="restrict",
        index="btree_not_null",
    )
    soak_rollback_ids = fields.One2many("odooops.rollback.request", "failed_soak_id", readonly=True)

    def _on_deployed(self, operation, result):  # pylint: disable=missing-return
        """Keep what ran before: a failed watch goes back to that and to nothing else."""
        former = self.environment_id.running_deployment_id - self
        super()._on_deployed(operation, result)
        if self.state in ("soaking", "live") and former.release_id != self.release_id:
            self.former_id = former

    def _grant_terms(self, operation):
        """Add up to which loss a failed watch may go back: who approved agreed to that too."""
        terms = super()._grant_terms(operation)
        return {**terms, "loss_bound": self._planned_loss_bound()} if self else terms

    def _planned_loss_bound(self):
        """Return up to which loss it would go back by itself to what runs now, None when it would not."""
        running = self.environment_id.running_release_id
        if not running or running == self.release_id:
            return None
        return self._ruled_loss_bound()

    def _ruled_loss_bound(self):
        if self.tier != "production" or not self._soak_minutes():
            return None
        return rules.soak_bound(self._rules())

    def _agreed_loss_bound(self):
        """Return what was signed with the deployment, and no more than the policy allows by now."""
        signed, ruled = self._signed_loss_bound(), self._ruled_loss_bound()
        return rollback.agreed([signed, ruled]) if signed and ruled else None

    def _signed_loss_bound(self):
        grant = self._deploy_operation().grant
        return json.loads(grant["document"])["loss_bound"] if grant else None

    def _deploy_operation(self):
        """Return the operation that brought it here."""
        done = self.sudo().operation_ids.filtered(lambda one: (one.kind, one.state) == ("deploy", "succeeded"))
        return done.sorted("id")[-1:]

    def _summary(self):
        bound = self._planned_loss_bound()
        watched = summary.watching(self._soak_minutes(), bound, self.environment_id.running_tag)
        return {**super()._summary(), "watched": watched if self.tier == "production" else None}

    @api.model
    def _fail_soaks(self):
        """Begin the way back of what is red for long enough while it is watched."""
        before = fields.Datetime.now() - timedelta(minutes=rules.RED_MINUTES)
        failed = self.sudo().search([("state", "=", "soaking"), ("environment_id.red_since", "<=", before)])
        for deployment in failed.try_lock_for_update(allow_referencing=True):
            deployment._fail_soak()

    def _fail_soak(self):
        """Ask for the rollback, once, where one is allowed and nothing else is about to change production."""
        environment = self.environment_id
        others = environment._active_deployments().filtered(lambda one: one.state in ("queued", "running"))
        if not self._agreed_loss_bound() or not self.former_id or self.soak_rollback_ids:
            return
        if others or environment._active_rollback() or environment.running_deployment_id != self:
            return
        try:
            # What was begun is undone with it: a refused request leaves nothing behind.
            with self.env.cr.savepoint():
                self._request_soak_rollback()
        except (UserError, MissingError) as error:
            self.project_id._notify_release_managers(
                self, self.env._("%s is red and does not go back by itself", self.name), str(error)
            )

    def _request_soak_rollback(self):
        reason = self.env._(
            "%(tag)s was red for %(minutes)s minutes while it was watched: %(detail)s",
            tag=self.tag,
            minutes=rules.RED_MINUTES,
            detail=self.environment_id.health_detail or self.env._("its agent gives no reason."),
        )
        Request = self.env["odooops.rollback.request"]
        request, _is_new = Request._request(self.environment_id, self.former_id.tag, reason)
        request.failed_soak_id = self

    def _watch_again(self, now):  # pylint: disable=missing-return
        """Tell nobody a second time that it is red while its way back is under way."""
        if self.soak_rollback_ids.filtered("is_active"):
            self.soak_until = now + timedelta(minutes=max(self._soak_minutes(), 1))
        else:
            super()._watch_again(now)


class OdooopsRollbackRequest(models.Model):
    _inherit = "odooops.rollback.request"

    failed_soak_id = fields.Many2one(
        "odooops.deployment",
        string="Watch that failed",
        readonly=True,
        copy=False,
        ondelete="restrict",
        index="btree_not_null",
        help="It was asked for because this turned red while it was watched.",
    )

    _failed_soak_uniq = models.UniqueIndex(
        "(failed_soak_id) WHERE failed_soak_id IS NOT NULL", "That failed watch has its rollback already."
    )

    def _soak_refusal(self):
        """Return why nobody agreed beforehand to what the preview shows, or None when the approvers did."""
        failed = self.failed_soak_id
        bound = failed._agreed_loss_bound() if failed else None
        if not bound:
            return self.env._("No approval or policy lets it go back by itself.")
        if failed.state != "soaking" or self.left_id != failed or self.environment_id.running_deployment_id != failed:
            return self.env._("Something else runs by now, or the watch is over.")
        if self.target_release_id != failed.former_id.release_id:
            return self.env._("It is not the release that ran before.")
        if self.mode not in ("code", "full"):
            return self.env._("Only a backup is left to go back to.")
        above = rollback.above(rollback.mode_of(self.preview, self.mode).get("loss"), bound)
        return self.env._("It would lose more than was agreed to: %s.", ", ".join(above)) if above else None

    def _goes_by_itself(self):
        """Return whether it goes under the approvals of the deployment that failed, and not under its own."""
        return bool(self.failed_soak_id) and not self.approval_ids.filtered("current") and not self._soak_refusal()

    def _run_refusal(self):
        return self._bar_refusal() if self._goes_by_itself() else super()._run_refusal()

    def _agreed_ceiling(self):
        if not self._goes_by_itself():
            return super()._agreed_ceiling()
        return self.failed_soak_id._agreed_loss_bound() if self.mode == "full" else None

    def _grant_terms(self, operation):
        """Name who approved the deployment: its grant included the way back."""
        if self and self._goes_by_itself():
            approvers = self.failed_soak_id._deploy_operation().grant_approvers
            return {"approvers": approvers or [], "break_glass": False}
        return super()._grant_terms(operation)

    def _ask_or_go(self):
        """Leave alone what healed while the agent looked."""
        healed = self.filtered(lambda one: one.failed_soak_id and one.environment_id.health == "green")
        for request in healed._update_state("cancelled"):
            request._say(self.env._("%s is well again, so it stays.", request.environment_id.key))
        return super(OdooopsRollbackRequest, self - healed)._ask_or_go()

    def _go(self):
        if self._goes_by_itself():
            approvers = self.failed_soak_id._deploy_operation().grant_approvers or []
            names = ", ".join(one["name"] for one in approvers)
            self._say(self.env._("It goes back by itself, as %s agreed to with the deployment.", names))
            self.env["odooops.audit.event"]._record(
                self,
                "rollback.by_itself",
                deployment=self.failed_soak_id.id,
                approvers=", ".join(one["login"] for one in approvers),
                ceiling=self._agreed_ceiling(),
            )
        return super()._go()

    def _decision_activity(self):
        """Say first that it burns, and why it does not go by itself."""
        if not self.failed_soak_id:
            return super()._decision_activity()
        why = self._soak_refusal() or self._bar_refusal() or ""
        return (
            self.env._("Urgent, %(environment)s is red: %(name)s", environment=self.environment_id.key, name=self.name),
            self.env._("It waits for you. %s Read what would be lost, then approve or reject.", why),
        )
