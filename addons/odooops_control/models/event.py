import json
from datetime import timedelta

from odoo import api, fields, models
from odoo.fields import Domain
from odoo.tools import SQL

from ..core import github_events, protocol

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
    payload = fields.Json(readonly=True, prefetch=False, help="What was told, as far as it is read here.")
    signed_for = fields.Char(
        readonly=True, help="The project whose own secret signed it; empty: the common secret did."
    )
    state = fields.Selection(
        [("received", "Received"), ("processed", "Processed"), ("ignored", "Ignored"), ("failed", "Failed")],
        default="received",
        required=True,
        readonly=True,
    )
    outcome = fields.Char(readonly=True, help="What came of it.")
    error = fields.Char(readonly=True)
    count = fields.Integer(string="Deliveries", default=1, readonly=True)

    _delivery_uniq = models.Constraint("UNIQUE (provider, delivery_id)", "This delivery was received already.")
    _waiting_index = models.Index("(id) WHERE state = 'received'")

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

    @api.model
    def _take_in(self, delivery_id, kind, signed_for, payload):
        """Note a proven delivery of GitHub's, have it processed afterwards, and return whether it is new.

        One statement, before any user is known: of a thousand that come at once, PostgreSQL lets one in.
        """
        known = kind in github_events.KEPT
        kept = json.dumps(protocol.scrubbed(github_events.pruned(kind, payload))) if known else None
        self.env.cr.execute(
            SQL(
                """
                WITH event AS (
                    INSERT INTO odooops_event
                           (provider, delivery_id, kind, signed_for, payload, state, count, create_date, write_date)
                    VALUES ('github', %(delivery)s, %(kind)s, %(signed_for)s, %(payload)s, %(state)s, 1,
                            now() AT TIME ZONE 'utc', now() AT TIME ZONE 'utc')
                    ON CONFLICT (provider, delivery_id) DO NOTHING
                    RETURNING state
                ), trigger AS (
                    INSERT INTO ir_cron_trigger (cron_id, call_at)
                    SELECT %(cron)s, date_trunc('second', now() AT TIME ZONE 'utc')
                      FROM event WHERE state = 'received'
                )
                SELECT count(*) FROM event
                """,
                delivery=delivery_id,
                kind=kind,
                signed_for=signed_for or None,
                payload=kept,
                state="received" if known else "ignored",
                cron=self.env["ir.model.data"]._xmlid_to_res_id("odooops_control.cron_github_events"),
            )
        )
        is_new = bool(self.env.cr.fetchone()[0])
        if is_new and known:
            self.env.cr.postcommit.add(self.env["ir.cron"]._notifydb)
        return is_new

    @api.autovacuum
    def _gc_events(self):
        """Forget old deliveries; of GitHub's the id stays, for whoever has one may send it again after years."""
        limit = fields.Datetime.now() - _KEEP
        old = Domain("create_date", "<", limit) & Domain("state", "!=", "received")
        of_github = Domain("provider", "=", "github") & Domain("state", "!=", "ignored")
        gone = self.sudo().search(old & ~of_github, order="id", limit=_BATCH)
        emptied = self.sudo().search(old & of_github & Domain("payload", "!=", False), order="id", limit=_BATCH)
        done = len(gone) + len(emptied)
        emptied.write({"payload": False})
        gone.unlink()
        return done, done >= _BATCH
