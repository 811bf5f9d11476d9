import inspect
from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from .common import DIGEST_B, PASSED, PLAN_HASH, SHA_A, SHA_B, OdooopsCase


@tagged("post_install", "-at_install")
class TestConditions(OdooopsCase):
    """What has to be true before people are asked, and who may say that it need not be."""

    def _planned(self, minutes=120):
        """Return a production deployment that waits for its time on staging."""
        self.prod.policy_id.staging_soak_minutes = minutes
        deployment = self._awaiting()
        self.assertEqual(deployment.state, "planned")
        return deployment

    def _states(self, deployment):
        return {one.key: one.state for one in deployment._conditions()}

    def _override(self, deployment, user, key="staging_time", reason="agreed with sales"):
        method = inspect.unwrap(type(deployment).action_override)
        return method(deployment.with_user(user), key, reason)

    def test_the_checklist_of_a_deployment_that_may_be_decided(self):
        deployment = self._awaiting()
        self.assertEqual(
            self._states(deployment),
            {
                "preflight": "green",
                "oca": "green",
                "staging": "green",
                "staging_health": "green",
                "quarantine": "green",
                "window": "green",
                "approvals": "waiting",
            },
        )
        for label in ("Preflight", "Ran on staging", "Approvals"):
            self.assertIn(label, deployment.with_user(self.viewer).conditions_html)

    def test_nobody_is_asked_before_it_holds(self):
        deployment = self._planned()
        self.assertFalse(deployment.activity_ids)
        with self.assertRaisesRegex(UserError, "have to pass after its green verdict"):
            deployment.with_user(self.developer).action_request_approval()
        with self.assertRaisesRegex(AccessError, "may not do this"):
            deployment.with_user(self.viewer).action_request_approval()
        self.assertIn("have to pass", deployment._status()["waits_for"])
        self.env["odooops.deployment"]._follow_conditions()
        self.assertEqual(deployment.state, "planned")

    def test_it_goes_on_by_itself_when_the_time_has_passed(self):
        deployment = self._planned()
        self.stage.deployment_ids.live_at = fields.Datetime.now() - timedelta(hours=3)
        self.env["odooops.deployment"]._follow_conditions()
        self.assertEqual(deployment.state, "awaiting_approval")
        self.assertEqual(deployment.activity_ids.user_id, self.manager | self.manager_2)

    def test_what_was_superseded_on_staging_may_go_out(self):
        deployment = self._planned()
        self.stage.deployment_ids.live_at = fields.Datetime.now() - timedelta(hours=3)
        self._live_on_stage("v1.1.0", SHA_B, DIGEST_B)
        self.assertEqual(deployment.release_id.deployment_ids.sorted("id")[:1].state, "superseded")
        deployment.with_user(self.developer).action_request_approval()
        self.assertEqual(deployment.state, "awaiting_approval")

    def test_trouble_on_staging_counts(self):
        deployment = self._awaiting()
        report = {"key": "demo/stage", "health": "red", "detail": "Orders answer 500."}
        self.stage._report_one(_Report(**report))
        self.stage._report_one(_Report(**{**report, "health": "green", "detail": ""}))
        self.assertEqual(self._states(deployment)["staging"], "red")
        with self.assertRaisesRegex(UserError, "Orders answer 500"):
            deployment._approve(self.manager, PLAN_HASH)

    def test_a_late_check_lets_people_be_asked(self):
        self._register(checks=PASSED)
        self.env["odooops.check.run"].with_user(self.ci).report("demo", SHA_A, "tests", "in_progress")
        deployment = self._awaiting()
        self.assertEqual(deployment.state, "planned")
        self.env["odooops.check.run"].with_user(self.ci).report("demo", SHA_A, "tests", "success")
        self.assertEqual(deployment.state, "awaiting_approval")

    def test_an_override_has_a_name_and_a_reason(self):
        deployment = self._planned()
        self._join(self.administrator, "viewer")
        with self.assertRaisesRegex(UserError, "Say why"):
            self._override(deployment, self.administrator, reason="  ")
        self._override(deployment, self.administrator)
        self.assertEqual(deployment.state, "awaiting_approval")
        [line] = [one for one in deployment._conditions() if one.key == "staging_time"]
        self.assertEqual((line.state, line.by, line.why), ("overridden", self.administrator.name, "agreed with sales"))
        self.assertIn("agreed with sales", deployment.conditions_html)
        pending = self.env.cr.precommit.data["odooops.audit.pending"]
        self.assertIn("condition.overridden", [one["action"] for one in pending])
        with self.assertRaisesRegex(UserError, "can't be changed"):
            deployment.override_ids.write({"reason": "another"})

    def test_who_may_not_override(self):
        deployment = self._planned()
        for user in (self.developer, self.manager, self.ci):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                self._override(deployment, user)
        self.manager.group_ids += self.env.ref("odooops_control.group_override")
        deployment.sudo().requested_by_id = self.manager
        with self.assertRaisesRegex(AccessError, "another person"):
            self._override(deployment, self.manager)
        self.outsider.group_ids += self.env.ref("odooops_control.group_override")
        with self.assertRaises(AccessError):
            self._override(deployment, self.outsider)
        with self.assertRaisesRegex(AccessError, "in the web client"):
            deployment.with_user(self.administrator).action_override("staging_time", "x")
        for values in ({"key": "staging"}, {"key": "quarantine"}, {"key": "approvals"}, {"key": "x"}, {"key": None}):
            with self.subTest(values), self.assertRaisesRegex(UserError, "no condition"):
                self._override(deployment, self.administrator, **values)
        with self.assertRaisesRegex(UserError, "holds or is overridden"):
            self._override(deployment, self.administrator, key="preflight")
        self.assertEqual(deployment.state, "planned")

    def test_an_override_ends_with_the_policy_it_was_made_under(self):
        deployment = self._planned()
        self._override(deployment, self.administrator)
        self.prod.policy_id.staging_soak_minutes = 240
        self.assertEqual(self._states(deployment)["staging_time"], "waiting")

    def test_an_override_after_an_approval_asks_again(self):
        self.prod.policy_id.approvals_needed = 2
        deployment = self._awaiting()
        deployment._approve(self.manager, PLAN_HASH)
        self.stage.health = "red"
        self._override(deployment, self.administrator, key="staging_health")
        self.assertEqual((deployment.state, deployment.approvals_given), ("draft", 0))

    def test_what_passes_by_itself_takes_no_approval_away(self):
        deployment = self._awaiting()
        deployment._approve(self.manager, PLAN_HASH)
        self.stage.health = "red"
        self.assertFalse(self._lease(("deploy",)))
        self.assertEqual((deployment.state, deployment.approvals_given), ("queued", 1))
        self.stage.health = "green"
        self._deploy(deployment)
        self.assertEqual(deployment.state, "live")

    def test_the_checklist_is_kept_as_it_was_at_the_start(self):
        deployment = self._live_on_prod()
        self.stage.health = "red"
        kept = {one["key"]: one["state"] for one in deployment.conditions_kept}
        self.assertEqual((kept["staging_health"], kept["approvals"]), ("green", "green"))
        self.assertNotIn("fa-times-circle", deployment.conditions_html)

    def test_the_wizard_proposes_what_stands_in_the_way(self):
        deployment = self._planned()
        Wizard = self.env["odooops.override.wizard"]
        wizard = Wizard.with_user(self.administrator).create({"deployment_id": deployment.id, "reason": "x"})
        self.assertEqual(wizard.key, "staging_time")
        self.outsider.group_ids += self.env.ref("odooops_control.group_override")
        with self.assertRaises(AccessError):
            Wizard.with_user(self.outsider).create({"deployment_id": deployment.id, "reason": "x"})


class _Report:
    """What the agent says of one environment."""

    def __init__(self, key, health, detail):
        self.key, self.health, self.detail = key, health, detail
        self.digest = self.database_uuid = self.checked_at = self.busy = None
