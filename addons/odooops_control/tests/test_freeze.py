from datetime import datetime, timedelta

from freezegun import freeze_time

from odoo import fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import tagged

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
