from odoo.tests import tagged

from .common import OdooopsHttpCase


@tagged("post_install", "-at_install")
class TestAgentRoutes(OdooopsHttpCase):
    """What an agent gets and gives over HTTP."""

    def test_operation_travels(self):
        self._register()
        status, answer = self._post("lease", self._lease_message())
        self.assertEqual(status, 200, answer)
        operation = self.env["odooops.operation"].browse(answer["operation"]["id"])
        self.assertEqual(operation.kind, "plan")
        self.assertEqual(answer["operation"]["token"], 1)
        message = {
            "schema": 1,
            "operation_id": operation.id,
            "token": 1,
            "outcome": "succeeded",
            "result": self._plan_result(operation),
        }
        self.assertEqual(self._post("finish", message), (200, {"schema": 1, "ok": True}))
        self.assertEqual(self._post("finish", message), (200, {"schema": 1, "ok": True}))
        self.assertEqual(operation.deployment_id.state, "queued")
        status, answer = self._post("lease", self._lease_message())
        self.assertEqual(answer["operation"]["kind"], "deploy")
        self.assertEqual(answer["operation"]["token"], 2)
        self.assertEqual(operation.deployment_id.state, "running")
