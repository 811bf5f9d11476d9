import json

import werkzeug.exceptions

from odoo.http import Response

from .core import protocol


def abort(error):
    """Answer with the protocol's error and undo the transaction.

    An exception that carries a response bypasses Odoo's own error pages.
    """
    body = json.dumps(protocol.error_body(error))
    headers = [("WWW-Authenticate", "Bearer")] if error.status == 401 else None
    response = Response(body, status=error.status, mimetype="application/json", headers=headers)
    werkzeug.exceptions.abort(response)
