import json

import werkzeug.exceptions

from odoo.http import Response

from .core import protocol

_BY_STATUS = {400: protocol.BadMessage, 403: protocol.Forbidden, 413: protocol.TooLarge}


def abort(error):
    """Answer with the protocol's error and undo the transaction.

    An exception that carries a response bypasses Odoo's own error pages.
    """
    werkzeug.exceptions.abort(_response(error.status, error.code, str(error)))


def as_response(exception):
    """Return any exception as the protocol's JSON; what nobody foresaw is 500 and in the log."""
    if isinstance(exception, werkzeug.exceptions.HTTPException):
        known = _BY_STATUS.get(exception.code)
        code = known.code if known else exception.name.lower().replace(" ", "_")
        return _response(exception.code, code, exception.description)
    status = getattr(exception, "http_status", 500)
    if status >= 500:
        return _response(500, "internal", "The control plane failed at this; its log has the reason. Try again later.")
    return _response(status, "refused", str(exception))


def _response(status, code, message):
    body = json.dumps({"error": {"code": code, "message": message}})
    headers = [("WWW-Authenticate", "Bearer")] if status == 401 else None
    return Response(body, status=status, mimetype="application/json", headers=headers)
