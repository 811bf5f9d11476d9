import json
from xmlrpc.client import Fault

from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import PASSWORD, PLAN_HASH, OdooopsHttpCase


@tagged("post_install", "-at_install")
class TestApprovalHttp(OdooopsHttpCase):
    """An approval is given in a person's own session, never by a key."""

    def setUp(self):
        super().setUp()
        self.deployment = self._awaiting()

    def _call_kw(self, model, method, *args, headers=None, **kwargs):
        response = self.url_open(
            f"/web/dataset/call_kw/{model}/{method}",
            data=json.dumps({"params": {"model": model, "method": method, "args": args, "kwargs": kwargs}}),
            headers={"Content-Type": "application/json", **(headers or {})},
        )
        return response.json()

    def _log_in(self, login):
        """Log in as a person does; the test cursor's cookie stays."""
        response = self.url_open(
            "/web/session/authenticate",
            data=json.dumps({"params": {"db": self.env.cr.dbname, "login": login, "password": PASSWORD}}),
            headers={"Content-Type": "application/json"},
        )
        self.assertTrue(response.json()["result"]["uid"])

    def _approve_in_session(self, plan_hash=PLAN_HASH):
        asked = self._call_kw("odooops.deployment", "action_approve", [self.deployment.id], plan_hash, "looked")
        if "error" in asked:
            return asked
        self.assertEqual(asked["result"]["res_model"], "res.users.identitycheck")
        self.assertEqual(self.deployment.state, "awaiting_approval")
        return self._call_kw(
            "res.users.identitycheck", "run_check", [asked["result"]["res_id"]], context={"password": PASSWORD}
        )

    def test_in_a_session_with_the_password_again(self):
        self._log_in("ops_manager")
        answer = self._approve_in_session()
        self.assertNotIn("error", answer)
        self.assertEqual(self.deployment.state, "queued")
        self.assertEqual(self.deployment.approval_ids.user_id, self.manager)
        self.assertEqual(self.deployment.approval_ids.note, "looked")

    def test_behind_a_proxy_with_a_password_of_its_own(self):
        self._log_in("ops_manager")
        arguments = ([self.deployment.id], PLAN_HASH, "looked")
        basic = {"Authorization": "Basic b3BzOm9wcw=="}
        answer = self._call_kw("odooops.deployment", "action_approve", *arguments, headers=basic)
        self.assertEqual(answer.get("result", {}).get("res_model"), "res.users.identitycheck", answer)

    @mute_logger("odoo.http")
    def test_wrong_password(self):
        self._log_in("ops_manager")
        asked = self._call_kw("odooops.deployment", "action_approve", [self.deployment.id], PLAN_HASH, "looked")
        answer = self._call_kw(
            "res.users.identitycheck", "run_check", [asked["result"]["res_id"]], context={"password": "wrong"}
        )
        self.assertIn("Incorrect Password", answer["error"]["data"]["message"])
        self.assertEqual(self.deployment.state, "awaiting_approval")

    @mute_logger("odoo.http")
    def test_refusals_reach_the_person(self):
        self._log_in("ops_manager")
        answer = self._approve_in_session("a" * 64)
        self.assertIn("has changed since you saw it", answer["error"]["data"]["message"])
        self._log_in("ops_developer")
        answer = self._approve_in_session()
        self.assertIn("may not decide", answer["error"]["data"]["message"])
        self.assertEqual(self.deployment.state, "awaiting_approval")

    def test_by_the_wizard(self):
        self._log_in("ops_manager")
        values = {"deployment_id": self.deployment.id, "plan_hash": PLAN_HASH, "note": "orders on stage"}
        [wizard] = self._call_kw("odooops.approval.wizard", "create", [values])["result"]
        asked = self._call_kw("odooops.approval.wizard", "action_approve", [wizard])
        self._call_kw(
            "res.users.identitycheck", "run_check", [asked["result"]["res_id"]], context={"password": PASSWORD}
        )
        self.assertEqual(self.deployment.state, "queued")

    @mute_logger("odoo.http")
    def test_not_by_an_api_key(self):
        key = self._api_key(self.manager)
        arguments = {"ids": self.deployment.ids, "plan_hash": PLAN_HASH}
        status, answer = self._json2("odooops.deployment", "action_approve", key, **arguments)
        self.assertEqual(status, 403, answer)
        self.assertIn("in the web client", answer["message"])
        # A session cookie beside the key does not make it a person.
        self._log_in("ops_manager")
        status, answer = self._json2("odooops.deployment", "action_approve", key, **arguments)
        self.assertEqual(status, 403, answer)
        answer = self._call_kw(
            "odooops.deployment",
            "action_approve",
            [self.deployment.id],
            PLAN_HASH,
            headers={"Authorization": f"Bearer {key}"},
        )
        self.assertIn("in the web client", answer["error"]["data"]["message"])
        self.assertEqual(self.deployment.state, "awaiting_approval")

    @mute_logger("odoo.http", "odoo.addons.rpc.controllers.xmlrpc", "odoo.addons.rpc.controllers.jsonrpc")
    def test_not_over_xmlrpc_nor_jsonrpc(self):
        arguments = (self.env.cr.dbname, self.manager.id, PASSWORD, "odooops.deployment", "action_approve")
        with self.assertRaisesRegex(Fault, "in the web client"):
            self.xmlrpc_object.execute_kw(*arguments, [self.deployment.ids, PLAN_HASH, "x"])
        self._log_in("ops_manager")
        response = self.url_open(
            "/jsonrpc",
            data=json.dumps(
                {
                    "params": {
                        "service": "object",
                        "method": "execute_kw",
                        "args": [*arguments, [self.deployment.ids, PLAN_HASH, "x"]],
                    }
                }
            ),
            headers={"Content-Type": "application/json"},
        )
        self.assertIn("in the web client", response.json()["error"]["data"]["message"])
        self.assertEqual(self.deployment.state, "awaiting_approval")

    @mute_logger("odoo.http")
    def test_the_api_may_read_comment_and_reject(self):
        key = self._api_key(self.manager)
        ids = self.deployment.ids
        status, answer = self._json2("odooops.deployment", "read", key, ids=ids, fields=["state", "plan_hash"])
        self.assertEqual((status, answer[0]["plan_hash"]), (200, PLAN_HASH))
        status, answer = self._json2("odooops.deployment", "message_post", key, ids=ids, body="Who tested this?")
        self.assertEqual(status, 200, answer)
        status, answer = self._json2("odooops.deployment", "action_reject", key, ids=ids, note="Nobody did.")
        self.assertEqual(status, 200, answer)
        self.assertEqual(self.deployment.state, "rejected")

    @mute_logger("odoo.http", "odoo.models", "odoo.orm.models")
    def test_nothing_is_imported_around_the_methods(self):
        key, number = self._api_key(self.administrator), self.deployment.id
        rows = {
            "odooops.deployment": ([".id", "state"], [[number, "approved"]]),
            "odooops.approval": (
                ["deployment_id/.id", "plan_hash", "user_id/.id", "decision"],
                [[number, PLAN_HASH, self.manager.id, "approved"]],
            ),
            "odooops.condition.override": (
                ["deployment_id/.id", "key", "reason", "user_id/.id"],
                [[number, "preflight", "x", self.manager.id]],
            ),
        }
        for model, (names, data) in rows.items():
            with self.subTest(model):
                status, answer = self._json2(model, "load", key, fields=names, data=data)
                self.assertTrue(status == 403 or not answer["ids"], answer)
        self.assertEqual((self.deployment.state, self.deployment.approval_ids.ids), ("awaiting_approval", []))
        self.assertFalse(self.deployment.override_ids)

    @mute_logger("odoo.http")
    def test_not_by_ci(self):
        key = self._api_key(self.ci)
        for method, values in (
            ("action_approve", {"plan_hash": PLAN_HASH}),
            ("action_reject", {"plan_hash": PLAN_HASH}),
            ("action_override", {"key": "preflight", "reason": "x"}),
            ("action_hotfix", {"reason": "x"}),
            ("action_schedule", {"at": False}),
            ("action_request_approval", {}),
        ):
            with self.subTest(method):
                status, answer = self._json2("odooops.deployment", method, key, ids=self.deployment.ids, **values)
                self.assertIn(status, (403, 422), answer)
        self.assertEqual((self.deployment.state, self.deployment.approval_ids.ids), ("awaiting_approval", []))

    @mute_logger("odoo.http")
    def test_another_project_s_deployment_stays_hidden(self):
        key = self._api_key(self.outsider)
        for model, method, values in (
            ("odooops.deployment", "read", {"fields": ["conditions_html", "summary_html"]}),
            ("odooops.deployment", "action_reject", {"plan_hash": PLAN_HASH}),
            ("odooops.deployment", "action_hotfix", {"reason": "x"}),
        ):
            with self.subTest(method):
                status, answer = self._json2(model, method, key, ids=self.deployment.ids, **values)
                self.assertEqual(status, 403, answer)
        for name in ("approval", "override", "hotfix", "schedule"):
            values = {"deployment_id": self.deployment.id, "plan_hash": PLAN_HASH, "reason": "x", "note": "x"}
            Wizard = self.env[f"odooops.{name}.wizard"]
            vals = {field: value for field, value in values.items() if field in Wizard._fields}
            with self.subTest(name):
                status, answer = self._json2(Wizard._name, "create", key, vals_list=[vals])
                self.assertEqual(status, 403, answer)

    @mute_logger("odoo.http")
    def test_nothing_is_written_around_the_methods(self):
        key = self._api_key(self.administrator)
        ids = self.deployment.ids
        attempts = [
            ("odooops.deployment", "write", {"ids": ids, "vals": {"state": "approved"}}),
            ("odooops.deployment", "create", {"vals_list": [{"environment_id": self.prod.id}]}),
            ("odooops.deployment", "unlink", {"ids": ids}),
            (
                "odooops.approval",
                "create",
                {
                    "vals_list": [
                        {
                            "deployment_id": ids[0],
                            "plan_hash": PLAN_HASH,
                            "user_id": self.manager.id,
                            "decision": "approved",
                        }
                    ]
                },
            ),
            ("odooops.deployment", "write", {"ids": ids, "vals": {"approval_ids": [[0, 0, {"decision": "approved"}]]}}),
            ("odooops.deployment", "write", {"ids": ids, "vals": {"rules_kept": {}, "hotfix_reason": "mine"}}),
            ("odooops.deployment", "write", {"ids": ids, "vals": {"scheduled_at": False, "waits_for_time": False}}),
            (
                "odooops.condition.override",
                "create",
                {"vals_list": [{"deployment_id": ids[0], "key": "preflight", "reason": "x", "user_id": 1}]},
            ),
            ("odooops.deployment", "_override", {"ids": ids, "user": 1, "key": "preflight", "reason": "x"}),
            ("odooops.deployment", "action_override", {"ids": ids, "key": "preflight", "reason": "x"}),
            ("odooops.operation", "write", {"ids": self.deployment.operation_ids.ids, "vals": {"state": "queued"}}),
            ("odooops.deployment", "_approve", {"ids": ids, "user": self.manager.id, "plan_hash": PLAN_HASH}),
            ("odooops.environment", "write", {"ids": self.prod.ids, "vals": {"token": 99}}),
            ("odooops.environment", "write", {"ids": self.prod.ids, "vals": {"indeterminate": False}}),
        ]
        for model, method, arguments in attempts:
            with self.subTest(model=model, method=method):
                status, answer = self._json2(model, method, key, **arguments)
                self.assertEqual(status, 403, answer)
        self.assertEqual(self.deployment.state, "awaiting_approval")
