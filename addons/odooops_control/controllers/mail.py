from odoo import http
from odoo.http import content_disposition, request

from ..core import mail_html

# The frame runs nothing, fetches nothing and sends nothing; a link opens a page of its own, that knows nothing of us.
_ALONE = {
    "Content-Security-Policy": "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; "
    "img-src data:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-store",
}
_PAGE = """<!DOCTYPE html><html><head><meta charset="utf-8"><title>-</title>
<style>body {{ font-family: sans-serif; margin: 1rem; overflow-wrap: anywhere; }} img {{ max-width: 100%; }}</style>
</head><body>{}</body></html>"""


class MailController(http.Controller):
    """What a caught mail holds, for those who may read it."""

    @http.route("/odooops/mail/<int:mail_id>/body", type="http", auth="user", methods=["GET"], readonly=True)
    def body(self, mail_id):
        """Show the mail without anything that is elsewhere."""
        mail = self._mail(mail_id)._read()
        shown = mail_html.local(mail.html, mail.parts) if mail.html else mail_html.plain(mail.text)
        return request.make_response(
            _PAGE.format(shown), [*_ALONE.items(), ("Content-Type", "text/html; charset=utf-8")]
        )

    @http.route(
        "/odooops/mail/<int:mail_id>/part/<int:index>", type="http", auth="user", methods=["GET"], readonly=True
    )
    def part(self, mail_id, index):
        """Hand out an attachment, to be kept and never shown by the browser."""
        found = [part for part in self._mail(mail_id)._read().parts if part.index == index]
        if not found:
            raise request.not_found()
        headers = {
            **_ALONE,
            "Content-Type": "application/octet-stream",
            "Content-Disposition": content_disposition(found[0].name),
        }
        return request.make_response(found[0].content, list(headers.items()))

    def _mail(self, mail_id):
        mail = request.env["odooops.caught.mail"].search([("id", "=", mail_id)])
        if not mail:
            raise request.not_found()
        return mail
