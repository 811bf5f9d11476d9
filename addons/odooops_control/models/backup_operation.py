from odoo import fields, models


class OdooopsOperation(models.Model):
    _inherit = "odooops.operation"

    backup_id = fields.Many2one("odooops.backup", readonly=True, ondelete="restrict", index="btree_not_null")

    def _subject(self):
        return self.backup_id or super()._subject()

    def _payload(self):
        """Add which backup it is about, and the release that goes with its data."""
        payload = super()._payload()
        if backup := self.backup_id:
            environment = self.environment_id
            release = environment.running_release_id if self.kind == "backup" else backup.release_id
            payload["release"] = release._agent_payload(environment.running_tag or release.display_name)
            payload["backup"] = backup._operation_payload(self.kind)
        return payload
