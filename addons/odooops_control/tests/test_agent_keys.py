import logging
from datetime import timedelta

from freezegun import freeze_time

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from ..core import keys
from .common import OdooopsHttpCase, fixture


@tagged("post_install", "-at_install")
class TestAgentKeys(OdooopsHttpCase):
    """Keys of agents: shown once, renewed with an overlap, never in clear."""

    def _heartbeat(self, key, at=None):
        message = {**fixture("heartbeat_request"), "operations": []}
        return self._post("heartbeat", message, key=key)

    def test_enrolment_shows_the_key_once(self):
        with self.assertLogs("odoo", logging.INFO) as logs:
            wizard = (
                self.env["odooops.agent.enrol"]
                .with_user(self.administrator)
                .create({"name": "droplet-new", "environment_ids": self.stage.ids})
            )
            action = wizard.action_enrol()
            logging.getLogger(__name__).info("enrolled")
        key = action["context"]["default_key"].split()[0]
        self.assertRegex(key, r"^odooops_agent_\d+_[A-Za-z0-9_-]{43}$")
        self.assertNotIn(key, "\n".join(logs.output))
        agent = self.env["odooops.agent"].browse(action["context"]["odooops_agent_id"])
        self.assertEqual(self.stage.agent_id, agent)
        self.assertEqual(agent.user_id.group_ids, self.env.ref("odooops_control.group_agent"))
        self.assertEqual(self._heartbeat(key)[0], 200)
        self._assert_nowhere(key)

    def _assert_nowhere(self, key):
        """Search every text column of the tables that could hold it."""
        self.env.flush_all()
        secret = keys.parse(key)[1]
        self.cr.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' "
            "AND data_type IN ('text', 'character varying', 'jsonb') "
            "AND (table_name LIKE 'odooops%%' OR table_name IN ('mail_message', 'bus_bus', 'ir_logging', 'res_users'))"
        )
        for table, column in self.cr.fetchall():
            self.cr.execute(f'SELECT count(*) FROM "{table}" WHERE "{column}"::text LIKE %s', (f"%{secret}%",))
            self.assertEqual(self.cr.fetchone()[0], 0, f"{table}.{column}")

    def test_enrolment_is_for_administrators(self):
        with self.assertRaises(AccessError):
            self.env["odooops.agent.enrol"].with_user(self.manager).create({"name": "x"})

    def test_new_key_by_hand_overlaps(self):
        wizard = (
            self.env["odooops.agent.enrol"]
            .with_user(self.administrator)
            .create({"name": self.agent.name, "agent_id": self.agent.id})
        )
        new = wizard.action_enrol()["context"]["default_key"].split()[0]
        self.assertEqual(self._heartbeat(self.key_text)[0], 200)
        self.assertEqual(self._heartbeat(new)[0], 200)
        self.assertEqual(self._heartbeat(self.key_text)[0], 401, "the first use of the new one ends the old one")

    def test_renewal_at_half_life(self):
        _status, answer = self._heartbeat(self.key_text)
        self.assertIsNone(answer["key"])
        old = self.agent.key_ids
        self._age(old, days=16)
        _status, answer = self._heartbeat(self.key_text)
        new = answer["key"]
        self.assertTrue(keys.parse(new))
        self.assertEqual(self._post("lease", self._lease_message())[0], 200, "the old one is valid until then")
        self.assertIsNone(self._heartbeat(self.key_text)[1]["key"], "it is on its way")
        # The answer was lost: another one follows, and the lost one ends.
        self._age(self.agent.key_ids - old, minutes=2)
        newer = self._heartbeat(self.key_text)[1]["key"]
        self.assertTrue(newer and newer != new)
        self.assertEqual(self._heartbeat(new)[0], 401)
        self.assertEqual(self._heartbeat(newer)[0], 200)
        self.assertEqual(self._heartbeat(self.key_text)[0], 401)
        self.assertEqual(self.agent.key_ids.filtered(lambda key: key.state == "valid").id, keys.parse(newer)[0])

    def _age(self, key, **delta):
        """Make a key older; its expiry moves along."""
        self.env.flush_all()
        self.cr.execute(
            "UPDATE odooops_agent_key SET create_date = create_date - %(by)s, expires_at = expires_at - %(by)s "
            "WHERE id IN %(ids)s",
            {"by": timedelta(**delta), "ids": tuple(key.ids)},
        )
        key.invalidate_recordset()

    def test_keys_live_as_long_as_the_group_says(self):
        group = self.env.ref("odooops_control.group_agent")
        group.api_key_duration = 5
        self.env["odooops.agent.key"]._issue(self.agent)
        newest = self.agent.key_ids.sorted("id")[-1]
        self.assertAlmostEqual((newest.expires_at - fields.Datetime.now()).total_seconds(), 5 * 86400, delta=60)

    def test_administrators_are_reminded_14_days_before(self):
        Users = self.env["res.users"]
        Users._cron_odooops_keys()
        self.assertFalse(self.agent.activity_ids)
        with freeze_time(fields.Datetime.now() + timedelta(days=17)):
            Users._cron_odooops_keys()
            Users._cron_odooops_keys()
        self.assertEqual(len(self.agent.activity_ids.filtered(lambda one: one.user_id == self.administrator)), 1)
        self.assertIn("expires", self.agent.activity_ids[0].summary)

    def test_administrators_are_reminded_of_cis_key(self):
        wizard = self.env["odooops.ci.access"].with_user(self.administrator).create({"name": "Actions"})
        user = self.env["res.users"].browse(wizard.action_create_key()["context"]["odooops_user_id"])
        with freeze_time(fields.Datetime.now() + timedelta(days=150)):
            self.env["res.users"]._cron_odooops_keys()
            self.assertFalse(user.partner_id.activity_ids)
        with freeze_time(fields.Datetime.now() + timedelta(days=170)):
            self.env["res.users"]._cron_odooops_keys()
        self.assertIn(self.administrator, user.partner_id.activity_ids.user_id)

    def test_a_person_does_not_become_ci(self):
        wizard = self.env["odooops.ci.access"].with_user(self.administrator).create({"user_id": self.manager.id})
        with self.assertRaisesRegex(UserError, "is a person"):
            wizard.action_create_key()
        self.assertFalse(self.manager.api_key_ids)

    def test_a_login_that_is_taken_by_a_person(self):
        self.manager.login = "odooops-actions"
        wizard = self.env["odooops.ci.access"].with_user(self.administrator).create({"name": "Actions"})
        with self.assertRaisesRegex(UserError, "is a person"):
            wizard.action_create_key()

    def test_enrolled_twice(self):
        wizard = self.env["odooops.agent.enrol"].with_user(self.administrator).create({"name": self.agent.name})
        with self.assertRaisesRegex(UserError, "already"):
            wizard.action_enrol()

    def test_revoke_all(self):
        self.agent.with_user(self.administrator).action_revoke_keys()
        self.assertEqual(self._heartbeat(self.key_text)[0], 401)
        with self.assertRaises(AccessError):
            self.agent.with_user(self.manager).action_revoke_keys()
