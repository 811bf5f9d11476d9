from datetime import timedelta

from odoo import api, fields, models

from ..core import keys, protocol

_SEEN_STEP = timedelta(minutes=1)
_RETRY_AFTER = timedelta(minutes=1)


class OdooopsAgentKey(models.Model):
    _name = "odooops.agent.key"
    _description = "Agent Key"
    _order = "id desc"
    _rec_name = "id"

    agent_id = fields.Many2one("odooops.agent", required=True, ondelete="cascade", index=True)
    secret_hash = fields.Char(groups=fields.NO_ACCESS, copy=False)
    expires_at = fields.Datetime(required=True, readonly=True)
    last_used_at = fields.Datetime(readonly=True)
    revoked_at = fields.Datetime(readonly=True)
    state = fields.Selection(
        [("unused", "Not used yet"), ("valid", "Valid"), ("expired", "Expired"), ("revoked", "Revoked")],
        compute="_compute_state",
    )

    @api.depends("expires_at", "revoked_at", "last_used_at")
    def _compute_state(self):
        now = fields.Datetime.now()
        for key in self:
            if key.revoked_at:
                key.state = "revoked"
            elif key.expires_at and key.expires_at <= now:
                key.state = "expired"
            else:
                key.state = "valid" if key.last_used_at else "unused"

    @api.depends("agent_id.name")
    def _compute_display_name(self):
        for key in self:
            key.display_name = f"{key.agent_id.name} #{key.id}"

    @api.model
    def _issue(self, agent):
        """Make a new key for ``agent`` and return its text, which is kept nowhere."""
        secret = keys.new_secret()
        key = self.sudo().create(
            {
                "agent_id": agent.id,
                "secret_hash": keys.hashed(secret),
                "expires_at": fields.Datetime.now() + timedelta(days=agent._key_days()),
            }
        )
        self.env["odooops.audit.event"]._record(agent, "agent.key_issued", key=key.id)
        return keys.compose(key.id, secret)

    @api.model
    def _verified(self, text):
        """Return the key that ``text`` is, in sudo.

        :raises protocol.Unauthorized: when it is no key, or one that is not valid any more
        """
        parsed = keys.parse(text)
        key = self.sudo().browse(parsed[0]).exists() if parsed else self.sudo().browse()
        if not parsed or not keys.matches(parsed[1], key.secret_hash if key else ""):
            raise protocol.Unauthorized("This agent key is not known: enrol the agent again in OdooOps.")
        if key.state not in ("unused", "valid"):
            raise protocol.Unauthorized(
                f"This agent key is {key.state}: make a new one on the agent's page in OdooOps."
            )
        if not key.agent_id.active or not key.agent_id.user_id.active:
            raise protocol.Forbidden("This agent is archived: activate it in OdooOps or stop the service.")
        return key

    def _used(self):
        """Note the use; the first use of a key ends those that came before it."""
        self.ensure_one()
        now = fields.Datetime.now()
        if not self.last_used_at:
            older = self.agent_id.key_ids.filtered(lambda key: key.id < self.id and not key.revoked_at)
            older._revoke()
            self.env["odooops.audit.event"]._record(self.agent_id, "agent.key_first_used", key=self.id)
            self.agent_id.activity_unlink(["odooops_control.mail_activity_key_expires"])
        # Not at every request: two at once would run into each other's row.
        if not self.last_used_at or now - self.last_used_at > _SEEN_STEP:
            self.last_used_at = now

    def _renewed(self):
        """Return the text of a successor when this key is past half its life, else None.

        A successor whose delivery was lost can't be shown again: it gives way to a new one.
        """
        self.ensure_one()
        now = fields.Datetime.now()
        if now < self.create_date + (self.expires_at - self.create_date) / 2:
            return None
        successors = self.agent_id.key_ids.filtered(lambda key: key.id > self.id and key.state == "unused")
        if any(now - key.create_date < _RETRY_AFTER for key in successors):
            return None
        successors._revoke()
        return self._issue(self.agent_id)

    def _revoke(self):
        """End these keys now."""
        self.filtered(lambda key: not key.revoked_at).write({"revoked_at": fields.Datetime.now()})
