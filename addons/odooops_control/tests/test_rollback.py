import psycopg2

from odoo.exceptions import AccessError, MissingError, UserError
from odoo.tests import tagged
from odoo.tools import mute_logger

from ..models.mixins import Conflict
from .common import DIGEST_A, DIGEST_C, SHA_C
from .rollback_common import REASON, RollbackCase

BAD_TAGS = (
    "previous",
    "latest",
    "v1.0.0; rm -rf /",
    "v1.0.0\n",
    "v1.0.0 ",
    "--force",
    "../v1.0.0",
    "1.0.0",
    "",
    None,
    7,
    ["v1.0.0"],
)


@tagged("post_install", "-at_install")
class TestRollbackRequest(RollbackCase):
    """What may be asked for, and what each refusal says."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.first, cls.second = cls._ran(2)

    def test_malformed_tags(self):
        for tag in BAD_TAGS:
            with self.subTest(tag=tag), self.assertRaisesRegex(UserError, "is no release's tag"):
                self._submit(tag)
        self.assertFalse(self.prod.rollback_ids)

    def test_a_tag_nobody_registered(self):
        with self.assertRaisesRegex(MissingError, "There is no release v9.9.9"):
            self._submit("v9.9.9")

    def test_a_release_that_never_ran_there(self):
        self._live_on_stage("v1.2.0", SHA_C, DIGEST_C)
        with self.assertRaisesRegex(UserError, "v1.2.0 never ran on demo/prod.*go back to v1.0.0"):
            self._submit("v1.2.0")

    def test_a_deployment_that_failed_is_none_that_ran(self):
        deployment = self._awaiting("v1.2.0", SHA_C, DIGEST_C, "e" * 64)
        deployment._approve(self.manager, "e" * 64)
        failure = {"code": "update_failed", "message": "No."}
        self._finish(self._lease(("deploy",)), "failed", {"reverted": True}, failure)
        with self.assertRaisesRegex(UserError, "never ran on demo/prod"):
            self._submit("v1.2.0")

    def test_the_release_that_runs(self):
        with self.assertRaisesRegex(UserError, "demo/prod runs v1.1.0 already"):
            self._submit("v1.1.0")

    def test_nothing_ran_before(self):
        stage = self.stage.with_context()
        stage.deployment_ids.filtered(lambda one: one.release_id != stage.running_release_id).write(
            {"live_at": False, "soak_until": False}
        )
        with self.assertRaisesRegex(UserError, "nothing else did before"):
            self._submit("v1.0.0", "demo/stage")

    def test_without_a_reason(self):
        for reason in ("", "  ", None, 7, []):
            with self.subTest(reason=reason), self.assertRaisesRegex(UserError, "Say in a few words why"):
                self._submit(reason=reason)

    def test_who_may_ask(self):
        for user, error in ((self.viewer, AccessError), (self.outsider, MissingError), (self.internal, AccessError)):
            with self.subTest(user=user.login), self.assertRaises(error):
                self._submit(user=user)
        for user in (self.ci, self.developer, self.manager):
            request = self._submit(user=user)
            self.assertEqual((request.requested_by_id, request.state), (user, "previewing"))
            request.with_user(user).action_cancel()

    def test_two_requests_at_once(self):
        first = self._submit()
        answer = self.env["odooops.rollback.request"].with_user(self.ci).submit("prod", "v1.0.0", "again")
        self.assertEqual((answer["id"], answer["new"]), (first.id, False))
        self._back_to_itself(first)
        third = self._bring_to_prod(2)
        self.assertEqual(self.prod.running_deployment_id, third)
        self._submit("v1.0.0")
        with self.assertRaisesRegex(Conflict, "going back to v1.0.0 already"):
            self._submit("v1.1.0")

    def _back_to_itself(self, request):
        """End a request so that another may be made."""
        request.with_user(self.developer).action_cancel()
        self.assertEqual(request.state, "cancelled")

    def test_the_database_holds_one_request_for_each_environment(self):
        self._submit()
        with mute_logger("odoo.sql_db"), self.assertRaises(psycopg2.errors.UniqueViolation), self.cr.savepoint():
            self.env["odooops.rollback.request"].create(
                {
                    "environment_id": self.prod.id,
                    "tier": "production",
                    "target_id": self.first.id,
                    "tag": "v1.0.0",
                    "reason": REASON,
                }
            )
            self.env.flush_all()

    def test_where_nothing_can_be_carried_out(self):
        self.prod.indeterminate = True
        with self.assertRaisesRegex(Conflict, "can't be proven"):
            self._submit()
        self.prod.indeterminate = False
        self.agent.capabilities = ["plan", "deploy"]
        with self.assertRaisesRegex(UserError, "can't roll back yet: update it"):
            self._submit()
        self.agent.capabilities = ["plan", "deploy", "rollback"]
        self.assertTrue(self._submit())

    def test_previews_are_left_to_agents_that_know_them(self):
        request = self._submit()
        self.assertFalse(self._lease(("plan", "deploy")))
        self.assertEqual(self._lease(("plan", "rollback")).rollback_id, request)

    def test_what_is_quarantined_on_production(self):
        self._back_to("v1.0.0")
        with self.assertRaisesRegex(UserError, "v1.1.0 was rolled back on demo/prod and is barred from production"):
            self._submit("v1.1.0")

    def test_a_deployment_waits_while_production_goes_back(self):
        self._live_on_stage("v1.2.0", SHA_C, DIGEST_C)
        self._submit()
        with self.assertRaisesRegex(Conflict, "demo/prod is going back to v1.0.0"):
            self._request(ref="refs/tags/v1.2.0", sha=SHA_C)

    def test_status(self):
        request = self._asked()
        status = self.env["odooops.rollback.request"].with_user(self.viewer).status(request.id)
        self.assertEqual(
            (status["environment"], status["tag"], status["from_tag"], status["state"], status["mode"]),
            ("demo/prod", "v1.0.0", "v1.1.0", "awaiting_approval", "full"),
        )
        self.assertEqual(
            status["loss"],
            {"since": "2026-11-23T10:00:10Z", "minutes": 12.0, "created": 44, "changed": 4, "posted": 1},
        )
        self.assertEqual([one["possible"] for one in status["modes"]], [False, True, False, True])
        self.assertEqual(status["ask_again_seconds"], 15)
        for wrong in (None, "7", True, [7]):
            with self.subTest(wrong), self.assertRaisesRegex(UserError, "id as a number"):
                self.env["odooops.rollback.request"].status(wrong)
        with self.assertRaises(MissingError):
            self.env["odooops.rollback.request"].with_user(self.outsider).status(request.id)

    def test_the_environments_status_says_it(self):
        self.assertEqual(
            [self.env["odooops.environment"].status("prod")[name] for name in ("banner", "rollback")], [None, None]
        )
        request = self._submit()
        self.assertEqual(
            self.env["odooops.environment"].status("prod")["rollback"],
            {"id": request.id, "tag": "v1.0.0", "state": "previewing"},
        )

    def test_cancel(self):
        request = self._asked()
        with self.assertRaisesRegex(UserError, "may not do this"):
            request.with_user(self.viewer).action_cancel()
        request.with_user(self.developer).action_cancel()
        self.assertEqual(request.state, "cancelled")
        self.assertFalse(request.activity_ids)
        with self.assertRaisesRegex(UserError, "can't be cancelled"):
            request.with_user(self.developer).action_cancel()

    def test_it_stays_in_the_ledger(self):
        with self.assertRaisesRegex(UserError, "part of the ledger"):
            self._submit().unlink()


@tagged("post_install", "-at_install")
class TestRollbackPreview(RollbackCase):
    """What the agent finds is checked, kept and shown; nothing is changed by looking."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.first, cls.second = cls._ran(2)

    def test_a_full_set_shows_what_is_lost(self):
        request = self._asked()
        self.assertEqual((request.mode, request.minutes_lost, request.posted_lost), ("full", 12, 1))
        self.assertEqual(request.records_lost, 48)
        for shown in (
            "12 minutes",
            "Sales Order",
            "S00907",
            "about 4 s",
            "The reason about code.",
            "1</strong> posted",
        ):
            self.assertIn(shown, request.preview_html)
        self.assertIn("12 minutes of work would be lost", self._messages(request))
        self.assertEqual(request.activity_ids.user_id, self.manager | self.manager_2)
        self.assertEqual(self.prod.running_deployment_id, self.second)
        self.assertEqual(self.prod.database_bytes, 73400320)

    def test_code_only_loses_nothing(self):
        request = self._asked(modes=("code", "full"))
        self.assertEqual((request.mode, request.records_lost, request.approvals_needed), ("code", 0, 1))
        self.assertIn("Nothing", request.preview_html)
        self.assertTrue(request.can_take_full and not request.can_take_code and not request.can_take_backup)

    def test_the_restore_set_of_the_target_is_named(self):
        request = self._submit()
        operation = self._lease(("plan", "rollback"))
        [restore_set] = self.second.restore_set_ids
        payload = operation._payload()
        self.assertEqual(payload["rollback"]["restore_set"]["token"], restore_set.token)
        self.assertEqual(payload["rollback"]["restore_set"]["digest"], DIGEST_A)
        self.assertEqual((payload["rollback"]["mode"], payload["plan_hash"]), (None, None))
        self.assertEqual(payload["release"]["tag"], "v1.0.0")
        self.assertEqual(request.restore_set_id, restore_set)

    def test_a_set_that_is_lost_is_not_named(self):
        self.second.restore_set_ids._found(False, "Its database is gone.")
        self._submit()
        self.assertFalse(self._lease(("plan", "rollback"))._payload()["rollback"]["restore_set"])

    def test_no_way_back(self):
        request = self._look(self._submit(), modes=())
        self.assertEqual((request.state, request.failure_code), ("failed", "fix_forward"))
        self.assertIn("The reason about code. The reason about full.", request.failure_message)
        self.assertIn("There is no way back", request.preview_html)
        self.assertIn(self.manager, request.activity_ids.user_id)

    def test_bad_previews(self):
        def change(path, value):
            def changed(preview):
                cursor = preview
                for name in path[:-1]:
                    cursor = cursor[name]
                cursor[path[-1]] = value
                return preview

            return changed

        wrong = (
            (lambda preview: {}, "no preview"),
            (change(["modes"], "x"), "no preview"),
            (change(["modes"], []), "no preview"),
            (change(["database_uuid"], "other"), "is not the one it had"),
            (change(["modes", 1, "plan", "to_digest"], DIGEST_C), "something else"),
            (change(["modes", 1, "plan", "environment"], "demo/stage"), "something else"),
            (change(["modes", 1, "plan", "mode"], "code"), "something else"),
            (change(["modes", 1, "plan"], None), "something else"),
            (change(["modes", 1, "plan_hash"], "x"), "lacks a plan hash"),
            (change(["modes", 1, "preview_hash"], None), "lacks a preview hash"),
            (change(["modes", 1, "loss"], None), "does not say what would be lost"),
        )
        for spoil, sentence in wrong:
            with self.subTest(sentence=sentence):
                request = self._submit()
                operation = self._lease(("plan", "rollback"))
                self._finish(operation, result=spoil(self._preview(request)))
                self.assertEqual((request.state, request.failure_code), ("failed", "bad_preview"))
                self.assertIn(sentence, request.failure_message)

    def test_what_an_agent_may_write_is_shown_as_text(self):
        request = self._submit()
        operation = self._lease(("plan", "rollback"))
        preview = self._preview(request)
        preview["modes"][1]["loss"]["counts"][0]["label"] = "<script>alert(1)</script>"
        preview["modes"][1]["loss"]["counts"] += ["x", {"model": None}, {"model": "a", "created": -1, "changed": "y"}]
        preview["modes"].append("x")
        self._finish(operation, result=preview)
        self.assertIn("&lt;script&gt;", request.preview_html)
        self.assertNotIn("<script>", request.preview_html)

    def test_another_way_is_chosen(self):
        request = self._asked(modes=("code", "full"))
        code = request.preview_hash
        with self.assertRaisesRegex(UserError, "is not open"):
            request.with_user(self.developer).action_choose_mode("backup")
        with self.assertRaisesRegex(UserError, "may not do this"):
            request.with_user(self.viewer).action_take_full()
        request.with_user(self.developer).action_take_full()
        self.assertEqual(request.mode, "full")
        self.assertNotEqual(request.preview_hash, code)
        with self.assertRaisesRegex(UserError, "has changed since you saw it"):
            request._approve(self.manager, code)

    def test_what_was_approved_for_another_way_is_over(self):
        self.prod.policy_id.approvals_needed = 2
        request = self._asked(modes=("full", "backup"))
        request._approve(self.manager, request.preview_hash)
        self.assertEqual(request.approvals_given, 1)
        request.with_user(self.developer).action_take_backup()
        self.assertEqual((request.approvals_given, request.state), (0, "awaiting_approval"))

    def test_a_look_that_fails(self):
        request = self._submit()
        failure = {"code": "target_unknown", "message": "Nobody knows this image."}
        self._finish(self._lease(("plan", "rollback")), "failed", {}, failure)
        self.assertEqual((request.state, request.failure_message), ("failed", "Nobody knows this image."))

    def test_a_look_after_the_request_was_cancelled(self):
        request = self._submit()
        operation = self._lease(("plan", "rollback"))
        request.with_user(self.developer).action_cancel()
        self._finish(operation, result=self._preview(request))
        self.assertEqual((request.state, bool(request.preview)), ("cancelled", False))

    def test_looking_runs_beside_a_deployment(self):
        deployment = self._awaiting("v1.2.0", SHA_C, DIGEST_C, "e" * 64)
        deployment._approve(self.manager, "e" * 64)
        self._lease(("deploy",))
        request = self._submit()
        self.assertEqual(self._lease(("plan", "rollback")).rollback_id, request)


@tagged("post_install", "-at_install")
class TestRollbackOnStaging(RollbackCase):
    """Staging asks nobody."""

    def test_it_runs_at_once(self):
        self._live_on_stage()
        self._live_on_stage("v1.2.0", SHA_C, DIGEST_C)
        former, left = self.stage.deployment_ids.sorted("id")
        request = self._look(self._submit("v1.0.0", "demo/stage"))
        self.assertEqual((request.state, bool(request.ceiling)), ("queued", False))
        self._roll_back(request)
        self.assertEqual((request.state, former.state, left.state), ("done", "live", "rolled_back"))
        self.assertEqual(self.stage.running_deployment_id, former)
        # Staging goes on: the same release may come again, and a newer one.
        again = self._request("demo/stage", "refs/tags/v1.2.0", SHA_C)
        self._deploy(self._plan(again))
        self.assertEqual((again.state, former.state), ("live", "superseded"))

    def test_a_policy_may_ask_all_the_same(self):
        self._live_on_stage()
        self._live_on_stage("v1.2.0", SHA_C, DIGEST_C)
        self.stage.policy_id.approvals_needed = 1
        request = self._look(self._submit("v1.0.0", "demo/stage"))
        self.assertEqual(request.state, "awaiting_approval")
