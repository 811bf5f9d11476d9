from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError

from ..core import copies, transitions
from .mixins import Conflict

_ACTIVE_SQL = ", ".join(f"'{state}'" for state in transitions.CLONE_ACTIVE)


class OdooopsClone(models.Model):
    _name = "odooops.clone"
    _description = "Copy of an Environment's Data"
    _inherit = ["odooops.state.mixin"]
    _order = "id desc"
    _moves = transitions.CLONE

    environment_id = fields.Many2one(
        "odooops.environment", required=True, readonly=True, ondelete="restrict", index=True
    )
    project_id = fields.Many2one(related="environment_id.project_id", store=True, index=True, precompute=True)
    tier = fields.Selection(related="environment_id.tier", store=True, precompute=True)
    source_id = fields.Many2one(
        "odooops.environment", string="Copy of", required=True, readonly=True, ondelete="restrict", index=True
    )
    restore_set_id = fields.Many2one("odooops.restore.set", readonly=True, ondelete="restrict")
    backup_id = fields.Many2one("odooops.backup", readonly=True, ondelete="restrict")
    release_id = fields.Many2one(
        "odooops.release", string="Release of the data", required=True, readonly=True, ondelete="restrict"
    )
    data_as_of = fields.Datetime(string="Data as of", required=True, readonly=True)
    obfuscate = fields.Boolean(string="Personal data unreadable", readonly=True)
    rules = fields.Json(readonly=True, prefetch=False, help="The project's own rules, as they were sent.")
    reason = fields.Selection(
        [
            ("button", "By hand"),
            ("ci", "Asked for by CI"),
            ("schedule", "By schedule"),
            ("deployment", "Before a deployment"),
            ("restore", "A backup was restored here"),
        ],
        required=True,
        readonly=True,
    )
    requested_by_id = fields.Many2one("res.users", readonly=True, default=lambda self: self.env.user)
    deployment_ids = fields.One2many("odooops.deployment", "copy_id", string="Deployments", readonly=True)
    operation_ids = fields.One2many("odooops.operation", "clone_id", string="Operations", readonly=True)
    step_ids = fields.Many2many("odooops.operation.step", compute="_compute_steps", string="Steps")
    current_step = fields.Char(compute="_compute_steps")
    state = fields.Selection(
        [
            ("inspecting", "Listing changes"),
            ("waiting", "Awaiting a decision"),
            ("queued", "Queued"),
            ("running", "Running"),
            ("done", "Done"),
            ("failed", "Failed"),
            ("cancelled", "Cancelled"),
        ],
        required=True,
        readonly=True,
        index=True,
    )
    error_code = fields.Char(readonly=True)
    error_message = fields.Char(readonly=True)
    checks = fields.Json(readonly=True, prefetch=False)
    checks_html = fields.Html(compute="_compute_checks_html", string="Proof")
    database_uuid = fields.Char(readonly=True, index="btree_not_null", help="The copy's own identity.")
    seconds = fields.Float(readonly=True)
    held_seconds = fields.Float(string="Downtime (s)", readonly=True)
    database_bytes = fields.Float(readonly=True, digits=(20, 0))
    filestore_bytes = fields.Float(readonly=True, digits=(20, 0))
    size_mb = fields.Float(compute="_compute_size_mb", string="Size (MB)", digits=(20, 1))
    started_at = fields.Datetime(readonly=True)
    ended_at = fields.Datetime(readonly=True)

    # The layer below all others: whatever asks, PostgreSQL takes no copy that would end in production.
    _direction_check = models.Constraint(
        "CHECK (tier <> 'production' AND environment_id <> source_id)",
        "Production is never overwritten with another environment's data, and nothing is a copy of itself.",
    )
    _under_way_uniq = models.UniqueIndex(
        f"(environment_id) WHERE state IN ({_ACTIVE_SQL})",
        "This environment is being overwritten with a copy already: wait until that has ended.",
    )

    @api.depends("environment_id.key", "source_id.key", "data_as_of")
    def _compute_display_name(self):
        for one in self:
            at = fields.Datetime.to_string(one.data_as_of)[:16] if one.data_as_of else ""
            one.display_name = f"{one.source_id.key} {at} → {one.environment_id.key}"

    @api.depends("operation_ids.step_ids.state", "operation_ids.token")
    def _compute_steps(self):
        for one in self:
            operation = one.operation_ids.sorted("id")[-1:]
            one.step_ids = operation._current_steps().sorted("seq") if operation else False
            one.current_step = operation.current_step if one.state == "running" else False

    @api.depends("checks")
    def _compute_checks_html(self):
        for one in self:
            one.checks_html = self.env["ir.qweb"]._render(
                "odooops_control.clone_checks", {"checks": one.checks or [], "done": one.state == "done"}
            )

    @api.depends("database_bytes", "filestore_bytes")
    def _compute_size_mb(self):
        for one in self:
            one.size_mb = (one.database_bytes + one.filestore_bytes) / 2**20

    @api.constrains("environment_id", "source_id")
    def _check_direction(self):
        for one in self:
            if sentence := one.environment_id._direction_refusal(one.source_id):
                raise ValidationError(sentence)  # pylint: disable=missing-gettext

    @api.model
    def _start(self, environment, reason, source=None, backup=None, **how):
        """Have the environment become a copy of its source; the one that is under way where there is one.

        :param source: an environment; the one that the environment is copied from where it is left out
        :param backup: a backup of the source; the newest restore set or backup where it is left out
        :param how: ``obfuscate`` where it is not as the environment says, ``discard`` to go on whatever was
            configured by hand
        :return: the copy and whether it is new
        :raises UserError: for what can't be copied, with a sentence that says what to do
        """
        source = source or environment._clone_source()
        if refusal := environment._clone_refusal(source):
            raise UserError(refusal)  # pylint: disable=missing-gettext
        if under_way := environment._active_clone():
            under_way._join(source, backup, **how)
            return under_way, False
        obfuscate = how.get("obfuscate")
        # Of two that ask at once the second runs into this row and is tried again, so that it finds the first.
        environment.sudo().asked_at = fields.Datetime.now()
        environment.flush_recordset()
        one = self.sudo().create(
            {
                "environment_id": environment.id,
                "reason": reason,
                "state": "inspecting",
                "obfuscate": environment.clone_obfuscate if obfuscate is None else obfuscate,
                "rules": environment.project_id._copy_rules(),
                "requested_by_id": self.env.uid,
                **environment._copied_values(source, backup),
            }
        )
        self.env["odooops.audit.event"]._record(
            one, "clone.requested", source=source.key, data_as_of=fields.Datetime.to_string(one.data_as_of)
        )
        one._inspect_or_go(how.get("discard"))
        return one, True

    def _join(self, source, backup, discard=None, obfuscate=None):
        """Take a second request for the same; one for something else has to wait."""
        other = source != self.source_id or (backup and backup != self.backup_id)
        if other or (obfuscate is not None and obfuscate != self.obfuscate and self.state == "running"):
            raise Conflict(
                self.env._(
                    "%(environment)s is becoming a copy of %(origin)s: wait until that has ended, or cancel it.",
                    environment=self.environment_id.key,
                    origin=self.source_id.key,
                )
            )
        if obfuscate is not None and self.state != "running":
            self.obfuscate = obfuscate
        if discard:
            self._filter("inspecting", "waiting")._go()

    def _filter(self, *states):
        return self.filtered(lambda one: one.state in states)

    def _inspect_or_go(self, discard):
        environment = self.environment_id
        if discard or environment.manual_changes == "discard" or not environment._listed_release():
            self._go()
        elif environment._can("inspect"):
            environment._inspect()
        else:
            self._on_inspected(
                self.env._(
                    "The agent of %s can't list yet what was changed by hand: look yourself, then go on.",
                    environment.key,
                )
            )

    def _on_inspected(self, failure=None):
        """Go on when nothing would be lost, or have someone decide."""
        for one in self._filter("inspecting"):
            environment = one.environment_id
            lost = environment._unexported_changes()
            if not failure and not lost:
                one._go()
                continue
            why = failure or self.env._(
                "%(count)s changes were made by hand in %(environment)s since its last copy and would be lost: export "
                "them, or go on without.",
                count=len(lost),
                environment=environment.key,
            )
            one._update_state("waiting", error_message=why)
            environment._tell_of_copy(self.env._("%s waits to be copied anew", environment.key), why)

    def _go(self):
        """Queue what makes the copy."""
        for one in self._update_state("queued", error_message=False):
            self.env["odooops.operation"].sudo()._enqueue("clone", one.environment_id, clone_id=one.id)

    def _on_state_updated(self, before, target):
        for one in self:
            one.environment_id._copy_activities_done()
            self.env["odooops.audit.event"]._record(one, f"clone.{target}", source=one.source_id.key)
        if target in ("done", "failed", "cancelled"):
            self.ended_at = fields.Datetime.now()

    def action_go(self):
        """Go on without what was configured by hand."""
        self._require_right()
        self.sudo()._filter("waiting")._go()
        return True

    def action_cancel(self):
        """Leave the environment as it is."""
        self._require_right()
        for one in self.sudo():
            if one.state not in transitions.CLONE_ACTIVE:
                raise UserError(self.env._("%s is over: there is nothing to cancel.", one.display_name))
            one.operation_ids._cancel()
            if not one.operation_ids.filtered(lambda operation: operation.state in transitions.OPERATION_OPEN):
                one._give_up("cancelled", self.env._("%s cancelled it.", self.env.user.name))
        return True

    def _require_right(self):
        self.check_access("read")
        for one in self:
            one.project_id._require_role("developer", "release_manager")

    def _label(self):
        return dict(self._fields["state"]._description_selection(self.env))[self.state]

    def _sentence(self):
        """Return what the environment's page says of the data it holds."""
        return self.env._(
            "Neutralised copy of %(origin)s as of %(at)s UTC, %(age)s old. Mail reaches nobody; what is entered "
            "here is lost with the next copy.",
            origin=self.source_id.key,
            at=fields.Datetime.to_string(self.data_as_of)[:16],
            age=copies.age(self.data_as_of, fields.Datetime.now()),
        )
