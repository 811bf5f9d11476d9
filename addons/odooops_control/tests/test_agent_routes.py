from datetime import timedelta

from odoo import fields
from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import DIGEST_A, OdooopsHttpCase, fixture


@tagged("post_install", "-at_install")
class TestAgentRoutes(OdooopsHttpCase):
    """What an agent gets and gives over HTTP."""

    def _leased(self):
        self._register()
        status, answer = self._post("lease", self._lease_message())
        self.assertEqual(status, 200, answer)
        return self.env["odooops.operation"].browse(answer["operation"]["id"]), answer["operation"]["token"]

    def _finish_message(self, operation, token, **values):
        return {
            "schema": 1,
            "operation_id": operation.id,
            "token": token,
            "outcome": "succeeded",
            "result": self._plan_result(operation),
            **values,
        }

    def test_operation_travels(self):
        operation, token = self._leased()
        self.assertEqual((operation.kind, token), ("plan", 1))
        message = self._finish_message(operation, token)
        self.assertEqual(self._post("finish", message), (200, {"schema": 1, "ok": True}))
        self.assertEqual(self._post("finish", message), (200, {"schema": 1, "ok": True}))
        self.assertEqual(operation.deployment_id.state, "queued")
        _status, answer = self._post("lease", self._lease_message())
        self.assertEqual((answer["operation"]["kind"], answer["operation"]["token"]), ("deploy", 2))
        self.assertEqual(operation.deployment_id.state, "running")

    def test_keys_that_open_nothing(self):
        key = self.agent.key_ids
        api_key = self._api_key(self.env.ref("base.user_admin"))
        cases = {
            "none": {},
            "empty": {"Authorization": "Bearer "},
            "basic": {"Authorization": "Basic YWRtaW46YWRtaW4="},
            "long": {"Authorization": "Bearer " + "x" * 5000},
            "odoo key without scope": {"Authorization": f"Bearer {api_key}"},
            "other secret": {"Authorization": f"Bearer odooops_agent_{key.id}_{'A' * 43}"},
            "unknown id": {"Authorization": f"Bearer odooops_agent_999999999_{'A' * 43}"},
            "huge id": {"Authorization": f"Bearer odooops_agent_{'9' * 30}_{'A' * 43}"},
            "newline": {"Authorization": f"Bearer {self.key_text[:-1]}"},
        }
        for name, headers in cases.items():
            with self.subTest(name):
                status, answer = self._post("lease", self._lease_message(), headers=headers)
                self.assertEqual((status, answer["error"]["code"]), (401, "unauthorized"))

    def test_session_of_a_person_opens_nothing(self):
        self.authenticate("ops_administrator", "odooops-test-password")
        status, _answer = self._post("lease", self._lease_message(), headers={})
        self.assertEqual(status, 401)

    def test_expired_and_revoked_keys(self):
        key = self.agent.key_ids
        key.expires_at = fields.Datetime.now() - timedelta(seconds=1)
        status, answer = self._post("lease", self._lease_message())
        self.assertEqual(status, 401)
        self.assertIn("expired", answer["error"]["message"])
        key.expires_at = fields.Datetime.now() + timedelta(days=1)
        key._revoke()
        status, answer = self._post("lease", self._lease_message())
        self.assertEqual(status, 401)
        self.assertIn("revoked", answer["error"]["message"])

    def test_archived_agent_is_forbidden(self):
        self.agent.active = False
        status, answer = self._post("lease", self._lease_message())
        self.assertEqual((status, answer["error"]["code"]), (403, "forbidden"))

    def test_agent_key_is_no_api_key(self):
        status, _answer = self._json2("odooops.environment", "status", self.key_text, environment="demo/stage")
        self.assertEqual(status, 401)

    def test_other_droplets_operation(self):
        operation, token = self._leased()
        _other, other_key = self.env["odooops.agent"]._enrol("droplet-other")
        for route, message in (
            ("steps", {**fixture("steps_request"), "operation_id": operation.id, "token": token}),
            ("logs", {**fixture("logs_request"), "operation_id": operation.id, "token": token}),
            ("finish", self._finish_message(operation, token)),
        ):
            with self.subTest(route):
                status, answer = self._post(route, message, key=other_key)
                self.assertEqual((status, answer["error"]["code"]), (404, "unknown_operation"))
        self.assertFalse(operation.step_ids or operation.log_ids)
        self.assertEqual(operation.state, "leased")
        _status, answer = self._post("lease", self._lease_message(), key=other_key)
        self.assertIsNone(answer["operation"])
        heartbeat = {**fixture("heartbeat_request"), "operations": [{"id": operation.id, "token": token}]}
        _status, answer = self._post("heartbeat", heartbeat, key=other_key)
        self.assertEqual(answer["operations"], [{"id": operation.id, "order": "lost"}])

    def test_stale_token_changes_nothing(self):
        operation, token = self._leased()
        for route, message in (
            ("steps", {**fixture("steps_request"), "operation_id": operation.id, "token": token - 1}),
            ("logs", {**fixture("logs_request"), "operation_id": operation.id, "token": token - 1}),
            ("finish", self._finish_message(operation, token + 1)),
        ):
            with self.subTest(route):
                status, answer = self._post(route, message)
                self.assertEqual((status, answer["error"]["code"]), (409, "stale_token"))
        self.assertFalse(operation.step_ids or operation.log_ids)
        self.assertEqual(operation.state, "leased")

    def test_steps_and_lines_twice(self):
        operation, token = self._leased()
        steps = {**fixture("steps_request"), "operation_id": operation.id, "token": token}
        lines = {**fixture("logs_request"), "operation_id": operation.id, "token": token}
        for _time in range(2):
            self.assertEqual(self._post("steps", steps)[0], 200)
            self.assertEqual(self._post("logs", lines)[0], 200)
        self.assertEqual(operation.state, "running")
        self.assertEqual(operation.step_ids.mapped("name"), ["pull_image", "hold_requests"])
        self.assertEqual(operation.current_step, "hold_requests")
        self.assertEqual(len(operation.log_ids), 1)

    def test_a_step_that_ended_is_not_set_back(self):
        operation, token = self._leased()
        steps = {**fixture("steps_request"), "operation_id": operation.id, "token": token}
        self._post("steps", steps)
        late = {**steps["steps"][0], "state": "running", "finished_at": None}
        self._post("steps", {**steps, "steps": [late]})
        self.assertEqual(operation.step_ids[0].state, "succeeded")

    def test_lines_are_masked_and_printable(self):
        operation, token = self._leased()
        texts = {
            "password=hunter2 next": "password=******** next",
            "postgresql://demo:s3cret@db:5432/x": "postgresql://demo:********@db:5432/x",
            "\u001b[31mred\u001b[0m \u0000": "red ?",
            "<script>alert(1)</script>": "<script>alert(1)</script>",
        }
        lines = [{"seq": seq, "step": "s", "text": text} for seq, text in enumerate(texts)]
        message = {"schema": 1, "operation_id": operation.id, "token": token, "lines": lines}
        status, answer = self._post("logs", message)
        self.assertEqual(status, 200, answer)
        self.assertEqual(operation.log_ids.sorted("seq").mapped("text"), list(texts.values()))

    def test_malformed_messages(self):
        operation, token = self._leased()
        good = {**fixture("steps_request"), "operation_id": operation.id, "token": token}
        step = good["steps"][0]
        cases = {
            "no JSON": ("lease", b"{"),
            "no object": ("lease", b"[]"),
            "not UTF-8": ("lease", b"\xff\xfe"),
            "deep": ("lease", b"[" * 100000),
            "NaN": ("finish", b'{"operation_id": 1, "token": 1, "outcome": "succeeded", "result": {"x": NaN}}'),
            "missing": ("steps", {"token": 1}),
            "text for number": ("steps", {**good, "token": "1"}),
            "boolean for number": ("steps", {**good, "token": True}),
            "huge number": ("steps", {**good, "token": 10**30}),
            "negative": ("steps", {**good, "token": -1}),
            "unknown state": ("steps", {**good, "steps": [{**step, "state": "dancing"}]}),
            "no time": ("steps", {**good, "steps": [{**step, "started_at": "yesterday"}]}),
            "too many": ("steps", {**good, "steps": [step] * 201}),
            "no objects": ("logs", {**good, "lines": ["text"]}),
            "outcome": ("finish", self._finish_message(operation, token, outcome="perfect")),
            "kinds": ("lease", {**fixture("lease_request"), "kinds": [1]}),
            "tokens": ("lease", {**fixture("lease_request"), "tokens": {"demo/stage": "many"}}),
        }
        for name, (route, message) in cases.items():
            with self.subTest(name):
                status, answer = self._post(route, message)
                self.assertEqual((status, answer["error"]["code"]), (400, "bad_request"), answer)
        self.assertEqual(operation.state, "leased")

    def test_too_large(self):
        status, answer = self._post("logs", b'{"x": "' + b"y" * (4 * 1024 * 1024) + b'"}')
        self.assertEqual((status, answer["error"]["code"]), (413, "too_large"))

    @mute_logger("odoo.http")
    def test_other_verbs(self):
        for route in ("lease", "heartbeat", "steps", "logs", "finish"):
            self.assertEqual(self.url_open(f"/odooops/agent/v1/{route}").status_code, 405)

    def test_no_session_is_left(self):
        response = self.url_open(
            "/odooops/agent/v1/lease", json=self._lease_message(), headers={"Authorization": f"Bearer {self.key_text}"}
        )
        self.assertNotIn("session_id", response.headers.get("Set-Cookie", ""))

    def test_heartbeat_records_health(self):
        message = fixture("heartbeat_request")
        message["environments"][0] |= {"key": "demo/stage"}
        message["tokens"] = {"demo/stage": 17, "unknown/one": 99}
        status, answer = self._post("heartbeat", {**message, "operations": []})
        self.assertEqual(status, 200, answer)
        self.assertEqual((self.stage.health, self.stage.running_digest), ("green", DIGEST_A))
        self.assertEqual(self.stage.token, 17)
        self.assertEqual((self.agent.state, self.agent.host), ("online", "droplet-1"))
        self.assertGreater(self.agent.disk_free_gb, 49)
        self._register()
        _status, answer = self._post("lease", self._lease_message())
        self.assertEqual(answer["operation"]["token"], 18)

    def test_token_above_what_the_agent_saw(self):
        self._register()
        _status, answer = self._post("lease", self._lease_message(**{"demo/stage": 40}))
        self.assertEqual(answer["operation"]["token"], 41)

    def test_cancel_order(self):
        operation, token = self._leased()
        operation.deployment_id.with_user(self.developer).action_cancel()
        heartbeat = {**fixture("heartbeat_request"), "operations": [{"id": operation.id, "token": token, "step": "x"}]}
        _status, answer = self._post("heartbeat", heartbeat)
        self.assertEqual(answer["operations"], [{"id": operation.id, "order": "cancel"}])
