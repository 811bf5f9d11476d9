from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, ServiceUnavailable, Unauthorized

from odoo import SUPERUSER_ID, models
from odoo.http import request

from ..core import keys, oidc, protocol
from ..errors import abort, as_response
from ..jwks import Unavailable

_JSON_ROUTES = ("/odooops/agent/v1/", "/odooops/github/")


class IrHttp(models.AbstractModel):
    _inherit = "ir.http"

    @classmethod
    def _handle_error(cls, exception):
        """Answer machines in JSON also where Odoo itself refuses, such as for a body that is too large."""
        if request.httprequest.path.startswith(_JSON_ROUTES):
            return as_response(exception)
        return super()._handle_error(exception)

    @classmethod
    def _auth_method_bearer(cls):
        """Take a token of GitHub Actions in place of an API key, for CI's calls and nothing else."""
        token = keys.bearer(request.httprequest.headers.get("Authorization"))
        if not oidc.is_token(token):
            return super()._auth_method_bearer()
        path = request.httprequest.path.strip("/").split("/")
        refusal = "Sign out first: a token and a session can't come together." if request.session.uid else None
        refusal = refusal or oidc.call_refusal(*(path[2:] if len(path) == 4 else ("", "")))
        if refusal:
            raise Forbidden(refusal)
        env = request.env(user=SUPERUSER_ID, su=True)
        try:
            project, claims = env["odooops.oidc.trust"]._accepted(token)
        except oidc.BadToken as error:
            raise Unauthorized(str(error), www_authenticate=WWWAuthenticate("bearer")) from error
        except oidc.NotAllowed as error:
            raise Forbidden(str(error)) from error
        except Unavailable as error:
            raise ServiceUnavailable(str(error)) from error
        request.odooops_oidc = claims
        request.session.can_save = False
        return request.update_env(user=project._ci_user().id)

    @classmethod
    def _dispatch(cls, endpoint):
        """Let a token count once.

        Not while authenticating: there Odoo takes every database error for a refusal, here it tries again.
        """
        claims = getattr(request, "odooops_oidc", None)
        if claims and not request.env["odooops.oidc.use"]._first(claims):
            sentence = "This token was used before: ask for a new one for each call."
            raise Unauthorized(sentence, www_authenticate=WWWAuthenticate("bearer"))
        return super()._dispatch(endpoint)

    @classmethod
    def _auth_method_odooops_agent(cls):
        """Authenticate an agent by its own key; Odoo's API keys and sessions don't count here."""
        text = keys.bearer(request.httprequest.headers.get("Authorization"))
        try:
            key = request.env(user=SUPERUSER_ID, su=True)["odooops.agent.key"]._verified(text)
        except protocol.ProtocolError as error:
            abort(error)
        request.session.can_save = False
        request.update_env(user=key.agent_id.user_id.id)
        request.update_context(odooops_agent_key_id=key.id)
