from datetime import timedelta

from odoo import api, fields, models

_KEEP = timedelta(days=180)
_BATCH = 10000


class OdooopsEvent(models.Model):
    _name = "odooops.event"
    _description = "Event"
    _order = "id desc"
    _rec_name = "delivery_id"

    provider = fields.Selection([("ci", "CI"), ("github", "GitHub")], required=True, readonly=True)
    delivery_id = fields.Char(required=True, readonly=True)
    kind = fields.Char(required=True, readonly=True)
    project_id = fields.Many2one("odooops.project", readonly=True, ondelete="set null", index=True)
    user_id = fields.Many2one("res.users", readonly=True, default=lambda self: self.env.user)
    payload = fields.Json(readonly=True, prefetch=False)
    state = fields.Selection(
        [("received", "Received"), ("processed", "Processed"), ("failed", "Failed")],
        default="received",
        required=True,
        readonly=True,
    )
    error = fields.Char(readonly=True)
    count = fields.Integer(string="Deliveries", default=1, readonly=True)

    _delivery_uniq = models.Constraint("UNIQUE (provider, delivery_id)", "This delivery was received already.")

    @api.model
    def _receive(self, provider, delivery_id, kind, project=None, payload=None, state="processed"):
        """Record a delivery once and return it with whether it is the first of its id."""
        known = self.sudo().search([("provider", "=", provider), ("delivery_id", "=", delivery_id)], limit=1)
        if known:
            known.count += 1
            return known, False
        event = self.sudo().create(
            {
                "provider": provider,
                "delivery_id": delivery_id,
                "kind": kind,
                "project_id": project.id if project else False,
                "payload": payload or {},
                "state": state,
            }
        )
        return event, True

    @api.autovacuum
    def _gc_events(self):
        """Forget deliveries so old that nobody sends them again."""
        limit = fields.Datetime.now() - _KEEP
        events = self.sudo().search([("create_date", "<", limit)], order="id", limit=_BATCH)
        events.unlink()
        return len(events), len(events) == _BATCH
