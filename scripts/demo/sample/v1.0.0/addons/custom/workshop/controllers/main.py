from odoo import http
from odoo.modules import Manifest
from odoo.tools import file_open


class WorkshopStatus(http.Controller):
    @http.route("/workshop/status", type="http", auth="public", methods=["GET"], save_session=False, readonly=True)
    def status(self):
        """Tell which code answers and what it reads from the database."""
        return http.request.make_json_response(self._status())

    def _status(self):
        with file_open("workshop/static/release.txt") as file:
            release = file.read().strip()
        return {
            "release": release,
            "version": Manifest.for_addon("workshop").version,
            "orders": http.request.env["workshop.order"].sudo().search_count([]),
        }
