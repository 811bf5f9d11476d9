from odoo import fields, models

from ..core import backup


class OdooopsDeployment(models.Model):
    _inherit = "odooops.deployment"

    def _promotion_refusal(self):
        """A policy may ask for backups before anything is touched."""
        return super()._promotion_refusal() or self._backup_refusal()

    def _backup_refusal(self):
        rules = self.policy_id
        return backup.refusal(
            self.environment_id._kept_backups(),
            fields.Datetime.now(),
            rules.backup_max_age_hours,
            rules.proven_max_age_hours,
        )

    def _enqueue_deploy(self):
        """Take a backup first where the policy asks for a newer one than there is."""
        waiting = self.filtered(lambda one: one._backup_is_stale())
        for deployment in waiting:
            self.env["odooops.backup"]._start(deployment.environment_id, "deployment", deployment)
            deployment._say(self.env._("The newest backup is too old: one is taken first."))
        return super(OdooopsDeployment, self - waiting)._enqueue_deploy()

    def _backup_is_stale(self):
        known = self.environment_id._kept_backups()
        return backup.is_stale(known, fields.Datetime.now(), self.policy_id.backup_max_age_hours)

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
