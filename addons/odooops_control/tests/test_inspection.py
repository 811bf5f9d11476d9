from datetime import timedelta

from lxml import etree

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from .common import DIGEST_B, DIGEST_C, SHA_B, SHA_C, fixture
from .test_clone import CloneCase


@tagged("post_install", "-at_install")
class TestInspection(CloneCase):
    """What was configured by hand is listed, exported, and not lost unseen."""

    def _changes(self, **values):
        return self._work("inspect", {**fixture("finish_request_inspect")["result"], **values})

    def test_the_operation_travels_as_in_the_fixture(self):
        self.stage.with_user(self.developer).action_inspect()
        payload = self._lease(("inspect",))._payload()
        expected = fixture("lease_response_inspect")["operation"]
        self.assertEqual(payload.keys(), expected.keys())
        self.assertEqual(payload["inspect"], {"since": None}, "since ever, where there was no copy")

    def test_a_listing_begins_with_the_copy(self):
        one = self._cloned()
        self.stage._inspect()
        operation = self._lease(("inspect",))
        self.assertFalse(operation.exclusive or operation.heavy, "it runs beside anything")
        since = operation._payload()["inspect"]["since"]
        self.assertEqual(since, one.data_as_of.strftime("%Y-%m-%dT%H:%M:%SZ"))

    def test_changes_are_shown_and_exported(self):
        self.stage._inspect()
        self._changes()
        self.assertEqual((self.stage.inspection_state, self.stage.listed_count), ("done", 2))
        self.assertEqual(self.stage.unexported_count, 2)
        for text in ("workshop.order.form", "Mitchell Admin", "next update overwrites it"):
            self.assertIn(text, self.stage.inspection_html)
        action = self.stage.with_user(self.developer).action_export_changes()
        self.assertIn("demo_stage_changes.xml", action["url"])
        self.assertEqual(self.stage.unexported_count, 0)
        self.assertIn("exported", self.stage.inspection_html)

    def test_the_data_file_comes_as_the_agent_made_it(self):
        """It is long, and names what looks like a secret: neither may spoil it."""
        xml = "<odoo>" + '<field name="login" password="True"/>\n' * 1000 + "</odoo>"
        self.stage._inspect()
        operation = self._changes(xml=xml)
        self.assertEqual(operation.result["xml"], xml)
        raw = self.stage.inspection_xml
        import base64

        self.assertEqual(base64.b64decode(raw).decode(), xml)
        etree.fromstring(base64.b64decode(raw))

    def test_who_may_list_and_export(self):
        self.stage._inspect()
        self._changes()
        for user in (self.viewer, self.outsider, self.ci):
            for method in ("action_inspect", "action_export_changes"):
                with self.subTest(user=user.login, method=method), self.assertRaises(AccessError):
                    getattr(self.stage.with_user(user), method)()
        with self.assertRaises(AccessError):
            self.stage.with_user(self.viewer).read(["inspection_xml"])
        with self.assertRaises(AccessError):
            self.stage.operation_ids[:1].with_user(self.viewer).read(["result"])

    def test_nothing_to_export(self):
        with self.assertRaisesRegex(UserError, "list the changes first"):
            self.stage.with_user(self.developer).action_export_changes()

    # Before a copy that is made by itself

    def _scheduled(self):
        one, _is_new = self.env["odooops.clone"]._start(self.stage, "schedule")
        return one

    def test_it_goes_on_when_nothing_would_be_lost(self):
        one = self._scheduled()
        self.assertEqual(one.state, "inspecting")
        self.assertFalse(self._lease(("clone",)), "nothing is overwritten before the changes are listed")
        self._listed()
        self.assertEqual(one.state, "queued")

    def test_it_waits_for_what_would_be_lost(self):
        one = self._scheduled()
        self._changes()
        self.assertEqual(one.state, "waiting")
        self.assertFalse(self._lease(("clone",)))
        self.assertEqual(self._activities(), ["demo/stage waits to be copied anew"])
        self.assertIn("2 changes", one.error_message)
        one.with_user(self.developer).action_go()
        self.assertEqual((one.state, self._activities()), ("queued", []))

    def test_what_is_exported_is_not_lost(self):
        self.stage._inspect()
        self._changes()
        self.stage.with_user(self.developer).action_export_changes()
        one = self._scheduled()
        self._changes()
        self.assertEqual(one.state, "queued")

    def test_what_came_after_the_export_is(self):
        self.stage._inspect()
        self._changes()
        self.stage.with_user(self.developer).action_export_changes()
        later = fixture("finish_request_inspect")["result"]["changes"][0]
        one = self._scheduled()
        self._changes(changes=[{**later, "changed_at": "2026-11-23T12:00:00Z"}])
        self.assertEqual(one.state, "waiting")

    def test_a_listing_that_failed_is_no_permission(self):
        one = self._scheduled()
        self._work("inspect", {}, "failed", {"code": "internal", "step": "x", "message": "No."})
        self.assertEqual(one.state, "waiting")
        self.assertIn("could not be listed", one.error_message)

    def test_an_agent_that_can_t_list_leaves_it_to_people(self):
        self.agent.sudo().capabilities = ["plan", "deploy", "clone"]
        one = self._scheduled()
        self.assertEqual(one.state, "waiting")
        self.assertIn("look yourself", one.error_message)
        wizard = (
            self.env["odooops.clone.wizard"]
            .with_user(self.developer)
            .create({"environment_id": self.stage.id, "key_typed": "demo/stage"})
        )
        self.assertFalse(wizard.can_list)
        wizard.action_clone()
        self.assertEqual(one.state, "queued", "who was told and typed the name need not be asked again")

    def test_an_environment_may_say_that_nothing_is_kept(self):
        self.stage.manual_changes = "discard"
        self.assertEqual(self._scheduled().state, "queued")

    def test_the_wizard_shows_them_and_asks(self):
        self.stage.with_user(self.developer).action_clone()
        self._changes()
        wizard = (
            self.env["odooops.clone.wizard"]
            .with_user(self.developer)
            .create({"environment_id": self.stage.id, "key_typed": "demo/stage"})
        )
        self.assertIn("res.partner.form.vat", wizard.inspection_html)
        with self.assertRaisesRegex(UserError, "Export the changes"):
            wizard.action_clone()
        wizard.action_export()
        self.assertEqual(self.env["odooops.clone"].browse(wizard.action_clone()["res_id"]).state, "queued")

    def test_the_wizard_goes_on_without_them(self):
        one = self._scheduled()
        self._changes()
        self.assertEqual(one.state, "waiting")
        wizard = (
            self.env["odooops.clone.wizard"]
            .with_user(self.developer)
            .create({"environment_id": self.stage.id, "key_typed": "demo/stage", "discard": True, "obfuscate": True})
        )
        self.assertEqual(wizard.action_clone()["res_id"], one.id)
        self.assertEqual((one.state, one.obfuscate), ("queued", True))

    # Rebuilt for each commit

    def _push(self, sha=SHA_B, digest=DIGEST_B):
        self._register(sha=sha, digest=digest)
        return self.stage._active_deployments()[:1]

    def test_a_commit_waits_for_its_fresh_copy(self):
        self.stage.refresh_mode = "rebuild"
        deployment = self._push()
        one = deployment.copy_id
        self.assertEqual((deployment.state, one.state, one.reason), ("draft", "inspecting", "deployment"))
        self.assertFalse(self._lease(("plan", "deploy")), "neither planned nor deployed before")
        self._listed()
        self._work("clone", self._result(one))
        self._plan(deployment)
        self._deploy(deployment)
        self.assertEqual((deployment.state, self.stage.copy_id), ("live", one))
        self.assertEqual(len(self.stage.clone_ids), 1)

    def test_a_newer_commit_waits_for_the_same_copy(self):
        self.stage.refresh_mode = "rebuild"
        first = self._push()
        second = self._push(SHA_C, DIGEST_C)
        self.assertEqual((first.state, second.copy_id), ("superseded", first.copy_id))
        self._listed()
        self._work("clone", self._result(second.copy_id))
        self._plan(second)
        self.assertEqual(self._deploy(second).state, "live")

    def test_without_the_copy_nothing_is_deployed(self):
        self.stage.refresh_mode = "rebuild"
        deployment = self._push()
        self._listed()
        message = fixture("finish_request_clone_not_safe")
        self._work("clone", message["result"], "failed", message["error"])
        self.assertEqual(deployment.state, "cancelled")
        self.assertFalse(self._lease(("plan", "deploy")))

    def test_changes_by_hand_keep_a_commit_waiting(self):
        self.stage.refresh_mode = "rebuild"
        deployment = self._push()
        self._changes()
        self.assertEqual((deployment.state, deployment.copy_state), ("draft", "waiting"))
        deployment.copy_id.with_user(self.manager).action_cancel()
        self.assertEqual(deployment.state, "cancelled")

    def test_a_commit_that_can_t_be_rebuilt_is_registered_all_the_same(self):
        self.stage.refresh_mode = "rebuild"
        self.kept.state = "dropped"
        self.assertFalse(self._push())
        self.assertIn("neither a restore set", self.stage.message_ids[0].body)

    def test_in_place_is_the_default(self):
        deployment = self._push()
        self.assertFalse(deployment.copy_id)
        self._plan(deployment)
        self.assertEqual(self._deploy(deployment).state, "live")

    # What an update of production writes over

    def test_production_is_listed_for_the_approval(self):
        self._live_on_stage("v1.1.0", SHA_B, DIGEST_B)
        module = {"name": "workshop", "from": "1", "to": "2", "action": "update"}
        deployment = self._plan(self._request(ref="refs/tags/v1.1.0", sha=SHA_B), modules=[module])
        self.assertFalse(deployment.has_manual_changes)
        self._changes()
        deployment.invalidate_recordset()
        self.assertTrue(deployment.has_manual_changes)
        self.assertIn("workshop.order.form", deployment.manual_changes_html)
        self.assertNotIn("res.partner.form.vat", deployment.manual_changes_html, "no update writes it")
        self.assertIn("workshop.order.form", deployment.message_ids[0].body)
        deployment._approve(self.manager, deployment.plan_hash, "looked")
        self._deploy(deployment)
        self.prod.operation_ids.filtered(lambda one: one.kind == "inspect").write({"result": False})
        deployment.invalidate_recordset()
        self.assertIn("workshop.order.form", deployment.manual_changes_html, "it stays when the update is over")

    def test_a_copy_whose_release_was_never_deployed_here_is_listed_too(self):
        self._cloned()
        self.stage.running_deployment_id = False
        one = self._scheduled()
        self.assertEqual(one.state, "inspecting")
        self._changes()
        self.assertEqual(one.state, "waiting")

    def test_a_first_installation_has_nothing_to_list(self):
        self.prod.running_deployment_id = False
        self._stage_goes_on()
        self._register("refs/tags/v1.1.0", sha=SHA_B, digest=DIGEST_B)
        module = {"name": "workshop", "from": None, "to": "2", "action": "install"}
        self._plan(self._request(ref="refs/tags/v1.1.0", sha=SHA_B), modules=[module])
        self.assertFalse(self._lease(("inspect",)))

    def test_a_plan_may_bring_them_itself(self):
        deployment = self._awaiting("v1.1.0", SHA_B, DIGEST_B)
        deployment.plan_facts = {"manual_changes": fixture("finish_request_inspect")["result"]["changes"][:1]}
        self.assertIn("workshop.order.form", deployment.manual_changes_html)

    def test_a_listing_of_before_the_copy_counts_no_more(self):
        self.stage._inspect()
        operation = self._changes()
        operation.write({"queued_at": fields.Datetime.now() - timedelta(hours=1)})
        self._cloned()
        self.assertEqual((self.stage.inspection_state, self.stage.listed_count), ("none", 0))
