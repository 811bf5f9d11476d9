import psycopg2

from odoo.exceptions import UserError, ValidationError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import DATABASE_UUID, OdooopsCase


@tagged("post_install", "-at_install")
class TestEnvironment(OdooopsCase):
    """Settings of projects and environments."""

    def _environment(self, code, **values):
        return self.env["odooops.environment"].create({"project_id": self.project.id, "code": code, **values})

    def test_defaults(self):
        self.assertEqual((self.prod.key, self.prod.tier), ("demo/prod", "production"))
        self.assertEqual((self.stage.tier, self.stage.auto_deploy), ("staging", True))
        self.assertFalse(self.prod.auto_deploy)
        self.assertEqual(self.prod.database_name, "demo_prod")
        self.assertEqual(self.prod.policy_id.tier, "production")
        preview = self._environment("pr-12")
        self.assertEqual((preview.tier, preview.database_name), ("preview", "demo_pr_12"))
        self.assertEqual(preview.agent_id, self.agent, "the only agent is taken")
        self.assertEqual(preview.policy_id.approvals_needed, 0)

    def test_project_code_from_its_name(self):
        project = self.env["odooops.project"].create({"name": "Web Shop Élan"})
        self.assertEqual(project.code, "web-shop-elan")

    def test_whoever_creates_a_project_is_its_release_manager(self):
        project = self.env["odooops.project"].with_user(self.administrator).create({"name": "Mine"})
        self.assertEqual(project._role_of(self.administrator), "release_manager")

    def test_aliases_mean_the_same(self):
        other = self._make_project("other")
        environment = self.env["odooops.environment"].create({"project_id": other.id, "code": "production"})
        self.assertEqual((environment.code, environment.tier), ("prod", "production"))
        with self.assertRaisesRegex(ValidationError, "means stage"):
            environment.code = "staging"

    def test_bucket_prefixes(self):
        self.stage.bucket = "staging-files, staging-more"
        self.prod.bucket = "prod-files"
        self._environment("pr-1", bucket="anything")
        for environment, bucket in (
            (self.stage, "prod-files"),
            (self.stage, "staging-files,prod-files"),
            (self.prod, "staging-files"),
            (self.prod, "production-files"),
        ):
            with self.subTest(bucket=bucket), self.assertRaisesRegex(ValidationError, "must start with"):
                environment.bucket = bucket

    def test_names_that_are_refused(self):
        for code in ("Prod", "prod\n", "../prod", "-prod", "prod;id", "p" * 30):
            with self.subTest(code=code), self.assertRaises(ValidationError):
                self._environment(code)
        for name in ("base,", "Sale"):
            self.stage.module_names = "sale"
            if name == "Sale":
                with self.assertRaises(ValidationError):
                    self.stage.module_names = name
        with self.assertRaises(ValidationError):
            self.stage.module_names = "sale;drop"
        with self.assertRaises(ValidationError):
            self.stage.languages = "fr_BE, x; y"
        for name in ("bad host", "a..b", "-a.example", "*.example.com", "a.example/x", "http://a", "x" * 300):
            with self.subTest(host=name), self.assertRaises(ValidationError):
                self.env["odooops.environment.domain"].create({"environment_id": self.stage.id, "name": name})
        with self.assertRaises(ValidationError):
            self.project.image_repository = "localhost:5000/demo:latest; id"
        with self.assertRaises(ValidationError):
            self.project.code = "Demo"

    def test_keys_that_docker_cant_tell_apart(self):
        self._environment("b-c")
        project = self._make_project("demo-b")
        with self.assertRaisesRegex(ValidationError, "demo-b/c and demo/b-c would have the same containers"):
            self.env["odooops.environment"].create({"project_id": project.id, "code": "c", "database_name": "another"})
        other, (elsewhere, _key) = self._make_project("other"), self.env["odooops.agent"]._enrol("droplet-other")
        self.env["odooops.environment"].create({"project_id": other.id, "code": "c", "agent_id": elsewhere.id})
        project.code = "another"
        with self.assertRaisesRegex(ValidationError, "demo-b/c and demo/b-c"):
            other.code = "demo-b"

    def test_databases_that_look_like_a_copy_or_a_role(self):
        for name in ("demo__s12", "demo_prod__x3", "demo_upgrade", "postgres", "template1"):
            with self.subTest(name=name), self.assertRaisesRegex(ValidationError, "is not a database's name"):
                self.stage.database_name = name

    def test_a_database_in_use_keeps_its_name(self):
        self.stage.database_uuid = DATABASE_UUID
        with self.assertRaisesRegex(UserError, "keeps its project, name"):
            self.stage.code = "qa"

    def test_another_agent_takes_over_what_waits(self):
        other, _key = self.env["odooops.agent"]._enrol("droplet-other")
        self._register()
        self.stage.agent_id = other
        operation = self._lease(agent=other)
        self.assertEqual(operation.environment_id, self.stage)
        with self.assertRaisesRegex(UserError, "works on demo/stage"):
            self.stage.agent_id = self.agent

    def test_two_environments_of_an_agent_do_not_share_a_database(self):
        with mute_logger("odoo.sql_db"), self.assertRaises(psycopg2.errors.UniqueViolation), self.cr.savepoint():
            self._environment("qa", database_name="demo_prod")
            self.env.flush_all()

    def test_link_to_the_environment(self):
        with self.assertRaisesRegex(UserError, "main domain or a URL"):
            self.stage.action_open_url()
        self.stage.url = "http://stage.localhost:8080"
        self.assertEqual(self.stage.action_open_url()["url"], "http://stage.localhost:8080")
