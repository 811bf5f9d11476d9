import psycopg2

from odoo.exceptions import AccessError
from odoo.tests import tagged
from odoo.tools import mute_logger

from ..core import chain
from .common import PLAN_HASH, OdooopsCase


@tagged("post_install", "-at_install")
class TestAudit(OdooopsCase):
    """The audit log is only added to, and shows when it was tampered with."""

    def setUp(self):
        super().setUp()
        self.Event = self.env["odooops.audit.event"]

    def _events(self, action):
        self.env.cr.precommit.run()
        return self.Event.search([("action", "=", action)])

    def test_decisions_are_recorded(self):
        deployment = self._awaiting()
        deployment._approve(self.manager, PLAN_HASH, "looked")
        event = self._events("approval.approved")
        self.assertEqual((event.record_id, event.project_id), (deployment.id, self.project.id))
        self.assertEqual(
            event.details, {"plan_hash": PLAN_HASH, "user": "ops_manager", "note": "looked", "author_unknown": True}
        )
        self.assertTrue(self._events("release.registered") and self._events("agent.enrolled"))

    def test_chain_holds(self):
        self._awaiting()
        self.env.cr.precommit.run()
        answer = self.Event.with_user(self.administrator).verify()
        self.assertTrue(answer["ok"])
        self.assertGreater(answer["events"], 5)
        self.assertEqual(self.Event.search([], order="id", limit=1).previous_hash, chain.GENESIS)

    @mute_logger("odoo.sql_db")
    def test_database_refuses_change(self):
        self.Event._record(self.project, "test.one")
        self.env.cr.precommit.run()
        for query in (
            "UPDATE odooops_audit_event SET action = 'x'",
            "DELETE FROM odooops_audit_event",
            "TRUNCATE odooops_audit_event",
        ):
            with self.subTest(query), self.assertRaises(psycopg2.errors.InsufficientPrivilege), self.cr.savepoint():
                self.cr.execute(query)

    def test_odoo_refuses_change(self):
        event = self._events("agent.enrolled")
        with self.assertRaises(AccessError):
            event.write({"action": "x"})
        with self.assertRaises(AccessError):
            event.unlink()

    def test_tampering_shows(self):
        for number in range(5):
            self.Event._record(self.project, f"test.{number}")
        self.env.cr.precommit.run()
        victim = self.Event.search([("action", "=", "test.2")])
        tampering = {
            "edit": "UPDATE odooops_audit_event SET record_name = 'x' WHERE id = %s",
            "delete": "DELETE FROM odooops_audit_event WHERE id = %s",
            "backdate": "UPDATE odooops_audit_event SET happened_at = happened_at - interval '1 day' WHERE id = %s",
        }
        for name, query in tampering.items():
            with self.subTest(name), self.cr.savepoint() as savepoint:
                self.cr.execute("ALTER TABLE odooops_audit_event DISABLE TRIGGER USER")
                self.cr.execute(query, (victim.id,))
                self.Event.invalidate_model()
                self.assertFalse(self.Event.verify()["ok"])
                savepoint.rollback()
        self.Event.invalidate_model()
        self.assertTrue(self.Event.verify()["ok"])

    def test_a_tail_cut_off_shows(self):
        self.Event._record(self.project, "test.last")
        self.env.cr.precommit.run()
        self.Event._note_head()
        self.assertTrue(self.Event.verify()["ok"])
        self.cr.execute("ALTER TABLE odooops_audit_event DISABLE TRIGGER USER")
        self.cr.execute("DELETE FROM odooops_audit_event WHERE action = 'test.last'")
        self.Event.invalidate_model()
        answer = self.Event.verify()
        self.assertEqual((answer["ok"], answer["cut_off"], answer["broken_at"]), (False, True, None))
        self.Event._note_head()
        self.assertTrue(self.Event.verify()["cut_off"], "it is not forgotten the night after")
