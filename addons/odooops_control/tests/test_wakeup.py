import json
from unittest.mock import Mock, patch

from odoo.addons.bus.tests.common import WebsocketCase
from odoo.tests import tagged

from .common import OdooopsCase, OdooopsSetup


@tagged("post_install", "-at_install")
class TestWakeup(OdooopsCase):
    """Agents are woken over the bus when there is work."""

    def _woken(self):
        self.env.cr.precommit.run()
        channel = json.dumps([self.env.cr.dbname, "odooops.agent", self.agent.id], separators=(",", ":"))
        messages = self.env["bus.bus"].search([("channel", "=", channel)])
        return [json.loads(message.message) for message in messages]

    def test_an_operation_wakes_its_agent(self):
        self.assertFalse(self._woken())
        self._register()
        self.assertEqual(self._woken(), [{"type": "odooops_wake", "payload": {}}])

    def test_the_end_of_one_wakes_for_the_next(self):
        self._register()
        operation = self._lease()
        self.assertEqual(len(self._woken()), 1)
        self._finish(operation, result=self._plan_result(operation))
        self.assertGreater(len(self._woken()), 1)


@tagged("post_install", "-at_install")
class TestWakeupChannel(OdooopsSetup, WebsocketCase):
    """A verified key opens the agent's channel, anything else opens none."""

    def test_key_opens_the_channel(self):
        websocket = self.websocket_connect()
        self.subscribe(websocket, [f"odooops_agent:{self.key_text}"], self.env["bus.bus"]._bus_last_id())
        # In this kind of test only websockets may open a cursor.
        self.env.cr.precommit.data.pop("odooops.audit.pending", None)
        self.agent._wake()
        self.trigger_notification_dispatching([self.agent])
        message = json.loads(websocket.recv())[-1]["message"]
        self.assertEqual(message, {"type": "odooops_wake", "payload": {}})

    def test_other_texts_open_nothing(self):
        build = self.env["ir.websocket"]._build_bus_channel_list
        forged = f"odooops_agent_{self.agent.key_ids.id}_{'A' * 43}"
        for text in ("", "x", self.key_text[:-1], self.key_text + "\n", forged):
            with self.subTest(text), self._as_websocket():
                channels = build([f"odooops_agent:{text}"])
                self.assertFalse([one for one in channels if getattr(one, "_name", "") == "odooops.agent"])
                self.assertFalse([one for one in channels if isinstance(one, str) and one.startswith("odooops_agent")])

    def _as_websocket(self):
        return patch("odoo.addons.bus.models.ir_websocket.wsrequest", Mock(session=Mock(uid=None)))
