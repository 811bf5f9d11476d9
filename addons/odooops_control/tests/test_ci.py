from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError, MissingError, UserError
from odoo.tests import tagged

from ..models.mixins import Conflict
from .common import DIGEST_A, DIGEST_B, PLAN_HASH, SHA_A, SHA_B, SHA_C, OdooopsCase

BAD_TAGS = (
    "v1.0.0; rm -rf /",
    "v1.0.0$(id)",
    "v1.0.0`id`",
    "v1.0.0|cat",
    "v1.0.0\n",
    "v1.0.0 ",
    "v",
    "v1..0",
    "v1.0.0-",
    "vlatest",
    "1.0.0",
    "-rf",
    "--upload-pack=x",
    "../v1.0.0",
    "v１.0.0",
    "v1.0.0" + "0" * 300,
    "",
    None,
    7,
    ["v1.0.0"],
)


@tagged("post_install", "-at_install")
class TestCi(OdooopsCase):
    """What CI may ask for, and what it is told."""

    def test_register_is_idempotent(self):
        first = self._register()
        second = self._register()
        self.assertEqual((first["new"], second["new"]), (True, False))
        self.assertEqual({**first, "new": None}, {**second, "new": None})
        self.assertEqual(len(self.project.release_ids), 1)
        self.assertEqual(len(self.stage.deployment_ids), 1)
        event = self.env["odooops.event"].search([("delivery_id", "like", "register:demo")])
        self.assertEqual((len(event), event.count), (1, 2))

    def test_tag_names_the_release_that_is_built(self):
        built = self._register()
        tagged_release = self._register("refs/tags/v1.0.0")
        self.assertEqual((tagged_release["id"], tagged_release["tag"]), (built["id"], "v1.0.0"))
        self.assertEqual(len(self.stage.deployment_ids), 1)

    def test_tag_without_an_image_names_what_was_built(self):
        release = self._live_on_stage("v1.0.0")
        for _again in range(2):
            named = self._register("refs/tags/v1.0.1", image=None)
            self.assertEqual((named["id"], named["tag"], named["new"]), (release.id, "v1.0.1", False))
        self.assertEqual((release.digest, release.tag_ids.mapped("name").count("v1.0.1")), (DIGEST_A, 1))
        self.assertEqual(self._request(ref="refs/tags/v1.0.1").release_id, release)

    def test_tag_without_an_image_on_what_was_never_built(self):
        self._live_on_stage("v1.0.0")
        with self.assertRaisesRegex(MissingError, "bbbbbbb of demo was never built: push it to main first"):
            self._register("refs/tags/v1.1.0", sha=SHA_B, image=None)
        with self.assertRaisesRegex(Conflict, "v1.0.0 is registered with aaaaaaa and can't become bbbbbbb"):
            self._register("refs/tags/v1.0.0", sha=SHA_B, image=None)
        with self.assertRaisesRegex(UserError, "is no commit"):
            self._register("refs/tags/v1.1.0", sha="abc", image=None)
        with self.assertRaisesRegex(UserError, "by digest"):
            self._register("refs/heads/main", sha=SHA_B, image=None)
        self.assertEqual(self.project.release_ids.mapped("commit_sha"), [SHA_A])
        self.assertFalse(self.project.release_ids.tag_ids.filtered(lambda tag: tag.name == "v1.1.0"))

    def test_other_projects_build_is_not_named(self):
        self._join(self.ci, "ci", self._make_project("other"))
        self._register(project="other")
        with self.assertRaisesRegex(MissingError, "was never built"):
            self._register("refs/tags/v1.0.0", image=None)

    def test_every_form_of_tag(self):
        for tag in ("v1.4.1", "v19.0.1.2.0", "v1.4.1-rc1"):
            self.assertEqual(self._register(f"refs/tags/{tag}")["tag"], tag)

    def test_bad_tags_and_refs(self):
        self._register("refs/tags/v1.0.0")
        for tag in BAD_TAGS:
            for ref in (tag, f"refs/tags/{tag}"):
                with self.subTest(ref=ref), self.assertRaisesRegex(UserError, "can't be released"):
                    self._register(ref)
                with self.subTest(requested=ref), self.assertRaisesRegex(UserError, "can't be released"):
                    self._request(ref=ref)
        for ref in ("refs/heads/feature", "refs/pull/1/merge", "refs/heads/main; id"):
            with self.subTest(ref=ref), self.assertRaisesRegex(UserError, "can't be released"):
                self._register(ref)

    def test_malformed_commits_images_manifests(self):
        bad = (
            ({"sha": "abc"}, "is no commit"),
            ({"sha": "A" * 40}, "is no commit"),
            ({"sha": SHA_A + "\n"}, "is no commit"),
            ({"sha": None}, "is no commit"),
            ({"image": "localhost:5000/demo:latest"}, "by digest"),
            ({"image": f"localhost:5000/demo@{DIGEST_A}x"}, "by digest"),
            ({"image": f"localhost:5000/demo;id@{DIGEST_A}"}, "by digest"),
            ({"image": f"user:secret@evil.example/demo@{DIGEST_A}"}, "by digest"),
            ({"image": None}, "by digest"),
            ({"image": f"evil.example/demo@{DIGEST_A}"}, "come from localhost:5000/demo"),
            ({"manifest": ["x"]}, "has to be an object"),
            ({"manifest": {"commit_sha": SHA_B}}, "manifest says commit_sha"),
            ({"manifest": {"series": "18.0"}}, "manifest says series"),
        )
        for values, pattern in bad:
            with self.subTest(values=values), self.assertRaisesRegex(UserError, pattern):
                self._register(**values)
        self.assertFalse(self.project.release_ids)

    def test_commit_with_another_digest(self):
        self._register()
        with self.assertRaisesRegex(Conflict, "a release never changes"):
            self._register(digest=DIGEST_B)

    def test_tag_with_another_commit(self):
        self._register("refs/tags/v1.0.0")
        for sha in (SHA_B, SHA_C):
            with self.assertRaisesRegex(Conflict, "v1.0.0 is registered with aaaaaaa"):
                self._register("refs/tags/v1.0.0", sha=sha, digest=DIGEST_B)
        self.assertEqual(len(self.project.release_ids), 1)

    def test_unknown_project(self):
        for project in ("nope", "demo; drop", None, 7, "demo\n"):
            with self.subTest(project=project), self.assertRaisesRegex(MissingError, "that you may see"):
                self._register(project=project, image=f"localhost:5000/demo@{DIGEST_A}")

    def test_first_release_tells_where_images_come_from(self):
        self.project.image_repository = False
        self._register()
        self.assertEqual(self.project.image_repository, "localhost:5000/demo")

    def test_who_may_register_and_request(self):
        for user in (self.viewer, self.internal, self.portal, self.outsider, self.administrator):
            with self.subTest(user=user.login), self.assertRaises(UserError) as refused:
                self._register(user=user)
            self.assertIn(type(refused.exception), (AccessError, MissingError))
        self._register(user=self.developer)
        with self.assertRaisesRegex(AccessError, "may not do this"):
            self._request("demo/stage", "refs/heads/main", user=self.viewer)

    def test_environment_names(self):
        self._live_on_stage()
        for name in ("demo/prod", "demo/production", "prod", "production"):
            self.assertEqual(self._request(name).environment_id, self.prod)
        for name in ("demo/qa", "qa", "other/prod", "demo/prod2"):
            with self.subTest(name=name), self.assertRaises(MissingError):
                self._request(name)
        for name in ("demo/prod\n", "prod; id", "/prod", "demo/", "a/b/c", "", None, 7, "PROD"):
            with self.subTest(name=name), self.assertRaisesRegex(UserError, "is no environment"):
                self._request(name)

    def test_short_name_with_two_projects(self):
        self._live_on_stage()
        other = self._make_project("other")
        self._make_environments(other, self.agent)
        self.assertEqual(self._request("prod").environment_id, self.prod)
        self._join(self.ci, "ci", other)
        with self.assertRaisesRegex(UserError, "Which project"):
            self._request("prod")

    def test_unknown_release(self):
        with self.assertRaisesRegex(MissingError, "v9.9.9"):
            self._request(ref="refs/tags/v9.9.9")
        with self.assertRaisesRegex(MissingError, "ccc"):
            self._request("demo/stage", "refs/heads/main", SHA_C)
        self._register("refs/tags/v1.0.0")
        with self.assertRaisesRegex(Conflict, "is commit aaaaaaa"):
            self._request("demo/stage", sha=SHA_B)

    def test_production_runs_what_staging_ran(self):
        self._register("refs/tags/v1.0.0")
        with self.assertRaisesRegex(UserError, "never live on staging"):
            self._request()
        with self.assertRaisesRegex(UserError, "takes release tags"):
            self._request(ref="refs/heads/main")

    def test_other_projects_staging_does_not_count(self):
        other = self._make_project("other")
        self._make_environments(other, self.agent)
        self._join(self.ci, "ci", other)
        self._register(project="other", image=f"localhost:5000/other@{DIGEST_A}")
        deployment = other.environment_ids.deployment_ids
        self._plan(deployment)
        self._deploy(deployment)
        self._register("refs/tags/v1.0.0", image=f"localhost:5000/demo@{DIGEST_A}")
        with self.assertRaisesRegex(UserError, "never live on staging"):
            self._request()

    def test_second_request_on_production(self):
        first = self._awaiting()
        self._live_on_stage("v1.1.0", SHA_B, DIGEST_B)
        with self.assertRaisesRegex(Conflict, "demo/prod is busy: v1.0.0 is awaiting approval"):
            self._request(ref="refs/tags/v1.1.0", sha=SHA_B)
        first._reject(self.manager, PLAN_HASH)
        self.assertEqual(self._request(ref="refs/tags/v1.1.0", sha=SHA_B).state, "draft")

    def test_a_role_is_worth_no_more_than_the_group(self):
        self.project.member_ids.filtered(lambda member: member.user_id == self.viewer).role = "developer"
        with self.assertRaisesRegex(AccessError, "may not do this"):
            self._register(user=self.viewer)
        self.project.member_ids.filtered(lambda member: member.user_id == self.viewer).role = "release_manager"
        self.stage.indeterminate = True
        with self.assertRaisesRegex(AccessError, "may not do this"):
            self.stage.with_user(self.viewer).action_mark_repaired()
        self.assertFalse(self.project._role_of(self.viewer))

    def test_one_environment_does_not_stop_the_others(self):
        preview = self.env["odooops.environment"].create(
            {"project_id": self.project.id, "code": "pr-1", "agent_id": False, "auto_deploy": True}
        )
        preview.agent_id = False
        self.env.cr.execute("UPDATE odooops_environment SET auto_deploy = true WHERE id = %s", [self.prod.id])
        self.prod.invalidate_recordset()
        self.assertTrue(self._register()["new"])
        self.assertEqual(len(self.stage.deployment_ids), 1)
        self.assertFalse(self.prod.deployment_ids | preview.deployment_ids)
        self.assertIn("was not deployed", "".join(map(str, preview.message_ids.mapped("body"))))

    def test_environment_with_an_archived_agent(self):
        self._live_on_stage()
        self.agent.active = False
        with self.assertRaisesRegex(UserError, "is archived"):
            self._request()

    def test_status_says_when_the_agent_is_away(self):
        self._live_on_stage()
        deployment = self._request()
        Status = self.env["odooops.deployment"].with_user(self.ci)
        answer = Status.status(deployment.id)
        self.assertIn("has never called", answer["agent"])
        self.assertEqual(answer["ask_again_seconds"], 15)
        self.agent.last_seen_at = fields.Datetime.now()
        answer = Status.status(deployment.id)
        self.assertEqual((answer["agent"], answer["ask_again_seconds"]), (None, 1))
        self.agent.last_seen_at = fields.Datetime.now() - timedelta(hours=1)
        self.assertIn("is silent since", Status.status(deployment.id)["agent"])

    def test_environment_without_agent(self):
        self._live_on_stage()
        self.prod.agent_id = False
        with self.assertRaisesRegex(UserError, "has no agent"):
            self._request()

    def test_status(self):
        deployment = self._awaiting()
        status = self.env["odooops.deployment"].with_user(self.ci).status(deployment.id)
        self.assertEqual(status["state"], "awaiting_approval")
        self.assertEqual(status["approvals"], {"needed": 1, "given": 0})
        self.assertEqual(status["ask_again_seconds"], 15)
        deployment._approve(self.manager, PLAN_HASH)
        self._deploy(deployment)
        status = self.env["odooops.deployment"].with_user(self.ci).status(deployment.id)
        self.assertEqual((status["state"], status["ask_again_seconds"]), ("live", 0))
        self.assertEqual((status["downtime_seconds"], status["health"]), (1.5, "green"))
        status = self.env["odooops.environment"].with_user(self.ci).status("prod")
        self.assertEqual((status["tag"], status["digest"]), ("v1.0.0", DIGEST_A))
        self.assertEqual(status["last_deployment"]["id"], deployment.id)
        for wrong in (0, -1, 10**9):
            with self.assertRaises(MissingError):
                self.env["odooops.deployment"].with_user(self.ci).status(wrong)
        with self.assertRaisesRegex(UserError, "as a number"):
            self.env["odooops.deployment"].with_user(self.ci).status("1")
        with self.assertRaises(MissingError):
            self.env["odooops.deployment"].with_user(self.outsider).status(deployment.id)
