from odoo import SUPERUSER_ID, models
from odoo.http import request

from ..core import keys, protocol
from ..errors import abort, as_response

_AGENT_ROUTES = "/odooops/agent/v1/"


class IrHttp(models.AbstractModel):
    _inherit = "ir.http"

    @classmethod
    def _handle_error(cls, exception):
        """Answer agents in JSON also where Odoo itself refuses, such as for a body that is too large."""
        if request.httprequest.path.startswith(_AGENT_ROUTES):
            return as_response(exception)
        return super()._handle_error(exception)

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
