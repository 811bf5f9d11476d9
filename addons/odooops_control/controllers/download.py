from odoo import http
from odoo.http import Stream, request


class DownloadController(http.Controller):
    """Files that were prepared for one person."""

    @http.route("/odooops/download/<int:number>/<string:token>", type="http", auth="user", methods=["GET"])
    def download(self, number, token, **_params):
        """Send a prepared file to whom it was prepared for; anybody else sees that there is nothing."""
        download = request.env["odooops.backup.download"].sudo().browse(number)
        path = download._fetch(request.env.user, token)
        if path is None:
            raise request.not_found()
        found = path.stat()
        stream = Stream(
            type="path",
            path=str(path),
            mimetype="application/zip",
            download_name=download._download_name(),
            size=found.st_size,
            etag=download.sha256,
            last_modified=found.st_mtime,
        )
        response = stream.get_response(as_attachment=True)
        response.headers["Cache-Control"] = "private, no-store"
        return response
