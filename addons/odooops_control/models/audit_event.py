import json
import re

from odoo import api, fields, models
from odoo.exceptions import AccessError
from odoo.tools import SQL

from ..core import chain, protocol
from .triggers import guard

_LOCK = 0x0D00_0B5A
_PENDING = "odooops.audit.pending"
_LONG_HASH = re.compile(r"\b[0-9a-f]{64}\b")
_CHAINED = ("happened_at", "user_id", "action", "model", "record_id", "record_name", "project_id", "details")


class OdooopsAuditEvent(models.Model):
    _name = "odooops.audit.event"
    _description = "Audit Event"
    _order = "id desc"
    _rec_name = "action"
    _log_access = False

    happened_at = fields.Datetime(required=True, readonly=True)
    user_id = fields.Integer(string="User id", readonly=True)
    user_name = fields.Char(compute="_compute_user_name", string="User")
    action = fields.Char(required=True, readonly=True, index=True)
    model = fields.Char(readonly=True)
    record_id = fields.Many2oneReference(model_field="model", readonly=True)
    record_name = fields.Char(readonly=True)
    # An id without foreign key: nothing that is deleted elsewhere may touch this table.
    project_id = fields.Integer(string="Project id", readonly=True, index=True)
    details = fields.Json(readonly=True, prefetch=False)
    details_text = fields.Char(compute="_compute_details_text", string="What exactly")
    previous_hash = fields.Char(required=True, readonly=True)
    hash = fields.Char(required=True, readonly=True)

    _previous_uniq = models.Constraint("UNIQUE (previous_hash)", "The audit chain can't fork.")

    def init(self):
        """Let rows only be added, whoever asks."""
        guard(self.env.cr, self._table, "odooops_refuse_change", SQL("UPDATE OR DELETE"))
        guard(self.env.cr, self._table, "odooops_refuse_change", SQL("TRUNCATE"), SQL("STATEMENT"))

    def _compute_user_name(self):
        users = self.env["res.users"].sudo().with_context(active_test=False)
        for event in self:
            event.user_name = users.browse(event.user_id).exists().name or str(event.user_id)

    @api.depends("details")
    def _compute_details_text(self):
        for event in self:
            event.details_text = ", ".join(
                f"{name.removesuffix('_id').replace('_', ' ')}: {_shown(value)}"
                for name, value in (event.details or {}).items()
                if value not in (None, "")
            )

    @api.model_create_multi
    def create(self, vals_list):  # pylint: disable=method-required-super
        """Refuse: what did not happen is not added either, not even by an import in the superuser's name."""
        raise AccessError(self.env._("The audit log is written by OdooOps alone."))

    def write(self, vals):
        """Refuse: what happened stays."""
        if vals:
            raise AccessError(self.env._("The audit log can only be added to."))
        return super().write(vals)

    @api.ondelete(at_uninstall=False)
    def _unlink_never(self):
        raise AccessError(self.env._("The audit log can only be added to."))

    @api.model
    def _record(self, record, action, project=None, **details):
        """Note what happened; it is chained and written at the end of the transaction."""
        project = (
            project
            or ("project_id" in record._fields and record.project_id)
            or (record if record._name == "odooops.project" else None)
        )
        cr = self.env.cr
        if _PENDING not in cr.precommit.data:
            cr.precommit.data[_PENDING] = []
            cr.precommit.add(lambda: self.sudo()._write_pending(cr.precommit.data.pop(_PENDING, [])))
        cr.precommit.data[_PENDING].append(
            {
                "happened_at": fields.Datetime.now(),
                "user_id": self.env.uid,
                "action": action,
                "model": record._name,
                "record_id": record.id,
                "record_name": record.sudo().display_name or "",
                "project_id": project.id if project else 0,
                # As PostgreSQL gives it back: the hash has to come out the same.
                "details": json.loads(json.dumps(details, default=str)),
            }
        )

    @api.model
    def _write_pending(self, pending):
        """Chain what is pending to the last event; one transaction at a time."""
        if not pending:
            return
        self.env.cr.execute(SQL("SELECT pg_advisory_xact_lock(%s)", _LOCK))
        head = self._head()
        for vals in pending:
            digest = chain.link(head, self._content(vals))
            # pylint: disable-next=super-method-mismatch
            super().create([{**vals, "previous_hash": head, "hash": digest}])
            head = digest

    @api.model
    def _head(self):
        """Return the hash of the newest event, also of one that this snapshot does not show yet.

        The transaction's snapshot may be older than the lock, so the last committed event is
        read through a cursor of its own.
        """
        last = self.search_read([], ["id", "hash"], order="id desc", limit=1)
        heads = [(row["id"], row["hash"]) for row in last] + self._committed_heads()
        return max(heads)[1] if heads else chain.GENESIS

    @api.model
    def _committed_heads(self):
        """Return the newest committed event, as a list of at most one."""
        if not self.env.registry.ready:
            # An installation or update is alone, and its own table is new or locked to every other cursor.
            return []
        with self.env.registry.cursor() as cr:
            cr.execute(SQL("SELECT id, hash FROM odooops_audit_event ORDER BY id DESC LIMIT 1"))
            return cr.fetchall()

    @api.model
    def _content(self, vals):
        """Return what the hash covers, as JSON."""
        content = {name: vals[name] for name in _CHAINED}
        return {
            **content,
            "happened_at": protocol.show_time(content["happened_at"]),
            "record_name": content["record_name"] or "",
            "model": content["model"] or "",
            "record_id": content["record_id"] or 0,
            "details": content["details"] or {},
        }


def _shown(value):
    """Return a detail as people read it: hashes by their beginning, a change with an arrow."""
    if isinstance(value, list):
        return " → ".join(_shown(one) for one in value)
    text = str(value)
    return _LONG_HASH.sub(lambda found: found[0][:12], text)
