from odoo import fields, http
from odoo.http import request


class AuditController(http.Controller):
    """The audit log as a file."""

    @http.route("/odooops/audit/export", type="http", auth="user", methods=["GET"], readonly=True)
    def export(self):
        """Return the whole audit log as JSON lines, for administrators."""
        file = request.env["odooops.audit.event"]._export_file()
        name = f"odooops-audit-{fields.Date.today()}.jsonl"
        response = request.make_response(
            None,
            headers=[
                ("Content-Type", "application/jsonl"),
                ("Content-Disposition", http.content_disposition(name)),
                ("X-Content-Type-Options", "nosniff"),
            ],
        )
        response.response = file
        response.direct_passthrough = True
        response.call_on_close(file.close)
        return response
