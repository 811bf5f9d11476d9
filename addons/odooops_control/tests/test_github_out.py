import logging
from datetime import timedelta
from unittest.mock import patch

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .. import github_client
from .common import DIGEST_C, PASSED, SHA_A, SHA_B, SHA_C, OdooopsCase
from .common_github import REPOSITORY, SECRET, GithubSetup
from .fake_github import TOKEN, FakeGithub

RUN = "/repos/acme/demo/actions/runs/21/deployment_protection_rule"


@tagged("post_install", "-at_install")
class TestGithubOut(GithubSetup, OdooopsCase):
    """What GitHub is told, by a GitHub of our own that holds every call against GitHub's description."""

    def setUp(self):
        super().setUp()
        self.github = FakeGithub()
        self.addCleanup(self.github.close)
        self.addCleanup(lambda: self.assertEqual(self.github.problems, []))
        self.env["ir.config_parameter"].set_param("odooops_control.github_api", self.github.url)
        self.project.github_repository = "acme/demo"
        self._lend_secrets(webhook_secret=SECRET, token=TOKEN)

    def _send(self, **due):
        """Send what is due; each in this test's own transaction."""
        if due.get("now"):
            self.env["odooops.github.call"].search([("state", "=", "waiting")]).next_at = fields.Datetime.now()
        with patch.object(type(self.env["ir.cron"]), "_commit_progress", lambda *_args, **_values: 60.0):
            self.env["odooops.github.call"]._cron_send()

    def _calls(self, **values):
        domain = [(name, "=", value) for name, value in values.items()]
        return self.env["odooops.github.call"].search(domain)

    def _pull_request(self, action="opened", number=12, head=None, labels=(), **values):
        request = {
            "title": "A change",
            "state": "open",
            "head": {"ref": "feature/a", "sha": SHA_B, "repo": {"id": 4711}, **(head or {})},
            "base": {"ref": "main", "repo": {"id": 4711}},
            "labels": [{"name": name} for name in labels],
            **values,
        }
        payload = {"action": action, "number": number, "pull_request": request, "repository": REPOSITORY}
        event = self._delivered("pull_request", payload)
        self.assertEqual(event.state, "processed", event.error)
        return self.env["odooops.pull.request"].search([("number", "=", number)])

    def _gate(self, environment="production", sha=SHA_A, ref="v1.0.0", callback=None, event="push"):
        payload = {
            "action": "requested",
            "environment": environment,
            "event": event,
            "deployment_callback_url": callback or self.github.url + RUN,
            "deployment": {"id": 5, "sha": sha, "ref": ref, "environment": environment},
            "repository": REPOSITORY,
        }
        return self._delivered("deployment_protection_rule", payload)

    def test_a_deployment_is_told_from_beginning_to_end(self):
        deployment = self._awaiting()
        self._send()
        statuses = self.github.bodies(f"/statuses/{SHA_A}")
        self.assertEqual({one["context"]: one["state"] for one in statuses},
                         {"odooops/demo/stage": "success", "odooops/demo/prod": "pending"})  # fmt: skip
        [production] = [one for one in self.github.deployments if one["production_environment"]]
        self.assertEqual((production["environment"], production["ref"]), ("production", SHA_A))
        self.assertEqual(deployment.github_key, str(production["id"]))
        said = self.github.bodies(f"/deployments/{production['id']}/statuses")
        self.assertEqual([one["state"] for one in said], ["pending"])
        self.assertIn(f"/odoo/odooops.deployment/{deployment.id}", said[0]["log_url"])
        self.prod.url = "https://prod.example.com"
        deployment._approve(self.manager, deployment.plan_hash)
        self._deploy(deployment)
        self._send()
        said = self.github.bodies(f"/deployments/{production['id']}/statuses")
        self.assertEqual((said[-1]["state"], said[-1]["environment_url"]), ("success", "https://prod.example.com"))
        self.assertEqual(len(self.github.deployments), 2, "each deployment is made once")
        self.assertEqual({one["token"] for one in self.github.told}, {TOKEN})
        self.assertEqual(set(self._calls().mapped("state")), {"sent"})

    def test_many_changes_are_one_call(self):
        self._awaiting()
        calls = self._calls(kind="deployment")
        self.assertEqual(len(calls), 2, "one for each deployment, whatever happened to it since")
        self.assertEqual(set(calls.mapped("state")), {"waiting"})

    def test_nothing_is_sent_inside_a_persons_transaction(self):
        self._awaiting()
        self.assertEqual(self.github.told, [])

    def test_without_configuration_everything_else_works(self):
        for secrets in ({"webhook_secret": SECRET}, {"app_id": "7"}):
            self._lend_secrets(**secrets)
            with self.subTest(secrets=secrets):
                self.assertFalse(self.project._speaks_to_github())
        self._live_on_prod()
        self.assertFalse(self._calls())
        self._lend_secrets(token=TOKEN)
        self.project.github_repository = False
        self._register(sha=SHA_B, digest="sha256:" + "8" * 64)
        self.assertFalse(self._calls())

    def test_answer_that_got_lost_makes_no_second_deployment(self):
        self._awaiting()
        self._send()
        deployment = self.stage.deployment_ids
        deployment.github_key = False
        deployment._tell_github()
        self._send()
        self.assertEqual(len(self.github.deployments), 2)
        self.assertTrue(deployment.github_key)

    def test_tried_again_while_github_is_away(self):
        self._register()
        self.github.failures = [(502, {}), (429, {"Retry-After": "600"})]
        self._send()
        waiting = self._calls(state="waiting").sorted("next_at")
        self.assertEqual(waiting.mapped("attempts"), [1, 1])
        self.assertIn("GitHub answers 50", waiting[0].error)
        self.assertGreater(waiting[1].next_at, fields.Datetime.now() + timedelta(seconds=590))
        told = len(self.github.told)
        self._send()
        self.assertEqual(len(self.github.told), told, "not before its time")
        self._send(now=True)
        self.assertEqual(set(self._calls().mapped("state")), {"sent"})
        self.assertFalse(any(self._calls().mapped("error")))

    def test_refused_for_good_is_told_to_people(self):
        self._register()
        self.github.failures = [(404, {}), (401, {})]
        self._send()
        failed = self._calls(state="failed")
        self.assertEqual(len(failed), 2)
        activities = self.project.activity_ids
        self.assertEqual(activities.user_id, self.manager | self.manager_2)
        self.assertEqual(len(activities), 2)
        with self.assertRaises(AccessError):
            failed.with_user(self.viewer).action_send_again()
        failed.with_user(self.manager).action_send_again()
        self._send()
        self.assertEqual(set(failed.mapped("state")), {"obsolete"})
        self.assertTrue(self.github.bodies(f"/statuses/{SHA_A}"))

    def test_what_was_cut_off_while_sending_is_sent_again(self):
        self._register()
        calls = self._calls()
        calls.write({"state": "sending", "next_at": fields.Datetime.now() - timedelta(minutes=6)})
        self._send()
        self.assertEqual(set(calls.mapped("state")), {"sent"})

    def test_as_an_app(self):
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        self.enterContext(patch.object(github_client, "_installations", {}))
        self._lend_secrets(app_id="7", app_private_key__pem=pem)
        self._register()
        self._send()
        by_path = [one["path"] for one in self.github.told]
        self.assertEqual(by_path[:2], ["/repos/acme/demo/installation", "/app/installations/1/access_tokens"])
        self.assertEqual(by_path.count("/app/installations/1/access_tokens"), 1, "kept for the next call")
        self.assertEqual(self.github.bodies("/access_tokens"), [{"repositories": ["demo"]}])
        self.assertEqual({one["token"] for one in self.github.told[2:]}, {"installation-token"})
        self.env.flush_all()
        self.env.cr.execute("SELECT 1 FROM odooops_github_call WHERE row(odooops_github_call)::text LIKE '%PRIVATE%'")
        self.assertFalse(self.env.cr.fetchone())

    @mute_logger("odoo.addons.odooops_control.models.github_call")
    def test_token_never_travels_unencrypted(self):
        self._register()
        self.env["ir.config_parameter"].set_param("odooops_control.github_api", "http://ghes.example.com/api/v3")
        with patch("requests.request") as request:
            self._send()
        request.assert_not_called()
        self.assertEqual(set(self._calls().mapped("state")), {"failed"})

    def test_token_is_nowhere_to_be_read(self):
        self._register()
        self.github.failures = [(500, {}), (422, {})]
        with self.assertLogs("odoo", logging.DEBUG) as logs:
            logging.getLogger("odoo").debug("so that there is one")
            self._send()
        self.assertNotIn(TOKEN, "".join(logs.output))
        self.assertNotIn(TOKEN, "".join(str(one) for one in self._calls().read()))

    # The comment on a pull request

    def test_one_comment_kept_up_to_date(self):
        request = self._pull_request(labels=["risk: medium"])
        self._send()
        [comment] = self.github.comments
        self.assertIn("**Risk:** medium", comment["body"])
        self.assertIn("No check has reported yet.", comment["body"])
        report = self.env["odooops.check.run"].with_user(self.ci).report
        report("demo", SHA_B, "risk", "success", "1 rule fired @everyone", {"tier": "high"})
        report("demo", SHA_B, "lint", "failure", "2 errors | in `x`")
        self._send()
        [comment] = self.github.comments
        self.assertIn("**Risk:** high (1 rule fired @\u200beveryone)", comment["body"])
        self.assertIn("| ❌ | lint | 2 errors \\| in \\`x\\` |", comment["body"])
        self.assertEqual(request.comment_key, str(comment["id"]))

    def test_comment_with_the_preview(self):
        preview = self.env["odooops.environment"].create(
            {
                "project_id": self.project.id,
                "code": "pr-12",
                "agent_id": self.agent.id,
                "url": "https://pr-12.example.com",
            }
        )
        self._pull_request()
        self._register()
        release = self.env["odooops.release"].search([("commit_sha", "=", SHA_A)])
        deployment, _new = self.env["odooops.deployment"]._request(preview, release, release.name)
        module = {"name": "sale_extra", "action": "update"}
        deployment.write({"plan": {"modules": [module], "migrations": ["a"]}})
        self._send()
        [comment] = self.github.comments
        self.assertIn("**Preview:** https://pr-12.example.com (planning)", comment["body"])
        self.assertIn("**Plan:** `sale_extra` to update or install, 1 migration scripts.", comment["body"])
        deployment._update_state("failed")
        self._send()
        self.assertIn("(failed)", self.github.comments[0]["body"])
        [transient] = [one for one in self.github.deployments if one["transient_environment"]]
        self.assertEqual(transient["environment"], "pr-12")

    def test_pull_request_of_a_fork(self):
        self.env["odooops.environment"].create(
            {"project_id": self.project.id, "code": "pr-12", "agent_id": self.agent.id, "auto_deploy": True}
        )
        for head in ({"repo": {"id": 9}}, {"repo": None}):
            request = self._pull_request(head=head)
            self.assertTrue(request.is_fork)
            self.assertFalse(request._environment())
        self._send()
        self.assertIn("From a fork: nothing is deployed for it.", self.github.comments[0]["body"])
        self.assertFalse(self.project.environment_ids.deployment_ids)

    def test_comment_that_was_deleted_or_forgotten(self):
        request = self._pull_request()
        self._send()
        request.comment_key = False
        request._tell()
        self._send()
        self.assertEqual(len(self.github.comments), 1, "found by its marker")
        request._tell()
        self.github.failures = [(404, {})]
        self._send()
        self.assertEqual(len(self.github.comments), 2)
        self.assertEqual(request.comment_key, "501")

    def test_risk_of_a_pull_request_goes_with_its_release(self):
        self._pull_request(labels=["risk: critical"])
        self._pull_request("closed", labels=["risk: critical"], state="closed", merged=True, merge_commit_sha=SHA_A)
        self.assertEqual(self._register()["risk_tier"], "critical")

    def test_risk_of_a_pull_request_whose_own_push_was_never_released(self):
        """Its run was cancelled or red: the next release brings it, and with it its risk."""
        self._register(sha=SHA_C, digest=DIGEST_C, checks=PASSED)
        self._pull_request("closed", labels=["risk: high"], state="closed", merged=True, merge_commit_sha=SHA_B)
        answer = self._register(checks=PASSED, ancestors=[SHA_B, SHA_C])
        self.assertEqual(answer["risk_tier"], "high")
        later = self._register(
            sha="d" * 40, digest=f"sha256:{'4' * 64}", ancestors=[SHA_A, SHA_B, SHA_C], checks=PASSED
        )
        self.assertEqual(later["risk_tier"], "low", "it came with the one before")

    # The gate

    def test_gate_opens_with_the_approval(self):
        self._live_on_stage()
        event = self._gate()
        self.assertIn("is waiting", event.outcome, event.error)
        gate = self.env["odooops.github.gate"].search([])
        deployment = gate.deployment_id
        self.assertEqual((deployment.environment_id, deployment.requested_by_id), (self.prod, self.ci))
        self._plan(deployment)
        self._send()
        self.assertEqual(self.github.bodies("deployment_protection_rule"), [])
        deployment._approve(self.manager, deployment.plan_hash)
        self._send()
        [answer] = self.github.bodies("deployment_protection_rule")
        self.assertEqual((answer["state"], answer["environment_name"]), ("approved", "production"))
        self.assertIn(f"odooops.deployment/{deployment.id}", answer["comment"])
        self._deploy(deployment)
        self._send()
        self.assertEqual(len(self.github.bodies("deployment_protection_rule")), 1)

    def test_gate_closes_with_the_rejection(self):
        self._live_on_stage()
        self._gate("Production")
        deployment = self.env["odooops.github.gate"].search([]).deployment_id
        self._plan(deployment)
        deployment._reject(self.manager, deployment.plan_hash, "not today")
        self._send()
        [answer] = self.github.bodies("deployment_protection_rule")
        self.assertEqual((answer["state"], answer["environment_name"]), ("rejected", "Production"))

    def test_gate_of_what_may_not_go_there(self):
        self._register()
        self._register("refs/tags/v1.0.0")
        cases = (
            ({}, "staging"),
            ({"ref": "v9.9.9"}, "There is no release v9.9.9"),
            ({"ref": "main"}, "takes release tags"),
            ({"environment": "qa"}, "has no environment qa"),
            ({"sha": SHA_B}, "is commit aaaaaaa"),
        )
        for number, (values, says) in enumerate(cases):
            with self.subTest(values=values):
                run = RUN.replace("/21/", f"/{number}/")
                event = self._gate(callback=self.github.url + run, **values)
                gate = self.env["odooops.github.gate"].search([("run", "=", str(number))])
                self.assertEqual(gate.state, "rejected", event.error)
                self.assertRegex(gate.comment, says)
        self.assertFalse(self.prod.deployment_ids)
        self._send()
        self.assertEqual(len(self.github.bodies("deployment_protection_rule")), len(cases))

    def test_gate_of_a_pull_request(self):
        self._live_on_stage()
        event = self._gate(event="pull_request")
        self.assertIn("is deployed to no production environment", event.outcome)
        self.assertFalse(self.prod.deployment_ids)

    def test_gate_of_staging_is_open(self):
        self.assertIn("The gate of staging is approved", self._gate("staging", ref="main").outcome)

    def test_gate_that_wants_its_answer_elsewhere(self):
        self._live_on_stage()
        for callback in (
            "https://evil.example.com" + RUN,
            self.github.url + ".evil.example.com" + RUN,
            self.github.url + RUN.replace("acme/demo", "acme/other"),
            self.github.url + RUN + "/../x",
            self.github.url + "/repos/acme/demo/actions/runs/x/deployment_protection_rule",
            "file:///etc/passwd",
        ):
            with self.subTest(callback=callback):
                event = self._gate(callback=callback)
                self.assertEqual(event.state, "failed")
                self.assertIn("nothing is sent there", event.error)
        self.assertFalse(self.env["odooops.github.gate"].search([]))
