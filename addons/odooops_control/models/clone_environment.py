import logging

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError

from ..core import copies, protocol, transitions

_logger = logging.getLogger(__name__)
_COPY_ACTIVITY = "odooops_control.mail_activity_copy"
_EXCHANGES = ("clone", "restore", "rollback")


class OdooopsEnvironment(models.Model):
    _inherit = "odooops.environment"

    clone_ids = fields.One2many("odooops.clone", "environment_id", string="Copies", readonly=True)
    copy_id = fields.Many2one("odooops.clone", compute="_compute_copy")
    data_as_of = fields.Datetime(compute="_compute_copy", string="Data as of")
    copy_banner = fields.Char(compute="_compute_copy")
    copy_checks_html = fields.Html(compute="_compute_copy", string="Proof")
    active_clone_id = fields.Many2one("odooops.clone", compute="_compute_active_clone", string="Copy under way")
    active_clone_state = fields.Selection(
        lambda self: self.env["odooops.clone"]._fields["state"].selection,
        compute="_compute_active_clone",
        string="State of the copy",
    )
    active_clone_step = fields.Char(compute="_compute_active_clone", string="Step of the copy")
    active_clone_message = fields.Char(compute="_compute_active_clone")
    clone_source_id = fields.Many2one(
        "odooops.environment",
        string="Copied from",
        domain="[('project_id', '=', project_id), ('tier', '=', 'production')]",
        ondelete="restrict",
        copy=False,
        index="btree_not_null",
        help="Left empty: the project's only production environment.",
    )
    clone_obfuscate = fields.Boolean(
        string="Make personal data unreadable",
        tracking=True,
        help="Names, addresses, mails and the like, in each copy.",
    )
    clone_schedule = fields.Selection(
        [("none", "Never by itself"), ("daily", "Every day"), ("weekly", "Every Sunday")],
        string="Copied anew",
        default="none",
        required=True,
        tracking=True,
    )
    clone_hour = fields.Integer(string="At (hour, UTC)", default=3, required=True)
    refresh_mode = fields.Selection(
        [("update", "Update in place"), ("rebuild", "Rebuild from a fresh copy")],
        string="A new commit",
        default="update",
        required=True,
        tracking=True,
    )
    manual_changes = fields.Selection(
        [("ask", "Wait for someone to export them"), ("discard", "Go on without them")],
        string="When changes by hand would be lost",
        default="ask",
        required=True,
        tracking=True,
        help="What happens before a copy made by itself, when views, actions, parameters and the like were changed.",
    )

    _clone_check = models.Constraint(
        "CHECK (clone_hour BETWEEN 0 AND 23 "
        "AND (tier <> 'production' OR (clone_schedule = 'none' AND refresh_mode = 'update')))",
        "Production is never overwritten with a copy; the hour is 0 to 23.",
    )

    @api.depends("clone_ids.state", "database_uuid")
    def _compute_copy(self):
        """Its data are those of the copy whose identity the database bears."""
        for environment in self:
            made = environment.clone_ids.filtered(lambda one: one.state == "done" and one.database_uuid)
            copy = made.filtered_domain([("database_uuid", "=", environment.database_uuid)]).sorted("id")[-1:]
            environment.copy_id, environment.data_as_of = copy, copy.data_as_of
            environment.copy_banner = copy._sentence() if copy else False
            environment.copy_checks_html = copy.checks_html

    @api.depends("clone_ids.state")
    def _compute_active_clone(self):
        for environment in self:
            active = environment._active_clone()
            environment.active_clone_id, environment.active_clone_state = active, active.state
            environment.active_clone_step, environment.active_clone_message = active.current_step, active.error_message

    @api.constrains("clone_source_id", "project_id")
    def _check_clone_source(self):
        for environment in self.filtered("clone_source_id"):
            if sentence := environment._direction_refusal(environment.clone_source_id):
                raise ValidationError(sentence)  # pylint: disable=missing-gettext

    def _active_clone(self):
        """Return the copy that is under way here, or nothing."""
        return self.env["odooops.clone"].search(
            [("environment_id", "in", self.ids), ("state", "in", transitions.CLONE_ACTIVE)], limit=1
        )

    # What may be copied where

    def _direction_refusal(self, source):
        """Return why the data of ``source`` may never come here, or None."""
        if self.tier == "production":
            return self.env._("%s is production: it is never overwritten with another environment's data.", self.key)
        if source == self:
            return self.env._("%s can't be a copy of itself.", self.key)
        if source.project_id != self.project_id:
            return self.env._(
                "%(origin)s belongs to another project than %(environment)s: copies stay in their project.",
                origin=source.key,
                environment=self.key,
            )
        return None

    def _clone_source(self):
        """Return the environment that this one is copied from, or nothing where that is not clear."""
        production = self.project_id.environment_ids.filtered(lambda one: one.tier == "production")
        return self.clone_source_id or (production if len(production) == 1 else production.browse())

    def _clone_refusal(self, source):
        """Return why no copy of ``source`` can be made here now, or None."""
        if not source:
            return self.env._("Say on the page of %s which environment it is copied from.", self.key)
        if sentence := self._direction_refusal(source):
            return sentence
        if not self.agent_id.active or not self._can("clone"):
            return self.env._(
                "The agent of %s can't make copies that are proven safe: choose one, or update it.", self.key
            )
        if self.indeterminate:
            return self.env._("%s needs repair: see what it runs, mark it as repaired, then clone.", self.key)
        return None

    def _can(self, kind):
        """Return whether the agent knows this kind of operation; one that never said is asked."""
        known = self.agent_id.sudo().capabilities
        return bool(self.agent_id) and (not known or kind in known)

    def _copied_values(self, source, backup=None):
        """Return what a copy of ``source`` is made of: its newest restore set or backup that can be had here.

        :raises UserError: where there is neither
        """
        if backup and backup not in self._backups_of(source):
            raise UserError(
                self.env._(
                    "The droplet of %(environment)s can't open %(backup)s, or it is not kept any more: choose another.",
                    environment=self.key,
                    backup=backup.display_name,
                )
            )
        candidates = [backup] if backup else [*self._sets_of(source)[:1], *self._backups_of(source)[:1]]
        if not candidates:
            raise UserError(
                self.env._(
                    "There is neither a restore set nor a backup of %(origin)s that the droplet of %(environment)s "
                    "can open: back %(origin)s up, then clone.",
                    origin=source.key,
                    environment=self.key,
                )
            )
        newest = max(candidates, key=lambda one: one.taken_at)
        is_backup = newest._name == "odooops.backup"
        return {
            "source_id": source.id,
            "backup_id": newest.id if is_backup else False,
            "restore_set_id": False if is_backup else newest.id,
            "release_id": (newest.release_id if is_backup else newest.from_release_id).id,
            "data_as_of": newest.taken_at,
        }

    def _sets_of(self, source):
        """Return the restore sets of ``source`` in this environment's own cluster, newest first."""
        if source.agent_id != self.agent_id:
            return self.env["odooops.restore.set"]
        return source._kept_sets().filtered(lambda one: one.protected and one.database_snapshot and one.from_release_id)

    def _wanted_sets(self):
        """A copy that waits finds its set when its turn comes, however often its source is deployed until then."""
        waiting = self.env["odooops.clone"].sudo()
        waiting = waiting.search([("source_id", "in", self.ids), ("state", "in", transitions.CLONE_ACTIVE)])
        return super()._wanted_sets() | waiting.restore_set_id

    def _backups_of(self, source):
        """Return the backups of ``source`` that this environment's droplet can open, newest first."""
        kept = source.sudo().backup_ids.filtered(
            lambda one: (
                one.state == "kept"
                and one.release_id
                and one.repository_id.agent_id == self.agent_id
                and one.repository_id.is_sealed
            )
        )
        return kept.sorted("taken_at", reverse=True)

    # By itself

    @api.model
    def _cron_clones(self):
        """Copy anew what is due; one that fails keeps no other from it."""
        now = fields.Datetime.now()
        for environment in self.sudo().search([("clone_schedule", "!=", "none"), ("tier", "!=", "production")]):
            try:
                with self.env.cr.savepoint():
                    environment._clone_if_due(now)
            except UserError as error:
                environment._tell_of_copy(self.env._("%s was not copied", environment.key), str(error))
            except Exception:  # pylint: disable=broad-except
                _logger.exception("The copy of %s could not be queued.", environment.key)

    def _clone_if_due(self, now):
        last = self.clone_ids.filtered(lambda one: one.reason == "schedule").sorted("id")[-1:]
        if copies.is_due(self.clone_schedule, self.clone_hour, last.create_date or None, now):
            self.env["odooops.clone"]._start(self, "schedule")

    def _tell_of_copy(self, summary, why):
        """Tell those who answer for the environment, once until they have seen to it."""
        environment = self.sudo().with_context(mail_activity_automation_skip=False)
        if summary in environment.activity_search([_COPY_ACTIVITY]).mapped("summary"):
            return
        environment.message_post(body=self.env._("%(what)s: %(why)s", what=summary, why=why))
        for user in environment.project_id._release_managers():
            environment.activity_schedule(_COPY_ACTIVITY, user_id=user.id, summary=summary, note=why)

    def _copy_activities_done(self):
        self.sudo().activity_unlink([_COPY_ACTIVITY])

    # How it is seen

    def _status(self):
        active = self._active_clone()
        copy = {
            "source": self.copy_id.source_id.key,
            "data_as_of": protocol.show_time(self.data_as_of),
            "proven": copies.is_proven({"neutralised": self.copy_id.checks}),
        }
        return {
            **super()._status(),
            "copy": copy if self.copy_id else None,
            "cloning": active._status() if active else None,
        }

    def _identity_refusal(self, database_uuid):
        """While other data take its place the database may bear either identity; in production it never changes."""
        working = self.operation_ids.filtered(
            lambda one: one.kind in _EXCHANGES and one.state in transitions.OPERATION_LEASED
        )
        return None if working and self.tier != "production" else super()._identity_refusal(database_uuid)

    def _refuse_to_archive(self):
        refused = super()._refuse_to_archive()
        for environment in self.sudo().filtered("active_clone_id"):
            raise UserError(
                self.env._("%s is becoming a copy: wait until that has ended, or cancel it.", environment.key)
            )
        return refused

    def action_clone(self):
        """Open the wizard that says what would be lost and asks whether that is meant."""
        self.ensure_one()
        self.check_access("read")
        self.project_id._require_role("developer", "release_manager")
        self.sudo()._inspect_for_wizard()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Clone to %s", self.key),
            "res_model": "odooops.clone.wizard",
            "view_mode": "form",
            "target": "new",
            "context": {"default_environment_id": self.id},
        }

    def action_open_clones(self):
        """Open the copies that were made here."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Copies in %s", self.key),
            "res_model": "odooops.clone",
            "view_mode": "list,form",
            "domain": [("environment_id", "=", self.id)],
        }
