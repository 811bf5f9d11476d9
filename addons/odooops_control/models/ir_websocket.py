from odoo import models

from ..core import protocol

_PREFIX = "odooops_agent:"


class IrWebsocket(models.AbstractModel):
    _inherit = "ir.websocket"

    def _build_bus_channel_list(self, channels):
        asked = [channel for channel in channels if isinstance(channel, str) and channel.startswith(_PREFIX)]
        channels = [channel for channel in channels if channel not in asked]
        for channel in asked:
            try:
                key = self.env["odooops.agent.key"].sudo()._verified(channel.removeprefix(_PREFIX))
            except protocol.ProtocolError:
                continue
            channels.append(key.agent_id)
        return super()._build_bus_channel_list(channels)
