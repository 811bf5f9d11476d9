from odoo import fields, models


class OdooopsOperation(models.Model):
    _inherit = "odooops.operation"

    import_file = fields.Char(readonly=True)
    import_filestore = fields.Char(readonly=True)
    import_release_id = fields.Many2one("odooops.release", readonly=True, ondelete="restrict", index="btree_not_null")

    def _subject(self):
        return self.environment_id if self.kind == "import" else super()._subject()

    def _payload(self):
        """Add what is imported, and the release whose image loads it and has to fit its modules."""
        payload = super()._payload()
        if self.kind == "import":
            payload["release"] = self.import_release_id._agent_payload(self.import_release_id.name)
            payload["import"] = {"file": self.import_file, "filestore": self.import_filestore or None}
        return payload
