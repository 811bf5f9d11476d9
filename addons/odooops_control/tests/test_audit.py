import json

import psycopg2

from odoo.exceptions import AccessError
from odoo.service.model import call_kw
from odoo.tests import tagged
from odoo.tools import SQL, mute_logger

from ..core import chain, protocol
from .common import PASSWORD, PLAN_HASH, OdooopsCase, OdooopsHttpCase


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
            event.details,
            {
                "plan_hash": PLAN_HASH,
                "user": "ops_manager",
                "in_place_of": "",
                "note": "looked",
                "author_unknown": True,
            },
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

    def _tamper(self, query, *values):
        """Do what only the owner of the tables can: that much is not prevented, it shows."""
        self.cr.execute("ALTER TABLE odooops_audit_event DISABLE TRIGGER USER")
        self.cr.execute(query, values)
        self.Event.invalidate_model()

    def _chain_of(self, count=5):
        self.env.cr.precommit.run()
        last = self.Event.search([], limit=1).id
        for number in range(count):
            self.Event._record(self.project, f"test.{number}")
        self.env.cr.precommit.run()
        return self.Event.search([("id", ">", last)], order="id")

    def test_an_administrator_adds_and_changes_nothing_over_rpc(self):
        event = self._chain_of(1)
        forged = {"happened_at": "2026-01-01", "action": "x", "previous_hash": "a" * 64, "hash": "b" * 64}
        attempts = {
            "create": [[forged]],
            "write": [event.ids, {"action": "x"}],
            "unlink": [event.ids],
            "web_save": [event.ids, {"action": "x"}, {}],
            "copy": [event.ids],
        }
        for user in (self.administrator, self.env.ref("base.user_admin")):
            user.group_ids |= self.env.ref("odooops_control.group_administrator")
            for method, arguments in attempts.items():
                with self.subTest(user=user.login, method=method), self.assertRaises(AccessError):
                    call_kw(self.Event.with_user(user), method, arguments, {})

    def test_an_import_changes_nothing(self):
        event = self._chain_of(1)
        names = [".id", "happened_at", "action", "previous_hash", "hash"]
        rows = [
            [str(event.id), "2026-01-01 00:00:00", "x", "a" * 64, "b" * 64],
            ["", "2026-01-01 00:00:00", "x", "c" * 64, "d" * 64],
        ]
        count = self.Event.search_count([])
        for model in (self.Event, self.Event.with_user(self.administrator)):
            for row in rows:
                answer = model.load(names, [row])
                self.assertFalse(answer["ids"], answer)
        self.Event.invalidate_model()
        self.assertEqual((event.action, self.Event.search_count([])), ("test.0", count))

    def test_nobody_gets_in_by_sudo_or_through_related_models(self):
        event = self._chain_of(1)
        with self.assertRaises(AccessError):
            event.sudo().unlink()
        # As an uninstallation does: PostgreSQL refuses what Odoo lets pass.
        with self.assertRaises(psycopg2.errors.InsufficientPrivilege), mute_logger("odoo.sql_db"):
            event.sudo().with_context(_force_unlink=True).unlink()
        with self.assertRaises(AccessError):
            self.Event.sudo().create([{"action": "x"}])
        # No field of another model leads there, so no command, cascade or related field writes it.
        leading = [
            f"{model._name}.{field.name}"
            for model in self.env.registry.models.values()
            for field in model._fields.values()
            if field.comodel_name == "odooops.audit.event"
        ]
        self.assertEqual(leading, [])
        [(keys,)] = self.env.execute_query(
            SQL("SELECT count(*) FROM pg_constraint WHERE conrelid = 'odooops_audit_event'::regclass AND contype = 'f'")
        )
        self.assertEqual(keys, 0, "no foreign key: nothing cascades into it")

    def test_what_is_deleted_elsewhere_leaves_its_history(self):
        member = self.env["odooops.project.member"].search([("user_id", "=", self.viewer.id)])
        member.unlink()
        self.assertEqual(self._events("member.removed")[0].details["user"], "ops_viewer")

    def test_tampering_shows_and_where(self):
        events = self._chain_of()
        victim, after = events[2], events[3]
        tampering = {
            "edit": ("UPDATE odooops_audit_event SET record_name = 'x' WHERE id = %s", victim, "was changed"),
            "backdate": (
                "UPDATE odooops_audit_event SET happened_at = happened_at - interval '1 day' WHERE id = %s",
                victim,
                "was changed",
            ),
            "delete": ("DELETE FROM odooops_audit_event WHERE id = %s", after, "taken out"),
        }
        for name, (query, target, said) in tampering.items():
            with self.subTest(name), self.cr.savepoint() as savepoint:
                self._tamper(query, target.id)
                found = self.Event.verify()
                broken = target if name != "delete" else events[4]
                self.assertEqual((found["ok"], found["broken_at"]), (False, broken.id))
                self.assertIn(said, found["reason"])
                savepoint.rollback()
        self.Event.invalidate_model()
        self.assertTrue(self.Event.verify()["ok"])

    def test_a_chain_cut_off_shows(self):
        self._chain_of(1)
        self.Event._cron_verify()
        self.assertTrue(self.Event.verify()["ok"])
        self._tamper("DELETE FROM odooops_audit_event WHERE action = 'test.0'")
        found = self.Event.verify()
        self.assertEqual((found["ok"], found["cut_off"], found["broken_at"]), (False, True, None))
        self.Event._cron_verify()
        self.assertTrue(self.Event.verify()["cut_off"], "it is not forgotten the night after")

    def _alarms(self):
        kind = "odooops_control.mail_activity_audit"
        return self.administrator.partner_id.activity_search([kind], user_id=self.administrator.id)

    def test_the_nightly_run_says_where_it_broke_once(self):
        events = self._chain_of()
        self.Event._cron_verify()
        self.assertFalse(self._alarms())
        self._tamper("UPDATE odooops_audit_event SET user_id = 99 WHERE id = %s", events[1].id)
        for _night in range(2):
            with self.assertLogs("odoo.addons.odooops_control.models.audit_check", "ERROR"):
                self.Event._cron_verify()
        alarm = self._alarms()
        self.assertEqual(len(alarm), 1)
        self.assertIn(f"Event {events[1].id} ", alarm.summary)

    def _held(self, event):
        return protocol.AuditHead(event.id, event.hash)

    def test_an_agent_that_knows_another_history_raises_the_alarm(self):
        events = self._chain_of()
        head = {"number": events[-1].id, "hash": events[-1].hash}
        self.assertEqual(self.agent._compare_audit(None), {"audit_head": head, "audit_held": None})
        self.assertEqual(
            self.agent._compare_audit(self._held(events[2])), {"audit_head": head, "audit_held": events[2].hash}
        )
        self.assertFalse(self.agent.audit_break or self._alarms())
        with self.assertLogs("odoo.addons.odooops_control.models.audit_check", "ERROR"):
            self.agent._compare_audit(protocol.AuditHead(events[2].id, "f" * 64))
        self.assertIn("is not what it was when droplet-test was told", self._alarms().summary)
        self.assertTrue(self.agent.audit_break)
        self.assertEqual(self._events("audit.head_contradicted").details["found"], events[2].hash)

    def test_an_agent_notices_a_chain_that_was_cut_off_and_extended_anew(self):
        events = self._chain_of()
        held = self._held(events[-1])
        self._tamper("DELETE FROM odooops_audit_event WHERE id >= %s", events[2].id)
        self._chain_of(1)
        self.assertTrue(self.Event.verify()["ok"], "by itself the chain is whole")
        with self.assertLogs("odoo.addons.odooops_control.models.audit_check", "ERROR"):
            self.agent._compare_audit(held)
        self.agent._compare_audit(held)
        self.assertEqual(len(self._alarms()), 1, "every heartbeat says it, one alarm is enough")
        self.assertIn("is gone", self._alarms().summary)
        newest = self.Event.search([], limit=1)
        self.agent._compare_audit(self._held(newest))
        self.assertFalse(self.agent.audit_break, "the agent was told to accept it")

    def test_export(self):
        self._chain_of()
        with self.Event.with_user(self.administrator)._export_file() as file:
            first, *rows, last = [json.loads(line) for line in file.read().decode().splitlines()]
        self.assertEqual(first["odooops_audit"], 1)
        expected = chain.GENESIS
        for row in rows:
            self.assertIsNone(chain.fault(row["previous_hash"], row["hash"], row["event"], expected))
            expected = row["hash"]
        self.assertEqual(last, {"events": len(rows), "head": {"number": rows[-1]["number"], "hash": expected}})
        self.assertEqual(len(rows), self.Event.search_count([]))

    def test_export_in_parts(self):
        self._chain_of()
        Event = self.Event.with_user(self.administrator)
        first = Event.export(limit=2)
        self.assertEqual(len(first["events"]), 2)
        rest = Event.export(after=first["events"][-1]["number"])
        self.assertEqual(len(rest["events"]), self.Event.search_count([]) - 2)
        self.assertEqual(rest["head"]["hash"], rest["events"][-1]["hash"])
        for user in (self.manager, self.viewer):
            with self.assertRaises(AccessError):
                self.Event.with_user(user).export()
            with self.assertRaises(AccessError):
                self.Event.with_user(user).action_export()


@tagged("post_install", "-at_install")
class TestAuditHttp(OdooopsHttpCase):
    """The log as a file."""

    def test_download(self):
        self.env["odooops.audit.event"]._record(self.project, "test.one")
        self.env.cr.precommit.run()
        self.authenticate("ops_administrator", PASSWORD)
        response = self.url_open("/odooops/audit/export")
        self.assertEqual(response.status_code, 200)
        self.assertIn("attachment", response.headers["Content-Disposition"])
        last = json.loads(response.text.splitlines()[-1])
        self.assertEqual(last["head"], self.env["odooops.audit.event"]._head_event())

    @mute_logger("odoo.http")
    def test_download_is_for_administrators(self):
        self.authenticate("ops_manager", PASSWORD)
        self.assertEqual(self.url_open("/odooops/audit/export").status_code, 403)


@tagged("post_install", "-at_install")
class TestAuditedSettings(OdooopsCase):
    """Every change of a setting is an event with what stood there before and after, and without secrets."""

    def _details(self, action):
        self.env.cr.precommit.run()
        return self.env["odooops.audit.event"].search([("action", "=", action)], limit=1).details

    def test_settings(self):
        member = self.project.member_ids.filtered(lambda one: one.user_id == self.viewer)
        changes = [
            (self.project, {"main_branch": "trunk"}, "project.changed", {"main_branch": ["main", "trunk"]}),
            (self.prod, {"workers": 3}, "environment.changed", {"workers": [2, 3]}),
            (self.agent, {"heavy_limit": 2}, "agent.changed", {"heavy_limit": [1, 2]}),
            (member, {"role": "developer"}, "member.changed", {"user": "ops_viewer", "role": ["viewer", "developer"]}),
        ]
        for record, values, action, details in changes:
            with self.subTest(action):
                record.write(values)
                self.assertEqual(self._details(action), details)
                count = self.env["odooops.audit.event"].search_count([("action", "=", action)])
                record.write(values)
                self.env.cr.precommit.run()
                self.assertEqual(self.env["odooops.audit.event"].search_count([("action", "=", action)]), count)

    def test_a_trust(self):
        trust = self.env["odooops.oidc.trust"].create({"project_id": self.project.id})
        trust.refs = "refs/tags/v*"
        self.assertEqual(self._details("trust.changed")["refs"], ["refs/heads/main", "refs/tags/v*"])

    def test_roles_of_users_from_both_sides(self):
        group = self.env.ref("odooops_control.group_administrator")
        self.viewer.group_ids |= group
        before, after = self._details("user.roles_changed")["roles"]
        self.assertEqual(before, "viewer")
        self.assertIn("administrator", after)
        group.user_ids -= self.viewer
        changed = self._details("user.roles_changed")
        self.assertEqual((changed["user"], changed["roles"][1]), ("ops_viewer", "viewer"))
        group.user_ids |= self.internal
        self.assertEqual(self._details("user.roles_changed")["user"], "ops_internal")

    def test_the_first_use_of_a_key(self):
        self.agent.key_ids._used()
        self.assertEqual(self._details("agent.key_first_used"), {"key": self.agent.key_ids.id})
