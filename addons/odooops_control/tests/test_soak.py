import json
from datetime import timedelta

from freezegun import freeze_time

from odoo import fields
from odoo.tests import tagged

from ..core import protocol, rollback
from .rollback_common import VERSIONS, RollbackCase

UNCOUNTED = "not counted"


@tagged("post_install", "-at_install")
class TestSoak(RollbackCase):
    """What is red while it is watched: people are told, or it goes back under the deployment's approvals."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.policy = cls.prod.policy_id
        [cls.first] = cls._ran(1)
        cls.policy.write({"soak_minutes": 15, "soak_rolls_back": True, "soak_loss_minutes": 30})
        cls.policy.write({"soak_loss_records": 100, "soak_loss_posted": 2})

    def _soaking(self):
        tag, sha, digest = VERSIONS[1]
        deployment = self._awaiting(tag=tag, sha=sha, digest=digest, plan_hash="1" * 64)
        deployment._approve(self.manager, deployment.plan_hash, "looked")
        operation = self._lease(("deploy",))
        restore_set = self._set_of(self.first.release_id.digest, operation)
        self._finish(operation, result=self._deploy_result(operation, restore_set=restore_set))
        self.assertEqual((deployment.state, deployment.former_id), ("soaking", self.first))
        return deployment

    def _is(self, health):
        report = protocol.EnvironmentReport(self.prod.key, health, None, None, "cron died", None)
        self.prod._report([report], {})

    def _after(self, minutes):
        if since := self.prod.red_since:
            self.prod.red_since = since - timedelta(minutes=minutes)
        self.env["odooops.deployment"]._fail_soaks()

    def _failed(self):
        deployment = self._soaking()
        self._is("red")
        self._after(3)
        return deployment, deployment.soak_rollback_ids

    def _seen(self, request, **values):
        """Have the agent preview it, every table counted."""
        operation = self._lease(("plan", "rollback"))
        self.assertEqual(operation.rollback_id, request)
        preview = self._preview(request, **values)
        for way in preview["modes"]:
            for row in (way["loss"] or {}).get("counts", ()):
                row["changed"] = row["changed"] or 0
        self._finish(operation, result=preview)
        return request

    def _said(self, operation):
        return json.loads(operation._payload()["grant"]["document"])

    def test_off_it_only_warns(self):
        self.policy.soak_rolls_back = False
        deployment, request = self._failed()
        self.assertFalse(request)
        with freeze_time(fields.Datetime.now() + timedelta(minutes=16)):
            self.env["odooops.agent"]._cron_watch()
        self.assertEqual((deployment.state, bool(self.prod.active_rollback_id)), ("soaking", False))
        self.assertIn(f"{deployment.name} is not healthy", deployment.activity_ids.mapped("summary"))
        self.assertIsNone(self._said(deployment._deploy_operation())["loss_bound"])

    def test_below_the_bound_it_goes_under_the_deployment_s_approvals(self):
        deployment, request = self._failed()
        self.assertEqual((request.state, request.target_id), ("previewing", self.first))
        bound = rollback.bound(30, 100, 2)
        self.assertEqual(self._said(deployment._deploy_operation())["loss_bound"], bound)
        self._seen(request)
        self.assertEqual((request.state, request.mode, request.ceiling), ("queued", "full", bound))
        self.assertFalse(request.approval_ids)
        self.assertIn("as ops_manager", self._messages(request).replace(self.manager.name, "ops_manager"))
        [event] = self._audited("rollback.by_itself")
        self.assertEqual((event.details["approvers"], event.details["ceiling"]), ("ops_manager", bound))
        operation = self._lease(("rollback",))
        said = self._said(operation)
        self.assertEqual([one["login"] for one in said["approvers"]], ["ops_manager"])
        self.assertEqual((said["loss_bound"], said["plan_hash"]), (bound, request.plan_hash))
        self._finish(operation, result=self._rolled_back(operation))
        self.assertEqual((request.state, deployment.state, self.first.state), ("done", "rolled_back", "live"))
        self.assertEqual(request.quarantine_ids.release_id, deployment.release_id)

    def test_code_alone_loses_nothing(self):
        self.policy.write({"soak_loss_minutes": 0, "soak_loss_records": 0, "soak_loss_posted": 0})
        _deployment, request = self._failed()
        self._seen(request, modes=("code",))
        self.assertEqual((request.state, request.mode, bool(request.ceiling)), ("queued", "code", False))

    def test_above_the_bound_it_waits_for_a_person(self):
        _deployment, request = self._failed()
        self._seen(request, minutes=31.0)
        self.assertEqual(request.state, "awaiting_approval")
        self.assertFalse(self._lease(("rollback",)))
        asked = request.activity_ids
        self.assertEqual(asked.user_id, self.manager | self.manager_2)
        self.assertIn("Urgent, demo/prod is red", asked[0].summary)
        self.assertIn("31 minutes (30 agreed)", str(asked[0].note))
        request._approve(self.manager, request.preview_hash, "spoke with sales")
        self.assertEqual((request.state, request.ceiling["minutes"]), ("queued", 61.0))

    def test_what_nobody_agreed_to_waits(self):
        for values in ({"orders": 101}, {"posted": 3}, {"modes": ("backup",)}):
            with self.subTest(values), self.cr.savepoint() as savepoint:
                _deployment, request = self._failed()
                self._seen(request, **values)
                self.assertEqual(request.state, "awaiting_approval")
                self.env.flush_all()
                savepoint.rollback()
                self.env.invalidate_all()

    def test_what_could_not_be_counted_waits(self):
        _deployment, request = self._failed()
        self._look(request)
        self.assertEqual(request.state, "awaiting_approval")
        self.assertIn(UNCOUNTED, str(request.activity_ids[0].note))

    def test_more_is_lost_when_nobody_can_write(self):
        _deployment, request = self._failed()
        self._seen(request)
        operation = self._lease(("rollback",))
        failure = {"code": "loss_above_ceiling", "message": "Going back would lose more than was approved."}
        self._finish(operation, "failed", {"reverted": True, "preview": self._preview(request, minutes=40.0)}, failure)
        self.assertEqual(request.state, "awaiting_approval")

    def test_a_red_that_heals_in_time(self):
        deployment = self._soaking()
        self._is("red")
        self._after(1)
        self._is("green")
        self._is("red")
        self._after(1)
        self.assertFalse(deployment.soak_rollback_ids)

    def test_what_heals_while_the_agent_looks_stays(self):
        deployment, request = self._failed()
        self._is("green")
        self._seen(request)
        self.assertEqual((request.state, deployment.state), ("cancelled", "soaking"))

    def test_after_the_watch(self):
        deployment = self._soaking()
        with freeze_time(fields.Datetime.now() + timedelta(minutes=16)):
            self.env["odooops.deployment"]._end_soaks()
        self.assertEqual(deployment.state, "live")
        self._is("red")
        self._after(30)
        self.assertFalse(deployment.soak_rollback_ids)

    def test_a_second_failure_makes_no_second_request(self):
        deployment, request = self._failed()
        self._seen(request, minutes=31.0)
        self._after(5)
        request._reject(self.manager, request.preview_hash, "we mend it")
        self._after(6)
        self.assertEqual(deployment.soak_rollback_ids, request)

    def test_a_policy_that_allows_more_meanwhile_changes_nothing(self):
        deployment = self._soaking()
        self.policy.soak_loss_minutes = 600
        self.assertEqual(deployment._agreed_loss_bound()["minutes"], 30)
        self.policy.soak_loss_minutes = 5
        self.assertEqual(deployment._agreed_loss_bound()["minutes"], 5)
        self.policy.soak_rolls_back = False
        self.assertIsNone(deployment._agreed_loss_bound())

    def test_the_approval_page_says_it(self):
        tag, sha, digest = VERSIONS[1]
        deployment = self._awaiting(tag=tag, sha=sha, digest=digest, plan_hash="1" * 64)
        self.assertIn("goes back to v1.0.0 by itself when that loses at most 30 minutes", deployment.summary_html)

    def test_staging_is_left_alone(self):
        self.stage.policy_id.write({"soak_minutes": 15, "soak_rolls_back": True})
        self._register(sha=VERSIONS[1][1], digest=VERSIONS[1][2])
        deployment = self.stage.deployment_ids.sorted("id")[-1:]
        self._deploy(self._plan(deployment))
        self.stage.health = "red"
        self._after(3)
        self.assertEqual((deployment.state, bool(deployment.soak_rollback_ids)), ("soaking", False))
