from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError, MissingError, UserError
from odoo.tests import tagged
from odoo.tools import mute_logger

from ..models.mixins import Conflict
from .common import DIGEST_B, DIGEST_C, PASSED, SHA_A, SHA_B, SHA_C, OdooopsCase, OdooopsHttpCase

RISK_HIGH = {"tier": "high"}


@tagged("post_install", "-at_install")
class TestChecks(OdooopsCase):
    """What preflight found, on the release it is about."""

    def _report(self, name="lint", status="success", user=None, **values):
        values = {"project": "demo", "commit_sha": SHA_A, "summary": "3 addons", **values}
        return self.env["odooops.check.run"].with_user(user or self.ci).report(name=name, status=status, **values)

    def _release(self):
        return self.env["odooops.release"].search([("commit_sha", "=", SHA_A)])

    def test_reported_before_and_after_the_release(self):
        self.assertIsNone(self._report("risk", details=RISK_HIGH)["risk_tier"])
        answer = self._register()
        self.assertEqual(answer["risk_tier"], "high")
        after = self._report("lint")
        self.assertEqual(after["risk_tier"], "high")
        release = self._release()
        self.assertEqual(set(release.check_ids.mapped("name")), {"risk", "lint"})
        self.assertEqual(release.deployment_ids.check_ids, release.check_ids)
        self.assertEqual(release.check_state, "passed")

    def test_later_result_takes_the_place_of_the_first(self):
        first, second = self._report(status="failure"), self._report(status="success")
        self.assertEqual(first["id"], second["id"])
        self.assertEqual(self.env["odooops.check.run"].search_count([("commit_sha", "=", SHA_A)]), 1)

    def test_risk_is_raised_and_never_lowered(self):
        self._register()
        for tier, wanted in (("medium", "medium"), ("low", "medium"), ("critical", "critical"), ("high", "critical")):
            self.assertEqual(self._report("risk", details={"tier": tier})["risk_tier"], wanted)
        self.env.cr.precommit.run()
        audit = self.env["odooops.audit.event"].search([("action", "=", "release.risk_raised")])
        self.assertEqual([one.details["after"] for one in audit.sorted("id")], ["medium", "critical"])
        self.assertEqual(self._report("lint", details={"tier": "critical"}, commit_sha=SHA_B)["risk_tier"], None)

    def test_checks_that_come_with_the_registration(self):
        answer = self._register(
            checks=[
                {"check": "risk", "status": "passed", "summary": "1 rule", "facts": {"tier": "medium"}, "findings": []},
                {"check": "lint", "status": "failed", "summary": "1 error", "findings": [{"message": "<b>x</b>"}]},
            ]
        )
        release = self._release()
        self.assertEqual((answer["risk_tier"], release.check_state), ("medium", "failed"))
        lint = release.check_ids.filtered(lambda one: one.name == "lint")
        self.assertIn("&lt;b&gt;x", lint.details_html)
        self.assertIn("lint did not pass", "".join(map(str, release.message_ids.mapped("body"))))

    def test_malformed(self):
        for values in ({"status": "green"}, {"name": "a\n"}, {"commit_sha": "abc"}, {"details": []}):
            with self.subTest(values=values), self.assertRaises(UserError):
                self._report(**values)
        with self.assertRaises(UserError):
            self._register(checks=["lint"])
        self.assertFalse(self.env["odooops.check.run"].search([("project_id", "=", self.project.id)]))
        self.assertFalse(self.project.release_ids)

    def test_who_may_report(self):
        for user in (self.viewer, self.developer, self.internal, self.portal, self.outsider, self.administrator):
            with self.subTest(user=user.login), self.assertRaises(UserError) as refused:
                self._report(user=user)
            self.assertIn(type(refused.exception), (AccessError, MissingError))
        self._report(user=self.manager)
        for user in (self.outsider, self.internal, self.portal):
            with self.subTest(reader=user.login), self.assertRaises(AccessError):
                self.env["odooops.check.run"].search([], limit=1).with_user(user).read(["summary"])

    def test_secrets_in_findings_are_masked(self):
        self._report(details={"findings": [{"message": "password=hunter2000"}], "token": "abc"}, summary="token=abcdef")
        check = self.env["odooops.check.run"].search([("commit_sha", "=", SHA_A)])
        self.assertNotIn("hunter2000", str(check.details))
        self.assertNotIn("abcdef", check.summary)

    def test_production_waits_for_checks(self):
        deployment = self._awaiting()
        self._report("tests", "failure")
        with self.assertRaisesRegex(UserError, "tests of v1.0.0 did not pass"):
            deployment._approve(self.manager, deployment.plan_hash)
        self._report("tests", "in_progress")
        with self.assertRaisesRegex(UserError, "has not ended"):
            deployment._approve(self.manager, deployment.plan_hash)
        self._report("tests", "success")
        deployment._approve(self.manager, deployment.plan_hash)
        self.assertEqual(deployment.state, "queued")

    def test_production_opens_for_no_release_without_its_checks(self):
        deployment = self._awaiting(checks=[])
        with self.assertRaisesRegex(UserError, r"allowlist \(missing\), lint \(missing\), risk"):
            deployment._approve(self.manager, deployment.plan_hash)
        for name in ("allowlist", "version", "lint"):
            self._report(name)
        self._report("risk", details={"tier": "low"})
        for status in ("skipped", "neutral"):
            self._report("tests", status)
            with self.assertRaisesRegex(UserError, rf"requires: tests \({status}\)\. Let preflight"):
                deployment._approve(self.manager, deployment.plan_hash)
        self._report("tests")
        deployment._approve(self.manager, deployment.plan_hash)
        self.assertEqual(deployment.state, "queued")

    def test_policy_says_which_checks(self):
        self.prod.policy_id.required_checks = "lint, license scan,lint ,"
        deployment = self._awaiting(checks=[])
        self._report("license scan")
        with self.assertRaisesRegex(UserError, r"requires: lint \(missing\)\. "):
            deployment._approve(self.manager, deployment.plan_hash)
        with self.assertRaisesRegex(UserError, "is no name of a check"):
            self.prod.policy_id.required_checks = "lint; tests"

    def test_red_turns_green_by_whoever_found_it_or_ci_alone(self):
        self._register()
        self._report("tests", "failure")
        with self.assertRaisesRegex(UserError, "tests of aaaaaaa did not pass, as CI found: let the workflow run"):
            self._report("tests", "success", user=self.manager)
        self.assertEqual(self._release().check_ids.status, "failure")
        self._report("tests", "in_progress")
        self._report("tests", "success")
        self._report("tests", "success")
        self._report("lint", "failure", user=self.manager)
        self._report("lint", "success", user=self.manager)
        self.env.cr.precommit.run()
        audit = self.env["odooops.audit.event"].search([("action", "=", "check.changed")]).sorted("id")
        self.assertEqual(
            [(one.details["name"], one.details["before"], one.details["after"]) for one in audit],
            [("tests", "failure", "in_progress"), ("lint", "failure", "success")],
        )

    def test_registration_overrules_nobody(self):
        self._report("tests", "failure")
        with self.assertRaises(Conflict):
            self._register(checks=PASSED, user=self.manager)
        with self.assertRaises(AccessError):
            self._register(checks=PASSED, user=self.developer)
        self.assertFalse(self._release())

    def test_label_of_a_pull_request_outlives_the_push_of_its_commit(self):
        self._report("risk", details={"tier": "critical"})
        self.assertEqual(self._register(checks=PASSED)["risk_tier"], "critical")

    def test_risk_of_what_comes_with_a_release(self):
        self._register(checks=[*PASSED[:-1], {**PASSED[-1], "facts": {"tier": "critical"}}])
        answer = self._register(sha=SHA_B, digest=DIGEST_B, ancestors=[SHA_A], checks=PASSED)
        self.assertEqual(answer["risk_tier"], "low")
        release = self.env["odooops.release"].browse(answer["id"])
        [deployment] = release.deployment_ids
        self.assertEqual(deployment.risk_tier, "critical", "what is not there yet comes with it")
        self._plan(deployment)
        self._deploy(deployment)
        later = self._register(sha=SHA_C, digest=DIGEST_C, ancestors=[SHA_B, SHA_A], checks=PASSED)
        self.assertEqual(self.env["odooops.release"].browse(later["id"]).deployment_ids.risk_tier, "low")

    def test_risk_of_what_may_come_with_it(self):
        """Where nobody knows what a release contains, all since the one that runs counts."""
        self._register(checks=[{**PASSED[-1], "facts": {"tier": "high"}}])
        answer = self._register(sha=SHA_B, digest=DIGEST_B)
        self.assertEqual(self.env["odooops.release"].browse(answer["id"]).deployment_ids.risk_tier, "high")

    def test_checks_of_what_was_never_released_are_forgotten(self):
        self._register(checks=PASSED)
        self._report(commit_sha=SHA_B)
        checks = self.env["odooops.check.run"]
        checks._gc_checks()
        self.assertEqual(checks.search_count([("commit_sha", "=", SHA_B)]), 1)
        checks.search([]).reported_at = fields.Datetime.now() - timedelta(days=91)
        checks._gc_checks()
        self.assertEqual(set(checks.search([("project_id", "=", self.project.id)]).mapped("commit_sha")), {SHA_A})

    def test_which_commits_passed(self):
        self._register(checks=PASSED)
        self._register(sha=SHA_B, digest=DIGEST_B, checks=PASSED[1:])
        self._register(sha=SHA_C, digest=DIGEST_C, checks=PASSED)
        Release = self.env["odooops.release"]
        for user in (self.ci, self.developer, self.manager):
            self.assertEqual(Release.with_user(user).checked(project="demo"), {"commits": [SHA_C, SHA_A]})
        self._report("tests", "failure")
        self.assertEqual(Release.with_user(self.ci).checked(project="demo"), {"commits": [SHA_C]})
        for user in (self.viewer, self.outsider, self.internal, self.portal):
            with self.subTest(user=user.login), self.assertRaises(UserError) as refused:
                Release.with_user(user).checked(project="demo")
            self.assertIn(type(refused.exception), (AccessError, MissingError))

    def test_check_that_fails_after_the_approval(self):
        deployment = self._awaiting()
        deployment._approve(self.manager, deployment.plan_hash)
        self._report("tests", "failure")
        self.assertFalse(self._lease(("deploy",)))
        self.assertEqual(deployment.state, "draft")


@tagged("post_install", "-at_install")
class TestChecksHttp(OdooopsHttpCase):
    @mute_logger("odoo.http")
    def test_statuses(self):
        key, call = (
            self._api_key(self.ci),
            {"project": "demo", "commit_sha": SHA_A, "name": "lint", "status": "success"},
        )
        for expected, user_key, values in (
            (200, key, {}),
            (422, key, {"status": "green"}),
            (404, key, {"project": "nope"}),
            (403, self._api_key(self.developer), {}),
            (401, "no-such-key", {}),
        ):
            status, answer = self._json2("odooops.check.run", "report", user_key, **{**call, **values})
            self.assertEqual(status, expected, answer)
