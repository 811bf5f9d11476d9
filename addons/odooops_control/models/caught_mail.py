import base64
import binascii
from datetime import timedelta

from markupsafe import Markup

from odoo import api, fields, models

from ..core import caught_mail

_BATCH = 1000
_SHOWN_PARTS = 20
_PREVIEW = 200


class OdooopsCaughtMail(models.Model):
    _name = "odooops.caught.mail"
    _description = "Caught Mail"
    _order = "received_at desc, id desc"
    _rec_name = "subject"

    environment_id = fields.Many2one("odooops.environment", required=True, readonly=True, ondelete="restrict")
    project_id = fields.Many2one(related="environment_id.project_id", store=True, index=True, precompute=True)
    identity = fields.Char(
        required=True, readonly=True, help="The agent's own name of it: what comes twice counts once."
    )
    received_at = fields.Datetime(string="Caught at", required=True, readonly=True)
    sent_at = fields.Datetime(string="Date", readonly=True, help="As the mail itself says.")
    sender = fields.Char(string="From", readonly=True)
    envelope_from = fields.Char(string="Bounces go to", readonly=True)
    recipients = fields.Text(string="To", readonly=True, help="Whom it would have reached, hidden copies too.")
    named_recipients = fields.Text(string="Recipients named in it", readonly=True)
    subject = fields.Char(readonly=True)
    body_text = fields.Text(string="Text", readonly=True, prefetch=False)
    preview = fields.Char(readonly=True)
    has_html = fields.Boolean(readonly=True)
    attachment_names = fields.Char(string="Attachments", readonly=True)
    size_bytes = fields.Float(readonly=True, digits=(20, 0))
    size_kb = fields.Float(string="Size (kB)", compute="_compute_size_kb", digits=(20, 1))
    cut = fields.Boolean(string="Incomplete", readonly=True, help="It was so large that its beginning alone was kept.")
    raw = fields.Binary(string="Source", attachment=True, readonly=True)
    raw_name = fields.Char(compute="_compute_raw_name")
    body_html = fields.Html(string="Mail", compute="_compute_body_html", sanitize=False)
    attachments_html = fields.Html(compute="_compute_attachments_html", sanitize=False)

    _identity_uniq = models.UniqueIndex("(environment_id, identity)", "This mail is here already.")
    _received_idx = models.Index("(environment_id, received_at DESC, id DESC)")

    @api.depends("size_bytes")
    def _compute_size_kb(self):
        for mail in self:
            mail.size_kb = mail.size_bytes / 1024

    @api.depends("identity")
    def _compute_raw_name(self):
        for mail in self:
            mail.raw_name = f"mail-{mail.id}.eml"

    @api.depends("has_html")
    def _compute_body_html(self):
        """Show it in a frame of its own, whose page may fetch nothing and run nothing: see the controller."""
        frame = Markup(
            '<iframe src="/odooops/mail/%d/body" sandbox="allow-popups allow-popups-to-escape-sandbox" '
            'referrerpolicy="no-referrer" title="%s" class="w-100 border rounded bg-white" style="height: 60vh">'
            "</iframe>"
        )
        for mail in self:
            mail.body_html = frame % (mail.id, self.env._("The mail")) if mail._origin else False

    @api.depends("attachment_names")
    def _compute_attachments_html(self):
        link = Markup(
            '<a href="/odooops/mail/%d/part/%d" class="btn btn-sm btn-secondary me-1 mb-1">'
            '<i class="fa fa-download" role="img" aria-label="%s"></i> %s <span class="text-muted">%.0f kB</span></a>'
        )
        for mail in self:
            parts = mail._read().parts[:_SHOWN_PARTS] if mail.attachment_names else ()
            mail.attachments_html = Markup("").join(
                link % (mail.id, part.index, self.env._("Download"), part.name, len(part.content) / 1024)
                for part in parts
            )

    def _read(self):
        """Return the mail's own content, as :class:`core.caught_mail.Mail`."""
        self.ensure_one()
        return caught_mail.read(self._raw_bytes())

    def _raw_bytes(self):
        return base64.b64decode(self.with_context(bin_size=False).raw or b"")

    @api.model
    def _take_in(self, environment, messages):
        """Record what an environment sent, each once, and return the identities that are here now.

        :param messages: :class:`core.protocol.CaughtMail` of this environment
        """
        named = {message.id: message for message in messages}
        known = self.search([("environment_id", "=", environment.id), ("identity", "in", list(named))])
        new = [one for identity, one in named.items() if identity not in set(known.mapped("identity"))]
        self.create([self._values(environment, message) for message in new])
        self._forget_beyond(environment)
        return list(named)

    @api.model
    def _values(self, environment, message):
        raw = _decoded(message.raw)
        mail = caught_mail.read(raw)
        names = ", ".join(part.name for part in mail.parts)
        return {
            "environment_id": environment.id,
            "identity": message.id,
            "received_at": message.received_at,
            "sent_at": mail.sent_at,
            "sender": mail.sender or caught_mail.clean(message.envelope_from),
            "envelope_from": caught_mail.clean(message.envelope_from),
            "recipients": caught_mail.clean(", ".join(message.recipients), 20_000),
            "named_recipients": mail.recipients,
            "subject": mail.subject or self.env._("(no subject)"),
            "body_text": mail.text,
            "preview": " ".join(mail.text[: 4 * _PREVIEW].split())[:_PREVIEW],
            "has_html": bool(mail.html),
            "attachment_names": names[:1000],
            "size_bytes": message.size_bytes,
            "cut": message.cut,
            "raw": base64.b64encode(raw),
        }

    @api.model
    def _forget_beyond(self, environment):
        """Let the oldest go where there are more than the environment keeps; return how many went."""
        beyond = self.search([("environment_id", "=", environment.id)], offset=environment.mails_keep, limit=_BATCH)
        beyond.unlink()
        return len(beyond)

    @api.autovacuum
    def _gc_mails(self):
        """Forget what is older than its environment keeps mails, or too many."""
        gone = 0
        # All of them are wanted, and there are few.  pylint: disable-next=no-search-all
        for environment in self.env["odooops.environment"].sudo().with_context(active_test=False).search([]):
            limit = fields.Datetime.now() - timedelta(days=environment.mail_keep_days)
            old = self.sudo().search(
                [("environment_id", "=", environment.id), ("received_at", "<", limit)], limit=_BATCH
            )
            gone += len(old) + self.sudo()._forget_beyond(environment)
            old.exists().unlink()
        return gone, gone >= _BATCH


def _decoded(text):
    """Return the bytes of base64 ``text``; what is none is kept as it came."""
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError):
        return text.encode()
