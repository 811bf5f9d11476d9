import json

from odoo import fields
from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import DIGEST_A, DIGEST_B, SHA_A, SHA_B, OdooopsHttpCase


@tagged("post_install", "-at_install")
class TestCiHttp(OdooopsHttpCase):
    """CI over ``/json/2`` with its key, as a workflow calls it."""

    def setUp(self):
        super().setUp()
        wizard = (
            self.env["odooops.ci.access"]
            .with_user(self.administrator)
            .create({"name": "Actions", "project_ids": self.project.ids})
        )
        context = wizard.action_create_key()["context"]
        self.ci_key, self.ci_user = context["default_key"], self.env["res.users"].browse(context["odooops_user_id"])

    def _register_http(self, key=None, **values):
        arguments = {
            "project": "demo",
            "ref": "refs/heads/main",
            "commit_sha": SHA_A,
            "image": f"localhost:5000/demo@{DIGEST_A}",
            "manifest": {"schema": 1, "series": "19.0", "commit_sha": SHA_A},
            "checks": [],
            **values,
        }
        return self._json2("odooops.release", "register", key or self.ci_key, **arguments)

    def test_ci_user_is_a_user_of_its_own(self):
        self.assertTrue(self.ci_user.share)
        self.assertEqual(self.project._role_of(self.ci_user), "ci")
        self.assertFalse(self.ci_user._is_internal())

    def test_register_request_status(self):
        status, answer = self._register_http()
        self.assertEqual(status, 200, answer)
        self.assertEqual((answer["new"], answer["state"], answer["risk_tier"]), (True, "registered", "unknown"))
        self.assertEqual(self._register_http()[1]["id"], answer["id"])
        named = {"project": "demo", "ref": "refs/tags/v1.0.0", "commit_sha": SHA_A}
        status, named = self._json2("odooops.release", "register", self.ci_key, **named)
        self.assertEqual((status, named["id"], named["tag"]), (200, answer["id"], "v1.0.0"))
        status, deployment = self._json2(
            "odooops.deployment",
            "request",
            self.ci_key,
            environment="demo/stage",
            ref="refs/heads/main",
            commit_sha=SHA_A,
        )
        self.assertEqual((status, deployment["new"], deployment["state"]), (200, False, "draft"))
        status, answer = self._json2("odooops.deployment", "status", self.ci_key, id=deployment["id"])
        self.assertEqual((status, answer["environment"]), (200, "demo/stage"))
        status, answer = self._json2("odooops.environment", "status", self.ci_key, environment="stage")
        self.assertEqual((status, answer["last_deployment"]["id"]), (200, deployment["id"]))

    @mute_logger("odoo.http")
    def test_statuses(self):
        self._register_http()
        self._register_http(ref="refs/tags/v1.0.0")
        request = ("odooops.deployment", "request")
        cases = (
            (401, self._register_http(key="no-such-key")),
            (404, self._register_http(project="nope")),
            (409, self._register_http(image=f"localhost:5000/demo@{DIGEST_B}")),
            (409, self._register_http(ref="refs/tags/v1.0.0", commit_sha=SHA_B, manifest=None)),
            (404, self._register_http(ref="refs/tags/v1.1.0", commit_sha=SHA_B, image=None, manifest=None)),
            (409, self._register_http(ref="refs/tags/v1.0.0", commit_sha=SHA_B, image=None, manifest=None)),
            (422, self._register_http(image=None)),
            (422, self._register_http(ref="refs/tags/v1.0.0; rm -rf /")),
            (422, self._register_http(ref="refs/tags/latest")),
            (422, self._register_http(image="localhost:5000/demo:latest")),
            (403, self._register_http(key=self._api_key(self.viewer))),
            (404, self._register_http(key=self._api_key(self.outsider))),
            (404, self._json2(*request, self.ci_key, environment="demo/qa", ref="v1.0.0", commit_sha=SHA_A)),
            (404, self._json2(*request, self.ci_key, environment="demo/stage", ref="v7.0.0", commit_sha=SHA_A)),
            (422, self._json2(*request, self.ci_key, environment="demo/prod", ref="v1.0.0", commit_sha=SHA_A)),
            (422, self._json2(*request, self.ci_key, environment="demo/prod")),
            (404, self._json2("odooops.deployment", "status", self.ci_key, id=123456789)),
            (403, self._json2("odooops.deployment", "_request", self.ci_key)),
            (404, self._json2("odooops.deployment", "no_such_method", self.ci_key)),
        )
        for number, (expected, (status, answer)) in enumerate(cases):
            with self.subTest(number=number):
                self.assertEqual(status, expected, answer)
                self.assertTrue(answer["message"])
                self.assertNotIn("\n", answer["message"])

    @mute_logger("odoo.http")
    def test_clone_statuses(self):
        """A workflow refreshes staging; what it may not is said with the right status."""
        self._live_on_prod()
        deployment = self.prod.running_deployment_id
        self.env["odooops.restore.set"].create(
            {
                "deployment_id": deployment.id,
                "operation_id": deployment.operation_ids[:1].id,
                "token": 17,
                "from_digest": DIGEST_A,
                "database_snapshot": "demo_prod__s17",
                "taken_at": "2026-11-23 10:00:00",
            }
        )
        clone = ("odooops.environment", "clone")
        both = {"environment": "demo/stage", "source": "demo/prod"}
        status, answer = self._json2(*clone, self.ci_key, **both)
        self.assertEqual((status, answer["state"], answer["new"]), (200, "inspecting", True), answer)
        self.assertEqual(self._json2(*clone, self.ci_key, environment="stage")[1]["id"], answer["id"])
        cases = (
            (422, self._json2(*clone, self.ci_key, environment="demo/prod", source="demo/stage")),
            (422, self._json2(*clone, self.ci_key, environment="demo/stage", source="demo/stage")),
            (422, self._json2(*clone, self.ci_key, environment="demo/stage; id")),
            (404, self._json2(*clone, self.ci_key, environment="demo/nope")),
            (404, self._json2(*clone, self.ci_key, environment="demo/stage", source="other/prod")),
            (403, self._json2(*clone, self._api_key(self.viewer), **both)),
            (404, self._json2(*clone, self._api_key(self.outsider), **both)),
            (401, self._json2(*clone, "no-such-key", **both)),
        )
        for number, (expected, (status, answer)) in enumerate(cases):
            with self.subTest(number=number):
                self.assertEqual(status, expected, answer)
        self.stage.indeterminate = True
        self.assertEqual(self._json2(*clone, self.ci_key, **both)[0], 409)

    @mute_logger("odoo.http")
    def test_moved_tag_leaves_an_activity(self):
        self._register_http(ref="refs/tags/v1.0.0")
        status, _answer = self._register_http(ref="refs/tags/v1.0.0", commit_sha=SHA_B, manifest=None)
        self.assertEqual(status, 409)
        activities = self.project.release_ids.activity_ids
        self.assertEqual(activities.user_id, self.manager | self.manager_2)
        self.assertIn("v1.0.0", activities[0].summary)

    @mute_logger("odoo.http")
    def test_jsonrpc_while_odoo_serves_it(self):
        arguments = {
            "project": "demo",
            "ref": "refs/heads/main",
            "commit_sha": SHA_A,
            "image": f"localhost:5000/demo@{DIGEST_A}",
        }
        call = [self.env.cr.dbname, self.ci_user.id, self.ci_key, "odooops.release", "register", [], arguments]
        with mute_logger("odoo.addons.rpc.controllers.jsonrpc"):
            response = self.url_open(
                "/jsonrpc",
                data=json.dumps({"params": {"service": "object", "method": "execute_kw", "args": call}}),
                headers={"Content-Type": "application/json"},
            )
        self.assertTrue(response.json()["result"]["new"])

    @mute_logger("odoo.http")
    def test_ci_reads_no_more_than_it_needs(self):
        for model in (
            "res.partner",
            "odooops.agent",
            "odooops.agent.key",
            "odooops.audit.event",
            "odooops.approval.policy",
            "odooops.operation.log",
            "odooops.project.member",
        ):
            with self.subTest(model):
                status, answer = self._json2(model, "search_read", self.ci_key, domain=[], fields=["id"])
                self.assertEqual(status, 403, answer)

    def test_rotation_overlaps(self):
        wizard = self.env["odooops.ci.access"].with_user(self.administrator).create({"user_id": self.ci_user.id})
        second = wizard.action_create_key()["context"]["default_key"]
        for key in (self.ci_key, second):
            self.assertEqual(self._register_http(key=key)[0], 200)
        days = [(key.expiration_date - fields.Datetime.now()).days for key in self.ci_user.api_key_ids.sorted("id")]
        self.assertIn(days[0], (6, 7), "the old key ends after a week")
        self.assertIn(days[1], (179, 180))
