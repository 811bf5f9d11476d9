from odoo import api, fields, models
from odoo.exceptions import UserError

from ..core import protocol, rollback, transitions
from .environment import TIERS

STATES = [
    ("draft", "Asked for"),
    ("previewing", "Looking"),
    ("awaiting_approval", "Awaiting approval"),
    ("approved", "Approved"),
    ("queued", "Queued"),
    ("running", "Rolling back"),
    ("done", "Done"),
    ("rejected", "Rejected"),
    ("cancelled", "Cancelled"),
    ("failed", "Failed"),
    ("indeterminate", "Indeterminate"),
]
MODES = [("code", "Code only"), ("full", "Code, database and files"), ("backup", "From a backup")]
_ACTIVE_SQL = ", ".join(f"'{state}'" for state in transitions.ROLLBACK_ACTIVE)
_APPROVAL_ACTIVITY = "odooops_control.mail_activity_rollback"


class OdooopsRollbackRequest(models.Model):
    _name = "odooops.rollback.request"
    _description = "Rollback"
    _inherit = [
        "odooops.state.mixin",
        "odooops.project.mixin",
        "odooops.decision.mixin",
        "mail.thread",
        "mail.activity.mixin",
    ]
    _order = "id desc"
    _mail_post_access = "read"
    _moves = transitions.ROLLBACK
    _decision_link = "rollback_id"
    _approval_activity = _APPROVAL_ACTIVITY

    environment_id = fields.Many2one(
        "odooops.environment", required=True, readonly=True, ondelete="restrict", index=True
    )
    project_id = fields.Many2one(related="environment_id.project_id", store=True, index=True, precompute=True)
    tier = fields.Selection(TIERS, required=True, readonly=True)
    target_id = fields.Many2one(
        "odooops.deployment",
        string="Goes back to",
        required=True,
        readonly=True,
        ondelete="restrict",
        index=True,
        help="The deployment of the target as the ledger has it.",
    )
    target_release_id = fields.Many2one(related="target_id.release_id", string="Release to go back to")
    tag = fields.Char(required=True, readonly=True, help="The release to go back to, by the name it was asked for.")
    left_id = fields.Many2one(
        "odooops.deployment",
        string="Leaves",
        readonly=True,
        ondelete="restrict",
        help="What ran when it was looked at.",
    )
    left_tag = fields.Char(related="left_id.tag", string="Release to leave")
    reason = fields.Char(required=True, readonly=True)
    name = fields.Char(compute="_compute_name", store=True, precompute=True)
    state = fields.Selection(STATES, default="draft", required=True, readonly=True, copy=False, index=True)
    is_active = fields.Boolean(compute="_compute_is_active", store=True)
    color = fields.Integer(compute="_compute_color")
    requested_by_id = fields.Many2one(
        "res.users", string="Asked for by", required=True, readonly=True, default=lambda self: self.env.user
    )
    # The preview
    preview = fields.Json(readonly=True, copy=False, prefetch=False)
    preview_at = fields.Datetime(string="Looked at", readonly=True, copy=False)
    preview_count = fields.Integer(readonly=True, copy=False, help="How often it was looked at.")
    preview_html = fields.Html(compute="_compute_preview_html", string="What it means")
    mode = fields.Selection(MODES, string="Brings back", readonly=True, copy=False)
    plan_hash = fields.Char(readonly=True, copy=False)
    preview_hash = fields.Char(readonly=True, copy=False, help="What is approved: the way back and what it loses.")
    hold_seconds = fields.Float(string="Expected downtime (s)", readonly=True, copy=False)
    minutes_lost = fields.Float(string="Minutes lost", readonly=True, copy=False)
    records_lost = fields.Integer(string="Records lost", readonly=True, copy=False, help="Created or changed since.")
    posted_lost = fields.Integer(string="Posted entries lost", readonly=True, copy=False)
    can_take_code = fields.Boolean(compute="_compute_can_take")
    can_take_full = fields.Boolean(compute="_compute_can_take")
    can_take_backup = fields.Boolean(compute="_compute_can_take")
    restore_set_id = fields.Many2one(
        "odooops.restore.set", string="Restore set to put back", readonly=True, copy=False, ondelete="restrict"
    )
    policy_id = fields.Many2one(related="environment_id.policy_id")
    policy_reference = fields.Char(string="Policy version", readonly=True, copy=False)
    # Decisions
    approval_ids = fields.One2many("odooops.approval", "rollback_id", string="Decisions", readonly=True)
    approvals_given = fields.Integer(compute="_compute_approvals")
    approvals_needed = fields.Integer(compute="_compute_approvals")
    approvers_hint = fields.Char(compute="_compute_approvals")
    can_decide = fields.Boolean(compute="_compute_can_decide")
    decided_at = fields.Datetime(readonly=True, copy=False)
    ceiling = fields.Json(readonly=True, copy=False, prefetch=False, help="How much may be lost at most.")
    # What happened
    timeline = fields.Json(string="Moves", readonly=True, copy=False, prefetch=False)
    timeline_html = fields.Html(compute="_compute_timeline_html", string="Timeline")
    queued_at = fields.Datetime(readonly=True, copy=False)
    started_at = fields.Datetime(readonly=True, copy=False)
    ended_at = fields.Datetime(readonly=True, copy=False)
    held_seconds = fields.Float(string="Downtime (s)", readonly=True, copy=False, aggregator="avg")
    lost = fields.Json(readonly=True, copy=False, prefetch=False, help="As counted when nobody could write any more.")
    lost_html = fields.Html(compute="_compute_lost_html", string="What was lost")
    failure_code = fields.Char(readonly=True, copy=False)
    failure_step = fields.Char(readonly=True, copy=False)
    failure_message = fields.Char(readonly=True, copy=False)
    log_tail = fields.Text(readonly=True, copy=False, prefetch=False)
    reverted = fields.Boolean(readonly=True, copy=False)
    operation_ids = fields.One2many("odooops.operation", "rollback_id", string="Operations", readonly=True)
    current_step = fields.Char(compute="_compute_current_step")
    restore_set_ids = fields.One2many(
        "odooops.restore.set", "rollback_id", string="Restore sets", readonly=True, help="What was given up."
    )
    quarantine_ids = fields.One2many("odooops.quarantine", "rollback_id", readonly=True)

    _active_uniq = models.UniqueIndex(
        f"(environment_id) WHERE state IN ({_ACTIVE_SQL})",
        "Another rollback is under way on this environment: decide on it or cancel it first.",
    )

    @api.depends("environment_id.key", "tag")
    def _compute_name(self):
        for request in self:
            request.name = self.env._(
                "%(environment)s back to %(tag)s", environment=request.environment_id.key, tag=request.tag
            )

    @api.depends("state")
    def _compute_is_active(self):
        for request in self:
            request.is_active = request.state in transitions.ROLLBACK_ACTIVE

    @api.depends("state")
    def _compute_color(self):
        colors = {"done": 10, "failed": 1, "indeterminate": 1, "awaiting_approval": 3, "running": 4}
        for request in self:
            request.color = colors.get(request.state, 0)

    @api.depends("operation_ids.step_ids.state", "operation_ids.state")
    def _compute_current_step(self):
        for request in self:
            operation = request.operation_ids.sorted("id")[-1:]
            request.current_step = operation.current_step if operation.state in ("leased", "running") else False

    @api.depends("preview", "mode", "state")
    def _compute_can_take(self):
        for request in self:
            others = set()
            if request.state == "awaiting_approval":
                others = set(rollback.possible_modes(request.preview)) - {request.mode}
            request.can_take_code = "code" in others
            request.can_take_full = "full" in others
            request.can_take_backup = "backup" in others

    @api.depends("preview", "mode", "ceiling", "tag", "left_id.tag", "state")
    def _compute_preview_html(self):
        labels = dict(self._fields["mode"]._description_selection(self.env))
        for request in self:
            chosen = rollback.mode_of(request.preview, request.mode)
            request.preview_html = self.env["ir.qweb"]._render(
                "odooops_control.rollback_preview",
                {
                    "rollback": request,
                    "chosen": chosen,
                    "loss": chosen.get("loss"),
                    "totals": rollback.totals(chosen.get("loss")),
                    "others": [one for one in (request.preview or {}).get("modes") or [] if one != chosen],
                    "labels": {**labels, rollback.FIX_FORWARD: self.env._("Fix forward")},
                    "ceiling": request.ceiling or rollback.ceiling(chosen.get("loss")),
                    "duration": _duration,
                },
            )

    @api.depends("lost")
    def _compute_lost_html(self):
        for request in self:
            request.lost_html = self.env["ir.qweb"]._render(
                "odooops_control.rollback_lost", {"loss": request.lost, "duration": _duration}
            )

    @api.depends("timeline")
    def _compute_timeline_html(self):
        labels = dict(self._fields["state"]._description_selection(self.env))
        for request in self:
            request.timeline_html = self.env["ir.qweb"]._render(
                "odooops_control.deployment_timeline", {"moves": request.timeline or [], "labels": labels}
            )

    @api.ondelete(at_uninstall=False)
    def _unlink_never(self):
        raise UserError(self.env._("Rollbacks are part of the ledger: they stay."))

    def _on_state_updated(self, before, target):
        now = fields.Datetime.now()
        for request in self:
            move = {"state": target, "at": protocol.show_time(now), "by": self.env.user.name}
            request.timeline = [*(request.timeline or []), move]
            request._say_moved(before[request], target)
            self.env["odooops.audit.event"]._record(
                request,
                f"rollback.{target}",
                tag=request.tag,
                mode=request.mode or None,
                preview_hash=request.preview_hash or None,
            )
        if target not in transitions.ROLLBACK_ACTIVE:
            self.filtered(lambda one: not one.ended_at).ended_at = now
        if target != "awaiting_approval":
            self.activity_unlink([_APPROVAL_ACTIVITY])

    def _queue(self, kind):
        """Queue an operation for the environment's agent and wake it."""
        operations = self.env["odooops.operation"].sudo()
        for request in self:
            operations += operations._enqueue(kind, request.environment_id, rollback_id=request.id)
        return operations

    def _start_preview(self):
        """Have the agent look which ways back there are and what each would lose."""
        for request in self:
            environment = request.environment_id
            request.write(
                {
                    "preview": False,
                    "preview_at": False,
                    "preview_count": request.preview_count + 1,
                    "plan_hash": False,
                    "preview_hash": False,
                    "ceiling": False,
                    "left_id": environment.running_deployment_id.id,
                    "restore_set_id": environment._restore_set_of(request.target_release_id).id,
                }
            )
        moved = self._update_state("previewing")
        moved._queue("plan")
        return moved

    def _preview_again(self, sentence):
        """Throw the preview away and have a new one made; what was decided about the old one is over."""
        self.operation_ids._filter("queued")._cancel()
        moved = self._start_preview()
        moved._say(sentence)
        return moved

    def _enqueue_rollback(self):
        """Queue what may run."""
        moved = self._update_state("queued", queued_at=fields.Datetime.now())
        moved._queue("rollback")
        return moved

    def _is_interrupted(self):
        """Return whether its agent fell silent while it changed something."""
        return bool(self.operation_ids._interrupted())

    def action_cancel(self):
        """Cancel what has not begun; ask the agent to stop what has."""
        for request in self:
            request._cancel()
        return True

    def _cancel(self):
        self.ensure_one()
        self._require_asker()
        request = self.sudo()
        if request.state == "running" or request._is_interrupted():
            request.operation_ids._cancel()
            request.operation_ids._give_up()
            request._say(self.env._("%s asked the agent to stop.", self.env.user.name))
        elif request.state in transitions.ROLLBACK_PENDING:
            request.operation_ids._cancel()
            request._update_state("cancelled")
        else:
            raise UserError(
                self.env._("%(name)s is %(state)s: it can't be cancelled.", name=self.name, state=self._label().lower())
            )

    def action_preview_again(self):
        """Have the agent look again, for instance because much was entered since."""
        self.ensure_one()
        self._require_asker()
        self._require_undecided(self.env._("there is nothing to look at again"))
        self.sudo()._preview_again(self.env._("%s asked to look again.", self.env.user.name))
        return True

    def action_take_code(self):
        """Take the way that brings back the code alone."""
        return self.action_choose_mode("code")

    def action_take_full(self):
        """Take the way that brings back code, database and files."""
        return self.action_choose_mode("full")

    def action_take_backup(self):
        """Take the way that brings back an off-host backup."""
        return self.action_choose_mode("backup")

    def action_choose_mode(self, mode):
        """Take another of the ways that the preview shows; what was approved for the former one is over.

        :param str mode: ``code``, ``full`` or ``backup``
        """
        self.ensure_one()
        self._require_asker()
        self._require_undecided(self.env._("its way can't be changed"))
        request = self.sudo()
        if mode not in rollback.possible_modes(request.preview):
            raise UserError(self.env._("This way is not open: the preview says why."))
        request._take_mode(mode)
        label = dict(self._fields["mode"]._description_selection(self.env))[mode]
        request._say(self.env._("%(user)s chose: %(mode)s.", user=self.env.user.name, mode=label))
        self.env["odooops.audit.event"]._record(request, "rollback.mode_chosen", mode=mode)
        request.activity_unlink([_APPROVAL_ACTIVITY])
        request._remind_approvers()
        return True

    def _require_asker(self):
        """Refuse those who may neither ask for a rollback here nor asked for this one."""
        self.check_access("read")
        if self.requested_by_id != self.env.user:
            self.project_id._require_role("developer", "release_manager")

    def _require_undecided(self, consequence):
        if self.state != "awaiting_approval":
            raise UserError(
                self.env._(
                    "%(name)s is %(state)s: %(consequence)s.",
                    name=self.name,
                    state=self._label().lower(),
                    consequence=consequence,
                )
            )

    def _take_mode(self, mode):
        """Make one of the preview's ways the one that is to be decided on."""
        self.ensure_one()
        chosen = rollback.mode_of(self.preview, mode)
        totals = rollback.totals(chosen["loss"])
        self.write(
            {
                "mode": mode,
                "plan_hash": chosen["plan_hash"],
                "preview_hash": chosen["preview_hash"],
                "policy_reference": str(chosen["plan"].get("policy_version") or ""),
                "hold_seconds": chosen["hold_seconds"],
                "minutes_lost": (chosen["loss"] or {}).get("minutes", 0),
                "records_lost": min(totals["created"] + totals["changed"], protocol.MAX_INTEGER),
                "posted_lost": totals["posted"],
            }
        )


def _duration(minutes):
    """Return minutes as people say them."""
    minutes = round(minutes or 0)
    if minutes < 1:
        return "less than a minute"
    if minutes < 120:
        return f"{minutes} minute{'s' if minutes > 1 else ''}"
    hours = round(minutes / 60)
    return f"{hours} hours" if hours < 48 else f"{round(hours / 24)} days"
