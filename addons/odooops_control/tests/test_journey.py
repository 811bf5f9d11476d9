from datetime import timedelta

from freezegun import freeze_time

from odoo import fields
from odoo.exceptions import UserError
from odoo.tests import tagged

from ..core import protocol
from .common import (
    DATABASE_UUID,
    DIGEST_A,
    DIGEST_B,
    DIGEST_C,
    PLAN_HASH,
    SHA_A,
    SHA_B,
    SHA_C,
    OdooopsCase,
    fixture,
)


@tagged("post_install", "-at_install")
class TestJourney(OdooopsCase):
    """A release travels from a push to production."""

    def _report(self, environment, health, detail, digest=None, database_uuid=None):
        report = protocol.EnvironmentReport(environment.key, health, digest, database_uuid, detail, None)
        environment._report([report], {})

    def _messages(self, record):
        return "\n".join(str(message.body) for message in record.message_ids)

    def test_push_goes_to_stage_by_itself(self):
        release = self._live_on_stage()
        self.assertEqual(self.stage.running_release_id, release)
        self.assertEqual(self.stage.health, "green")
        self.assertEqual(self.stage.database_uuid, DATABASE_UUID)
        self.assertEqual(release.state, "staged")
        self.assertEqual(release.name, "v1.0.0")
        self.assertRegex(release.tag_ids.sorted("id")[0].name, r"^main-\d{14}-aaaaaaa$")

    def test_prod_waits_for_approval_then_goes_live(self):
        deployment = self._awaiting()
        self.assertEqual(deployment.state, "awaiting_approval")
        activities = deployment.activity_ids.filtered(lambda one: "Approve" in (one.summary or ""))
        self.assertEqual(activities.user_id, self.manager | self.manager_2)
        self.assertIn("Waits for the approval of", self._messages(deployment))
        deployment._approve(self.manager, PLAN_HASH, "health is green on stage")
        self.assertEqual(deployment.state, "queued")
        self.assertFalse(deployment.activity_ids)
        self._deploy(deployment)
        self.assertEqual(deployment.state, "live")
        self.assertEqual(self.prod.running_tag, "v1.0.0")
        self.assertEqual(deployment.held_seconds, 1.5)
        self.assertEqual(deployment.release_id.state, "released")
        self.assertEqual(
            [move["state"] for move in deployment.timeline],
            ["planned", "awaiting_approval", "approved", "queued", "running", "live"],
        )

    def test_next_release_supersedes_the_former(self):
        first = self._live_on_prod()
        second = self._live_on_prod(tag="v1.1.0", sha=SHA_B, digest=DIGEST_B, plan_hash="e" * 64)
        self.assertEqual((first.state, second.state), ("superseded", "live"))
        self.assertEqual(self.prod.running_deployment_id, second)

    def test_plan_changed_asks_again(self):
        deployment = self._awaiting()
        deployment._approve(self.manager, PLAN_HASH)
        operation = self._lease(("deploy",))
        message = fixture("finish_request_plan_changed")
        self._finish(operation, "failed", message["result"], message["error"])
        self.assertEqual(deployment.state, "draft")
        self.assertFalse(deployment.plan_hash)
        self.assertIn("no longer the one that was approved", self._messages(deployment))
        self._plan(deployment, "f" * 64)
        self.assertEqual(deployment.state, "awaiting_approval")
        self.assertEqual(deployment.approvals_given, 0)
        self.assertIn(self.manager, deployment.activity_ids.user_id)
        deployment._approve(self.manager, "f" * 64)
        self._deploy(deployment)
        self.assertEqual(deployment.state, "live")

    def test_plan_that_changes_for_ever_fails(self):
        self._register()
        deployment = self.stage.deployment_ids
        message = fixture("finish_request_plan_changed")
        for _time in range(5):
            self._plan(deployment)
            self._finish(self._lease(("deploy",)), "failed", message["result"], message["error"])
        self.assertEqual((deployment.state, deployment.failure_code), ("failed", "plan_changed"))

    def test_failure_leaves_the_log_in_the_chatter(self):
        former = self._live_on_prod()
        deployment = self._awaiting(tag="v1.2.0", sha=SHA_C, digest=DIGEST_C, plan_hash="e" * 64)
        deployment._approve(self.manager, "e" * 64)
        operation = self._lease(("deploy",))
        message = fixture("finish_request_failed")
        message["error"]["log_tail"] += ["<script>alert(1)</script>", "db password=hunter2"]
        message["result"]["held_seconds"] = 12
        self._finish(operation, "failed", message["result"], message["error"])
        self.assertEqual((deployment.state, former.state), ("failed", "live"))
        self.assertEqual(self.prod.running_deployment_id, former)
        self.assertEqual(deployment.failure_step, "update_modules")
        self.assertTrue(deployment.reverted)
        self.assertEqual(deployment.held_seconds, 12)
        chatter = self._messages(deployment)
        self.assertIn("order 7 has no customer", chatter)
        self.assertIn("&lt;script&gt;", chatter)
        self.assertNotIn("<script>", chatter)
        self.assertNotIn("hunter2", chatter)
        self.assertIn(self.manager, deployment.activity_ids.user_id)

    def test_failure_without_tail_shows_the_recorded_lines(self):
        self._register()
        self._plan(self.stage.deployment_ids)
        operation = self._lease(("deploy",))
        self.env["odooops.operation.log"].create(
            {"operation_id": operation.id, "token": operation.token, "seq": 1, "text": "the last words"}
        )
        self._finish(operation, "failed", {}, {"code": "update_failed", "message": "It failed."})
        self.assertIn("the last words", self._messages(self.stage.deployment_ids))

    def test_indeterminate_stops_everything_until_repaired(self):
        deployment = self._awaiting()
        deployment._approve(self.manager, PLAN_HASH)
        message = fixture("finish_request_indeterminate")
        self._finish(self._lease(("deploy",)), "indeterminate", message["result"], message["error"])
        self.assertEqual(deployment.state, "indeterminate")
        self.assertTrue(self.prod.indeterminate)
        self.assertEqual(self.prod.health, "red")
        with self.assertRaisesRegex(UserError, "can't be proven"):
            self._request(ref="refs/tags/v1.0.0")
        with self.assertRaisesRegex(UserError, "may not do this"):
            self.prod.with_user(self.developer).action_mark_repaired()
        self.prod.with_user(self.manager).action_mark_repaired()
        self.assertFalse(self.prod.indeterminate)

    def test_soaking_then_live(self):
        self.prod.policy_id.soak_minutes = 15
        deployment = self._live_on_prod()
        self.assertEqual(deployment.state, "soaking")
        self.assertEqual(self.prod.running_deployment_id, deployment)
        self.env["odooops.deployment"]._end_soaks()
        self.assertEqual(deployment.state, "soaking")
        with freeze_time(fields.Datetime.now() + timedelta(minutes=16)):
            self.env["odooops.deployment"]._end_soaks()
        self.assertEqual(deployment.state, "live")
        self.assertTrue(deployment.live_at)

    def test_what_is_red_does_not_become_live(self):
        self.prod.policy_id.soak_minutes = 15
        deployment = self._live_on_prod()
        self.prod.health = "red"
        for minutes in (16, 32):
            with freeze_time(fields.Datetime.now() + timedelta(minutes=minutes)):
                self.env["odooops.deployment"]._end_soaks()
        self.assertEqual(deployment.state, "soaking")
        warnings = deployment.activity_ids.filtered(lambda one: one.user_id == self.manager)
        self.assertEqual(warnings.mapped("summary"), [f"{deployment.name} is not healthy"], "said once")
        self.prod.health = "unknown"
        with freeze_time(fields.Datetime.now() + timedelta(minutes=64)):
            self.env["odooops.deployment"]._end_soaks()
            self.assertEqual(deployment.state, "soaking")
            self.prod.health = "green"
            self.env["odooops.deployment"]._end_soaks()
        self.assertEqual(deployment.state, "live")

    def test_people_are_told_whatever_the_callers_context(self):
        quiet = self.env["odooops.deployment"].with_context(mail_activity_automation_skip=True)
        deployment = self._awaiting()
        deployment._reject(self.manager, PLAN_HASH)
        again = quiet.browse(self._request().id)
        operation = self._lease().with_context(mail_activity_automation_skip=True)
        self._finish(operation, result=self._plan_result(operation))
        self.assertIn(self.manager, again.activity_ids.user_id)

    def test_what_the_agent_did_is_what_was_approved(self):
        for number, wrong in enumerate(({"digest": DIGEST_C}, {"plan_hash": "9" * 64}, {"database_uuid": "other"})):
            with self.subTest(wrong), self.cr.savepoint() as savepoint:
                deployment = self._live_on_prod()
                self.prod.workers = 3 + number
                again, _new = self.env["odooops.deployment"]._request(self.prod, deployment.release_id, "v1.0.0", True)
                self._plan(again)
                again._approve(self.manager_2, PLAN_HASH)
                self._deploy(again, **wrong)
                self.assertEqual((again.state, deployment.state), ("indeterminate", "live"))
                self.assertEqual(self.prod.running_deployment_id, deployment)
                self.assertTrue(self.prod.indeterminate)
                self.assertIn(self.manager, again.activity_ids.user_id)
                self.env.flush_all()
                savepoint.rollback()
                self.env.invalidate_all()

    def test_strange_plans_and_facts(self):
        self._register()
        deployment = self.stage.deployment_ids
        operation = self._lease()
        result = self._plan_result(operation)
        result["facts"] = {"dependents": [1, None, {"a": 1}], "steps": 7, "warnings": "x", "needs_hold": False}
        self._finish(operation, result=result)
        self.assertEqual(deployment.plan_facts["dependents"], ["1", "None", "{'a': 1}"])
        self.assertIn("1, None", deployment.plan_html)
        for wrong in ({"modules": "x"}, {"modules": ["sale"]}, {"migrations": 7}):
            self.assertTrue(deployment._plan_refusal({**result["plan"], **wrong}, PLAN_HASH))

    def test_soaking_does_not_block_the_next_deployment(self):
        self.prod.policy_id.soak_minutes = 15
        first = self._live_on_prod()
        second = self._awaiting(tag="v1.1.0", sha=SHA_B, digest=DIGEST_B, plan_hash="e" * 64)
        second._approve(self.manager, "e" * 64)
        self._deploy(second)
        self.assertEqual((first.state, second.state), ("superseded", "soaking"))

    def test_newer_push_supersedes_what_waits_on_stage(self):
        self._register()
        first = self.stage.deployment_ids
        self._plan(first)
        self._register(sha=SHA_B, digest=DIGEST_B)
        second = self.stage.deployment_ids - first
        self.assertEqual(first.state, "superseded")
        self.assertEqual(set(first.operation_ids.mapped("state")), {"succeeded", "cancelled"})
        self._plan(second)
        self._deploy(second)
        self.assertEqual(second.state, "live")

    def test_newer_push_waits_for_what_runs_on_stage(self):
        self._register()
        first = self.stage.deployment_ids
        self._plan(first)
        running = self._lease(("deploy",))
        self._register(sha=SHA_B, digest=DIGEST_B)
        second = self.stage.deployment_ids - first
        self.assertEqual((first.state, second.state), ("running", "draft"))
        self._plan(second)
        self.assertFalse(self._lease())
        self._finish(running, result=self._deploy_result(running))
        self._deploy(second)
        self.assertEqual((first.state, second.state), ("superseded", "live"))

    def test_superseded_while_being_planned(self):
        self._register()
        first = self.stage.deployment_ids
        operation = self._lease()
        self._register(sha=SHA_B, digest=DIGEST_B)
        self.assertTrue(operation.cancel_requested)
        with self.assertLogs("odoo.addons.odooops_control.models.mixins", "WARNING"):
            self._finish(operation, result=self._plan_result(operation))
        self.assertEqual(first.state, "superseded")

    def test_cancel(self):
        deployment = self._awaiting()
        with self.assertRaisesRegex(UserError, "may not do this"):
            deployment.with_user(self.viewer).action_cancel()
        deployment.with_user(self.developer).action_cancel()
        self.assertEqual(deployment.state, "cancelled")
        self.assertFalse(deployment.activity_ids)
        with self.assertRaisesRegex(UserError, "can't be cancelled"):
            deployment.with_user(self.developer).action_cancel()

    def test_cancel_while_running(self):
        self._register()
        deployment = self._plan(self.stage.deployment_ids)
        operation = self._lease(("deploy",))
        deployment.with_user(self.developer).action_cancel()
        self.assertEqual(deployment.state, "running")
        self.assertTrue(operation.cancel_requested)
        self._finish(operation, "cancelled", {"reverted": True}, {"code": "cancelled", "message": "Stopped."})
        self.assertEqual(deployment.state, "cancelled")

    def test_a_plan_for_something_else_is_refused(self):
        self._register()
        operation = self._lease()
        result = self._plan_result(operation)
        result["plan"]["to_digest"] = DIGEST_B
        self._finish(operation, result=result)
        self.assertEqual(self.stage.deployment_ids.state, "failed")

    def test_a_plan_of_another_database_is_refused(self):
        self.stage.database_uuid = DATABASE_UUID
        self._register()
        operation = self._lease()
        result = self._plan_result(operation)
        result["plan"]["database_uuid"] = "another"
        self._finish(operation, result=result)
        self.assertIn("not the one it had", self.stage.deployment_ids.failure_message)

    def test_restore_set_is_recorded_once_and_also_of_a_failure(self):
        deployment = self._awaiting()
        deployment._approve(self.manager, PLAN_HASH)
        operation = self._lease(("deploy",))
        restore_set = fixture("finish_request_deploy")["result"]["restore_set"]
        failure = {"code": "update_failed", "message": "No."}
        for _time in range(2):
            self._finish(operation, "failed", {"restore_set": restore_set}, failure)
        self.assertEqual(len(deployment.restore_set_ids), 1)
        self.assertEqual(deployment.restore_set_ids.database_bytes, 71303168)

    def test_plan_is_readable(self):
        self._register()
        operation = self._lease()
        module = {"name": "<b>workshop</b>", "from": "19.0.1.0.0", "to": "19.0.1.1.0", "action": "update"}
        self._finish(operation, result=self._plan_result(operation, modules=[module]))
        html = self.stage.deployment_ids.plan_html
        self.assertIn("&lt;b&gt;workshop", html)
        self.assertIn("19.0.1.1.0", html)

    def test_health_turns_red_and_drift_shows(self):
        self._live_on_stage()
        self._report(self.stage, "red", "no answer", digest=DIGEST_B)
        self.assertIn("no answer", self._messages(self.stage))
        self.assertTrue(self.stage.drift)
        self.assertEqual(self.env["odooops.environment"].status("stage")["drift"], self.stage.drift)

    def test_another_database_turns_red(self):
        self._live_on_stage()
        before = len(self.stage.message_ids)
        for _time in range(3):
            self._report(self.stage, "green", "fine", database_uuid="another-uuid")
        self.assertEqual((self.stage.health, self.stage.database_uuid), ("red", DATABASE_UUID))
        self.assertEqual(len(self.stage.message_ids), before + 1, "said once")
        self._report(self.stage, "green", "fine", database_uuid=DATABASE_UUID)
        self.assertEqual(self.stage.health, "green")

    def test_identity_of_what_was_never_live_is_not_recorded(self):
        self._report(self.stage, "green", "being installed", database_uuid="passing")
        self.assertFalse(self.stage.database_uuid)

    def test_request_is_idempotent(self):
        deployment = self._awaiting()
        self.assertEqual(self._request(), deployment)
        deployment._approve(self.manager, PLAN_HASH)
        self.assertEqual(self._request(sha=None), deployment)
        self._deploy(deployment)
        self.assertEqual(self._request(sha=SHA_A), deployment)
        self.assertEqual(deployment.release_id.digest, DIGEST_A)
