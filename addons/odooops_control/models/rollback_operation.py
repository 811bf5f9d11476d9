from odoo import fields, models


class OdooopsOperation(models.Model):
    _inherit = "odooops.operation"

    rollback_id = fields.Many2one(
        "odooops.rollback.request", readonly=True, ondelete="restrict", index="btree_not_null"
    )

    def _subject(self):
        if self.kind == "health":
            return self.environment_id
        return self.rollback_id or super()._subject()

    def _queue_domain(self, agent, kinds):
        """Leave previews of rollbacks to agents that know what they are: they come as plans."""
        domain = super()._queue_domain(agent, kinds)
        return domain if "rollback" in kinds else [*domain, ("rollback_id", "=", False)]

    def _payload(self):
        payload = super()._payload()
        if self.rollback_id:
            payload |= self.rollback_id._operation_payload(self)
        if self.kind == "health":
            payload |= self.environment_id._health_payload()
        return payload
