import json
from datetime import datetime, timedelta

from freezegun import freeze_time

from odoo import fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import tagged

from ..core import protocol
from .common import PLAN_HASH, OdooopsCase

HOUR = timedelta(hours=1)


@tagged("post_install", "-at_install")
class TestFreeze(OdooopsCase):
    """What was agreed to waits while a window is closed, and goes on when it opens."""

    def _window(self, **values):
        now = fields.Datetime.now()
        return self.env["odooops.freeze.window"].create(
            {"name": "Closing the books", "kind": "once", "begins_at": now - HOUR, "ends_at": now + HOUR, **values}
        )

    def _said(self, deployment):
        return "".join(map(str, deployment.message_ids.mapped("body")))

    def test_approved_it_waits_and_goes_on(self):
        window = self._window()
        deployment = self._awaiting()
        self.assertEqual(deployment.state, "awaiting_approval", "people decide while it is closed")
        deployment._approve(self.manager, PLAN_HASH)
        self.assertEqual((deployment.state, deployment.waits_for_time), ("approved", True))
        self.assertIn("It opens on", self._said(deployment))
        self.assertIn("Closing the books", deployment._status()["waits_for"])
        deployment._follow_conditions()
        self.assertEqual(deployment.state, "approved")
        with freeze_time(window.ends_at + timedelta(minutes=1)):
            deployment._follow_conditions()
            self.assertEqual((deployment.state, deployment.waits_for_time), ("queued", False))

    def test_closed_after_it_was_queued(self):
        deployment = self._awaiting()
        deployment._approve(self.manager, PLAN_HASH)
        window = self._window()
        self.assertFalse(self._lease(("deploy",)))
        self.assertEqual((deployment.state, deployment.approvals_given), ("queued", 1))
        window.active = False
        self.assertEqual(self._deploy(deployment).state, "live")

    # The glass

    def _broken(self, deployment, user=None, reason="the shops can't print receipts", plan_hash=PLAN_HASH):
        asked = deployment.with_user(user or self.administrator)
        asked._check_may_break_glass()
        asked.sudo()._break_glass(asked.env.user, plan_hash, reason)

    def test_a_broken_glass_does_not_wait(self):
        self._window()
        deployment = self._awaiting()
        deployment._approve(self.manager, PLAN_HASH)
        self.assertEqual((deployment.state, deployment.can_break_glass), ("approved", True))
        self._broken(deployment)
        self.assertEqual((deployment.state, deployment.can_break_glass), ("queued", False))
        condition = next(one for one in deployment._conditions() if one.key == "window")
        self.assertEqual((condition.state, condition.by), ("overridden", self.administrator.name))
        grant = json.loads(deployment.operation_ids.filtered("grant").grant["document"])
        self.assertEqual((grant["break_glass"], [one["id"] for one in grant["approvers"]]), (True, self.manager.ids))
        self.assertEqual(self._deploy(deployment).state, "live")
        self.assertTrue(deployment.needs_review)

    def test_a_broken_glass_is_no_approval(self):
        self._window()
        deployment = self._awaiting()
        self._broken(deployment)
        self.assertEqual((deployment.state, deployment.approvals_given), ("awaiting_approval", 0))
        deployment._approve(self.manager, PLAN_HASH)
        self.assertEqual(deployment.state, "queued")

    def test_a_broken_glass_ends_with_its_plan(self):
        self._window()
        deployment = self._awaiting()
        self._broken(deployment)
        deployment.with_user(self.developer).action_plan_again()
        self._plan(deployment, "b" * 64)
        deployment._approve(self.manager, "b" * 64)
        self.assertEqual((deployment.state, deployment.needs_review), ("approved", True))

    def test_no_glass_to_break(self):
        deployment = self._awaiting()
        with self.assertRaisesRegex(UserError, "there is no glass"):
            self._broken(deployment)
        self._window()
        for values, error, said in (
            ({"user": self.manager}, AccessError, "Only an administrator"),
            ({"reason": " "}, UserError, "can't wait"),
            ({"reason": 7}, UserError, "can't wait"),
            ({"plan_hash": "b" * 64}, UserError, "has changed"),
            ({"plan_hash": None}, UserError, "has changed"),
        ):
            with self.subTest(values), self.assertRaisesRegex(error, said):
                self._broken(deployment, **values)
        with self.assertRaisesRegex(AccessError, "web client"):
            deployment.with_user(self.administrator).action_break_glass(PLAN_HASH, "no session")
        self.assertFalse(deployment.break_glass)

    def test_the_review_of_a_broken_glass(self):
        self._window()
        deployment = self._awaiting()
        self._broken(deployment)
        kind = "odooops_control.mail_activity_review_window"
        reviews = deployment.activity_search([kind])
        self.assertEqual(reviews.user_id, self.manager | self.manager_2)
        for attempt in (lambda one: one.unlink(), lambda one: one.action_done(), lambda one: one.write({"res_id": 1})):
            for user in (self.manager, self.administrator, self.env.ref("base.user_root")):
                with self.subTest(user=user.login), self.assertRaisesRegex(UserError, "press Review"):
                    attempt(reviews[:1].with_user(user))
        with self.assertRaisesRegex(UserError, "yourself: another person"):
            deployment.with_user(self.administrator)._review("all fine")
        wizard = self.env["odooops.rollback.review.wizard"].with_user(self.manager)
        wizard = wizard.create({"deployment_id": deployment.id})
        self.assertEqual(wizard.break_glass_by_id, self.administrator)
        deployment.with_user(self.manager)._review("right: sales knew")
        self.assertFalse(deployment.needs_review or deployment.activity_search([kind]))
        pending = self.env.cr.precommit.data["odooops.audit.pending"]
        events = [one["action"] for one in pending if one["record_id"] == deployment.id]
        self.assertLess(events.index("deployment.glass_broken"), events.index("deployment.reviewed"))

    def test_what_a_window_holds_for(self):
        other = self._make_project("other")
        Window = self.env["odooops.freeze.window"]
        for values, held in (
            ({}, True),
            ({"tier": "staging"}, False),
            ({"tier": False}, True),
            ({"project_ids": other.ids}, False),
            ({"project_ids": (self.project | other).ids}, True),
            ({"environment_ids": self.stage.ids}, False),
            ({"environment_ids": self.prod.ids}, True),
            ({"active": False}, False),
        ):
            with self.subTest(values):
                window = self._window(**values)
                self.assertEqual(bool(Window._of_environment(self.prod)), held)
                window.unlink()

    def test_every_week_on_the_clock_there(self):
        window = self.env["odooops.freeze.window"].create(
            {"name": "Fridays", "tz": "Europe/Berlin", "friday": True, "hour_from": 14, "hour_to": 0}
        )
        for moment, closed in (
            (datetime(2026, 7, 3, 11, 59), False),
            (datetime(2026, 7, 3, 12), True),
            (datetime(2026, 1, 2, 12, 59), False),
            (datetime(2026, 1, 2, 13), True),
            (datetime(2026, 1, 2, 23), False),
        ):
            with self.subTest(moment), freeze_time(moment):
                window.invalidate_recordset()
                self.assertEqual(window.is_closed, closed)
        self.assertEqual(window.summary, "Fri, 14:00 to 0:00 (Europe/Berlin)")

    def test_bad_windows(self):
        now = fields.Datetime.now()
        for values, said in (
            ({"kind": "once", "ends_at": False}, "comes once"),
            ({"kind": "once", "ends_at": now - 2 * HOUR}, "comes once"),
            ({"kind": "weekly"}, "choose a day"),
            ({"hour_from": 24}, "between 0:00 and 24:00"),
            ({"hour_to": -1}, "between 0:00 and 24:00"),
            ({"project_ids": self._make_project("third").ids, "environment_ids": self.prod.ids}, "does not name"),
        ):
            with self.subTest(values), self.assertRaisesRegex(ValidationError, said), self.cr.savepoint():
                self._window(**values)

    def test_who_may_change_windows(self):
        window = self._window(project_ids=self._make_project("other").ids)
        with self.assertRaises(AccessError):
            window.with_user(self.manager).read(["name"])
        mine = self._window(project_ids=self.project.ids)
        self.assertTrue(mine.with_user(self.viewer).read(["name"]))
        for method, arguments in (("write", [{"active": False}]), ("unlink", [])):
            with self.subTest(method), self.assertRaises(AccessError):
                getattr(mine.with_user(self.manager), method)(*arguments)
        mine.with_user(self.administrator).active = False
        pending = self.env.cr.precommit.data["odooops.audit.pending"]
        self.assertEqual(pending[-1]["action"], "freeze.changed")

    # What goes on in the customer's own database

    def _seen(self, **busy):
        found = [{"kind": kind, "count": count} for kind, count in busy.items()]
        message = {"key": self.prod.key, "health": "green", "busy": found}
        self.prod._report([protocol.EnvironmentReport.from_json(message)], {})

    def test_it_waits_for_the_business(self):
        self._seen(point_of_sale=2, fiscal_year=1, later_kind=7)
        deployment = self._awaiting()
        deployment._approve(self.manager, PLAN_HASH)
        self.assertEqual((deployment.state, deployment.waits_for_time), ("approved", True))
        self.assertIn("2 point-of-sale sessions are open. The fiscal year ends in 1 day.", self._said(deployment))
        self._seen(later_kind=7)
        deployment._follow_conditions()
        self.assertEqual(deployment.state, "queued")
        self._seen(cron=1)
        self.assertFalse(self._lease(("deploy",)))
        self.assertEqual((deployment.state, deployment.approvals_given), ("queued", 1))
        self._seen()
        self.assertEqual(self._deploy(deployment).state, "live")

    def test_a_broken_glass_does_not_wait_for_the_business(self):
        self._seen(inventory=1)
        deployment = self._awaiting()
        deployment._approve(self.manager, PLAN_HASH)
        self._broken(deployment)
        self.assertEqual(deployment.state, "queued")
        self.assertTrue(self._lease(("deploy",)))

    def test_what_does_not_wait_for_the_business(self):
        deployment = self._awaiting()
        for busy in (None, {}, {"later_kind": 1}):
            with self.subTest(busy):
                self.prod.busy = busy
                self.assertFalse(deployment._freezes_in_the_way())
        self._seen(payroll=1)
        self.assertEqual([one.key for one in deployment._freezes_in_the_way()], ["business"])
        self.prod.policy_id.business_freeze = False
        self.assertTrue(deployment._freezes_in_the_way(), "a policy weakened meanwhile changes nothing")
        deployment.with_user(self.developer).action_plan_again()

    # A time of one's own

    def test_scheduled(self):
        deployment = self._awaiting()
        at = fields.Datetime.now().replace(microsecond=0) + 2 * HOUR
        with self.assertRaises(AccessError):
            deployment.with_user(self.viewer).action_schedule(at)
        deployment.with_user(self.developer).action_schedule(fields.Datetime.to_string(at))
        deployment._approve(self.manager, PLAN_HASH)
        self.assertEqual(deployment.state, "approved")
        with freeze_time(at + timedelta(minutes=1)):
            deployment._follow_conditions()
            self.assertEqual(deployment.state, "queued")

    def test_scheduled_for_at_once_after_all(self):
        deployment = self._awaiting()
        deployment.with_user(self.developer).action_schedule(fields.Datetime.now() + 2 * HOUR)
        deployment._approve(self.manager, PLAN_HASH)
        deployment.with_user(self.developer).action_schedule(False)
        self.assertEqual(deployment.state, "queued")

    def test_times_that_are_none(self):
        deployment = self._awaiting()
        now = fields.Datetime.now()
        self._window(begins_at=now + HOUR, ends_at=now + 3 * HOUR)
        for at, said in (
            (now - HOUR, "is past"),
            (now + timedelta(hours=25), "count for 24 hours"),
            (now + 2 * HOUR, "is closed"),
            ("tomorrow", "Give the time"),
            (["x"], "Give the time"),
        ):
            with self.subTest(at), self.assertRaisesRegex(UserError, said):
                deployment.with_user(self.developer).action_schedule(at)
        self.assertFalse(deployment.scheduled_at)
        wizard = self.env["odooops.schedule.wizard"].with_user(self.developer).create({"deployment_id": deployment.id})
        self.assertFalse(wizard.at)
