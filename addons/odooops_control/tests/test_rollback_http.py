import json

from odoo.tests import Form, tagged
from odoo.tools import mute_logger

from .common import DATABASE_UUID, PASSWORD, OdooopsHttpCase, fixture
from .rollback_common import REASON, RollbackSetup
from .test_contract import shape

KINDS = ("plan", "deploy", "rollback", "health")


@tagged("post_install", "-at_install")
class TestRollbackHttp(RollbackSetup, OdooopsHttpCase):
    """The API asks, reads, comments and rejects; a loss is approved in a person's own session only."""

    def setUp(self):
        super().setUp()
        self.first, self.second = self._ran(2)

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

    def _with_password(self, answer):
        """Give the password that Odoo asks for again."""
        self.assertEqual(answer["result"]["res_model"], "res.users.identitycheck")
        identity = answer["result"]["res_id"]
        return self._call_kw("res.users.identitycheck", "run_check", [identity], context={"password": PASSWORD})

    def test_ci_submits_and_reads(self):
        key = self._api_key(self.ci)
        arguments = {"environment": "prod", "previous_tag": "v1.0.0", "reason": REASON}
        status, answer = self._json2("odooops.rollback.request", "submit", key, **arguments)
        self.assertEqual((status, answer["state"], answer["new"]), (200, "previewing", True))
        status, answer = self._json2("odooops.rollback.request", "status", key, id=answer["id"])
        self.assertEqual((status, answer["tag"], answer["from_tag"]), (200, "v1.0.0", "v1.1.0"))

    @mute_logger("odoo.http")
    def test_status_codes(self):
        key = self._api_key(self.ci)
        self._submit()
        third = {"environment": "demo/prod", "reason": REASON}
        for values, expected in (
            ({"previous_tag": "previous"}, 422),
            ({"previous_tag": "v1.1.0"}, 422),
            ({"previous_tag": "v1.0.0", "reason": ""}, 422),
            ({"previous_tag": "v9.9.9"}, 404),
            ({"previous_tag": "v1.0.0", "environment": "demo/qa"}, 404),
        ):
            with self.subTest(values):
                status, answer = self._json2("odooops.rollback.request", "submit", key, **{**third, **values})
                self.assertEqual(status, expected, answer)
        viewer = self._api_key(self.viewer)
        status, answer = self._json2("odooops.rollback.request", "submit", viewer, previous_tag="v1.0.0", **third)
        self.assertEqual(status, 403, answer)

    def test_approved_by_the_wizard_with_the_password_again(self):
        request = self._asked()
        self._log_in("ops_manager")
        values = {"rollback_id": request.id, "preview_hash": request.preview_hash, "note": "spoke with sales"}
        values |= {"invoices": 1, "ceiling_reason": "one test invoice"}
        [wizard] = self._call_kw("odooops.rollback.decision.wizard", "create", [values])["result"]
        asked = self._call_kw("odooops.rollback.decision.wizard", "action_approve", [wizard])
        self.assertEqual(request.state, "awaiting_approval")
        self.assertNotIn("error", self._with_password(asked))
        self.assertEqual((request.state, request.approval_ids.user_id), ("queued", self.manager))
        self.assertEqual(request.ceiling["posted"]["account.move"], 2)

    def test_the_glass_is_broken_with_the_password_again(self):
        request = self._asked()
        self._log_in("ops_administrator")
        arguments = ([request.id], request.preview_hash, "the shop is down")
        asked = self._call_kw("odooops.rollback.request", "action_break_glass", *arguments)
        self.assertEqual(request.state, "awaiting_approval")
        self.assertNotIn("error", self._with_password(asked))
        self.assertEqual((request.state, request.break_glass_by_id), ("queued", self.administrator))

    @mute_logger("odoo.http")
    def test_release_managers_do_not_break_the_glass(self):
        request = self._asked()
        self._log_in("ops_manager")
        arguments = ([request.id], request.preview_hash, "the shop is down")
        asked = self._call_kw("odooops.rollback.request", "action_break_glass", *arguments)
        answer = self._with_password(asked)
        self.assertIn("Only an administrator", answer["error"]["data"]["message"])
        self.assertEqual(request.state, "awaiting_approval")

    @mute_logger("odoo.http")
    def test_no_key_approves_or_breaks_the_glass(self):
        request = self._asked()
        attempts = (
            (self.manager, "action_approve", {"preview_hash": request.preview_hash, "note": "x"}),
            (self.administrator, "action_break_glass", {"preview_hash": request.preview_hash, "reason": "x"}),
            (self.manager, "action_review", {"note": "x"}),
        )
        # Also beside a session of the same person: a cookie does not make a key a person.
        for in_session in (False, True):
            for user, method, arguments in attempts:
                key = self._api_key(user)
                if in_session:
                    self._log_in(user.login)
                status, answer = self._json2("odooops.rollback.request", method, key, ids=request.ids, **arguments)
                with self.subTest(method=method, in_session=in_session):
                    self.assertEqual(status, 403, answer)
                    self.assertIn("in the web client", answer["message"])
        self.assertEqual(request.state, "awaiting_approval")

    @mute_logger("odoo.http")
    def test_the_api_may_read_comment_and_reject(self):
        request = self._asked()
        key, ids = self._api_key(self.manager), request.ids
        status, answer = self._json2("odooops.rollback.request", "read", key, ids=ids, fields=["state", "preview"])
        self.assertEqual((status, answer[0]["preview"]["modes"][1]["loss"]["minutes"]), (200, 12.0))
        status, answer = self._json2("odooops.rollback.request", "message_post", key, ids=ids, body="Who called?")
        self.assertEqual(status, 200, answer)
        status, answer = self._json2("odooops.rollback.request", "action_reject", key, ids=ids, note="We mend it.")
        self.assertEqual((status, request.state), (200, "rejected"), answer)

    @mute_logger("odoo.http")
    def test_nothing_is_written_around_the_methods(self):
        request = self._asked()
        done = self._bar_of_something(request)
        key, ids = self._api_key(self.administrator), request.ids
        for model, method, arguments in (
            ("odooops.rollback.request", "write", {"ids": ids, "vals": {"state": "approved"}}),
            ("odooops.rollback.request", "create", {"vals_list": [{"environment_id": self.prod.id}]}),
            ("odooops.rollback.request", "unlink", {"ids": ids}),
            ("odooops.rollback.request", "_break_glass", {"ids": ids, "user": 2, "preview_hash": "x", "reason": "x"}),
            ("odooops.quarantine", "write", {"ids": done.ids, "vals": {"state": "lifted"}}),
            ("odooops.quarantine", "unlink", {"ids": done.ids}),
            ("odooops.restore.set", "write", {"ids": self.prod.restore_set_ids.ids, "vals": {"state": "kept"}}),
        ):
            with self.subTest(model=model, method=method):
                status, answer = self._json2(model, method, key, **arguments)
                self.assertEqual(status, 403, answer)
        self.assertEqual((request.state, done.state), ("awaiting_approval", "barred"))

    def _bar_of_something(self, request):
        values = {"release_id": self.second.release_id.id, "tag": "v1.1.0", "rollback_id": request.id, "reason": "x"}
        return self.env["odooops.quarantine"].create(values)

    # The agent's side, as in the fixtures

    def _post_ok(self, route, message):
        status, answer = self._post(route, message)
        self.assertEqual(status, 200, answer)
        return answer

    def _lease_operation(self):
        return self._post_ok("lease", self._lease_message(KINDS))["operation"]

    def _finish_as(self, name, operation, change=lambda result: None):
        message = fixture(name)
        self._with_our_policy(message["result"])
        change(message["result"])
        self._post_ok("finish", {**message, "operation_id": operation["id"], "token": operation["token"]})

    def _with_our_policy(self, result):
        """Put in what the fixtures can't know: the id of this database's policy."""
        for way in result.get("modes") or result.get("preview", {}).get("modes") or []:
            if way["plan"]:
                way["plan"]["policy_version"] = self.prod.policy_id._reference()

    def _assert_shape(self, operation, name):
        expected = fixture(name)["operation"]
        for payload in (operation, expected):
            payload["environment"] = payload["rollback" if "rollback" in payload else "sets"] and None
        self.assertEqual(self._known(shape(operation)), self._known(shape(expected)))

    def _known(self, shapes):
        return json.loads(json.dumps(shapes, default=lambda kind: kind.__name__))

    def test_operation_57_travels_as_in_the_fixtures(self):
        self.prod.database_uuid = DATABASE_UUID
        request = self._submit()
        operation = self._lease_operation()
        self._assert_shape(operation, "lease_response_rollback_preview")
        self._finish_as("finish_request_rollback_preview", operation)
        self.assertEqual((request.state, request.mode), ("awaiting_approval", "full"))
        request._approve(self.manager, request.preview_hash)
        operation = self._lease_operation()
        expected = fixture("lease_response_rollback")["operation"]
        self.assertEqual(operation["rollback"]["ceiling"], expected["rollback"]["ceiling"])
        self.assertEqual(operation["plan_hash"], expected["plan_hash"])
        self._assert_shape(operation, "lease_response_rollback")
        self._finish_as("finish_request_rollback_loss_above_ceiling", {**operation, "outcome": "failed"})
        self.assertEqual((request.state, request.posted_lost), ("awaiting_approval", 2))
        request._approve(self.manager, request.preview_hash)
        operation = self._lease_operation()
        stale = {**fixture("finish_request_rollback"), "operation_id": operation["id"], "token": operation["token"] - 1}
        status, answer = self._post("finish", stale)
        self.assertEqual((status, answer["error"]["code"], request.state), (409, "stale_token", "running"))
        self._finish_as("finish_request_rollback", operation)
        self.assertEqual((request.state, request.held_seconds), ("done", 4.2))
        self.assertEqual(self.prod.running_deployment_id, self.first)
        self.assertEqual(request.restore_set_ids.database_snapshot, "demo_prod__s42")
        self.assertEqual(request.restore_set_ids.token, 42)

    def test_the_look_at_the_sets_travels_as_in_the_fixtures(self):
        restore_set = self.prod.restore_set_ids
        self.env["odooops.environment"]._cron_check_restore_sets()
        operation = self._lease_operation()
        expected = fixture("lease_response_health")["operation"]
        self.assertEqual(sorted(operation), sorted(expected))
        self.assertEqual(sorted(operation["sets"][0]), sorted(expected["sets"][0]))

        def lost(result):
            result["sets"][1]["token"] = restore_set.token

        self._finish_as("finish_request_health", operation, lost)
        self.assertFalse(restore_set.restorable)

    # Forms

    def test_forms_and_wizards(self):
        request = self._asked()
        for user in (self.viewer, self.manager, self.administrator):
            with self.subTest(user=user.login):
                Form(request.with_user(user))
                Form(self.prod.with_user(user))
        action = self.prod.with_user(self.developer).action_roll_back()
        form = Form(self.env[action["res_model"]].with_user(self.developer).with_context(**action["context"]))
        self.assertEqual(form.target_id, self.first)
        form.reason = REASON
        opened = form.save().action_request()
        self.assertEqual(opened["res_id"], request.id)
        self.assertTrue(self.first.can_go_back and self.second.is_running)
        action = self.first.with_user(self.developer).action_roll_back()
        self.assertEqual(action["context"]["default_target_id"], self.first.id)
        action = request.with_user(self.manager).action_open_decision()
        form = Form(self.env[action["res_model"]].with_user(self.manager).with_context(**action["context"]))
        form.minutes = 60
        self.assertTrue(form.is_raised)
        form.ceiling_reason = "late"
        form.save().action_reject()
        self.assertEqual(request.state, "rejected")

    def test_the_wizards_are_for_those_who_may_read(self):
        request = self._asked()
        done = self._bar_of_something(request)
        for model, values in (
            ("odooops.rollback.wizard", {"environment_id": self.prod.id}),
            ("odooops.rollback.decision.wizard", {"rollback_id": request.id, "preview_hash": "x"}),
            ("odooops.rollback.review.wizard", {"rollback_id": request.id}),
            ("odooops.quarantine.wizard", {"quarantine_id": done.id}),
        ):
            with self.subTest(model), mute_logger("odoo.addons.base.models.ir_rule"):
                with self.assertRaises(Exception) as refused:
                    self.env[model].with_user(self.outsider).create(values)
                self.assertEqual(type(refused.exception).__name__, "AccessError")

    def test_the_wizards_of_a_quarantine(self):
        done = self._bar_of_something(self._asked())
        action = done.with_user(self.manager).action_open_lift()
        form = Form(self.env[action["res_model"]].with_user(self.manager).with_context(**action["context"]))
        form.reason = "it was the relay"
        form.save().action_confirm()
        self.assertEqual(done.state, "lifted")
