from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError

from ..core import protocol, transitions
from .environment import TIERS

STATES = [
    ("draft", "Planning"),
    ("planned", "Planned"),
    ("awaiting_approval", "Awaiting approval"),
    ("approved", "Approved"),
    ("queued", "Queued"),
    ("running", "Running"),
    ("soaking", "Soaking"),
    ("live", "Live"),
    ("superseded", "Superseded"),
    ("rejected", "Rejected"),
    ("cancelled", "Cancelled"),
    ("failed", "Failed"),
    ("rolled_back", "Rolled back"),
    ("indeterminate", "Indeterminate"),
]
_ACTIVE_SQL = ", ".join(f"'{state}'" for state in transitions.DEPLOYMENT_ACTIVE)
# After how many seconds a caller asks again; what is over needs no asking.
_ASK_AGAIN = {
    "draft": 1,
    "planned": 15,
    "approved": 1,
    "queued": 2,
    "running": 2,
    "soaking": 15,
    "awaiting_approval": 15,
}
_APPROVAL_ACTIVITY = "odooops_control.mail_activity_approval"


class OdooopsDeployment(models.Model):
    _name = "odooops.deployment"
    _description = "Deployment"
    _inherit = [
        "odooops.state.mixin",
        "odooops.project.mixin",
        "odooops.decision.mixin",
        "mail.thread",
        "mail.activity.mixin",
    ]
    _order = "id desc"
    _mail_post_access = "read"
    _moves = transitions.DEPLOYMENT

    environment_id = fields.Many2one(
        "odooops.environment", required=True, readonly=True, ondelete="restrict", index=True
    )
    project_id = fields.Many2one(related="environment_id.project_id", store=True, index=True, precompute=True)
    tier = fields.Selection(TIERS, required=True, readonly=True)
    release_id = fields.Many2one("odooops.release", required=True, readonly=True, ondelete="restrict", index=True)
    tag = fields.Char(required=True, readonly=True, help="The name under which it was asked for.")
    name = fields.Char(compute="_compute_name", store=True, precompute=True)
    state = fields.Selection(STATES, default="draft", required=True, readonly=True, copy=False, index=True)
    is_active = fields.Boolean(compute="_compute_is_active", store=True)
    requested_by_id = fields.Many2one(
        "res.users", string="Asked for by", required=True, readonly=True, default=lambda self: self.env.user
    )
    author_unknown = fields.Boolean(
        compute="_compute_author_unknown", help="The commit's author is no user here, so that nobody is kept out."
    )
    color = fields.Integer(compute="_compute_color")
    # The plan
    plan = fields.Json(readonly=True, copy=False, prefetch=False)
    plan_hash = fields.Char(readonly=True, copy=False)
    plan_facts = fields.Json(readonly=True, copy=False, prefetch=False)
    plan_html = fields.Html(compute="_compute_plan_html", string="What will be done")
    plan_count = fields.Integer(readonly=True, copy=False, help="How often it was planned.")
    policy_id = fields.Many2one(related="environment_id.policy_id")
    policy_reference = fields.Char(
        string="Policy version", readonly=True, copy=False, help="The policy and its version when it was planned."
    )
    # Decisions
    approval_ids = fields.One2many("odooops.approval", "deployment_id", string="Decisions", readonly=True)
    approvals_given = fields.Integer(compute="_compute_approvals")
    approvals_needed = fields.Integer(compute="_compute_approvals")
    approvers_hint = fields.Char(compute="_compute_approvals")
    decided_at = fields.Datetime(readonly=True, copy=False)
    can_decide = fields.Boolean(compute="_compute_can_decide")
    # What happened
    timeline = fields.Json(string="Moves", readonly=True, copy=False, prefetch=False)
    timeline_html = fields.Html(compute="_compute_timeline_html", string="Timeline")
    planned_at = fields.Datetime(readonly=True, copy=False)
    queued_at = fields.Datetime(readonly=True, copy=False)
    started_at = fields.Datetime(readonly=True, copy=False)
    soak_until = fields.Datetime(readonly=True, copy=False)
    live_at = fields.Datetime(readonly=True, copy=False)
    replaced_at = fields.Datetime(readonly=True, copy=False, help="When another release took its place.")
    ended_at = fields.Datetime(readonly=True, copy=False)
    held_seconds = fields.Float(string="Downtime (s)", readonly=True, copy=False, aggregator="avg")
    update_seconds = fields.Float(string="Update (s)", readonly=True, copy=False, aggregator="avg")
    failure_code = fields.Char(readonly=True, copy=False)
    failure_step = fields.Char(readonly=True, copy=False)
    failure_message = fields.Char(readonly=True, copy=False)
    log_tail = fields.Text(readonly=True, copy=False, prefetch=False)
    reverted = fields.Boolean(readonly=True, copy=False)
    operation_ids = fields.One2many("odooops.operation", "deployment_id", string="Operations", readonly=True)
    current_step = fields.Char(compute="_compute_current_step")
    restore_set_ids = fields.One2many("odooops.restore.set", "deployment_id", string="Restore sets", readonly=True)

    _production_uniq = models.UniqueIndex(
        f"(environment_id) WHERE tier = 'production' AND state IN ({_ACTIVE_SQL})",
        "Another deployment is under way on this production environment: decide on it or cancel it first.",
    )

    @api.depends("environment_id.key", "tag")
    def _compute_name(self):
        for deployment in self:
            deployment.name = f"{deployment.tag} → {deployment.environment_id.key}"

    @api.depends("state")
    def _compute_is_active(self):
        for deployment in self:
            deployment.is_active = deployment.state in transitions.DEPLOYMENT_ACTIVE

    @api.depends("state")
    def _compute_color(self):
        colors = {"live": 10, "failed": 1, "indeterminate": 1, "awaiting_approval": 3, "running": 4, "soaking": 4}
        for deployment in self:
            deployment.color = colors.get(deployment.state, 0)

    @api.depends("operation_ids.step_ids.state", "operation_ids.state")
    def _compute_current_step(self):
        for deployment in self:
            operation = deployment.operation_ids.sorted("id")[-1:]
            deployment.current_step = operation.current_step if operation.state in ("leased", "running") else False

    @api.depends("plan", "plan_facts")
    def _compute_plan_html(self):
        for deployment in self:
            deployment.plan_html = self.env["ir.qweb"]._render(
                "odooops_control.deployment_plan", {"plan": deployment.plan or {}, "facts": deployment.plan_facts or {}}
            )

    @api.depends("timeline")
    def _compute_timeline_html(self):
        labels = dict(self._fields["state"]._description_selection(self.env))
        for deployment in self:
            deployment.timeline_html = self.env["ir.qweb"]._render(
                "odooops_control.deployment_timeline", {"moves": deployment.timeline or [], "labels": labels}
            )

    @api.depends("release_id.author_id")
    def _compute_author_unknown(self):
        for deployment in self:
            deployment.author_unknown = not deployment.release_id.author_id

    @api.constrains("release_id", "environment_id")
    def _check_project(self):
        for deployment in self:
            if deployment.release_id.project_id != deployment.environment_id.project_id:
                raise ValidationError(
                    self.env._(
                        "%(tag)s is a release of another project than %(environment)s.",
                        tag=deployment.release_id.name,
                        environment=deployment.environment_id.key,
                    )
                )

    @api.ondelete(at_uninstall=False)
    def _unlink_never(self):
        raise UserError(self.env._("Deployments are the ledger that rollbacks read: they stay."))

    def _on_state_updated(self, before, target):
        now = fields.Datetime.now()
        for deployment in self:
            move = {"state": target, "at": protocol.show_time(now), "by": self.env.user.name}
            deployment.timeline = [*(deployment.timeline or []), move]
            deployment._say_moved(before[deployment], target)
            self.env["odooops.audit.event"]._record(
                deployment, f"deployment.{target}", plan_hash=deployment.plan_hash or None, tag=deployment.tag
            )
        if target not in transitions.DEPLOYMENT_PENDING:
            self.filtered(lambda one: not one.is_active and not one.ended_at).ended_at = now
        if target not in transitions.DEPLOYMENT_SERVING:
            self.filtered(lambda one: before[one] in transitions.DEPLOYMENT_SERVING).replaced_at = now
        if target != "awaiting_approval":
            self.activity_unlink([_APPROVAL_ACTIVITY])

    def _queue(self, kind):
        """Queue an operation for the environment's agent and wake it."""
        operations = self.env["odooops.operation"].sudo()
        for deployment in self:
            operations += operations._enqueue(kind, deployment.environment_id, deployment)
        return operations

    def _start_planning(self):
        """Have the agent compute the plan."""
        for deployment in self:
            deployment.plan_count += 1
        return self._queue("plan")

    def _plan_again(self, sentence):
        """Throw the plan away and have a new one made."""
        moved = self._update_state("draft", plan=False, plan_hash=False, plan_facts=False, policy_reference=False)
        moved._say(sentence)
        moved._start_planning()
        return moved

    def _enqueue_deploy(self):
        """Queue what was approved."""
        moved = self._update_state("queued", queued_at=fields.Datetime.now())
        moved._queue("deploy")
        return moved

    def _supersede(self, by):
        """Make room for a newer one."""
        moved = self._update_state("superseded")
        moved.operation_ids._cancel()
        moved._say(self.env._("Superseded by %s.", by.name))
        return moved

    @api.model
    def _end_soaks(self):
        """Let deployments whose watch is over be live."""
        now = fields.Datetime.now()
        over = self.sudo().search([("state", "=", "soaking"), ("soak_until", "<=", now)])
        for deployment in over.try_lock_for_update(allow_referencing=True):
            if deployment.environment_id.health == "green":
                deployment._update_state("live", live_at=now)
            elif deployment.environment_id.health == "red":
                deployment._watch_again(now)

    def _watch_again(self, now):
        """Begin the watch anew and tell people: what is red does not become live."""
        self.soak_until = now + timedelta(minutes=max(self._soak_minutes(), 1))
        text = self.env._(
            "%(environment)s is red at the end of the watch: %(detail)s It goes on until all is green.",
            environment=self.environment_id.key,
            detail=self.environment_id.health_detail or "",
        )
        self._say(text)
        self.project_id._notify_release_managers(self, self.env._("%s is not healthy", self.name), text)

    def _is_interrupted(self):
        """Return whether its agent fell silent while it changed something."""
        return bool(self.operation_ids._interrupted())

    def action_cancel(self):
        """Cancel what has not begun; ask the agent to stop what has."""
        for deployment in self:
            deployment._cancel()
        return True

    def _cancel(self):
        self.ensure_one()
        self.check_access("read")
        if self.requested_by_id != self.env.user:
            self.project_id._require_role("developer", "release_manager")
        deployment = self.sudo()
        if deployment.state == "running" or deployment._is_interrupted():
            deployment.operation_ids._cancel()
            deployment.operation_ids._give_up()
            deployment._say(self.env._("%s asked the agent to stop.", self.env.user.name))
        elif deployment.state in transitions.DEPLOYMENT_PENDING:
            deployment.operation_ids._cancel()
            deployment._update_state("cancelled")
        else:
            raise UserError(
                self.env._("%(name)s is %(state)s: it can't be cancelled.", name=self.name, state=self._label().lower())
            )

    def action_deploy_again(self):
        """Ask for what is live once more, so that a changed configuration is applied."""
        self.ensure_one()
        self.check_access("read")
        self.project_id._require_role("developer", "release_manager")
        environment, release = self.environment_id.sudo(), self.release_id.sudo()
        deployment, _is_new = self._request(environment, release, self.tag, force=True)
        return {
            "type": "ir.actions.act_window",
            "res_model": "odooops.deployment",
            "res_id": deployment.id,
            "view_mode": "form",
        }

    def action_plan_again(self):
        """Have the agent plan anew, for instance after the policy changed."""
        self.ensure_one()
        self.check_access("read")
        self.project_id._require_role("developer", "release_manager")
        if self.state not in ("planned", "awaiting_approval", "approved"):
            raise UserError(
                self.env._(
                    "%(name)s is %(state)s: there is nothing to plan again.",
                    name=self.name,
                    state=self._label().lower(),
                )
            )
        self.sudo()._plan_again(self.env._("%s asked for a new plan.", self.env.user.name))
        return True
