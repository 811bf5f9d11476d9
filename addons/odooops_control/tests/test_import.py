import json
from unittest.mock import patch

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, tagged

from ..core.names import BadName
from .common import DATABASE_UUID, OdooopsCase, fixture


@tagged("post_install", "-at_install")
class TestImport(OdooopsCase):
    """A backup of elsewhere becomes a new production's data, and a deployment brings it up."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.release = cls._live_on_stage()

    def _start(self, file="prod.zip", filestore="", environment=None, release=None):
        return (environment or self.prod)._start_import(
            self.administrator, release or self.release, file, filestore, "we move"
        )

    def _work(self, outcome="succeeded", error=None, **result):
        operation = self._lease(("import",))
        self.assertTrue(operation, "no import is queued")
        self._finish(operation, outcome, {**fixture("finish_request_import")["result"], **result}, error)
        return operation

    def test_the_operation_travels_as_in_the_fixture(self):
        self._start("prod.dump", "filestore.tar.gz")
        payload, expected = self._lease(("import",))._payload(), fixture("lease_response_import")["operation"]
        self.assertEqual(payload["import"], expected["import"])
        self.assertEqual(payload["kind"], "import")
        self.assertEqual(payload["release"].keys(), expected["release"].keys())
        self.assertEqual(payload["release"]["digest"], self.release.digest)
        self.assertIsNone(payload["environment"]["database"]["uuid"])

    def test_what_is_signed_names_the_file(self):
        operation = self._start("prod.dump", "filestore.tar.gz")
        said = json.loads(operation.grant["document"])
        self.assertEqual(said["import"], {"file": "prod.dump", "filestore": "filestore.tar.gz"})

    def test_what_was_imported_is_known_and_is_deployed_to(self):
        operation = self._start()
        self.assertTrue(operation.exclusive)
        self._work()
        self.assertEqual((self.prod.database_uuid, self.prod.indeterminate), (DATABASE_UUID, False))
        self.assertIn("3 attachments", self.prod.message_ids[0].body)
        deployment = self._plan(self._request())
        deployment._approve(self.manager, deployment.plan_hash, "looked")
        self.assertEqual(self._deploy(deployment).state, "live")
        self.env.cr.precommit.run()
        recorded = self.env["odooops.audit.event"].search([("action", "=", "environment.import_requested")])
        self.assertEqual(len(recorded), 1)

    def test_a_policy_that_asks_for_backups_lets_the_first_deployment_pass(self):
        """Where it came from it is still there."""
        self._start()
        self._work()
        known = self.prod._kept_backups()
        self.assertFalse(known.has_data)
        with patch.object(type(self.prod), "_tell_of_backup") as told:
            self.env["odooops.environment"]._cron_backups()
        told.assert_not_called()

    def test_only_administrators_and_from_their_own_session(self):
        form = Form(
            self.env["odooops.import.wizard"]
            .with_user(self.administrator)
            .with_context(default_environment_id=self.prod.id)
        )
        form.file, form.reason = "prod.zip", "we move"
        wizard = form.save()
        self.assertEqual(wizard.release_id.project_id, self.prod.project_id)
        with self.assertRaisesRegex(AccessError, "web client"):
            wizard.action_import()
        for user in (self.manager, self.developer, self.viewer, self.ci):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                self.env["odooops.import.wizard"].with_user(user).create(
                    {"environment_id": self.prod.id, "file": "x.zip", "reason": "r", "release_id": self.release.id}
                )
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                self.prod._check_may_import(user)

    def test_names_that_are_none(self):
        for name in ("../x", "/etc/passwd", "a/b", "", "-x", ".x", "a\n", "x" * 300):
            with self.subTest(name=name), self.assertRaises(BadName):
                self._start(name)
            with self.subTest(filestore=name), self.assertRaises(BadName):
                self._start("x.zip", name or " ")

    def test_where_nothing_can_be_imported(self):
        with self.assertRaisesRegex(UserError, "neutralised"):
            self._start(environment=self.stage)
        self.agent.sudo().capabilities = ["deploy"]
        with self.assertRaisesRegex(UserError, "update it"):
            self._start()
        self.agent.sudo().capabilities = ["deploy", "import"]
        self._start()
        with self.assertRaisesRegex(UserError, "under way"):
            self._start()
        self._work()
        with self.assertRaisesRegex(UserError, "has data already"):
            self._start()

    def test_one_that_failed_leaves_the_environment_as_it_was(self):
        self._start()
        error = {"code": "import_refused", "step": "unpack_import", "message": "It leads out."}
        self._work("failed", error, reverted=True)
        self.assertEqual((self.prod.database_uuid, self.prod.indeterminate), (False, False))
        self.assertIn("It leads out.", self.prod.message_ids[0].body)
        self._start()
        self._work("indeterminate", error)
        self.assertTrue(self.prod.indeterminate)

    def test_an_agent_that_tells_no_database_leaves_a_question(self):
        self._start()
        self._work(database_uuid=None)
        self.assertTrue(self.prod.indeterminate)

    def test_what_is_queued_and_may_not_be_any_more_is_not_leased(self):
        operation = self._start()
        self.prod.database_uuid = DATABASE_UUID
        self.assertFalse(self._lease(("import",)))
        self.assertEqual(operation.state, "cancelled")
        self.assertLessEqual(operation.finished_at, fields.Datetime.now())
