from datetime import timedelta

from freezegun import freeze_time

from odoo import fields
from odoo.exceptions import UserError
from odoo.tests import tagged

from ..core import protocol
from .common import DIGEST_A, DIGEST_B, DIGEST_C, SHA_C, fixture
from .rollback_common import RollbackCase


@tagged("post_install", "-at_install")
class TestRollbackRun(RollbackCase):
    """What a rollback leaves in the ledger, and what becomes of one that does not succeed."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.first, cls.second = cls._ran(2)

    def _running(self):
        request = self._asked()
        request._approve(self.manager, request.preview_hash)
        return request, self._lease(("rollback",))

    def _fails(self, code, outcome="failed", message="It did not work.", **result):
        request, operation = self._running()
        result = {"reverted": True, "digest": DIGEST_B, "held_seconds": 1.1, "health": "green", **result}
        self._finish(operation, outcome, result, {"code": code, "step": "swap_database", "message": message})
        return request

    def test_the_ledger_turns_back(self):
        request = self._back_to("v1.0.0")
        self.assertEqual((request.state, self.first.state, self.second.state), ("done", "live", "rolled_back"))
        self.assertEqual(self.prod.running_deployment_id, self.first)
        self.assertEqual((self.prod.running_tag, self.prod.running_digest), ("v1.0.0", DIGEST_A))
        self.assertFalse(self.prod.drift or self.first.replaced_at)
        self.assertTrue(self.second.replaced_at)
        self.assertEqual(request.held_seconds, 4.2)
        self.assertEqual(request.lost["counts"][1]["created"], 12)
        self.assertIn("Sales Order", request.lost_html)
        self.assertEqual(
            [move["state"] for move in request.timeline],
            ["previewing", "awaiting_approval", "approved", "queued", "running", "done"],
        )
        for record in (self.second, self.prod):
            self.assertIn("v1.0.0", self._messages(record))
        self.assertIn("Live again", self._messages(self.first))
        self.assertTrue(self._audited("rollback.done"))

    def test_what_is_given_up_is_a_restore_set_and_the_targets_is_used(self):
        [used] = self.second.restore_set_ids
        request = self._back_to("v1.0.0")
        [given_up] = request.restore_set_ids
        self.assertEqual((given_up.from_digest, given_up.tag, given_up.state), (DIGEST_B, "v1.1.0", "kept"))
        self.assertEqual(given_up.environment_id, self.prod)
        self.assertEqual((used.state, used.protected), ("used", False))
        self.assertFalse(self.prod._restore_set_of(self.first.release_id))
        self.assertEqual(self.prod._restore_set_of(self.second.release_id), given_up)

    def test_code_only_uses_no_set(self):
        [kept] = self.second.restore_set_ids
        request = self._asked(modes=("code",))
        request._approve(self.manager, request.preview_hash)
        operation = self._lease(("rollback",))
        self.assertIsNone(operation._payload()["rollback"]["restore_set"])
        self._finish(operation, result=self._rolled_back(operation))
        self.assertEqual((request.state, kept.state), ("done", "kept"))
        self.assertFalse(request.lost or request.restore_set_ids)

    def test_two_in_a_row_never_lead_to_a_newer_release(self):
        third = self._bring_to_prod(2)
        self.assertEqual(self.prod.rollback_target_id, self.second)
        self._back_to("v1.1.0")
        self.assertEqual((third.state, self.second.state), ("rolled_back", "live"))
        self.assertEqual(self.prod.rollback_target_id, self.first)
        self._back_to("v1.0.0", digits="d")
        self.assertEqual((self.second.state, self.first.state), ("rolled_back", "live"))
        self.assertFalse(self.prod.rollback_target_id)
        self.assertEqual(self.prod.running_deployment_id, self.first)

    def test_a_rollback_is_rolled_back(self):
        self._back_to("v1.0.0")
        self.second.release_id.quarantine_ids.with_user(self.manager).action_lift("it was the relay")
        request = self._back_to("v1.1.0", digits="d")
        self.assertEqual((request.state, self.second.state, self.first.state), ("done", "live", "rolled_back"))
        self.assertEqual(self.prod.running_deployment_id, self.second)

    def test_past_the_ceiling_it_asks_again(self):
        request, operation = self._running()
        message = fixture("finish_request_rollback_loss_above_ceiling")
        fresh = self._preview(request, orders=15, posted=2, digits="b")
        former = request.preview_hash
        self._finish(operation, "failed", {**message["result"], "preview": fresh}, message["error"])
        self.assertEqual((request.state, request.approvals_given), ("awaiting_approval", 0))
        self.assertNotEqual(request.preview_hash, former)
        self.assertEqual((request.posted_lost, bool(request.ceiling)), (2, False))
        self.assertIn("would lose more than was approved", self._messages(request))
        self.assertIn(self.manager, request.activity_ids.user_id)
        self.assertEqual(self.prod.running_deployment_id, self.second)
        request._approve(self.manager, request.preview_hash)
        self.assertEqual(request.ceiling["posted"]["account.move"], 2)
        self._roll_back(request)
        self.assertEqual(request.state, "done")

    def test_past_the_ceiling_without_a_fresh_preview_it_looks_again(self):
        request = self._fails("loss_above_ceiling")
        self.assertEqual(request.state, "previewing")
        self._look(request, digits="b")
        self.assertEqual(request.state, "awaiting_approval")

    def test_what_is_not_possible_any_more_is_looked_at_again(self):
        for code in ("plan_changed", "mode_impossible", "image_gone"):
            with self.subTest(code):
                request = self._fails(code)
                self.assertEqual(request.state, "previewing")
                request.with_user(self.developer).action_cancel()

    def test_a_set_that_is_gone_is_told_and_looked_around(self):
        [restore_set] = self.second.restore_set_ids
        request = self._fails("set_gone", message="The snapshot demo_prod__s3 is gone.")
        self.assertFalse(restore_set.restorable or request.restore_set_id)
        self.assertIn("is gone", restore_set.not_restorable_reason)
        self.assertIn(self.manager, self.prod.activity_ids.user_id)
        self._look(request, modes=("code",), digits="b")
        self.assertEqual((request.state, request.mode), ("awaiting_approval", "code"))

    def test_it_does_not_look_again_for_ever(self):
        request = self._asked()
        for _time in range(5):
            request._approve(self.manager, request.preview_hash)
            failure = {"code": "plan_changed", "message": "It changed."}
            self._finish(self._lease(("rollback",)), "failed", {"reverted": True}, failure)
            if request.state == "previewing":
                self._look(request)
        self.assertEqual((request.state, request.failure_code), ("failed", "plan_changed"))

    def test_a_failure_leaves_everything_as_it_was(self):
        request = self._fails("swap_failed", message="password=hunter2 did not work")
        self.assertEqual((request.state, request.reverted), ("failed", True))
        self.assertEqual((self.first.state, self.second.state), ("superseded", "live"))
        self.assertFalse(self.prod.indeterminate or self.prod._bars())
        self.assertIn(self.manager, request.activity_ids.user_id)
        self.assertNotIn("hunter2", self._messages(request) + request.failure_message)

    def test_what_nobody_can_prove_stops_everything(self):
        request = self._fails("undo_failed", "indeterminate", reverted=False)
        self.assertEqual(request.state, "indeterminate")
        self.assertTrue(self.prod.indeterminate)
        with self.assertRaisesRegex(UserError, "can't be proven"):
            self._submit()

    def test_what_the_agent_did_is_what_was_decided(self):
        wrong = ({"digest": DIGEST_C}, {"plan_hash": "9" * 64}, {"mode": "code"}, {"database_uuid": "other"})
        for values in wrong:
            with self.subTest(values), self.cr.savepoint() as savepoint:
                request, operation = self._running()
                self._finish(operation, result=self._rolled_back(operation, **values))
                self.assertEqual((request.state, self.second.state), ("indeterminate", "live"))
                self.assertTrue(self.prod.indeterminate)
                self.assertEqual(self.prod.running_deployment_id, self.second)
                self.env.flush_all()
                savepoint.rollback()
                self.env.invalidate_all()

    def test_a_stale_token_changes_nothing(self):
        request, operation = self._running()
        stale = operation.token
        with freeze_time(fields.Datetime.now() + timedelta(minutes=2)):
            self.env["odooops.operation"]._expire_leases()
            self.assertEqual((operation.state, request.state), ("queued", "queued"))
            self.assertEqual(self._lease(("rollback",)), operation)
        self.assertGreater(operation.token, stale)
        with self.assertRaises(protocol.StaleToken):
            self.env["odooops.operation"]._of_agent(self.agent, operation.id, stale)
        self.assertEqual((request.state, self.second.state), ("running", "live"))

    def test_the_same_end_twice(self):
        request, operation = self._running()
        result = self._rolled_back(operation)
        self._finish(operation, result=result)
        self._finish(operation, result=result)
        self.assertEqual((request.state, len(request.restore_set_ids)), ("done", 1))
        self.assertEqual(len(self.second.release_id.quarantine_ids), 1)

    def test_cancel_while_running_asks_the_agent(self):
        request, operation = self._running()
        request.with_user(self.developer).action_cancel()
        self.assertEqual((request.state, operation.cancel_requested), ("running", True))
        failure = {"code": "cancelled", "message": "Stopped."}
        self._finish(operation, "cancelled", {"reverted": True}, failure)
        self.assertEqual((request.state, self.second.state), ("cancelled", "live"))

    def test_finished_although_cancelled_meanwhile(self):
        request, operation = self._running()
        with freeze_time(fields.Datetime.now() + timedelta(minutes=10)):
            self.env["odooops.operation"]._expire_leases()
            request.with_user(self.developer).action_cancel()
            self._finish(operation, result=self._rolled_back(operation))
        self.assertEqual((request.state, self.first.state), ("done", "live"))

    def test_one_exclusive_operation_at_a_time(self):
        deployment = self._awaiting("v1.2.0", SHA_C, DIGEST_C, "e" * 64)
        deployment._approve(self.manager, "e" * 64)
        request, operation = self._asked(), None
        request._approve(self.manager, request.preview_hash)
        operation = self._lease(("deploy", "rollback"))
        self.assertEqual(operation.deployment_id, deployment)
        self.assertFalse(self._lease(("deploy", "rollback")))

    def test_the_set_of_an_earlier_attempt_keeps_its_token(self):
        _request, operation = self._running()
        result = self._rolled_back(operation)
        result["restore_set"]["database_snapshot"] = "demo_prod__s3"
        self._finish(operation, result=result)
        self.assertEqual(self.prod.restore_set_ids.filtered("rollback_id").token, 3)

    def test_what_runs_is_what_is_archived_last(self):
        self._submit()
        with self.assertRaisesRegex(UserError, "is being worked on|is being rolled back"):
            self.prod.active = False


@tagged("post_install", "-at_install")
class TestRestoreSets(RollbackCase):
    """Sets are kept by policy and looked after; people are told when one is lost."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls._ran(2)
        cls.restore_set = cls.prod.restore_set_ids

    def _check(self, restorable=True, reason="", token=None):
        self.env["odooops.environment"]._cron_check_restore_sets()
        operation = self._lease(("health",))
        reports = [{"token": token or self.restore_set.token, "restorable": restorable, "reason": reason}]
        self._finish(operation, result={"sets": reports})
        return operation

    def test_the_agent_is_told_what_to_look_at(self):
        self.env["odooops.environment"]._cron_check_restore_sets()
        self.env["odooops.environment"]._cron_check_restore_sets()
        operation = self._lease(("health",))
        self.assertFalse(self._lease(("health",)), "asked once")
        payload = operation._payload()
        self.assertEqual([one["token"] for one in payload["sets"]], self.restore_set.mapped("token"))
        self.assertEqual(payload["release"]["tag"], "v1.1.0")

    def test_one_that_is_there(self):
        self._check()
        self.assertTrue(self.restore_set.protected and self.restore_set.checked_at)
        self.assertFalse(self.prod.activity_ids)

    def test_one_that_is_lost_is_told_once(self):
        for _night in range(2):
            self._check(False, "Its database snapshot is gone.")
        self.assertFalse(self.restore_set.protected)
        self.assertEqual(self.restore_set.not_restorable_reason, "Its database snapshot is gone.")
        told = self.prod.activity_ids.filtered(lambda one: one.user_id == self.manager)
        self.assertEqual(told.mapped("summary"), ["A restore set of demo/prod is lost"])
        self.assertIn("can't be put back any more", self._messages(self.prod))
        self._check(True)
        self.assertTrue(self.restore_set.protected)

    def test_one_beyond_the_newest_goes_for_want_of_room_without_ado(self):
        self.prod.restore_sets_keep = 1
        operation = self._enqueue_for_nobody("deploy", self.prod)
        operation.state = "succeeded"
        values = {"operation_id": operation.id, "token": 99, "taken_at": fields.Datetime.now()}
        newest = self.restore_set.copy(values)
        self._check(False, "Its database snapshot is gone.")
        self.assertEqual((self.restore_set.state, newest.state), ("dropped", "kept"))
        self.assertFalse(self.prod.activity_ids)

    def test_strange_reports(self):
        self.env["odooops.environment"]._cron_check_restore_sets()
        strange = [7, {}, {"token": "x"}, {"token": 999999, "restorable": False}, {"token": True, "restorable": 1}]
        self._finish(self._lease(("health",)), result={"sets": strange})
        self.env["odooops.environment"]._cron_check_restore_sets()
        self._finish(self._lease(("health",)), "failed", {"sets": "x"}, {"code": "x", "message": "No."})
        self.assertTrue(self.restore_set.protected)

    def test_by_hand(self):
        with self.assertRaisesRegex(UserError, "may not do this"):
            self.prod.with_user(self.viewer).action_check_restore_sets()
        self.prod.with_user(self.developer).action_check_restore_sets()
        self.assertEqual(self._lease(("health",)).environment_id, self.prod)
        with self.assertRaisesRegex(UserError, "has no restore set"):
            self.stage.with_user(self.developer).action_check_restore_sets()

    def test_what_the_policy_drops(self):
        kept = self.env["odooops.restore.set"]
        for number, hours in enumerate((1, 30, 47, 60, 100)):
            operation = self._enqueue_for_nobody("deploy", self.prod)
            operation.state = "succeeded"
            kept += self.restore_set.copy(
                {
                    "operation_id": operation.id,
                    "token": 100 + number,
                    "taken_at": fields.Datetime.now() - timedelta(hours=hours),
                }
            )
        self.restore_set.state = "used"
        self.env["odooops.restore.set"]._apply_policy(self.prod)
        self.assertEqual(kept.mapped("state"), ["kept", "kept", "kept", "dropped", "dropped"])
        self.prod.write({"restore_sets_keep": 1, "restore_set_hours": 10})
        self.env["odooops.restore.set"]._apply_policy(self.prod)
        self.assertEqual(kept.mapped("state"), ["kept", "dropped", "dropped", "dropped", "dropped"])
        self.assertEqual(self.prod._options_payload()["restore_sets"], {"keep": 1, "keep_hours": 10.0, "wanted": []})

    def test_the_budget_is_shown(self):
        self.assertIn("give the droplet its cluster's disk", self.prod.budget_text)
        self.agent.write({"database_quota_gb": 50, "database_reserve_gb": 5})
        self.prod.database_bytes = 10 * 2**30
        self.restore_set.database_bytes = 5 * 2**30
        self.prod.invalidate_recordset()
        self.assertEqual((self.prod.budget_gb, self.prod.restore_sets_gb), (45, 5))
        self.assertAlmostEqual(self.prod.budget_left_gb, 30)
        self.assertIn("5.0 GB; 30.0 GB left of 45.0 GB", self.prod.budget_text)
