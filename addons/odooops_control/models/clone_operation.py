from odoo import fields, models


class OdooopsOperation(models.Model):
    _inherit = "odooops.operation"

    clone_id = fields.Many2one(
        "odooops.clone", string="Copy", readonly=True, ondelete="restrict", index="btree_not_null"
    )

    def _subject(self):
        if self.kind == "inspect":
            return self.environment_id
        return self.clone_id or super()._subject()

    def _payload(self):
        payload = super()._payload()
        if self.clone_id:
            payload |= self.clone_id._operation_payload()
        if self.kind == "inspect":
            payload |= self.environment_id._inspect_payload()
        return payload
