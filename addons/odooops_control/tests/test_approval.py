import inspect
from datetime import timedelta

import psycopg2
from freezegun import freeze_time

from odoo import fields
from odoo.exceptions import UserError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import DIGEST_B, PASSED, PLAN_HASH, SHA_B, OdooopsCase


@tagged("post_install", "-at_install")
class TestApproval(OdooopsCase):
    """Who may approve what, and what each refusal says."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.deployment = cls._awaiting()

    def _refused(self, pattern, user, plan_hash=PLAN_HASH, deployment=None):
        with self.assertRaisesRegex(UserError, pattern):
            (deployment or self.deployment)._approve(user, plan_hash)

    def test_without_the_role_or_the_group(self):
        self._refused("may not decide", self.developer)
        self._refused("may not decide", self.outsider)
        self._refused("may not decide", self.administrator)
        self._refused("may not decide", self.ci)
        self._join(self.internal, "release_manager")
        self._refused("may not decide", self.internal)
        self.assertEqual(self.deployment.state, "awaiting_approval")

    def test_of_an_outdated_plan(self):
        self._refused("has changed since you saw it", self.manager, "a" * 64)
        self._refused("has changed since you saw it", self.manager, "")
        self._refused("has changed since you saw it", self.manager, None)

    def test_after_a_decision(self):
        self.deployment._reject(self.manager, PLAN_HASH, "not on a Friday")
        self.assertEqual(self.deployment.state, "rejected")
        self._refused("can't be decided any more", self.manager_2)
        self.assertIn("not on a Friday", "".join(map(str, self.deployment.message_ids.mapped("body"))))

    def test_before_the_plan(self):
        self.deployment.with_user(self.developer).action_plan_again()
        self._refused("has no plan yet", self.manager)

    def test_by_the_one_who_asked(self):
        self.deployment._reject(self.manager, PLAN_HASH)
        mine = self._plan(self._request(user=self.manager))
        self.assertEqual(mine.activity_ids.user_id, self.manager_2)
        self._refused("another person has to approve", self.manager, deployment=mine)
        mine._approve(self.manager_2, PLAN_HASH)
        self.assertEqual(mine.state, "queued")

    def test_by_the_one_who_wrote_it(self):
        self.deployment._reject(self.manager, PLAN_HASH)
        self.manager.email = "rita@example.com"
        manifest = {"author_email": "Rita@example.com"}
        self._register(sha=SHA_B, digest=DIGEST_B, manifest=manifest, checks=PASSED)
        written = self._awaiting("v1.1.0", SHA_B, DIGEST_B)
        self.assertEqual(written.release_id.author_id, self.manager)
        self._refused("another person has to approve", self.manager, deployment=written)

    def test_by_the_one_who_registered_it(self):
        self.deployment._reject(self.manager, PLAN_HASH)
        manifest = {"author_email": "someone@example.com"}
        self._register(sha=SHA_B, digest=DIGEST_B, manifest=manifest, user=self.manager, checks=PASSED)
        mine = self._awaiting("v1.1.0", SHA_B, DIGEST_B)
        self._refused("another person has to approve", self.manager, deployment=mine)
        mine._approve(self.manager_2, PLAN_HASH)
        self.assertEqual(mine.state, "queued")

    def test_an_address_is_no_pattern(self):
        self.manager.email = "rita@example.com"
        for email in ("%", "rita@example%", "r_ta@example.com", "%@%"):
            with self.subTest(email):
                self.assertFalse(self.env["odooops.release"]._author({"author_email": email}))
        self.assertEqual(self.env["odooops.release"]._author({"author_email": " Rita@Example.com"}), self.manager)

    def test_an_unknown_author_is_said_and_confirmed(self):
        self.assertTrue(self.deployment.author_unknown)
        self.assertIn("no user here", "".join(map(str, self.deployment.message_ids.mapped("body"))))
        approve = inspect.unwrap(type(self.deployment).action_approve)
        with self.assertRaisesRegex(UserError, "it is not yours"):
            approve(self.deployment.with_user(self.manager), PLAN_HASH, " ")
        approve(self.deployment.with_user(self.manager), PLAN_HASH, "not mine, orders work")
        self.assertEqual(self.deployment.state, "queued")

    def test_twice_by_one_person(self):
        self.prod.policy_id.approvals_needed = 2
        deployment = self._replanned()
        deployment._approve(self.manager, "b" * 64)
        self.assertEqual((deployment.state, deployment.approvals_given), ("awaiting_approval", 1))
        self.assertEqual(deployment.activity_ids.user_id, self.manager_2)
        self._refused("another person has to", self.manager, "b" * 64, deployment)
        deployment._approve(self.manager_2, "b" * 64)
        self.assertEqual(deployment.state, "queued")

    def test_after_the_policy_changed(self):
        self.prod.policy_id.approvals_needed = 2
        self._refused("plan it again", self.manager)
        self._replanned()._approve(self.manager, "b" * 64)

    def test_an_unchanged_policy_keeps_its_version(self):
        policy = self.prod.policy_id
        version = policy.version
        policy.write({"approvals_needed": policy.approvals_needed, "name": "Other words"})
        self.assertEqual(policy.version, version)
        policy.approvals_needed += 1
        self.assertEqual(policy.version, version + 1)

    def test_approver_who_lost_the_role_meanwhile(self):
        self.deployment._approve(self.manager, PLAN_HASH)
        self.project.member_ids.filtered(lambda member: member.user_id == self.manager).role = "developer"
        self.assertFalse(self._lease(("deploy",)))
        self.assertEqual(self.deployment.state, "draft")
        self._plan(self.deployment)
        self.assertEqual(self.deployment.state, "awaiting_approval")

    def test_minutes_on_staging(self):
        self.prod.policy_id.staging_soak_minutes = 120
        deployment = self._replanned()
        self.assertEqual(deployment.state, "planned")
        self._refused("another 2 hours", self.manager, "b" * 64, deployment)
        staged = self.stage.deployment_ids.filtered("live_at")
        staged.live_at = fields.Datetime.now() - timedelta(minutes=121)
        self.env["odooops.deployment"]._follow_conditions()
        self.assertEqual(deployment.state, "awaiting_approval")
        deployment._approve(self.manager, "b" * 64)
        self.assertEqual(deployment.state, "queued")

    def test_without_any_approver(self):
        self.deployment._reject(self.manager, PLAN_HASH)
        self.project.member_ids.filtered(lambda member: member.role == "release_manager").unlink()
        deployment = self._plan(self._request())
        self.assertEqual(deployment.state, "awaiting_approval")
        self.assertIn("Nobody may approve this", "".join(map(str, deployment.message_ids.mapped("body"))))

    def test_action_is_refused_without_a_session(self):
        with self.assertRaisesRegex(UserError, "in the web client"):
            self.deployment.with_user(self.manager).action_approve(PLAN_HASH, "x")

    def test_reject_needs_no_session(self):
        with self.assertRaisesRegex(UserError, "may not decide"):
            self.deployment.with_user(self.developer).action_reject(note="no")
        self.deployment.with_user(self.manager).action_reject(note="no")
        self.assertEqual(self.deployment.state, "rejected")

    def test_the_author_may_reject(self):
        self.deployment._reject(self.manager, PLAN_HASH)
        mine = self._plan(self._request(user=self.manager))
        mine.with_user(self.manager).action_reject(note="I was wrong")
        self.assertEqual(mine.state, "rejected")

    def test_who_may_decide_is_shown(self):
        self.assertTrue(self.deployment.with_user(self.manager).can_decide)
        self.assertFalse(self.deployment.with_user(self.developer).can_decide)
        self.assertEqual(set(self.deployment.approvers_hint.split(", ")), {self.manager.name, self.manager_2.name})

    def test_production_asks_whatever_the_policy_says(self):
        self.deployment._reject(self.manager, PLAN_HASH)
        self.prod.policy_id = self.env["odooops.approval.policy"].create(
            {"name": "Mine", "approvals_needed": 0, "staging_soak_minutes": 0}
        )
        deployment = self._plan(self._request(), "b" * 64)
        self.assertEqual((deployment.state, deployment.approvals_needed), ("awaiting_approval", 1))
        policy = self.env["odooops.approval.policy"]._for_tier("production")
        with mute_logger("odoo.sql_db"), self.assertRaises(psycopg2.errors.CheckViolation), self.cr.savepoint():
            policy.approvals_needed = 0
            self.env.flush_all()

    def test_an_approval_grows_old(self):
        self.deployment._approve(self.manager, PLAN_HASH)
        with freeze_time(fields.Datetime.now() + timedelta(hours=23)):
            self.assertTrue(self.deployment._may_run())
        self.env.cr.execute("UPDATE odooops_approval SET create_date = create_date - interval '25 hours'")
        self.deployment.approval_ids.invalidate_recordset()
        self.assertFalse(self._lease(("deploy",)))
        self.assertEqual(self.deployment.state, "draft")
        self._plan(self.deployment)
        self.assertEqual((self.deployment.state, self.deployment.approvals_given), ("awaiting_approval", 0))
        self.deployment._approve(self.manager, PLAN_HASH)
        self.assertEqual(self.deployment.state, "queued")

    def test_the_same_plan_made_again_may_be_approved_again(self):
        self.deployment._approve(self.manager, PLAN_HASH)
        self.deployment._plan_again("again")
        self._plan(self.deployment)
        self.assertEqual((self.deployment.state, self.deployment.approvals_given), ("awaiting_approval", 0))
        self.deployment._approve(self.manager, PLAN_HASH)
        self.assertEqual((self.deployment.approvals_given, len(self.deployment.approval_ids)), (1, 2))

    def test_minutes_on_staging_count_again_when_it_begins(self):
        self.deployment._approve(self.manager, PLAN_HASH)
        self.prod.policy_id.staging_soak_minutes = 120
        self.assertFalse(self._lease(("deploy",)))
        self.assertEqual(self.deployment.state, "draft")
        self.assertIn(
            "have to pass after its green verdict", "".join(map(str, self.deployment.message_ids.mapped("body")))
        )

    def test_policies_and_members_are_audited(self):
        policy = self.env["odooops.approval.policy"].with_user(self.administrator).create({"name": "New"})
        policy.with_user(self.administrator).write({"approvals_needed": 2, "keep_daily": 3})
        policy.unlink()
        member = self.project.member_ids.filtered(lambda one: one.user_id == self.viewer)
        member.with_user(self.administrator).unlink()
        self._join(self.viewer, "developer")
        pending = self.env.cr.precommit.data["odooops.audit.pending"]
        found = [(one["action"], one["details"]) for one in pending[-5:]]
        self.assertEqual(
            [action for action, _details in found],
            ["policy.created", "policy.changed", "policy.removed", "member.removed", "member.added"],
        )
        self.assertEqual(found[1][1], {"version": 1, "approvals_needed": [1, 2], "keep_daily": [7, 3]})
        self.assertEqual(found[2][1]["approvals_needed"], 2)
        self.assertEqual(found[4][1], {"user": "ops_viewer", "role": "developer"})

    def _replanned(self):
        self.deployment.with_user(self.developer).action_plan_again()
        return self._plan(self.deployment, "b" * 64)
