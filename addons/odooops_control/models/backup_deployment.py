from odoo import fields, models

from ..core import backup


class OdooopsDeployment(models.Model):
    _inherit = "odooops.deployment"

    def _enqueue_deploy(self):
        """Take a backup first where the policy asks for a newer one than there is."""
        waiting = self.filtered(lambda one: one._backup_is_stale())
        for deployment in waiting:
            self.env["odooops.backup"]._start(deployment.environment_id, "deployment", deployment)
            deployment._say(self.env._("A backup is taken first, as the policy asks for."))
        return super(OdooopsDeployment, self - waiting)._enqueue_deploy()

    def _backup_is_stale(self):
        known, rules = self.environment_id._kept_backups(), self._rules()
        if "backup" in self._overrides():
            return False
        if rules["backup_first"] and known.has_data and not self._own_backup():
            return True
        return backup.is_stale(known, fields.Datetime.now(), rules["backup_max_age_hours"])

    def _own_backup(self):
        """Return the backup that was taken for this deployment since it was decided on."""
        since = self.decided_at or self.create_date
        own = self.environment_id.sudo().backup_ids.filtered(lambda one: one.deployment_id == self)
        return own.filtered(lambda one: one.state == "kept" and one.taken_at >= since)

    def _on_backup_kept(self):
        """The backup that it waited for is there."""
        self.filtered(lambda one: one.state == "approved")._enqueue_deploy()

    def _on_backup_missing(self, why):
        """Without the backup nothing is touched."""
        for deployment in self.filtered(lambda one: one.state == "approved"):
            deployment._update_state("cancelled")._say(
                self.env._(
                    "No backup could be taken before it, so nothing was touched; mend that, then deploy. %s", why
                )
            )
