from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from .common import DIGEST_B, PASSED, PLAN_HASH, SHA_A, SHA_B, OdooopsCase


@tagged("post_install", "-at_install")
class TestPolicy(OdooopsCase):
    """How many, who, and what a policy that changes means for what is pending."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.policy = cls.prod.policy_id
        cls.policy.second_group_id = cls.env.ref("odooops_control.group_administrator")

    def _risky(self, tier):
        """Return a deployment of this risk that waits for approval."""
        release = self._live_on_stage()
        release._raise_risk(tier)
        return self._plan(self._request())

    def _refused(self, deployment, user, pattern):
        with self.assertRaisesRegex(UserError, pattern):
            deployment._approve(user, deployment.plan_hash)

    # Two accounts, one person

    def test_a_second_account_is_no_second_person(self):
        self.policy.approvals_needed = 2
        deployment = self._awaiting()
        self.manager.email, self.manager_2.email = "Rita@example.com", " rita@example.com"
        deployment._approve(self.manager, PLAN_HASH)
        self._refused(deployment, self.manager_2, "another person has to")
        self.assertEqual((deployment.state, deployment.approvals_given), ("awaiting_approval", 1))

    def test_an_author_s_second_account(self):
        self.manager.email, self.manager_2.email = "rita@example.com", "rita@example.com"
        self._live_on_stage()
        mine = self._plan(self._request(user=self.manager))
        self._refused(mine, self.manager_2, "another person has to approve")
        self.assertNotIn(self.manager_2, mine.activity_ids.user_id)

    def test_an_address_used_as_login(self):
        self.manager.email = "rita@example.com"
        self.manager_2.write({"login": "Rita@example.com", "email": "other@example.com"})
        self.assertEqual(len(set((self.manager | self.manager_2)._odooops_people())), 1)
        self.assertEqual(len(set((self.manager | self.developer)._odooops_people())), 2)

    def test_who_wrote_what_comes_along_does_not_approve(self):
        self.manager_2.email = "tom@example.com"
        self._live_on_prod()
        self._register(sha=SHA_B, digest=DIGEST_B, manifest={"author_email": "tom@example.com"}, checks=PASSED)
        third, digest = "c" * 40, f"sha256:{'3' * 64}"
        self._register(sha=third, digest=digest, ancestors=[SHA_B, SHA_A], checks=PASSED)
        deployment = self._awaiting("v1.2.0", third, digest)
        self._refused(deployment, self.manager_2, "another person has to approve")

    # Risk

    def test_high_risk(self):
        self.policy.high_approvals_needed = 2
        deployment = self._risky("high")
        self.assertEqual(deployment.approvals_needed, 2)

    def test_critical_risk_needs_two_groups(self):
        third = self._person("ops_manager_3", "group_release_manager", "release_manager")
        deployment = self._risky("critical")
        deployment._approve(self.manager, PLAN_HASH)
        deployment._approve(self.manager_2, PLAN_HASH)
        self.assertEqual((deployment.state, deployment.approvals_given), ("awaiting_approval", 2))
        self.assertIn("different groups", deployment.conditions_html)
        third.group_ids += self.env.ref("odooops_control.group_administrator")
        deployment._approve(third, PLAN_HASH)
        self.assertEqual(deployment.state, "queued")

    def test_a_risk_found_after_the_approval(self):
        deployment = self._awaiting()
        deployment._approve(self.manager, PLAN_HASH)
        deployment.release_id._raise_risk("critical")
        self.assertFalse(self._lease(("deploy",)))
        self.assertEqual(deployment.state, "draft")

    # Reminders

    def test_who_may_decide_is_asked_again_and_administrators_are_told(self):
        deployment = self._awaiting()
        deployment.activity_ids.filtered(lambda one: one.user_id == self.manager).unlink()
        deployment._cron_reminders()
        self.assertEqual(deployment.activity_ids.user_id, self.manager | self.manager_2)
        deployment.activity_ids.date_deadline = fields.Date.today() - timedelta(days=1)
        deployment._cron_reminders()
        deployment._cron_reminders()
        told = deployment.activity_ids.filtered(lambda one: "Nobody decides" in (one.summary or ""))
        self.assertEqual(len(told), len(self.env["res.users"]._odooops_administrators()))
        self.assertIn(self.administrator, told.user_id)

    # The customer

    def test_a_customer_s_approver(self):
        customer = self._person("ops_customer", "group_approver", "approver")
        deployment = self._awaiting()
        self._refused(deployment, customer, "may not decide")
        deployment._reject(self.manager, PLAN_HASH)
        self.policy.customer_approves = True
        deployment = self._plan(self._request())
        self.assertIn(customer, deployment.activity_ids.user_id)
        self.assertTrue(deployment.with_user(customer).can_decide)
        for method in ("action_plan_again", "action_cancel"):
            with self.subTest(method), self.assertRaises(AccessError):
                getattr(deployment.with_user(customer), method)()
        with self.assertRaises(AccessError):
            self.env["odooops.deployment"].with_user(customer).request("demo/prod", "refs/tags/v1.0.0", SHA_A)
        deployment._approve(customer, PLAN_HASH)
        self.assertEqual(deployment.state, "queued")

    def test_an_approver_s_role_is_worth_nothing_without_its_group(self):
        self.policy.customer_approves = True
        self._join(self.internal, "approver")
        self._refused(self._awaiting(), self.internal, "may not decide")

    # A policy that changes

    def test_a_policy_weakened_meanwhile(self):
        self.policy.approvals_needed = 2
        deployment = self._awaiting()
        self.policy.approvals_needed = 1
        self.env["odooops.deployment"]._renew_void()
        self.assertEqual(deployment.state, "draft")
        self.assertIn("policy changed", "".join(map(str, deployment.message_ids.mapped("body"))))
        self._plan(deployment)
        self.assertEqual(deployment.approvals_needed, 2)
        deployment._approve(self.manager, PLAN_HASH)
        self.assertEqual(deployment.state, "awaiting_approval")

    def test_another_policy_put_in_its_place(self):
        self.policy.staging_soak_minutes = 120
        deployment = self._awaiting()
        self.prod.policy_id = self.policy.copy({"name": "Weak", "staging_soak_minutes": 0})
        self.env["odooops.deployment"]._follow_conditions()
        self.assertEqual(deployment.state, "planned")

    def test_a_policy_made_stricter_meanwhile(self):
        deployment = self._awaiting()
        self.policy.approvals_needed = 2
        self.env["odooops.deployment"]._renew_void()
        self._plan(deployment)
        deployment._approve(self.manager, PLAN_HASH)
        self.assertEqual(deployment.state, "awaiting_approval")

    def test_an_approval_that_grew_old_is_told(self):
        self.policy.approvals_needed = 2
        deployment = self._awaiting()
        deployment._approve(self.manager, PLAN_HASH)
        self.env.cr.execute("UPDATE odooops_approval SET create_date = create_date - interval '25 hours'")
        deployment.approval_ids.invalidate_recordset()
        self.env["odooops.deployment"]._renew_void()
        self.assertEqual(deployment.state, "draft")
        self.assertIn("older than 24 hours", "".join(map(str, deployment.message_ids.mapped("body"))))

    # Hotfixes

    def _slow(self, tier="low"):
        self.policy.write({"staging_soak_minutes": 120, "soak_minutes": 15, "approvals_needed": 2})
        deployment = self._risky(tier)
        self.assertEqual(deployment.state, "planned")
        return deployment

    def test_a_hotfix_goes_the_short_way(self):
        deployment = self._slow()
        with self.assertRaises(AccessError):
            deployment.with_user(self.viewer).action_hotfix("because")
        with self.assertRaisesRegex(UserError, "Say why"):
            deployment.with_user(self.developer).action_hotfix(" ")
        deployment.with_user(self.developer).action_hotfix("invoices are sent twice")
        self.assertEqual((deployment.state, deployment.approvals_needed), ("awaiting_approval", 1))
        self.assertIn("invoices are sent twice", deployment.conditions_html)
        deployment._approve(self.manager, PLAN_HASH)
        self._deploy(deployment)
        self.assertEqual(deployment.state, "live", "nobody watches a hotfix")
        counted = self.env["odooops.deployment"].search_count([("hotfix_reason", "!=", False)])
        self.assertEqual(counted, 1)

    def test_what_is_no_hotfix(self):
        deployment = self._slow("high")
        with self.assertRaisesRegex(UserError, "its is low or medium|is high"):
            deployment.with_user(self.developer).action_hotfix("because")
        self.policy.hotfix = False
        with self.assertRaisesRegex(UserError, "knows no hotfix"):
            deployment.with_user(self.developer).action_hotfix("because")
        self.assertFalse(deployment.hotfix_reason)

    def test_a_hotfix_whose_risk_rises_goes_the_long_way(self):
        deployment = self._slow()
        deployment.with_user(self.developer).action_hotfix("invoices are sent twice")
        deployment.release_id._raise_risk("high")
        self.assertEqual(deployment.approvals_needed, 2)
        self._refused(deployment, self.manager, "have to pass after")

    def test_a_hotfix_still_passes_preflight(self):
        deployment = self._slow()
        self.env["odooops.check.run"].with_user(self.ci).report("demo", SHA_A, "tests", "failure")
        deployment.with_user(self.developer).action_hotfix("invoices are sent twice")
        self.assertEqual(deployment.state, "planned")

    def test_time_passes_for_others(self):
        deployment = self._slow()
        self.stage.deployment_ids.live_at = fields.Datetime.now() - timedelta(hours=3)
        deployment._follow_conditions()
        self.assertEqual((deployment.state, deployment.approvals_needed), ("awaiting_approval", 2))
