from odoo import models
from odoo.http import request

from ..core import keys, protocol
from ..errors import abort


class IrHttp(models.AbstractModel):
    _inherit = "ir.http"

    @classmethod
    def _auth_method_odooops_agent(cls):
        """Authenticate an agent by its own key; Odoo's API keys and sessions don't count here."""
        text = keys.bearer(request.httprequest.headers.get("Authorization"))
        try:
            key = request.env(user=1, su=True)["odooops.agent.key"]._verified(text)
        except protocol.ProtocolError as error:
            abort(error)
        request.session.can_save = False
        request.update_env(user=key.agent_id.user_id.id)
        request.update_context(odooops_agent_key_id=key.id)
