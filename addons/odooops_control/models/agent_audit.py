from odoo import fields, models


class OdooopsAgent(models.Model):
    """Every agent keeps the head of the audit log that it was last told: history can't be rewritten unnoticed."""

    _inherit = "odooops.agent"

    audit_break = fields.Char(
        readonly=True, copy=False, help="The event that this agent knows, and that the audit log does not have so."
    )

    def _compare_audit(self, held):
        """Compare the head that the agent holds with the log, and return what the heartbeat's answer says of it.

        :param held: a ``core.protocol.AuditHead`` or None
        """
        self.ensure_one()
        Event = self.env["odooops.audit.event"].sudo()
        answer = {"audit_head": Event._head_event(), "audit_held": None}
        if not held:
            return answer
        answer["audit_held"] = Event._hash_at(held.number)
        if answer["audit_held"] == held.hash:
            if self.audit_break:
                self.audit_break = False
        elif self.audit_break != f"{held.number}:{held.hash}":
            self._report_audit_break(held, answer["audit_held"])
        return answer

    def _report_audit_break(self, held, found):
        self.audit_break = f"{held.number}:{held.hash}"
        text = (
            self.env._(
                "Event %(number)s of the audit log is not what it was when %(agent)s was told.",
                number=held.number,
                agent=self.name,
            )
            if found
            else self.env._(
                "Event %(number)s of the audit log, of which %(agent)s was told, is gone.",
                number=held.number,
                agent=self.name,
            )
        )
        self.message_post(body=text)
        Event = self.env["odooops.audit.event"]
        Event._record(self, "audit.head_contradicted", number=held.number, held=held.hash, found=found or "")
        Event.sudo()._raise_alarm(
            text,
            self.env._(
                "When the console itself was restored from an older backup this is to be expected: say so on the "
                "droplet with odooops-agent audit --accept. Else somebody rewrote history: keep the database as it is."
            ),
        )
