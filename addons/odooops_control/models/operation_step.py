from odoo import api, fields, models

_KEEP_DAYS = 365
_BATCH = 20000


class OdooopsOperationStep(models.Model):
    _name = "odooops.operation.step"
    _description = "Step of an Operation"
    _order = "operation_id desc, token, seq"

    operation_id = fields.Many2one("odooops.operation", required=True, readonly=True, ondelete="cascade", index=True)
    project_id = fields.Many2one(related="operation_id.project_id", store=True, index=True, precompute=True)
    token = fields.Integer(required=True, readonly=True)
    seq = fields.Integer(required=True, readonly=True)
    name = fields.Char(required=True, readonly=True)
    state = fields.Selection(
        [
            ("pending", "Pending"),
            ("running", "Running"),
            ("succeeded", "Succeeded"),
            ("failed", "Failed"),
            ("cancelled", "Cancelled"),
            ("skipped", "Skipped"),
            ("undone", "Undone"),
        ],
        required=True,
        readonly=True,
    )
    started_at = fields.Datetime(readonly=True)
    finished_at = fields.Datetime(readonly=True)
    seconds = fields.Float(compute="_compute_seconds")
    detail = fields.Char(readonly=True)

    _seq_uniq = models.Constraint("UNIQUE (operation_id, token, seq)", "This step is recorded already.")
    _created_idx = models.Index("(create_date)")

    @api.depends("started_at", "finished_at")
    def _compute_seconds(self):
        for step in self:
            both = step.started_at and step.finished_at
            step.seconds = (step.finished_at - step.started_at).total_seconds() if both else 0

    @api.autovacuum
    def _gc_steps(self):
        """Forget steps of long ago; the deployments' own timelines stay."""
        limit = fields.Datetime.subtract(fields.Datetime.now(), days=_KEEP_DAYS)
        steps = self.sudo().search([("create_date", "<", limit)], order="id", limit=_BATCH)
        steps.unlink()
        return len(steps), len(steps) == _BATCH
