import json
import logging
import tempfile

from odoo import api, fields, models
from odoo.exceptions import AccessError
from odoo.tools import SQL

from ..core import chain, protocol

_logger = logging.getLogger(__name__)
# The newest event as the nightly run saw it: that much can't be cut off unnoticed.
_NOTED = "odooops_control.audit_head"
_ALARM = "odooops_control.mail_activity_audit"
_BATCH = 10_000
_PAGE = 5_000
# Fetched as the hash covers it: to be put together 200,000 times.
_PART = """
    SELECT id, previous_hash, hash, to_char(happened_at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), user_id, action, model,
           record_id, record_name, project_id, details
      FROM odooops_audit_event WHERE id > %s ORDER BY id LIMIT %s
"""


class OdooopsAuditEvent(models.Model):
    """The chain looked at: is it whole, what is its head, and a copy of it that is checked elsewhere."""

    _inherit = "odooops.audit.event"

    # Reading: in SQL, as there are hundreds of thousands of them

    @api.model
    def _links(self, after=0, limit=None):
        """Yield number, previous hash, hash and content of the events after one, in order."""
        while limit is None or limit > 0:
            size = min(_BATCH, limit or _BATCH)
            rows = self.env.execute_query(SQL(_PART, after, size))
            for number, previous, digest, at, user, action, model, record, name, project, details in rows:
                content = {
                    "happened_at": at,
                    "user_id": user,
                    "action": action,
                    "model": model or "",
                    "record_id": record or 0,
                    "record_name": name or "",
                    "project_id": project or 0,
                    "details": details or {},
                }
                yield number, previous, digest, content
            if len(rows) < size:
                return
            after = rows[-1][0]
            limit = limit and limit - size

    @api.model
    def _head_event(self):
        """Return number and hash of the newest event of this snapshot, or nothing."""
        rows = self.env.execute_query(SQL("SELECT id, hash FROM odooops_audit_event ORDER BY id DESC LIMIT 1"))
        return {"number": rows[0][0], "hash": rows[0][1]} if rows else None

    @api.model
    def _hash_at(self, number):
        """Return the hash of one event, None when there is none of this number."""
        rows = self.env.execute_query(SQL("SELECT hash FROM odooops_audit_event WHERE id = %s", number))
        return rows[0][0] if rows else None

    # Checking

    @api.model
    def _verify(self):
        """Return number and fault of the first event that breaks the chain, and how many were looked at."""
        expected, count = chain.GENESIS, 0
        for number, previous, digest, content in self._links():
            count += 1
            if fault := chain.fault(previous, digest, content, expected):
                return number, fault, count
            expected = digest
        return None, None, count

    @api.model
    def _is_cut_off(self):
        """Return whether events at the end are missing that the last nightly run saw."""
        number, _colon, noted = (self.env["ir.config_parameter"].sudo().get_param(_NOTED) or "").partition(":")
        return number.isdigit() and self._hash_at(int(number)) != noted

    @api.model
    def verify(self):
        """Check the chain.

        Events cut off at the end show when they are older than the last nightly run or than an agent's last
        heartbeat; to see more, keep ``head`` elsewhere and compare.

        :return: ``{"ok": bool, "events": count, "broken_at": number or None, "cut_off": bool, "head": hash,
            "reason": sentence}``
        """
        self.check_access("read")
        number, fault, count = self.sudo()._verify()
        cut_off = self._is_cut_off()
        return {
            "ok": not number and not cut_off,
            "events": count,
            "broken_at": number,
            "cut_off": cut_off,
            "head": self._head(),
            "reason": self._sentence(number, fault, cut_off),
        }

    @api.model
    def _sentence(self, number, fault, cut_off):
        if fault == "changed":
            return self.env._("Event %s of the audit log was changed after it was written.", number)
        if fault == "missing":
            return self.env._("Something before event %s of the audit log was taken out or put in.", number)
        if cut_off:
            return self.env._("The newest events of the audit log that were there last night are gone.")
        return ""

    @api.model
    def _cron_verify(self):
        """Check the chain; raise the alarm where it is broken, else note how far it goes."""
        found = self.verify()
        if not found["ok"]:
            self._raise_alarm(
                found["reason"],
                self.env._(
                    "Somebody had PostgreSQL's own rights. Keep the database as it is, compare with a backup and with "
                    "the heads that the agents hold (odooops-agent audit), and find out who."
                ),
            )
        elif head := self._head_event():
            self.env["ir.config_parameter"].sudo().set_param(_NOTED, f"{head['number']}:{head['hash']}")

    @api.model
    def _raise_alarm(self, sentence, advice):
        """Have every administrator look after it, the same alarm once."""
        _logger.error("%s %s", sentence, advice)
        for user in self.env["res.users"]._odooops_administrators():
            partner = user.partner_id.sudo().with_context(mail_activity_automation_skip=False)
            if sentence not in partner.activity_search([_ALARM], user_id=user.id).mapped("summary"):
                partner.activity_schedule(_ALARM, user_id=user.id, summary=sentence, note=advice)

    # Copies

    @api.model
    def _exported(self, after=0, limit=None):
        """Yield events as they stand in an export."""
        for number, previous, digest, content in self._links(after, limit):
            yield {"number": number, "previous_hash": previous, "hash": digest, "event": content}

    @api.model
    def export(self, after=0, limit=_PAGE):
        """Return a part of the log that can be verified elsewhere, for administrators.

        :param int after: the number of the last event that is known already
        :param int limit: how many at most
        :return: ``{"events": [{"number", "previous_hash", "hash", "event"}], "head": {"number", "hash"} or None}``
        """
        self._require_administrator()
        limit = min(max(int(limit), 1), _PAGE)
        return {"events": list(self.sudo()._exported(int(after), limit)), "head": self.sudo()._head_event()}

    @api.model
    def _export_file(self):
        """Return an open file of JSON lines: what it is, every event, and the head."""
        self._require_administrator()
        file = tempfile.TemporaryFile()  # noqa: SIM115  the response closes it
        count, head = 0, None
        _write_line(file, {"odooops_audit": 1, "exported_at": protocol.show_time(fields.Datetime.now())})
        for event in self.sudo()._exported():
            _write_line(file, event)
            count, head = count + 1, {"number": event["number"], "hash": event["hash"]}
        _write_line(file, {"events": count, "head": head})
        file.seek(0)
        return file

    @api.model
    def _require_administrator(self):
        if not self.env.user.has_group("odooops_control.group_administrator"):
            raise AccessError(self.env._("Only an administrator of OdooOps takes the whole audit log: ask one."))

    @api.model
    def action_export(self):
        """Download the whole log as a file that verifies offline."""
        self._require_administrator()
        return {"type": "ir.actions.act_url", "url": "/odooops/audit/export", "target": "download"}

    @api.model
    def action_verify(self):
        """Check the chain now and say what came out."""
        found = self.verify()
        text = found["reason"] or self.env._("%(count)s events, an unbroken chain.", count=found["events"])
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {"type": "success" if found["ok"] else "danger", "message": text, "sticky": not found["ok"]},
        }


def _write_line(file, value):
    file.write(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")
