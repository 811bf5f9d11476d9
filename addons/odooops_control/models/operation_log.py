from odoo import api, fields, models

_KEEP_DAYS = 180
_BATCH = 20000


class OdooopsOperationLog(models.Model):
    _name = "odooops.operation.log"
    _description = "Log Line of an Operation"
    _order = "operation_id desc, token, seq"
    _rec_name = "text"

    operation_id = fields.Many2one("odooops.operation", required=True, readonly=True, ondelete="cascade", index=True)
    project_id = fields.Many2one(related="operation_id.project_id", store=True, index=True, precompute=True)
    token = fields.Integer(required=True, readonly=True)
    seq = fields.Integer(required=True, readonly=True)
    step = fields.Char(readonly=True)
    stream = fields.Selection([("stdout", "Output"), ("stderr", "Errors")], default="stdout", readonly=True)
    at = fields.Datetime(readonly=True)
    text = fields.Char(readonly=True)

    _seq_uniq = models.Constraint("UNIQUE (operation_id, token, seq)", "This line is recorded already.")

    _created_idx = models.Index("(create_date)")

    @api.autovacuum
    def _gc_lines(self):
        limit = fields.Datetime.subtract(fields.Datetime.now(), days=_KEEP_DAYS)
        lines = self.sudo().search([("create_date", "<", limit)], order="id", limit=_BATCH)
        lines.unlink()
        return len(lines), len(lines) == _BATCH
