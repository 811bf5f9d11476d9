import json
from base64 import b64decode
from datetime import timedelta

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .. import signing_key
from ..core import grants
from .common import PLAN_HASH, OdooopsCase


@tagged("post_install", "-at_install")
class TestGrants(OdooopsCase):
    """Nothing for production is queued that the console did not sign, and what is signed is what was agreed to."""

    def _approved(self):
        deployment = self._awaiting()
        deployment._approve(self.manager, PLAN_HASH, "looked")
        return deployment

    def _operation(self, deployment):
        return deployment.operation_ids.filtered(lambda one: one.kind == "deploy")

    def _said(self, operation):
        """Return the document, proven as the agent proves it."""
        grant = operation._payload()["grant"]
        signing_key.load().verify_key.verify(grants.DOMAIN + grant["document"].encode(), b64decode(grant["signature"]))
        return json.loads(grant["document"])

    def test_what_is_signed_is_what_was_agreed_to(self):
        deployment = self._approved()
        operation = self._operation(deployment)
        said, payload = self._said(operation), operation._payload()
        self.assertEqual(
            said,
            {
                "schema": 1,
                "id": said["id"],
                "audience": self.agent.id,
                "environment": "demo/prod",
                "kind": "deploy",
                "digest": deployment.release_id.digest,
                "plan_hash": PLAN_HASH,
                "backup_snapshot": None,
                "approvers": [{"id": self.manager.id, "name": self.manager.name, "login": "ops_manager"}],
                "policy_version": payload["policy_version"],
                "issued_at": said["issued_at"],
                "expires_at": said["expires_at"],
                "includes_revert": True,
                "loss_bound": None,
                "break_glass": False,
            },
        )
        self.assertEqual(grants.canonical(said), operation.grant["document"])

    def test_the_use_of_the_key_is_audited(self):
        operation = self._operation(self._approved())
        self.env.cr.precommit.run()
        event = self.env["odooops.audit.event"].search([("action", "=", "grant.signed")], limit=1)
        self.assertEqual(event.record_id, operation.id)
        self.assertEqual(event.details["grant"], self._said(operation)["id"])
        self.assertEqual((event.details["approvers"], event.details["plan_hash"]), ("ops_manager", PLAN_HASH))
        self.assertNotIn(self.signing_key_file.read_text(), str(event.details))

    def test_plans_and_staging_need_none(self):
        deployment = self._awaiting()
        for operation in self.env["odooops.operation"].search([("project_id", "=", self.project.id)]):
            self.assertNotIn("grant", operation._payload(), operation.display_name)
        self.assertEqual(deployment.state, "awaiting_approval")

    def test_without_a_key_nothing_is_queued(self):
        deployment = self._awaiting()
        for broken in (None, "not a key", "YWJj"):
            if broken is None:
                self.signing_key_file.unlink()
            else:
                self.signing_key_file.write_text(broken)
            with self.subTest(broken), mute_logger("odoo.addons.odooops_control.signing_key"):
                with self.assertRaisesRegex(UserError, "has no signing key"), self.cr.savepoint():
                    deployment._approve(self.manager, PLAN_HASH, "looked")
                self.assertEqual(deployment.state, "awaiting_approval")
                self.assertFalse(self._operation(deployment))
                self.assertFalse(self.agent.console_pin)

    def test_what_waited_for_long_is_signed_anew_when_it_is_leased(self):
        deployment = self._approved()
        operation = self._operation(deployment)
        first = self._said(operation)["id"]
        operation.grant_expires_at = fields.Datetime.now() + timedelta(minutes=5)
        self._lease(("deploy",))
        self.assertNotEqual(self._said(operation)["id"], first)
        self.assertGreater(operation.grant_expires_at, fields.Datetime.now() + timedelta(minutes=55))

    def test_what_has_begun_goes_on_under_its_grant(self):
        operation = self._operation(self._approved())
        self._lease(("deploy",))
        first = self._said(operation)
        operation.write({"lease_until": fields.Datetime.now() - timedelta(hours=2)})
        operation.grant_expires_at = fields.Datetime.now() - timedelta(hours=1)
        self._lease(("deploy",))
        self.assertEqual((operation.state, operation.attempt), ("leased", 2))
        self.assertEqual(self._said(operation), first)

    def test_an_approval_that_no_longer_counts_signs_nothing(self):
        deployment = self._approved()
        operation = self._operation(deployment)
        self.project.member_ids.filtered(lambda one: one.user_id == self.manager).unlink()
        operation.grant_expires_at = fields.Datetime.now()
        first = operation.grant
        self._lease(("deploy",))
        self.assertEqual(operation.state, "cancelled")
        self.assertEqual(operation.grant, first)

    def test_an_order_for_production_that_belongs_to_nothing_is_not_signed(self):
        for kind in ("deploy", "rollback", "destroy"):
            with self.subTest(kind), self.assertRaisesRegex(UserError, "Nobody is known who agreed"):
                self.env["odooops.operation"]._enqueue(kind, self.prod)

    def test_lowering_the_tier_of_prod_asks_for_a_grant_nevertheless(self):
        operation = self._operation(self._approved())
        self.cr.execute("UPDATE odooops_environment SET tier = 'staging' WHERE id = %s", (self.prod.id,))
        self.prod.invalidate_recordset()
        self.assertTrue(operation._needs_grant())

    def test_the_key_is_a_file_that_nobody_reads_here(self):
        text = self.signing_key_file.read_text()
        self.assertEqual(bytes(signing_key.load()), bytes(SigningKey(b64decode(text))))
        pin = self.agent.console_pin
        self.assertEqual(pin, grants.pin(self.agent.id, signing_key.load()))
        self.assertNotIn(text.rstrip("="), pin)
        wizard = self.env["odooops.agent.enrol"].with_user(self.administrator).create({"name": "droplet-new"})
        key, told = wizard.action_enrol()["context"]["default_key"].split()
        new = self.env["odooops.agent"].search([("name", "=", "droplet-new")])
        self.assertTrue(key.startswith("odooops_agent_"))
        self.assertEqual(told, new.console_pin)

    def test_grants_are_written_by_nobody(self):
        operation = self._operation(self._approved())
        for user in (self.manager, self.administrator, self.ci):
            with self.subTest(user.login), self.assertRaises(AccessError):
                operation.with_user(user).write({"grant": {"document": "{}", "signature": ""}})

    def test_another_key_s_signature_is_none(self):
        grant = self._operation(self._approved()).grant
        with self.assertRaises(BadSignatureError):
            VerifyKey(bytes(SigningKey(b"x" * 32).verify_key)).verify(
                grants.DOMAIN + grant["document"].encode(), b64decode(grant["signature"])
            )
