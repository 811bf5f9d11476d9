from datetime import timedelta

from freezegun import freeze_time

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from ..core import rollback as core
from .rollback_common import RollbackCase


@tagged("post_install", "-at_install")
class TestRollbackApproval(RollbackCase):
    """Who may approve a loss, and how large it may become."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.first, cls.second = cls._ran(2)

    def _refused(self, pattern, request, user, preview_hash=None, **values):
        with self.assertRaisesRegex(UserError, pattern):
            request._approve(user, preview_hash or request.preview_hash, "looked", **values)
        self.assertEqual(request.state, "awaiting_approval")

    def test_with_the_default_ceiling(self):
        request = self._asked()
        request._approve(self.manager, request.preview_hash, "spoke with sales")
        self.assertEqual(request.state, "queued")
        self.assertEqual(
            request.ceiling,
            {
                "minutes": 42.0,
                "counts": {
                    "account.move": {"created": 3, "changed": 0},
                    "sale.order": {"created": 14, "changed": 5},
                    "mail.message": {"created": 33, "changed": None},
                },
                "posted": {"account.move": 1, "account.payment": 0},
            },
        )
        payload = self._lease(("rollback",))._payload()
        self.assertEqual(payload["rollback"]["ceiling"], request.ceiling)
        self.assertEqual((payload["plan_hash"], payload["rollback"]["mode"]), (request.plan_hash, "full"))
        self.assertFalse(payload["rollback"]["break_glass"])

    def test_without_the_role_or_the_group(self):
        request = self._asked()
        self._join(self.internal, "release_manager")
        for user in (self.viewer, self.developer, self.outsider, self.administrator, self.ci, self.internal):
            with self.subTest(user=user.login):
                self._refused("may not decide", request, user)

    def test_by_the_one_who_asked(self):
        request = self._look(self._submit(user=self.manager))
        self.assertEqual(request.activity_ids.user_id, self.manager_2)
        self._refused("another person has to approve", request, self.manager)
        request._approve(self.manager_2, request.preview_hash)
        self.assertEqual(request.state, "queued")

    def test_code_only_needs_one_release_manager_also_the_one_who_asked(self):
        self.prod.policy_id.approvals_needed = 2
        request = self._look(self._submit(user=self.manager), modes=("code",))
        self.assertEqual((request.state, request.approvals_needed), ("awaiting_approval", 1))
        self._refused("may not decide", request, self.developer)
        request._approve(self.manager, request.preview_hash)
        self.assertEqual((request.state, bool(request.ceiling)), ("queued", False))

    def test_code_only_asked_for_by_a_developer_waits_for_a_release_manager(self):
        request = self._look(self._submit(user=self.developer), modes=("code",))
        self.assertEqual(request.state, "awaiting_approval")

    def test_of_an_outdated_preview(self):
        request = self._asked()
        self._refused("preview of .* has changed since you saw it", request, self.manager, "f" * 64)
        with self.assertRaisesRegex(UserError, "has changed since you saw it"):
            request._approve(self.manager, None)

    def test_after_the_preview_aged(self):
        request = self._asked()
        with freeze_time(fields.Datetime.now() + timedelta(minutes=31)):
            self._refused("is 31 minutes old", request, self.manager)
            request.with_user(self.manager).action_preview_again()
            self.assertEqual((request.state, bool(request.preview)), ("previewing", False))
            self._look(request, digits="b")
            request._approve(self.manager, request.preview_hash)
        self.assertEqual(request.state, "queued")

    def test_what_loses_nothing_does_not_age(self):
        request = self._asked(modes=("code",))
        with freeze_time(fields.Datetime.now() + timedelta(hours=2)):
            request._approve(self.manager, request.preview_hash)
        self.assertEqual(request.state, "queued")

    def test_after_something_else_was_deployed(self):
        request = self._asked()
        self.prod.running_deployment_id = self.first
        self._refused("runs v1.0.0 by now, not v1.1.0: look again", request, self.manager)

    def test_after_the_policy_changed(self):
        request = self._asked()
        self.prod.policy_id.approvals_needed = 2
        self._refused("policy changed.*look again", request, self.manager)

    def test_two_people_agree_to_the_lower_ceiling(self):
        self.prod.policy_id.approvals_needed = 2
        request = self._asked()
        generous = core.Allowance(percent=50, minutes=60, invoices=1)
        request._approve(self.manager, request.preview_hash, "", generous, "the day is lost anyway")
        self._refused("has approved this preview already", request, self.manager)
        request._approve(self.manager_2, request.preview_hash)
        self.assertEqual(request.state, "queued")
        self.assertEqual((request.ceiling["minutes"], request.ceiling["posted"]["account.move"]), (42.0, 1))
        self.assertEqual(request.ceiling["counts"]["sale.order"], {"created": 14, "changed": 5})

    def test_a_raised_ceiling_has_a_reason(self):
        request = self._asked()
        for allowance in (
            core.Allowance(percent=11),
            core.Allowance(minutes=31),
            core.Allowance(invoices=1),
            core.Allowance(payments=1),
        ):
            with self.subTest(allowance=allowance):
                self._refused("Say why more may be lost", request, self.manager, allowance=allowance)
        raised = core.Allowance(invoices=2)
        request._approve(self.manager, request.preview_hash, "", raised, "two test invoices are being posted")
        self.assertEqual(request.ceiling["posted"], {"account.move": 3, "account.payment": 0})
        self.assertEqual(request.approval_ids.ceiling_reason, "two test invoices are being posted")
        details = self._audited("approval.approved").filtered(lambda one: one.model == request._name).details
        self.assertEqual(details["ceiling"]["posted"]["account.move"], 3)

    def test_a_lower_ceiling_needs_none(self):
        request = self._asked()
        request._approve(self.manager, request.preview_hash, "", core.Allowance(percent=0, minutes=5))
        self.assertEqual(request.ceiling["counts"]["sale.order"], {"created": 12, "changed": 4})

    def test_numbers_that_are_none(self):
        for wrong in (-1, 1.5, "10", True, 10**9):
            with self.subTest(wrong), self.assertRaisesRegex(UserError, "whole numbers"):
                self.env["odooops.rollback.request"]._allowance(wrong, 30, 0, 0)

    def test_reject(self):
        request = self._asked()
        with self.assertRaisesRegex(UserError, "may not decide"):
            request.with_user(self.developer).action_reject(note="no")
        request.with_user(self.manager).action_reject(note="we mend it instead")
        self.assertEqual(request.state, "rejected")
        self.assertIn("we mend it instead", self._messages(request))
        self.assertFalse(self._lease(("rollback",)))
        with self.assertRaisesRegex(UserError, "can't be decided any more"):
            request._approve(self.manager_2, request.preview_hash)

    def test_approver_who_lost_the_role_meanwhile(self):
        request = self._asked()
        request._approve(self.manager, request.preview_hash)
        self.project.member_ids.filtered(lambda member: member.user_id == self.manager).role = "developer"
        self.assertFalse(self._lease(("rollback",)))
        self.assertEqual(request.state, "previewing")
        self._look(request, digits="b")
        self.assertEqual(request.state, "awaiting_approval")

    def test_quarantined_between_approval_and_start(self):
        request = self._asked()
        request._approve(self.manager, request.preview_hash)
        bar = self.env["odooops.quarantine"].create(
            {"release_id": self.first.release_id.id, "tag": "v1.0.0", "rollback_id": request.id, "reason": "worse"}
        )
        self.assertFalse(self._lease(("rollback",)))
        self.assertEqual(request.state, "previewing")
        self._look(request, digits="b")
        self._refused("v1.0.0 was rolled back", request, self.manager)
        bar.with_user(self.manager).action_lift("it was the relay")
        request._approve(self.manager, request.preview_hash)
        self.assertEqual(request.state, "queued")

    def test_actions_are_refused_without_a_session(self):
        request = self._asked()
        for call in (
            lambda: request.with_user(self.manager).action_approve(request.preview_hash, "x"),
            lambda: request.with_user(self.administrator).action_break_glass(request.preview_hash, "x"),
            lambda: request.with_user(self.manager).action_review("x"),
        ):
            with self.assertRaisesRegex(UserError, "in the web client"):
                call()

    def test_without_any_approver(self):
        self.project.member_ids.filtered(lambda member: member.role == "release_manager").unlink()
        request = self._look(self._submit())
        self.assertEqual(request.state, "awaiting_approval")
        self.assertIn("Nobody may approve this", self._messages(request))


@tagged("post_install", "-at_install")
class TestBreakGlass(RollbackCase):
    """An administrator may go at once; somebody else looks at it afterwards in any case."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.first, cls.second = cls._ran(2)
        cls.request = cls._asked()
        cls._join(cls.administrator, "viewer")

    def _break(self, **values):
        values = {"preview_hash": self.request.preview_hash, "reason": "the shop is down", **values}
        self.request._break_glass(self.administrator, **values)

    def _review(self):
        kind = self.env.ref("odooops_control.mail_activity_break_glass")
        return self.request.activity_ids.filtered(lambda one: one.activity_type_id == kind)

    def test_it_runs_at_once_without_a_ceiling(self):
        self._break()
        self.assertEqual(self.request.state, "queued")
        payload = self._lease(("rollback",))._payload()["rollback"]
        self.assertEqual((payload["break_glass"], payload["ceiling"], payload["mode"]), (True, None, "full"))
        [event] = self._audited("rollback.glass_broken")
        self.assertEqual(event.details["reason"], "the shop is down")

    def test_what_is_refused(self):
        for values, sentence in (
            ({"reason": " "}, "Say in a few words why"),
            ({"preview_hash": "f" * 64}, "has changed since you saw it"),
            ({"preview_hash": None}, "has changed since you saw it"),
        ):
            with self.subTest(sentence=sentence), self.assertRaisesRegex(UserError, sentence):
                self._break(**values)
        self.request._reject(self.manager, self.request.preview_hash)
        with self.assertRaisesRegex(UserError, "no glass to break"):
            self._break()

    def test_a_quarantine_bars_its_way_too(self):
        bar = self.env["odooops.quarantine"].create(
            {"release_id": self.first.release_id.id, "tag": "v1.0.0", "rollback_id": self.request.id, "reason": "worse"}
        )
        with self.assertRaisesRegex(UserError, "link its fix or lift the bar"):
            self._break()
        bar.with_user(self.manager).action_lift("it was the relay")
        self._break()
        bar.copy()
        self.assertFalse(self._lease(("rollback",)))
        self.assertEqual(self.request.state, "previewing")

    def test_the_review_cannot_be_got_rid_of(self):
        self._break()
        reviews = self._review()
        self.assertEqual(reviews.user_id, self.manager | self.manager_2)
        attempts = (
            lambda one: one.unlink(),
            lambda one: one.action_feedback("fine"),
            lambda one: one.action_done(),
            lambda one: one.action_cancel(),
            lambda one: one.write({"active": False}),
            lambda one: one.write({"res_id": 1}),
            lambda one: one.write({"activity_type_id": self.env.ref("mail.mail_activity_data_todo").id}),
        )
        for user in (self.manager, self.administrator, self.env.ref("base.user_root")):
            for number, attempt in enumerate(attempts):
                with self.subTest(user=user.login, attempt=number), self.assertRaises(UserError):
                    attempt(reviews[:1].with_user(user))
        self.assertEqual(self._review(), reviews)
        reviews[:1].user_id = self.manager_2
        with self.assertRaisesRegex(UserError, "part of the ledger"):
            self.request.unlink()

    def test_the_review(self):
        self._break()
        self._roll_back(self.request)
        self.assertTrue(self.request.needs_review)
        with self.assertRaisesRegex(UserError, "yourself: another person"):
            self.request.with_user(self.administrator)._review("all fine")
        with self.assertRaises(AccessError):
            self.request.with_user(self.developer)._review("all fine")
        with self.assertRaisesRegex(UserError, "what you found"):
            self.request.with_user(self.manager)._review(" ")
        self.request.with_user(self.manager)._review("right; 12 orders entered again")
        self.assertFalse(self.request.needs_review or self._review())
        self.assertEqual(self.request.reviewed_by_id, self.manager)
        self.assertTrue(self._audited("rollback.reviewed"))
        with self.assertRaisesRegex(UserError, "needs no review"):
            self.request.with_user(self.manager_2)._review("again")

    def test_a_second_account_does_not_review(self):
        self._break()
        self.manager.sudo().email = self.administrator.email
        with self.assertRaisesRegex(UserError, "yourself: another person"):
            self.request.with_user(self.manager)._review("all fine")
        self.request.with_user(self.manager_2)._review("right")
        self.assertEqual(self.request.reviewed_by_id, self.manager_2)

    def test_a_review_whose_reviewer_left_is_asked_for_again(self):
        self._break()
        self.env.cr.execute("DELETE FROM mail_activity WHERE id IN %s", [tuple(self._review().ids)])
        self.env.invalidate_all()
        self.env["odooops.environment"]._cron_check_restore_sets()
        self.assertTrue(self._review())

    def test_a_new_preview_is_not_covered_by_it(self):
        self._break()
        failure = {"code": "plan_changed", "message": "The plan changed."}
        self._finish(self._lease(("rollback",)), "failed", {"reverted": True}, failure)
        self._look(self.request, digits="b")
        self.assertEqual(self.request.state, "awaiting_approval")
        self.assertTrue(self.request.needs_review)

    def test_after_something_else_was_deployed(self):
        self.prod.running_deployment_id = self.first
        with self.assertRaisesRegex(UserError, "by now"):
            self._break()
