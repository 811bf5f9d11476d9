from markupsafe import Markup

from odoo import api, fields, models
from odoo.exceptions import UserError

from ..core import protocol, redact, transitions

_GIGABYTE = 2**30
_RAN = ["|", ("live_at", "!=", False), ("soak_until", "!=", False)]


class OdooopsEnvironment(models.Model):
    _inherit = "odooops.environment"

    rollback_ids = fields.One2many("odooops.rollback.request", "environment_id", string="Rollbacks")
    rollback_count = fields.Integer(compute="_compute_rollbacks")
    active_rollback_id = fields.Many2one(
        "odooops.rollback.request", compute="_compute_rollbacks", string="Rollback under way"
    )
    active_rollback_state = fields.Selection(
        lambda self: self.env["odooops.rollback.request"]._fields["state"].selection,
        compute="_compute_rollbacks",
        string="State of the rollback",
    )
    rollback_target_id = fields.Many2one(
        "odooops.deployment", compute="_compute_rollback_target", string="Last good release"
    )
    quarantine_ids = fields.Many2many("odooops.quarantine", compute="_compute_quarantine", string="Barred")
    banner = fields.Html(compute="_compute_quarantine")
    # What is kept to go back to
    restore_sets_keep = fields.Integer(
        string="Restore sets to keep", default=2, required=True, help="The newest ones, however old they are."
    )
    restore_set_hours = fields.Integer(
        string="And all of the last (hours)", default=48, required=True, help="As databases in the cluster."
    )
    database_bytes = fields.Float(readonly=True, copy=False, digits=(20, 0), help="As the agent measured it last.")
    restore_sets_gb = fields.Float(compute="_compute_budget", string="Restore sets take (GB)")
    budget_gb = fields.Float(compute="_compute_budget", string="Quota less reserve (GB)")
    budget_left_gb = fields.Float(compute="_compute_budget", string="Left of it (GB)")
    budget_text = fields.Char(compute="_compute_budget", string="Room for restore sets")

    _restore_sets_check = models.Constraint(
        "CHECK (restore_sets_keep BETWEEN 1 AND 50 AND restore_set_hours BETWEEN 0 AND 8760)",
        "Keep 1 to 50 restore sets, and those of the last 0 to 8760 hours.",
    )

    @api.depends("rollback_ids.state")
    def _compute_rollbacks(self):
        for environment in self:
            active = environment._active_rollback()
            environment.active_rollback_id, environment.active_rollback_state = active, active.state
            environment.rollback_count = len(environment.rollback_ids)

    @api.depends("deployment_ids.state", "running_deployment_id")
    def _compute_rollback_target(self):
        for environment in self:
            environment.rollback_target_id = environment.sudo()._last_good()

    @api.depends("project_id.quarantine_ids.state", "tier")
    def _compute_quarantine(self):
        for environment in self:
            bars = environment.sudo()._bars() if environment.project_id else self.env["odooops.quarantine"]
            environment.quarantine_ids = bars
            environment.banner = Markup("").join(Markup("<div>%s</div>") % bar._sentence() for bar in bars)

    @api.depends(
        "restore_set_ids.state", "database_bytes", "agent_id.database_quota_gb", "agent_id.database_reserve_gb"
    )
    def _compute_budget(self):
        for environment in self:
            agent = environment.agent_id.sudo()
            environment.restore_sets_gb = environment.sudo()._kept_bytes() / _GIGABYTE
            environment.budget_gb = agent._database_budget_gb()
            environment.budget_left_gb = max(environment.budget_gb - agent._database_used_gb(), 0)
            environment.budget_text = environment._budget_sentence()

    def _budget_sentence(self):
        if not self.budget_gb:
            return self.env._("%.1f GB; give the droplet its cluster's disk to see what is left", self.restore_sets_gb)
        return self.env._(
            "%(used).1f GB; %(left).1f GB left of %(budget).1f GB (quota less reserve)",
            used=self.restore_sets_gb,
            left=self.budget_left_gb,
            budget=self.budget_gb,
        )

    def _kept_bytes(self):
        return sum(self._kept_sets().mapped("database_bytes"))

    def _bars(self):
        """Return the bars that people working on this environment have to know of."""
        bars = self.env["odooops.quarantine"].search(
            [("project_id", "=", self.project_id.id), ("state", "=", "barred")], order="id desc"
        )
        here = self._origin or self
        return bars if self.tier == "production" else bars.filtered(lambda one: one.environment_id == here)

    def _active_rollback(self):
        """Return the rollback that is under way here, or nothing."""
        return self.env["odooops.rollback.request"].search(
            [("environment_id", "in", self.ids), ("state", "in", transitions.ROLLBACK_ACTIVE)], limit=1
        )

    def _deployments_that_ran(self):
        """Return the ledger's entries of what ran here, newest first."""
        return self._deployments(_RAN)

    def _rollback_targets(self):
        """Return for each release that ran here and does not now its newest entry of the ledger, newest first."""
        seen = self.running_release_id
        found = self.env["odooops.deployment"]
        for deployment in self._deployments_that_ran():
            if deployment.release_id not in seen:
                seen |= deployment.release_id
                found += deployment
        return found

    def _last_good(self):
        """Return the entry before the one that runs, which nobody rolled back.

        What runs after a rollback is the old entry itself, so that a second rollback goes further back, never
        to a newer release.
        """
        running = self.running_deployment_id
        return self._rollback_targets().filtered(lambda one: one.id < running.id and one.state != "rolled_back")[:1]

    def _restore_set_of(self, release):
        """Return the newest set with the state of ``release`` that can be put back, or nothing."""
        return self._kept_sets().filtered(
            lambda one: one.protected and one.from_digest == release.digest and one.database_snapshot
        )[:1]

    def _kept_sets(self):
        """Return the sets that are there for all that is known, newest first."""
        kept = self.sudo().restore_set_ids.filtered(lambda one: one.state == "kept")
        return kept.sorted(lambda one: (one.taken_at, one.token), reverse=True)

    def _promised_sets(self):
        """Return the sets that are kept however old they are and however little room there is."""
        return self._kept_sets()[: self.restore_sets_keep] | self._wanted_sets()

    def _wanted_sets(self):
        """Return the sets that something waits for; nobody prunes them meanwhile."""
        return self.env["odooops.restore.set"]

    def _refuse_to_archive(self):
        refused = super()._refuse_to_archive()
        for environment in self.sudo().filtered("active_rollback_id"):
            raise UserError(
                self.env._("%s is being rolled back: wait until that has ended, or cancel it.", environment.key)
            )
        return refused

    def _options_payload(self):
        policy = {
            "keep": self.restore_sets_keep,
            "keep_hours": float(self.restore_set_hours),
            "wanted": self._wanted_sets().mapped("token"),
        }
        return {**super()._options_payload(), "restore_sets": policy}

    def _status(self):
        bars, active = self._bars(), self._active_rollback()
        return {
            **super()._status(),
            "banner": " ".join(bar._sentence() for bar in bars) or None,
            "rollback": {"id": active.id, "tag": active.tag, "state": active.state} if active else None,
        }

    # Looking whether what is kept is still there

    @api.model
    def _cron_check_restore_sets(self):
        """Have every agent look whether the sets that are counted on can be put back."""
        for environment in self.sudo().search([("agent_id.active", "=", True)]):
            environment._check_restore_sets()
        self.env["odooops.rollback.request"]._remind_of_reviews()
        self.env["odooops.deployment"]._remind_of_reviews()

    def _check_restore_sets(self):
        """Queue one look, when there is something to look at and none waits."""
        self.ensure_one()
        waiting = self.operation_ids.filtered(
            lambda one: one.kind == "health" and one.state in transitions.OPERATION_OPEN
        )
        if self._sets_to_check() and self.running_release_id and not waiting:
            self.env["odooops.operation"]._enqueue("health", self)

    def _sets_to_check(self):
        return self._kept_sets().filtered("database_snapshot")

    def _health_payload(self):
        """Return what the look at the sets is about, beside the usual."""
        return {
            "release": self.running_release_id._agent_payload(self.running_tag),
            "sets": [one._known_payload() for one in self._sets_to_check()],
        }

    def _on_operation_leased(self, operation):
        """The agent began to look: nothing follows from that."""

    def _on_operation_requeued(self, operation):
        """The agent fell silent: the next try is as good."""

    def _on_operation_ended(self, operation, result, failure):
        """Take in what the agent found; a look that failed says nothing about the sets."""
        reports = result.get("sets") if operation.state == "succeeded" else None
        by_token = {one.token: one for one in self._sets_to_check()}
        for report in reports if isinstance(reports, list) else ():
            try:
                token = protocol.take(report, "token", int)
                restorable = protocol.take(report, "restorable", bool)
            except protocol.BadMessage:
                continue
            if token in by_token:
                by_token[token]._found(restorable, redact.masked(str(report.get("reason") or ""), 500))

    # What people press

    def action_roll_back(self):
        """Open the wizard that asks where to go back to, and why."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Roll %s back", self.key),
            "res_model": "odooops.rollback.wizard",
            "view_mode": "form",
            "target": "new",
            "context": {"default_environment_id": self.id},
        }

    def action_open_rollbacks(self):
        """Open the rollbacks of this environment."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Rollbacks of %s", self.key),
            "res_model": "odooops.rollback.request",
            "view_mode": "list,form",
            "domain": [("environment_id", "=", self.id)],
        }

    def action_check_restore_sets(self):
        """Have the agent look now whether the restore sets can be put back."""
        self.ensure_one()
        self.check_access("read")
        self.project_id._require_role("developer", "release_manager")
        environment = self.sudo()
        if not environment._sets_to_check():
            raise UserError(self.env._("%s has no restore set: its next update leaves one.", self.key))
        environment._check_restore_sets()
        return True
