import logging

from odoo import api, fields, models

from ..core import backup

_logger = logging.getLogger(__name__)


class OdooopsEnvironment(models.Model):
    _inherit = "odooops.environment"

    repository_id = fields.Many2one(
        "odooops.backup.repository",
        string="Backup repository",
        domain="[('agent_id', '=', agent_id)]",
        ondelete="restrict",
        index="btree_not_null",
        tracking=True,
        help="Where it is backed up to every night.",
    )
    backup_ids = fields.One2many("odooops.backup", "environment_id", string="Backups")
    last_backup_id = fields.Many2one("odooops.backup", compute="_compute_backups", string="Newest backup")
    last_backup_at = fields.Datetime(compute="_compute_backups", string="Backed up to")
    last_proven_id = fields.Many2one("odooops.backup", compute="_compute_backups", string="Newest restored backup")
    last_proven_at = fields.Datetime(compute="_compute_backups", string="Proven to")
    backup_warning = fields.Char(compute="_compute_backups")

    @api.depends(
        "backup_ids.state",
        "backup_ids.test_state",
        "backup_ids.taken_at",
        "repository_id",
        "database_uuid",
        "policy_id",
    )
    def _compute_backups(self):
        now = fields.Datetime.now()
        for environment in self:
            kept = environment.backup_ids.filtered(lambda one: one.state == "kept").sorted("taken_at", reverse=True)
            proven = kept.filtered(lambda one: one.test_state == "proven")
            environment.last_backup_id, environment.last_backup_at = kept[:1], kept[:1].taken_at
            environment.last_proven_id, environment.last_proven_at = proven[:1], proven[:1].taken_at
            environment.backup_warning = environment._backup_sentence(now)

    def _backup_sentence(self, now):
        """Return what is wrong with the backups, for the page; previews need none."""
        known, rules = self._kept_backups(), self.policy_id.sudo()
        if self.tier != "production" or not known.has_data:
            return False
        if not known.has_repository:
            return self.env._("It is not backed up: give it a backup repository.")
        last = self.sudo().backup_ids.sorted("id")[-1:]
        if last.state == "failed":
            return self.env._("The last backup failed: %s", last.error_message or "")
        if backup.is_stale(known, now, rules.backup_max_age_hours or 48):
            return self.env._("Its newest backup is too old.")
        if known.newest_proven is None:
            return self.env._("No backup of it was ever restored: have one tested.")
        return False

    def _kept_backups(self):
        """Return what is known of the backups, for the core."""
        own = self.sudo()
        return backup.Kept(
            environment=own.key or "",
            # What was imported and never deployed is still there where it came from.
            has_data=bool(own.database_uuid and own.running_deployment_id),
            has_repository=bool(own.repository_id.active),
            newest=own.last_backup_at or None,
            newest_proven=own.last_proven_at or None,
        )

    def _backup_impossible(self):
        """Return why no backup can be taken, or None."""
        if not self.repository_id:
            return self.env._("%s has no backup repository: choose one on its page.", self.key)
        if not self.database_uuid or not self.running_release_id:
            return self.env._("%s has no data yet: there is nothing to back up.", self.key)
        if self.repository_id.agent_id != self.agent_id:
            return self.env._(
                "The repository of %(environment)s belongs to %(agent)s: choose one of its own droplet.",
                environment=self.key,
                agent=self.repository_id.agent_id.name,
            )
        if not self.repository_id.is_sealed:
            return self.env._(
                "%s can't be opened by its droplet, which was enrolled anew: enter the repository's password again.",
                self.repository_id.name,
            )
        return None

    def action_back_up(self):
        """Back the environment up now."""
        self.ensure_one()
        self.check_access("read")
        self.project_id._require_role("developer", "release_manager")
        made = self.env["odooops.backup"]._start(self.sudo(), "button")
        self.env["odooops.audit.event"].sudo()._record(self.sudo(), "backup.requested", backup=made.id)
        return self._open_backups()

    def action_open_backups(self):
        """Open its backups."""
        self.ensure_one()
        return self._open_backups()

    def _open_backups(self):
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Backups of %s", self.key),
            "res_model": "odooops.backup",
            "view_mode": "list,form",
            "domain": [("environment_id", "=", self.id)],
        }

    def _tell_of_backup(self, sentence):
        """Tell those who answer for the environment that its backups are not well."""
        for environment in self:
            environment.message_post(body=sentence)
            environment.project_id._notify_release_managers(
                environment, self.env._("Backups of %s", environment.key), sentence
            )

    @api.model
    def _cron_backups(self):
        """Back up what is due, and have the newest backups tested; one that fails keeps no other from it."""
        now = fields.Datetime.now()
        served = [("database_uuid", "!=", False), ("running_deployment_id", "!=", False)]
        for environment in self.search([("repository_id", "!=", False), *served]):
            try:
                with self.env.cr.savepoint():
                    environment._back_up_if_due(now)
            except Exception:  # pylint: disable=broad-except
                _logger.exception("The nightly backup of %s could not be queued.", environment.key)

    def _back_up_if_due(self, now):
        known = self._kept_backups()
        if refusal := self._backup_impossible():
            self._tell_of_backup(refusal)
            return
        if backup.is_due(known, now):
            self.env["odooops.backup"]._start(self, "schedule")
        if backup.test_is_due(known, now, self.policy_id.restore_test_days):
            newest = self.last_backup_id
            if newest.release_id and newest.test_state == "untested":
                newest.sudo()._start_test()
