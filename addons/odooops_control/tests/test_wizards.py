from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, tagged
from odoo.tools import mute_logger

from .common import DIGEST_B, PLAN_HASH, SHA_B, OdooopsCase


@tagged("post_install", "-at_install")
class TestWizards(OdooopsCase):
    """What a client writes into a wizard is checked as if it came from outside."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = cls._make_project("other")
        cls.other_stage, cls.other_prod = cls._make_environments(cls.other, cls.agent)
        cls._join(cls.outsider, "release_manager", cls.other)

    def _wizard(self, user, environment, release):
        values = {"environment_id": environment.id, "release_id": release.id}
        return self.env["odooops.deploy.wizard"].with_user(user).create(values)

    def test_another_projects_release_is_refused(self):
        foreign = self._live_on_stage()
        self._join(self.developer, "developer", self.other)
        for environment in (self.other_stage, self.other_prod):
            wizard = self._wizard(self.developer, environment, foreign)
            with self.subTest(environment.key), self.assertRaises(UserError):
                wizard.action_request()
            self.assertFalse(environment.deployment_ids)
            with self.subTest(environment.key), self.assertRaisesRegex(UserError, "of another project"):
                self.env["odooops.deployment"]._request(environment, foreign, "v1.0.0")
        with self.assertRaisesRegex(ValidationError, "of another project"):
            self.env["odooops.deployment"].create(
                {
                    "environment_id": self.other_stage.id,
                    "release_id": foreign.id,
                    "tag": "v1.0.0",
                    "tier": "staging",
                }
            )

    def test_production_gets_the_release_that_its_own_tag_names(self):
        foreign = self._live_on_stage()
        self._register("refs/tags/v1.0.0", project="other", sha=SHA_B, digest=DIGEST_B, user=self.outsider)
        self._join(self.developer, "developer", self.other)
        wizard = self._wizard(self.developer, self.other_prod, foreign)
        with self.assertRaisesRegex(UserError, "never live on staging"):
            wizard.action_request()

    @mute_logger("odoo.addons.base.models.ir_rule")
    def test_plans_of_other_projects_stay_hidden(self):
        deployment = self._awaiting()
        values = {"deployment_id": deployment.id, "plan_hash": PLAN_HASH}
        Wizard = self.env["odooops.approval.wizard"].with_user(self.outsider)
        with self.assertRaises(AccessError):
            Wizard.create(values)
        with self.assertRaises(AccessError):
            Wizard.onchange({}, [], {"deployment_id": {}}) and Wizard.with_context(
                default_deployment_id=deployment.id
            ).onchange({}, [], {"deployment_id": {}, "summary_html": {}, "conditions_html": {}, "requested_by_id": {}})
        self._register(project="other", sha=SHA_B, digest=DIGEST_B, user=self.outsider)
        own = Wizard.create({"deployment_id": self.other_stage.deployment_ids.id, "plan_hash": "x"})
        with self.assertRaises(AccessError):
            own.write({"deployment_id": deployment.id})
        Deploy = self.env["odooops.deploy.wizard"].with_user(self.outsider)
        with self.assertRaises(AccessError):
            Deploy.create({"environment_id": self.prod.id})
        with self.assertRaises(AccessError):
            self._wizard(self.outsider, self.other_stage, deployment.release_id)

    def test_production_offers_tagged_releases_only(self):
        self._live_on_stage()
        self._register(sha=SHA_B, digest=DIGEST_B)
        untagged = self.project.release_ids.filtered(lambda one: not one.is_tagged)
        self._plan(untagged.deployment_ids)
        self._deploy(untagged.deployment_ids)
        form = Form(
            self.env["odooops.deploy.wizard"]
            .with_user(self.developer)
            .with_context(default_environment_id=self.prod.id)
        )
        self.assertEqual(form.release_id.name, "v1.0.0")
        with self.assertRaisesRegex(UserError, "can't be released"):
            self._wizard(self.developer, self.prod, untagged).action_request()

    def test_a_wizard_without_a_release_says_so(self):
        wizard = self.env["odooops.deploy.wizard"].with_user(self.developer).create({"environment_id": self.prod.id})
        with self.assertRaisesRegex(UserError, "Choose a release"):
            wizard.action_request()

    def test_deploy_again_applies_the_configuration(self):
        deployment = self._live_on_prod()
        self.prod.workers = 3
        self.assertEqual(self._request(), deployment)
        opened = deployment.with_user(self.developer).action_deploy_again()
        again = self.env["odooops.deployment"].browse(opened["res_id"])
        self.assertEqual((again.release_id, again.state), (deployment.release_id, "draft"))
        self._plan(again, "e" * 64)
        again._approve(self.manager, "e" * 64)
        self._deploy(again)
        self.assertEqual((deployment.state, again.state), ("superseded", "live"))
        by_wizard = self._wizard(self.developer, self.prod, again.release_id).action_request()
        self.assertGreater(by_wizard["res_id"], again.id)

    def test_ci_of_two_customers_is_not_one_user(self):
        Wizard = self.env["odooops.ci.access"].with_user(self.administrator)
        users = self.env["res.users"]
        for project in (self.project, self.other):
            users += users.browse(
                Wizard.create({"project_ids": project.ids}).action_create_key()["context"]["odooops_user_id"]
            )
        self.assertEqual(len(users), 2)
        self.assertEqual(users.mapped("name"), ["CI of Demo", "CI of Other"])
        with self.assertRaisesRegex(UserError, "serves other projects"):
            Wizard.create({"name": "CI of Demo", "project_ids": self.other.ids}).action_create_key()
        again = Wizard.create({"name": "CI of Demo", "project_ids": self.project.ids}).action_create_key()
        self.assertEqual(again["context"]["odooops_user_id"], users[0].id)
        Wizard.create({"user_id": users[0].id, "project_ids": self.other.ids}).action_create_key()
        self.assertEqual(self.other._role_of(users[0]), "ci")
