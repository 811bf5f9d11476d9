from datetime import timedelta
from unittest.mock import patch

from freezegun import freeze_time

from odoo import fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import tagged

from ..models import delegation as delegations
from .common import PLAN_HASH, OdooopsCase
from .rollback_common import RollbackCase


class Away:
    """Who names somebody, in their own browser."""

    def _name(self, away, delegate, days=7, **values):
        ends = fields.Datetime.now() + timedelta(days=days)
        with patch.object(delegations, "in_own_session", lambda _env: True):
            named = self.env["odooops.delegation"].with_user(away)
            return named.create({"delegate_id": delegate.id, "ends_at": ends, **values})

    def _said(self, record):
        return "".join(map(str, record.message_ids.mapped("body")))


@tagged("post_install", "-at_install")
class TestDelegation(Away, OdooopsCase):
    """Deciding for somebody who is away: their right, another person's voice, and each of them once."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.policy = cls.prod.policy_id
        cls.policy.approvals_needed = 2
        cls.deployment = cls._awaiting()

    def _refused(self, user, pattern):
        with self.assertRaisesRegex(UserError, pattern):
            self.deployment._approve(user, PLAN_HASH)

    def _given(self):
        return self.deployment.state, self.deployment.approvals_given

    # What counts

    def test_the_delegate_decides_with_the_right_of_who_is_away(self):
        self._refused(self.viewer, "may not decide")
        self._name(self.manager, self.viewer)
        self.assertTrue(self.deployment.with_user(self.viewer).can_decide)
        self.assertIn(self.viewer.name, self.deployment._who_may_approve().mapped("name"))
        self.deployment._approve(self.viewer, PLAN_HASH, "orders work")
        self.deployment._approve(self.manager_2, PLAN_HASH)
        self.assertEqual(self.deployment.state, "queued")
        self.assertIn(f"Approved by {self.viewer.name} for {self.manager.name}.", self._said(self.deployment))
        names = {one["name"] for one in self.deployment.operation_ids.sorted("id")[-1].grant_approvers}
        self.assertEqual(names, {f"{self.viewer.name} for {self.manager.name}", self.manager_2.name})
        event = next(one for one in self.env.cr.precommit.data["odooops.audit.pending"] if "approval." in one["action"])
        self.assertEqual((event["details"]["user"], event["details"]["in_place_of"]), ("ops_viewer", "ops_manager"))

    def test_one_person_never_counts_twice(self):
        for away in (self.manager, self.manager_2):
            self._name(away, self.viewer)
        self.deployment._approve(self.viewer, PLAN_HASH)
        self._refused(self.viewer, "may not decide|already")
        self.assertEqual(self._given(), ("awaiting_approval", 1))

    def test_who_decides_for_themselves_does_not_again_for_another(self):
        self._name(self.manager, self.manager_2)
        self.deployment._approve(self.manager_2, PLAN_HASH)
        self.assertFalse(self.deployment.approval_ids.for_user_id)
        self._refused(self.manager_2, "already")
        self.assertFalse(self.deployment.with_user(self.manager_2).can_decide)
        self.deployment._approve(self.manager, PLAN_HASH)
        self.assertEqual(self.deployment.state, "queued")

    def test_a_right_that_was_used_is_not_used_again_by_its_owner(self):
        self._name(self.manager, self.viewer)
        self.deployment._approve(self.viewer, PLAN_HASH)
        self._refused(self.manager, "counts already")
        self.assertNotIn(self.manager, self.deployment._who_may_approve())
        self.assertEqual(self._given(), ("awaiting_approval", 1))

    def test_nor_by_the_delegate_after_its_owner(self):
        self._name(self.manager, self.viewer)
        self.deployment._approve(self.manager, PLAN_HASH)
        self._refused(self.viewer, "may not decide")
        self.assertEqual(self._given(), ("awaiting_approval", 1))

    def test_a_second_account_of_the_delegate(self):
        twin = self._person("ops_twin", "group_viewer", "viewer")
        twin.email = self.viewer.email
        self._name(self.manager, self.viewer)
        self._name(self.manager_2, twin)
        self.deployment._approve(self.viewer, PLAN_HASH)
        self._refused(twin, "may not decide|already")
        self.assertEqual(self._given(), ("awaiting_approval", 1))

    def test_voices_that_became_one_afterwards_count_once(self):
        self.policy.approvals_needed = 3
        self.deployment.with_user(self.developer).action_plan_again()
        self._plan(self.deployment)
        self._name(self.manager, self.viewer)
        self.deployment._approve(self.viewer, PLAN_HASH)
        self.deployment._approve(self.manager_2, PLAN_HASH)
        self.assertEqual(self._given(), ("awaiting_approval", 2))
        self.manager_2.email = self.manager.email
        self.deployment.invalidate_recordset()
        self.assertEqual(self._given(), ("awaiting_approval", 1))

    def test_authors_are_excluded_on_both_sides(self):
        self.deployment._reject(self.manager, PLAN_HASH)
        self.deployment = self._plan(self._request(user=self.manager))
        self._name(self.manager, self.viewer)
        self._refused(self.viewer, "may not decide")
        self._name(self.manager_2, self.manager)
        self._refused(self.manager, "another person has to approve")
        self.developer.email = self.manager.email
        self._name(self.manager_2, self.developer)
        self._refused(self.developer, "may not decide|another person")
        self.assertEqual(self._given(), ("awaiting_approval", 0))

    def test_it_is_not_handed_on(self):
        self._name(self.manager, self.developer)
        with self.assertRaises(AccessError):
            self._name(self.developer, self.viewer)
        self.developer.group_ids += self.env.ref("odooops_control.group_release_manager")
        with self.assertRaisesRegex(ValidationError, "sees no project in which you decide"):
            self._name(self.developer, self.viewer)
        self._name(self.manager_2, self.manager)
        self._refused(self.viewer, "may not decide")

    def test_it_holds_for_its_time_only(self):
        now = fields.Datetime.now()
        self._name(self.manager, self.viewer, begins_at=now + timedelta(days=1))
        self._refused(self.viewer, "may not decide")
        with freeze_time(now + timedelta(days=8)):
            self._refused(self.viewer, "may not decide")
        with freeze_time(now + timedelta(days=2)):
            self.assertFalse(self.deployment._approval_refusal(self.viewer, PLAN_HASH))

    def test_an_approval_stands_when_the_absence_is_over_and_falls_with_the_right(self):
        self._name(self.manager, self.viewer).sudo().unlink()
        self._name(self.manager, self.viewer)
        self.deployment._approve(self.viewer, PLAN_HASH)
        self.env["odooops.delegation"].search([]).unlink()
        self.deployment.invalidate_recordset()
        self.assertEqual(self._given(), ("awaiting_approval", 1))
        self.project.member_ids.filtered(lambda member: member.user_id == self.manager).role = "developer"
        self.deployment.invalidate_recordset()
        self.assertEqual(self._given(), ("awaiting_approval", 0))

    def test_critical_risk_needs_two_people_all_the_same(self):
        third = self._person("ops_manager_3", "group_administrator", "release_manager")
        self.policy.second_group_id = self.env.ref("odooops_control.group_administrator")
        self.deployment.release_id._raise_risk("critical")
        self.deployment.with_user(self.developer).action_plan_again()
        self._plan(self.deployment)
        self._name(third, self.manager_2)
        self.deployment._approve(self.manager_2, PLAN_HASH)
        self.assertEqual(self.deployment.approval_ids.for_user_id, third, "that group is the one that is missing")
        self._refused(self.manager_2, "already")
        self._refused(third, "counts already")
        self.assertEqual(self._given(), ("awaiting_approval", 1))
        self.deployment._approve(self.manager, PLAN_HASH)
        self.assertEqual(self.deployment.state, "queued")

    def test_rejecting(self):
        self._name(self.manager, self.viewer)
        self.deployment.with_user(self.viewer).action_reject(note="not today")
        self.assertEqual(self.deployment.state, "rejected")
        self.assertEqual(self.deployment.approval_ids.for_user_id, self.manager)

    # Who may say so

    def test_everybody_speaks_for_themselves(self):
        ends = fields.Datetime.now() + timedelta(days=1)
        theirs = self._name(self.manager, self.developer)
        for user in (self.manager_2, self.administrator):
            with self.subTest(user.login), self.assertRaises(AccessError):
                self._name(user, self.viewer, user_id=self.manager.id)
            with self.subTest(user.login), self.assertRaises(AccessError):
                theirs.with_user(user).ends_at = ends
        for user in (self.viewer, self.developer, self.ci, self.internal):
            with self.subTest(user.login), self.assertRaises(AccessError):
                self._name(user, self.viewer)
        self.assertFalse(theirs.with_user(self.viewer).search([]), "it is no business of others")
        self.assertTrue(theirs.with_user(self.developer).search([]))
        theirs.with_user(self.administrator).unlink()

    def test_no_key_gives_a_right_away(self):
        values = {"delegate_id": self.viewer.id, "ends_at": fields.Datetime.now() + timedelta(days=1)}
        named = self.env["odooops.delegation"].with_user(self.manager)
        with self.assertRaisesRegex(AccessError, "in the web client"):
            named.create(values)
        loaded = named.load(["delegate_id/.id", "ends_at"], [[str(self.viewer.id), "2099-01-01 00:00:00"]])
        self.assertFalse(loaded["ids"])

    def test_what_was_said_stays(self):
        own = self._name(self.manager, self.viewer)
        with patch.object(delegations, "in_own_session", lambda _env: True):
            for values in ({"user_id": self.manager_2.id}, {"delegate_id": self.developer.id}):
                with self.subTest(values), self.assertRaisesRegex(UserError, "Only the end"):
                    own.with_user(self.manager).write(values)
            own.with_user(self.manager).ends_at = fields.Datetime.now() + timedelta(hours=1)
        actions = [one["action"] for one in self.env.cr.precommit.data["odooops.audit.pending"]]
        self.assertEqual([one for one in actions if "delegation" in one], ["delegation.made", "delegation.changed"])

    def test_what_makes_no_sense(self):
        twin = self._person("ops_twin", "group_viewer", "viewer")
        twin.email = self.manager.email
        for delegate, days, pattern in (
            (self.manager, 1, "another person"),
            (twin, 1, "another person"),
            (self.outsider, 1, "sees no project"),
            (self.viewer, -1, "after the beginning"),
            (self.viewer, 100, "after the beginning"),
        ):
            with self.subTest(delegate.login, days=days), self.assertRaisesRegex(ValidationError, pattern):
                self._name(self.manager, delegate, days)


@tagged("post_install", "-at_install")
class TestDelegatedRollback(Away, RollbackCase):
    """A rollback is decided on in somebody's place just so."""

    def test_in_somebody_s_place(self):
        self._ran(2)
        request = self._asked()
        self._name(self.manager, self.viewer)
        request._approve(self.viewer, request.preview_hash)
        with self.assertRaises(UserError):
            request._approve(self.manager, request.preview_hash)
        self.assertEqual((request.state, request.approval_ids.for_user_id), ("queued", self.manager))
