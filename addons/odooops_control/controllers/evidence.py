from odoo import SUPERUSER_ID, http
from odoo.http import request

# Nothing but its own style: whatever somebody wrote into a note, no browser runs or loads it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox allow-modals"


class EvidenceController(http.Controller):
    """Evidence packs where no PDF can be made: a page to read and print."""

    @http.route("/odooops/evidence/<int:number>", type="http", auth="user", methods=["GET"], readonly=True)
    def page(self, number, **_params):
        """Show the page of a deployment that the user may read; anybody else sees that there is nothing."""
        made = [("res_model", "=", "odooops.deployment"), ("create_uid", "=", SUPERUSER_ID)]
        kind = [("mimetype", "=", "text/html"), ("name", "=like", "evidence-%")]
        found = request.env["ir.attachment"].sudo().search([("id", "=", number), *made, *kind])
        if not request.env["odooops.deployment"].search_count([("id", "=", found.res_id or 0)]):
            raise request.not_found()
        headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": _POLICY}
        return request.make_response(
            found.raw,
            headers=[*headers.items(), ("Cache-Control", "private, no-store"), ("X-Content-Type-Options", "nosniff")],
        )
