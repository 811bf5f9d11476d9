from odoo.exceptions import AccessError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import DIGEST_B, SHA_B, OdooopsCase, fixture

PROJECT_MODELS = (
    "odooops.project",
    "odooops.project.member",
    "odooops.environment",
    "odooops.environment.domain",
    "odooops.release",
    "odooops.release.tag",
    "odooops.deployment",
    "odooops.approval",
    "odooops.operation",
    "odooops.operation.step",
    "odooops.operation.log",
    "odooops.restore.set",
    "odooops.rollback.request",
    "odooops.quarantine",
    "odooops.backup",
    "odooops.backup.repository",
    "odooops.clone",
    "odooops.event",
    "odooops.check.run",
    "odooops.oidc.trust",
    "odooops.pull.request",
    "odooops.github.call",
    "odooops.github.gate",
    "odooops.agent",
)
LEDGER = (
    "odooops.release",
    "odooops.release.tag",
    "odooops.deployment",
    "odooops.approval",
    "odooops.operation",
    "odooops.operation.step",
    "odooops.operation.log",
    "odooops.restore.set",
    "odooops.rollback.request",
    "odooops.quarantine",
    "odooops.backup",
    "odooops.clone",
    "odooops.caught.mail",
    "odooops.event",
    "odooops.check.run",
    "odooops.oidc.use",
    "odooops.pull.request",
    "odooops.github.call",
    "odooops.github.gate",
    "odooops.audit.event",
    "odooops.agent.key",
)
CONFIGURATION = (
    "odooops.project",
    "odooops.project.member",
    "odooops.environment",
    "odooops.environment.domain",
    "odooops.approval.policy",
    "odooops.oidc.trust",
    "odooops.agent",
    "odooops.backup.repository",
)


@tagged("post_install", "-at_install")
class TestAccess(OdooopsCase):
    """Who sees and changes what, role by role."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls._fill(cls.project, cls.stage, cls.prod)
        cls.other = cls._make_project("other")
        cls.other_agent, _key = cls.env["odooops.agent"]._enrol("droplet-other")
        cls.other_stage, cls.other_prod = cls._make_environments(cls.other, cls.other_agent)
        cls._join(cls.outsider, "release_manager", cls.other)
        cls._register(project="other", sha=SHA_B, digest=DIGEST_B, user=cls.outsider)
        deployment = cls.other_stage.deployment_ids
        operation = cls._lease(agent=cls.other_agent)
        cls._finish(operation, result=cls._plan_result(operation))
        cls._everything(cls.other_stage, deployment, operation)
        cls.env.cr.precommit.run()

    @classmethod
    def _fill(cls, project, stage, prod):
        deployment = cls._live_on_prod()
        operation = deployment.operation_ids.sorted("id")[-1:]
        cls._everything(prod, deployment, operation)

    @classmethod
    def _everything(cls, environment, deployment, operation):
        environment.agent_id.sudo().sealing_public_key = fixture("heartbeat_request")["sealing_public_key"]
        cls.env["odooops.environment.domain"].create(
            {"environment_id": environment.id, "name": f"{environment.project_id.code}.example.com"}
        )
        common = {"operation_id": operation.id, "token": operation.token, "seq": 1}
        cls.env["odooops.operation.step"].create({**common, "name": "pull_image", "state": "succeeded"})
        cls.env["odooops.operation.log"].create({**common, "text": "a line"})
        cls.env["odooops.check.run"].create(
            {"project_id": environment.project_id.id, "commit_sha": SHA_B, "name": "lint"}
        )
        of_project = {"project_id": environment.project_id.id}
        cls.env["odooops.oidc.trust"].create(of_project)
        cls.env["odooops.pull.request"].create({**of_project, "number": 1, "head_sha": SHA_B})
        cls.env["odooops.github.call"].create({**of_project, "kind": "status", "res_id": deployment.id})
        cls.env["odooops.github.gate"].create(
            {**of_project, "environment_name": "production", "run": "1", "commit_sha": SHA_B}
        )
        cls.env["odooops.restore.set"].create({"deployment_id": deployment.id, "operation_id": operation.id})
        request = cls.env["odooops.rollback.request"].create(
            {
                "environment_id": environment.id,
                "tier": environment.tier,
                "target_id": deployment.id,
                "tag": deployment.tag,
                "reason": "orders fail",
            }
        )
        cls.env["odooops.quarantine"].create(
            {"release_id": deployment.release_id.id, "tag": deployment.tag, "rollback_id": request.id}
        )
        repository = cls.env["odooops.backup.repository"].create(
            {"name": "Disk", "agent_id": environment.agent_id.id, "url": f"/srv/odooops-backups/{environment.id}"}
        )
        environment.repository_id = repository
        cls.env["odooops.backup"].create(
            {"environment_id": environment.id, "repository_id": repository.id, "reason": "button"}
        )
        lower = environment.project_id.environment_ids.filtered(lambda one: one.tier == "staging")
        cls.env["odooops.clone"].create(
            {
                "environment_id": lower.id,
                "source_id": (lower.project_id.environment_ids - lower)[:1].id,
                "release_id": deployment.release_id.id,
                "data_as_of": "2026-11-23 10:00:00",
                "reason": "button",
                "state": "done",
            }
        )
        cls.env["odooops.approval"].create(
            {
                "deployment_id": deployment.id,
                "plan_hash": "0" * 64,
                "user_id": cls.env.ref("base.user_admin").id,
                "decision": "approved",
            }
        )

    def _seen(self, model, user):
        return self.env[model].with_user(user).search([])

    def _projects_of(self, records):
        records = records.sudo()
        if records._name == "odooops.project":
            return records
        return records.project_id if "project_id" in records._fields else records.environment_ids.project_id

    def test_wizards_are_their_makers_own(self):
        """A password dialog stands between filling one in and its act: nobody else may change it meanwhile."""
        wizards = [
            name for name, model in self.env.registry.items() if name.startswith("odooops.") and model._transient
        ]
        self.assertIn("odooops.restore.wizard", wizards)
        for name in wizards:
            rules = self.env["ir.rule"].search([("model_id.model", "=", name), ("groups", "=", False)])
            self.assertIn("[('create_uid', '=', user.id)]", rules.mapped("domain_force"), name)

    def test_members_see_their_project_and_no_other(self):
        for user in (self.viewer, self.developer, self.manager):
            for model in PROJECT_MODELS:
                with self.subTest(user=user.login, model=model):
                    seen = self._seen(model, user)
                    self.assertTrue(seen, "a member sees it")
                    self.assertEqual(self._projects_of(seen), self.project)

    def test_the_other_project_is_not_readable_by_id(self):
        for model in PROJECT_MODELS:
            if model == "odooops.project":
                hidden = self.other
            elif model == "odooops.agent":
                hidden = self.other_agent
            elif model == "odooops.backup.repository":
                hidden = self.other_stage.repository_id
            else:
                hidden = self.env[model].search([("project_id", "=", self.other.id)])
            with self.subTest(model=model):
                self.assertTrue(hidden)
                with self.assertRaises(AccessError), mute_logger("odoo.addons.base.models.ir_rule"):
                    hidden[:1].with_user(self.manager).read(["display_name"])

    def test_chatter_activities_and_attachments_of_the_other_project(self):
        deployment = self.other_stage.deployment_ids
        attachment = self.env["ir.attachment"].create(
            {"name": "log", "raw": b"x", "res_model": deployment._name, "res_id": deployment.id}
        )
        for record in (deployment.message_ids[:1], attachment):
            with self.subTest(record=record._name), self.assertRaises(AccessError):
                record.with_user(self.manager).read(["create_date"])
        with self.assertRaises(AccessError), mute_logger("odoo.addons.base.models.ir_rule"):
            deployment.with_user(self.manager).message_post(body="hello")

    def test_grouping_does_not_count_the_other_project(self):
        groups = self.env["odooops.deployment"].with_user(self.manager)._read_group([], ["project_id"], ["__count"])
        self.assertEqual([project for project, _count in groups], [self.project])

    def test_administrators_see_all(self):
        for model in PROJECT_MODELS:
            with self.subTest(model=model):
                seen = self._projects_of(self._seen(model, self.administrator))
                self.assertTrue(self.project | self.other <= seen)

    def test_people_without_a_group_see_nothing(self):
        models = [name for name in self.env.registry if name.startswith("odooops.")]
        for user in (self.internal, self.portal, self.env.ref("base.public_user"), self.agent.user_id):
            for model in models:
                if self.env[model]._abstract:
                    continue
                with self.subTest(user=user.login, model=model), self.assertRaises(AccessError):
                    self._seen(model, user)

    def test_ci_sees_what_it_needs_of_its_project(self):
        for model in ("odooops.project", "odooops.environment", "odooops.release", "odooops.deployment"):
            self.assertEqual(self._projects_of(self._seen(model, self.ci)), self.project)
        for model in ("odooops.agent", "odooops.agent.key", "odooops.audit.event", "odooops.operation.log"):
            with self.subTest(model), self.assertRaises(AccessError):
                self._seen(model, self.ci)

    def test_nobody_writes_the_ledger(self):
        for user in (self.viewer, self.developer, self.manager, self.administrator, self.ci):
            for model in LEDGER:
                Model = self.env[model].with_user(user)
                for operation in ("write", "create", "unlink"):
                    with self.subTest(user=user.login, model=model, operation=operation):
                        self.assertFalse(Model.has_access(operation))

    def test_administrators_configure_and_nobody_else(self):
        for model in CONFIGURATION:
            with self.subTest(model=model):
                self.assertTrue(self.env[model].with_user(self.administrator).has_access("write"))
                for user in (self.viewer, self.developer, self.manager, self.ci):
                    for operation in ("write", "create", "unlink"):
                        self.assertFalse(self.env[model].with_user(user).has_access(operation))

    def test_audit_log_by_project(self):
        projects = self._seen("odooops.audit.event", self.manager).mapped("project_id")
        self.assertEqual(set(projects), {self.project.id})
        with self.assertRaises(AccessError):
            self._seen("odooops.audit.event", self.developer)
        self.assertIn(self.other.id, self._seen("odooops.audit.event", self.administrator).mapped("project_id"))

    def test_keys_are_for_administrators_and_hashes_for_nobody(self):
        with self.assertRaises(AccessError):
            self._seen("odooops.agent.key", self.manager)
        key = self._seen("odooops.agent.key", self.administrator)[:1]
        self.assertNotIn("secret_hash", key.fields_get())
        with self.assertRaises(AccessError):
            key.read(["secret_hash"])
        with self.assertRaises(AccessError):
            key.search([("secret_hash", "like", "a")])

    def test_machine_fields_are_not_edited(self):
        environment = self.stage.with_user(self.administrator)
        for name, value in (("token", 99), ("health", "green"), ("database_uuid", "x"), ("running_digest", "x")):
            with self.subTest(name), self.assertRaises(AccessError):
                environment.write({name: value})
        with self.assertRaises(AccessError):
            self.agent.with_user(self.administrator).write({"last_seen_at": "2026-01-01"})

    def test_wizards_are_for_their_groups(self):
        # Whoever reads a project may be named by an approver who is away: the decision itself says who may.
        for model, allowed in (
            ("odooops.agent.enrol", (self.administrator,)),
            ("odooops.ci.access", (self.administrator,)),
            ("odooops.deploy.wizard", (self.developer, self.manager, self.administrator)),
            ("odooops.approval.wizard", (self.viewer, self.developer, self.manager, self.administrator)),
            ("odooops.rollback.wizard", (self.developer, self.manager, self.administrator)),
            ("odooops.rollback.decision.wizard", (self.viewer, self.developer, self.manager, self.administrator)),
            ("odooops.rollback.review.wizard", (self.manager, self.administrator)),
            ("odooops.glass.wizard", (self.administrator,)),
            ("odooops.quarantine.wizard", (self.manager, self.administrator)),
            ("odooops.clone.wizard", (self.developer, self.manager, self.administrator)),
            ("odooops.restore.wizard", (self.manager, self.administrator)),
        ):
            for user in (self.viewer, self.developer, self.manager, self.administrator, self.ci):
                with self.subTest(model=model, user=user.login):
                    self.assertEqual(self.env[model].with_user(user).has_access("create"), user in allowed)

    def test_menus(self):
        menu = self.env.ref("odooops_control.menu_root")
        visible = self.env["ir.ui.menu"].with_user(self.viewer)._visible_menu_ids()
        self.assertIn(menu.id, visible)
        self.assertNotIn(menu.id, self.env["ir.ui.menu"].with_user(self.internal)._visible_menu_ids())
