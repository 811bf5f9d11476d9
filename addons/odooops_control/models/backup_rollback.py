from odoo import fields, models

from ..core import protocol


class OdooopsRollbackRequest(models.Model):
    _inherit = "odooops.rollback.request"

    backup_id = fields.Many2one(
        "odooops.backup",
        string="Backup to put back",
        readonly=True,
        copy=False,
        ondelete="set null",
        help="The newest one taken while the target ran; it is offered beside the restore set.",
    )

    def _start_preview(self):
        for request in self:
            request.backup_id = request._newest_backup()
        return super()._start_preview()

    def _newest_backup(self):
        """Return the newest backup of the target's state that the environment's droplet can open, or nothing."""
        environment, digest = self.environment_id, self.target_release_id.digest
        kept = environment.backup_ids.filtered(
            lambda one: one.digest == digest and one.snapshot and not one._restore_refusal()
        )
        return kept.sorted("taken_at")[-1:]

    def _backup_payload(self):
        backup = self.backup_id
        if not backup:
            return super()._backup_payload()
        return {
            "id": backup.id,
            "snapshot": backup.snapshot,
            "taken_at": protocol.show_time(backup.taken_at),
            "database_bytes": int(backup.database_bytes),
            "repository": backup.repository_id._agent_payload(),
        }
