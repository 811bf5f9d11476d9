from odoo.tests import tagged

from ..core import protocol
from .common import DATABASE_UUID, OdooopsHttpCase, fixture, fixtures_folder

REQUESTS = {
    "lease_request": protocol.LeaseRequest,
    "heartbeat_request": protocol.Heartbeat,
    "steps_request": protocol.Steps,
    "logs_request": protocol.Logs,
    "finish_request_inspect": protocol.Finish,
    "finish_request_plan": protocol.Finish,
    "finish_request_clone": protocol.Finish,
    "finish_request_clone_not_safe": protocol.Finish,
    "finish_request_deploy": protocol.Finish,
    "finish_request_backup": protocol.Finish,
    "finish_request_restore": protocol.Finish,
    "finish_request_restore_test": protocol.Finish,
    "finish_request_import": protocol.Finish,
    "finish_request_export": protocol.Finish,
    "upload_request": protocol.Upload,
    "finish_request_failed": protocol.Finish,
    "finish_request_plan_changed": protocol.Finish,
    "finish_request_indeterminate": protocol.Finish,
    "finish_request_rollback": protocol.Finish,
    "finish_request_rollback_loss_above_ceiling": protocol.Finish,
    "finish_request_rollback_preview": protocol.Finish,
    "finish_request_health": protocol.Finish,
    "mails_request": protocol.Mails,
}
RESPONSES = {
    "lease_response_empty",
    "lease_response_plan",
    "lease_response_first_plan",
    "lease_response_deploy",
    "lease_response_backup",
    "lease_response_import",
    "lease_response_export",
    "upload_response",
    "lease_response_restore",
    "lease_response_restore_test",
    "heartbeat_response",
    "heartbeat_response_renewal",
    "steps_response",
    "logs_response",
    "finish_response",
    "mails_response",
    "error_stale_token",
}
# Hashed by the agent; the control plane treats a plan hash as opaque.
OPAQUE = {"plan_hash_vectors", "audit_chain_vectors", "grant_vectors"}


def shape(value):
    """Return the keys of JSON data with the types of their values, null standing for any."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    return list if isinstance(value, list) else type(value)


@tagged("post_install", "-at_install")
class TestContract(OdooopsHttpCase):
    """Both sides load the same fixtures."""

    def _assert_shape(self, answer, expected, path="answer"):
        if expected is None:
            return
        self.assertIsNotNone(answer, path)
        if isinstance(expected, dict):
            self.assertEqual(sorted(answer), sorted(expected), path)
            for name in expected:
                self._assert_shape(answer[name], expected[name], f"{path}.{name}")
            return
        kinds = (int, float) if isinstance(expected, float) else type(expected)
        self.assertIsInstance(answer, kinds, path)

    def test_every_fixture_is_covered(self):
        found = {path.stem for path in fixtures_folder().glob("*.json")}
        known = REQUESTS.keys() | RESPONSES | OPAQUE
        self.assertFalse(known - found, "a fixture is gone")
        requests = {name for name in found if "request" in name}
        self.assertFalse(requests - known, "a request that the control plane does not know")

    def test_requests_are_understood(self):
        for name, message_class in REQUESTS.items():
            with self.subTest(fixture=name):
                message = fixture(name)
                self.assertEqual(message["schema"], protocol.SCHEMA)
                message_class.from_json({**message, "field_of_a_newer_agent": 1})

    def test_operation_41_travels_as_in_the_fixtures(self):
        self._prepare_prod()
        answers = {}
        answers["lease_response_empty"] = self._exchange("lease", "lease_request")
        deployment = self._request()
        answers["lease_response_plan"] = self._exchange("lease", "lease_request")
        plan = self._of(answers["lease_response_plan"], "finish_request_plan")
        plan["result"]["plan"]["to_digest"] = deployment.release_id.digest
        answers["finish_response"] = self._exchange("finish", plan)
        self.assertEqual(deployment.plan_hash, plan["result"]["plan_hash"])
        deployment._question()
        deployment.policy_reference = self.prod.policy_id._reference()
        deployment._approve(self.manager, deployment.plan_hash)
        lease = answers["lease_response_deploy"] = self._exchange("lease", "lease_request")
        self.assertEqual(lease["operation"]["plan_hash"], plan["result"]["plan_hash"])
        answers["steps_response"] = self._exchange("steps", self._of(lease, "steps_request"))
        answers["logs_response"] = self._exchange("logs", self._of(lease, "logs_request"))
        heartbeat = fixture("heartbeat_request")
        self.env.cr.precommit.run()
        heartbeat["audit_head"] = self.env["odooops.audit.event"]._head_event()
        heartbeat["operations"] = [{"id": lease["operation"]["id"], "token": lease["operation"]["token"], "step": "x"}]
        answers["heartbeat_response"] = self._exchange("heartbeat", heartbeat)
        stale = {**self._of(lease, "steps_request"), "token": lease["operation"]["token"] - 1}
        status, answers["error_stale_token"] = self._post("steps", stale)
        self.assertEqual(status, 409)
        done = self._of(lease, "finish_request_deploy")
        done["result"]["digest"] = deployment.release_id.digest
        self.assertEqual(self._exchange("finish", done), answers["finish_response"])
        self.assertEqual(deployment.state, "live")
        self.assertEqual(deployment.held_seconds, 11.2)
        restore_set = deployment.restore_set_ids
        self.assertEqual(restore_set.database_snapshot, "demo_prod__s17")
        self.assertEqual(restore_set.module_versions["workshop"], "19.0.1.0.0")
        for name, answer in answers.items():
            self._assert_shape(answer, fixture(name), name)

    def test_environment_configuration_is_the_fixtures(self):
        self._prepare_prod()
        self._request()
        answer = self._exchange("lease", "lease_request")["operation"]
        expected = fixture("lease_response_plan")["operation"]
        for payload in (answer, expected):
            payload["environment"].pop("uuid")
        self.assertEqual(answer["environment"], expected["environment"])
        self.assertEqual(answer["options"], expected["options"])
        self.assertEqual(answer["lease_seconds"], expected["lease_seconds"])
        self.assertEqual(answer["release"]["image"], expected["release"]["image"])

    def _prepare_prod(self):
        self._live_on_stage()
        self.prod.write(
            {
                "database_uuid": DATABASE_UUID,
                "url": "http://prod.localhost:8080",
                "mail_host": "smtp.example.com",
                "mail_from_filter": "example.com",
                "bucket": "prod-files",
            }
        )
        self.env["odooops.environment.domain"].create(
            [
                {"environment_id": self.prod.id, "name": name, "kind": kind}
                for name, kind in (
                    ("prod.localhost", "main"),
                    ("www.prod.localhost", "alias"),
                    ("old.prod.localhost", "redirect"),
                )
            ]
        )

    def _of(self, lease, name):
        return {
            **fixture(name),
            "operation_id": lease["operation"]["id"],
            "token": lease["operation"]["token"],
        }

    def _exchange(self, route, message):
        message = fixture(message) if isinstance(message, str) else message
        status, answer = self._post(route, message)
        self.assertEqual(status, 200, answer)
        return answer
