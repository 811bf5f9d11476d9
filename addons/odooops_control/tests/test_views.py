from odoo.tests import Form, tagged

from .common import OdooopsCase


@tagged("post_install", "-at_install")
class TestViews(OdooopsCase):
    """Every model can be looked at, and forms work."""

    def test_every_model_has_its_views(self):
        for name in self.env.registry:
            model = self.env[name]
            if not name.startswith("odooops.") or model._abstract or model._transient:
                continue
            found = set(self.env["ir.ui.view"].search([("model", "=", name)]).mapped("type"))
            with self.subTest(model=name):
                self.assertLessEqual({"list", "search"}, found)
                if "activity_ids" in model._fields and name not in ("odooops.project", "odooops.release"):
                    self.assertIn("activity", found)
        for name in ("odooops.environment", "odooops.deployment"):
            found = set(self.env["ir.ui.view"].search([("model", "=", name)]).mapped("type"))
            self.assertLessEqual({"form", "kanban"}, found)

    def test_views_open_for_every_role(self):
        for action in self.env["ir.actions.act_window"].search([("res_model", "=like", "odooops.%")]):
            model = action.res_model
            for user in (self.viewer, self.developer, self.manager, self.administrator):
                if not self.env[model].with_user(user).has_access("read"):
                    continue
                views = [(False, mode) for mode in action.view_mode.split(",")] + [(False, "search")]
                with self.subTest(action=action.name, user=user.login):
                    answer = self.env[model].with_user(user).get_views(views)
                    self.assertEqual(len(answer["views"]), len(views))

    def test_forms_can_be_read_by_members(self):
        deployment = self._awaiting()
        for record in (deployment, self.prod, deployment.release_id, self.project, deployment.operation_ids[:1]):
            for user in (self.viewer, self.manager):
                with self.subTest(record=record._name, user=user.login):
                    Form(record.with_user(user))

    def test_new_environment_needs_a_name_only(self):
        self._join(self.administrator, "viewer")
        with Form(self.env["odooops.environment"].with_user(self.administrator)) as form:
            form.project_id = self.project
            form.code = "pr-3"
        environment = form.record
        self.assertEqual(
            (environment.tier, environment.agent_id, environment.database_name),
            ("preview", self.agent, "demo_pr_3"),
        )

    def test_new_project_needs_a_name_only(self):
        with Form(self.env["odooops.project"].with_user(self.administrator)) as form:
            form.name = "Web Shop"
        self.assertEqual((form.record.code, form.record.series), ("web-shop", "19.0"))

    def test_deploy_by_hand(self):
        release = self._live_on_stage()
        action = self.prod.with_user(self.developer).action_deploy()
        with Form(self.env[action["res_model"]].with_user(self.developer).with_context(**action["context"])) as form:
            self.assertEqual(form.release_id, release)
        opened = form.record.action_request()
        deployment = self.env["odooops.deployment"].browse(opened["res_id"])
        self.assertEqual((deployment.tag, deployment.requested_by_id), ("v1.0.0", self.developer))

    def test_the_key_is_shown(self):
        wizard = self.env["odooops.agent.enrol"].with_user(self.administrator).create({"name": "droplet-9"})
        action = wizard.action_enrol()
        # As the web client asks for a new form's values.
        shown = (
            self.env[action["res_model"]]
            .with_user(self.administrator)
            .with_context(**action["context"])
            .onchange({}, [], {"key": {}, "hint": {}})
        )
        self.assertEqual(shown["value"]["key"], action["context"]["default_key"])

    def test_approval_wizard_shows_the_plan(self):
        deployment = self._awaiting()
        action = deployment.with_user(self.manager).action_open_approval()
        wizard = Form(self.env[action["res_model"]].with_user(self.manager).with_context(**action["context"]))
        wizard.note = "looked"
        record = wizard.save()
        self.assertEqual(record.plan_hash, deployment.plan_hash)
        self.assertIn("no module changes", record.summary_html)
        record.action_reject()
        self.assertEqual(deployment.state, "rejected")
