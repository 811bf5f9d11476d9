from odoo import fields, models


class OdooopsOperation(models.Model):
    _inherit = "odooops.operation"

    download_id = fields.Many2one("odooops.backup.download", readonly=True, ondelete="set null", index="btree_not_null")

    def _subject(self):
        return self.download_id or super()._subject()
