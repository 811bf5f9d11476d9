import json

import werkzeug.exceptions

from odoo import http
from odoo.http import Response, request

from .. import secret_files
from ..core import github_events, github_signature, protocol

# GitHub sends no more; Odoo refuses more before it reads any of it.
_BODY_BYTES = 25 * 1024 * 1024
_JSON = "application/json"


class GithubController(http.Controller):
    """The door for GitHub's webhooks: prove, note, answer; the work is done afterwards."""

    # No user, no session and one statement: GitHub waits 10 s and never sends again by itself.
    @http.route(
        "/odooops/github/webhook",
        type="http",
        auth="none",
        methods=["POST"],
        csrf=False,
        save_session=False,
        max_content_length=_BODY_BYTES,
    )
    def webhook(self, **_params):
        """Note a delivery; the same one again changes nothing."""
        secrets = secret_files.webhook_secrets()
        if not secrets:
            return _says(503, "No webhook secret is set: put one into the console's folder of GitHub secrets.")
        headers = request.httprequest.headers
        try:
            delivery, kind = _named(headers)
            owner, body = _proven(secrets, headers.get("X-Hub-Signature-256"))
            payload = _parsed(body)
        except werkzeug.exceptions.HTTPException as error:
            return _says(error.code, error.description)
        is_new = request.env["odooops.event"]._take_in(delivery, kind, owner, payload)
        return _says(202, "Noted." if is_new else "Noted before.")


def _named(headers):
    """Return the delivery's id and the event's name."""
    if request.httprequest.mimetype != _JSON:
        raise werkzeug.exceptions.UnsupportedMediaType("Choose application/json as the webhook's content type.")
    delivery, kind = headers.get("X-GitHub-Delivery", ""), headers.get("X-GitHub-Event", "")
    if not github_events.DELIVERY.fullmatch(delivery):
        raise werkzeug.exceptions.BadRequest("The header X-GitHub-Delivery is missing or no id.")
    if not github_events.KIND.fullmatch(kind):
        raise werkzeug.exceptions.BadRequest("The header X-GitHub-Event is missing or no event's name.")
    return delivery, kind


def _proven(secrets, signature):
    """Return whose secret signed the body, and the body; nothing of it is looked at before."""
    if not github_signature.is_wellformed(signature):
        raise werkzeug.exceptions.Unauthorized("The header X-Hub-Signature-256 is missing: give the webhook a secret.")
    try:
        body = request.httprequest.get_data()
    except werkzeug.exceptions.RequestEntityTooLarge:
        raise werkzeug.exceptions.RequestEntityTooLarge(
            f"The delivery is larger than {_BODY_BYTES // 2**20} MB."
        ) from None
    owner = github_signature.signer(secrets, body, signature)
    if owner is None:
        raise werkzeug.exceptions.Unauthorized(
            "The signature is wrong: the webhook has another secret than the console."
        )
    return owner, body


def _parsed(body):
    try:
        payload = json.loads(body, parse_constant=protocol.refuse_constant)
    except (ValueError, RecursionError):
        raise werkzeug.exceptions.BadRequest("The delivery is no JSON.") from None
    if not isinstance(payload, dict):
        raise werkzeug.exceptions.BadRequest("The delivery has to be a JSON object.")
    return payload


def _says(status, sentence):
    headers = {"Retry-After": "60"} if status == 503 else None
    return Response(json.dumps({"message": sentence}), status=status, mimetype=_JSON, headers=headers)
