from datetime import datetime

from odoo import api, fields, models


class OdooopsAuditedMixin(models.AbstractModel):
    """Settings whose every change is an event of the audit log, with what stood there before and after."""

    _name = "odooops.audited.mixin"
    _description = "Settings in the audit log"

    # How its events are called, and which fields they keep: no secrets, nothing that machines write.
    _audit_noun = None
    _audit_actions = ("created", "changed", "removed")
    _audit_fields = ()

    @api.model_create_multi
    def create(self, vals_list):
        """Record what was made."""
        records = super().create(vals_list)
        for record in records:
            record._audit_setting(0, record._audit_values())
        return records

    def write(self, vals):
        """Record what changed, and from what."""
        if not set(vals) & set(self._audit_fields):
            return super().write(vals)
        before = {record: record._audit_values() for record in self}
        done = super().write(vals)
        for record in self:
            after = record._audit_values()
            was = before[record]
            changed = {name: [was[name], after[name]] for name in after if was[name] != after[name]}
            if changed:
                record._audit_setting(1, {**record._audit_identity(), **changed})
        return done

    @api.ondelete(at_uninstall=False)
    def _audit_removal(self):
        for record in self:
            record._audit_setting(2, record._audit_values())

    def _audit_setting(self, action, details):
        record = self._audit_record()
        self.env["odooops.audit.event"]._record(record, f"{self._audit_noun}.{self._audit_actions[action]}", **details)

    def _audit_record(self):
        """Return the record that the event is shown at."""
        return self

    def _audit_identity(self):
        """Return what names the record in an event of a change, where the event is shown at another one."""
        return {}

    def _audit_values(self):
        self.ensure_one()
        record = self.sudo()
        return {name: _plain(record[name]) for name in self._audit_fields}


def _plain(value):
    """Return a field's value as the log keeps it: a name says more than an id, and outlives the record."""
    if isinstance(value, models.BaseModel):
        return ", ".join(value.mapped("display_name"))
    return fields.Datetime.to_string(value) if isinstance(value, datetime) else value
