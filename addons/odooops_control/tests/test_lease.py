from datetime import timedelta

from freezegun import freeze_time

from odoo import fields
from odoo.exceptions import UserError
from odoo.tests import tagged

from ..core import protocol
from .common import DIGEST_B, SHA_B, OdooopsCase, fixture


@tagged("post_install", "-at_install")
class TestLease(OdooopsCase):
    """Who gets which operation, and for how long."""

    def _running_deploy(self):
        self._register()
        self._plan(self.stage.deployment_ids)
        return self._lease(("deploy",))

    def test_kinds_the_agent_can_do(self):
        self._register()
        self.assertFalse(self._lease(("deploy",)))
        self.assertFalse(self._lease(()))
        self.assertEqual(self._lease(("plan",)).kind, "plan")
        self.assertFalse(self._lease(("plan",)))

    def test_one_heavy_operation_at_a_time_and_plans_beside_it(self):
        self.assertEqual(self._running_deploy().kind, "deploy")
        other = self._other_project()
        self._register(project="other", user=self.developer, sha=SHA_B, digest=DIGEST_B)
        operation = self._lease()
        self.assertEqual((operation.kind, operation.environment_id), ("plan", other))
        self._finish(operation, result=self._plan_result(operation))
        self.assertFalse(self._lease())
        self.agent.heavy_limit = 2
        self.assertEqual(self._lease().kind, "deploy")

    def test_projects_take_turns(self):
        other = self._other_project()
        self._register(project="other", user=self.developer, sha=SHA_B, digest=DIGEST_B)
        for _time in range(3):
            self.env["odooops.operation"]._enqueue("health", self.stage)
            self.env["odooops.operation"]._enqueue("health", other)
        served = []
        for _time in range(6):
            operation = self._lease(("health",))
            served.append(operation.project_id.code)
            self._finish(operation)
        self.assertEqual(len(set(served[:2])), 2, served)
        self.assertEqual(served.count("demo"), 3)

    def test_a_lease_that_ran_out_is_given_again(self):
        operation = self._running_deploy()
        token, deployment = operation.token, operation.deployment_id
        with freeze_time(fields.Datetime.now() + timedelta(seconds=31)):
            self.env["odooops.operation"]._expire_leases()
            self.assertEqual((operation.state, deployment.state), ("queued", "queued"))
            again = self._lease(("deploy",))
        self.assertEqual(again, operation)
        self.assertGreater(again.token, token)
        self.assertEqual(again.attempt, 2)
        with self.assertRaises(protocol.StaleToken):
            self.env["odooops.operation"]._of_agent(self.agent, operation.id, token)

    def test_lost_three_times_is_indeterminate(self):
        operation = self._running_deploy()
        for days in (1, 2):
            with freeze_time(fields.Datetime.now() + timedelta(days=days)):
                self.env["odooops.operation"]._expire_leases()
                self.assertTrue(self._lease(("deploy",)))
        with freeze_time(fields.Datetime.now() + timedelta(days=4)):
            self.env["odooops.operation"]._expire_leases()
        self.assertEqual(operation.state, "indeterminate")
        self.assertEqual(operation.deployment_id.state, "indeterminate")
        self.assertTrue(self.stage.indeterminate)
        # The agent comes back with the newest token: it knows how it ended.
        self._finish(operation, result=self._deploy_result(operation))
        self.assertEqual(operation.deployment_id.state, "live")
        self.assertFalse(self.stage.indeterminate)

    def test_lost_plan_fails_after_three_attempts(self):
        self._register()
        operation = self._lease()
        for days in (1, 2):
            with freeze_time(fields.Datetime.now() + timedelta(days=days)):
                self.env["odooops.operation"]._expire_leases()
                self.assertTrue(self._lease())
        with freeze_time(fields.Datetime.now() + timedelta(days=4)):
            self.env["odooops.operation"]._expire_leases()
        self.assertEqual((operation.state, operation.deployment_id.state), ("failed", "failed"))
        self.assertFalse(self.stage.indeterminate)

    def test_the_agent_takes_up_again_after_the_control_plane_was_away(self):
        operation = self._running_deploy()
        with freeze_time(fields.Datetime.now() + timedelta(minutes=10)):
            self.env["odooops.operation"]._expire_leases()
            self.assertEqual(operation.state, "queued")
            orders = self._heartbeat(operation)
        self.assertEqual(orders, [{"id": operation.id, "order": "continue"}])
        self.assertEqual((operation.state, operation.deployment_id.state), ("running", "running"))

    def test_the_outcome_of_a_requeued_operation_counts(self):
        operation = self._running_deploy()
        with freeze_time(fields.Datetime.now() + timedelta(minutes=10)):
            self.env["odooops.operation"]._expire_leases()
            self._finish(operation, result=self._deploy_result(operation))
        self.assertEqual(operation.deployment_id.state, "live")

    def _interrupted_deploy(self):
        operation = self._running_deploy()
        operation.lease_until = fields.Datetime.now() - timedelta(seconds=1)
        self.env["odooops.operation"]._expire_leases()
        self.assertEqual((operation.state, operation.attempt), ("queued", 1))
        return operation

    def test_what_was_left_half_done_is_not_superseded(self):
        operation = self._interrupted_deploy()
        deployment = operation.deployment_id
        self._register(sha=SHA_B, digest=DIGEST_B)
        self.assertEqual((operation.state, deployment.state), ("queued", "queued"))
        newer = self._plan(self.stage.deployment_ids - deployment)
        self.assertEqual(self._lease(("deploy",)), operation, "it comes to its end first")
        self._finish(operation, "indeterminate", {}, {"code": "stuck", "message": "Unclear."})
        self.assertTrue(self.stage.indeterminate)
        self.assertFalse(self._lease(("deploy",)))
        self.assertEqual(newer.state, "queued")

    def test_nothing_begins_beside_what_was_left_half_done(self):
        operation = self._interrupted_deploy()
        other = self.env["odooops.operation"]._enqueue("rollback", self.stage)
        self.assertFalse(self._lease(("rollback",)))
        self._finish(operation, result=self._deploy_result(operation))
        self.assertEqual(self._lease(("rollback",)), other)

    def test_an_unclear_end_counts_also_when_the_deployment_is_over(self):
        operation = self._interrupted_deploy()
        operation.deployment_id.state = "superseded"
        with self.assertLogs("odoo.addons.odooops_control.models.mixins", "WARNING"):
            self._finish(operation, "indeterminate", {}, {"code": "stuck", "message": "Unclear."})
        self.assertTrue(self.stage.indeterminate)
        self.assertIn(self.manager, operation.deployment_id.activity_ids.user_id)

    def test_what_was_left_half_done_is_not_handed_over(self):
        operation = self._interrupted_deploy()
        other, _key = self.env["odooops.agent"]._enrol("droplet-other")
        with self.assertRaisesRegex(UserError, "works on"):
            self.stage.agent_id = other
        self.assertEqual(operation.agent_id, self.agent)

    def test_cancelling_what_was_left_half_done_asks_the_agent(self):
        operation = self._interrupted_deploy()
        operation.deployment_id.with_user(self.developer).action_cancel()
        self.assertEqual((operation.state, operation.deployment_id.state), ("queued", "queued"))
        self.assertEqual(self._lease(("deploy",)), operation)
        self.assertEqual(self._heartbeat(operation), [{"id": operation.id, "order": "cancel"}])
        self._finish(operation, "cancelled", {"reverted": True}, {"code": "cancelled", "message": "Stopped."})
        self.assertEqual(operation.deployment_id.state, "cancelled")

    def test_cancelling_what_a_silent_agent_left_half_done(self):
        operation = self._interrupted_deploy()
        self.agent.last_seen_at = fields.Datetime.now() - timedelta(hours=1)
        operation.deployment_id.with_user(self.developer).action_cancel()
        self.assertEqual((operation.state, operation.deployment_id.state), ("indeterminate", "indeterminate"))
        self.assertTrue(self.stage.indeterminate)

    def test_a_withdrawn_approval_undoes_what_was_left_half_done(self):
        deployment = self._awaiting()
        deployment._approve(self.manager, deployment.plan_hash)
        operation = self._lease(("deploy",))
        operation.lease_until = fields.Datetime.now() - timedelta(seconds=1)
        self.env["odooops.operation"]._expire_leases()
        self.project.member_ids.filtered(lambda member: member.user_id == self.manager).role = "developer"
        self.assertEqual(self._lease(("deploy",)), operation)
        self.assertTrue(operation.cancel_requested)

    def test_a_late_end_does_not_overwrite_a_newer_one(self):
        first = self._running_deploy()
        deployment, token = first.deployment_id, first.token
        first._update_state("indeterminate")
        self._register(sha=SHA_B, digest=DIGEST_B)
        newer = self._plan(self.stage.deployment_ids - deployment)
        self._deploy(newer)
        self.assertEqual(newer.state, "live")
        self.assertEqual(self._heartbeat(first), [{"id": first.id, "order": "lost"}])
        self._finish(first, result=self._deploy_result(first))
        self.assertEqual((first.state, first.token), ("indeterminate", token))
        self.assertEqual(self.stage.running_deployment_id, newer)
        self.assertFalse(self.stage.indeterminate)

    def test_finished_although_cancelled_meanwhile(self):
        operation = self._running_deploy()
        with freeze_time(fields.Datetime.now() + timedelta(minutes=10)):
            self.env["odooops.operation"]._expire_leases()
            operation.deployment_id.with_user(self.developer).action_cancel()
            self._finish(operation, result=self._deploy_result(operation))
        self.assertEqual(operation.deployment_id.state, "live")
        self.assertEqual(self.stage.running_deployment_id, operation.deployment_id)

    def test_heartbeat_renews_the_lease(self):
        operation = self._running_deploy()
        later = fields.Datetime.now() + timedelta(seconds=25)
        with freeze_time(later):
            self._heartbeat(operation)
        self.assertEqual(operation.lease_until, later + timedelta(seconds=30))

    def test_an_indeterminate_environment_gets_nothing_exclusive(self):
        self._register()
        self._plan(self.stage.deployment_ids)
        self.stage.indeterminate = True
        self.assertFalse(self._lease())

    def test_a_heartbeat_sent_before_the_outcome_changes_nothing_after_it(self):
        """The agent reports what ended as held until the outcome is delivered; the two may cross."""
        operation = self._running_deploy()
        self._finish(operation, "indeterminate", {}, {"code": "stuck", "message": "Unclear."})
        self.assertEqual(self._heartbeat(operation), [{"id": operation.id, "order": "lost"}])
        self.assertEqual((operation.state, operation.deployment_id.state), ("indeterminate", "indeterminate"))
        self.assertFalse(self._lease(("deploy",)), "and nobody gets it again")

    def test_what_ended_is_held_until_its_outcome_is_delivered(self):
        """A heartbeat takes back what was queued again while neither side heard the other, so it runs once."""
        operation = self._interrupted_deploy()
        self.assertEqual(self._heartbeat(operation), [{"id": operation.id, "order": "continue"}])
        self.assertFalse(self._lease(("deploy",)))
        self._finish(operation, result=self._deploy_result(operation))
        self.assertEqual((operation.state, operation.deployment_id.state), ("succeeded", "live"))
        self.assertFalse(self._lease(("deploy",)))

    def test_silent_agent_is_noticed(self):
        self.agent._seen(protocol.Heartbeat.from_json(fixture("heartbeat_request")))
        self.assertEqual(self.agent.state, "online")
        self.stage.health = "green"
        other, _key = self.env["odooops.agent"]._enrol("droplet-other")
        later = fields.Datetime.now() + timedelta(seconds=29)
        with freeze_time(later):
            self.agent.invalidate_recordset(["state"])
            self.assertEqual(self.agent.state, "silent")
            self.assertIn(self.agent, self.env["odooops.agent"].search([("state", "=", "silent")]))
            self.assertEqual(self.env["odooops.environment"].status("demo/stage")["health"], "unknown")
            # Another agent's heartbeat is enough to report it.
            other._notice_silent()
            self.assertTrue(self.agent.silent)
            self.assertEqual(self.stage.health, "unknown")
            self.assertIn(self.administrator, self.agent.activity_ids.user_id)
            self.agent._seen(protocol.Heartbeat.from_json(fixture("heartbeat_request")))
        self.assertFalse(self.agent.silent or self.agent.activity_ids)

    def _heartbeat(self, operation):
        worked_on = [protocol.WorkedOn(operation.id, operation.token, "")]
        return self.env["odooops.operation"]._heartbeat(self.agent, worked_on)

    def _other_project(self):
        project = self._make_project("other")
        self._join(self.developer, "developer", project)
        return self._make_environments(project, self.agent)[0]
