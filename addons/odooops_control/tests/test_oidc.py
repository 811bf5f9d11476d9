import threading
import time
from unittest.mock import patch

from cryptography.hazmat.primitives.asymmetric import rsa

from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .. import jwks
from ..core import oidc
from .common import DIGEST_A, SHA_A, SHA_B, OdooopsCase, OdooopsHttpCase
from .common_oidc import Issuer

AUDIENCE = "https://console.example.com"


@tagged("post_install", "-at_install")
class TestOidc(OdooopsHttpCase):
    """CI's calls with the token that GitHub gives a job, from an issuer on this machine."""

    def setUp(self):
        super().setUp()
        self.issuer = Issuer()
        self.addCleanup(self.issuer.close)
        self.enterContext(patch("odoo.addons.odooops_control.models.oidc_trust.STORE", jwks.KeyStore(jwks.fetch)))
        parameters = self.env["ir.config_parameter"].sudo()
        parameters.set_param("odooops_control.oidc_issuer", self.issuer.url)
        parameters.set_param("odooops_control.oidc_audience", AUDIENCE)
        self.project.write(
            {"github_repository": "acme/demo", "github_repository_key": "4711", "github_owner_key": "11"}
        )
        self.trust = self.env["odooops.oidc.trust"].create({"project_id": self.project.id, "environment": "staging"})

    def _call(self, token, model="odooops.release", method="register", **values):
        arguments = {
            "project": "demo",
            "ref": "refs/heads/main",
            "commit_sha": SHA_A,
            "image": f"localhost:5000/demo@{DIGEST_A}",
        }
        return self._json2(model, method, token, **(values or arguments))

    def _token(self, **changes):
        return self.issuer.token(AUDIENCE, **changes)

    def test_registers_requests_and_asks(self):
        status, answer = self._call(self._token())
        self.assertEqual(status, 200, answer)
        release = self.env["odooops.release"].browse(answer["id"])
        self.assertEqual(release.registered_by_id.login, "odooops-oidc-demo")
        self.assertEqual(self.project._role_of(release.registered_by_id), "ci")
        self.assertFalse(release.registered_by_id._is_internal())
        asked = {"environment": "demo/staging", "ref": "refs/heads/main", "commit_sha": SHA_A}
        status, answer = self._call(self._token(), "odooops.deployment", "request", **asked)
        self.assertEqual((status, answer["environment"]), (200, "demo/stage"), answer)
        status, answer = self._call(self._token(), "odooops.deployment", "status", id=answer["id"])
        self.assertEqual(status, 200, answer)
        check = {"project": "demo", "commit_sha": SHA_A, "name": "lint", "status": "success"}
        self.assertEqual(self._call(self._token(), "odooops.check.run", "report", **check)[0], 200)
        self.assertEqual(self._call(self._token(), "odooops.environment", "status", environment="stage")[0], 200)
        users = self.env["res.users"].search([("login", "=", "odooops-oidc-demo")])
        self.assertEqual(len(users), 1)

    def test_a_subject_of_any_format(self):
        """GitHub puts ids behind the names of newer repositories, and lets owners choose what else is in it."""
        for subject in (
            "repo:acme@11/demo@4711:environment:staging",
            "repo:acme/demo:ref:refs/heads/main",
            "repository_owner_id:11:job_workflow_ref:acme/demo/.github/workflows/deploy-staging.yml@refs/heads/main",
        ):
            with self.subTest(subject):
                status, answer = self._call(self._token(sub=subject))
                self.assertEqual(status, 200, answer)

    @mute_logger("odoo.http", "odoo.addons.odooops_control.jwks")
    def test_what_proves_nothing(self):
        now, stranger = int(time.time()), rsa.generate_private_key(public_exponent=65537, key_size=2048)
        cases = {
            "another audience": self.issuer.token("https://github.com/acme"),
            "no audience": self._token(aud=None),
            "expired": self._token(iat=now - 700, nbf=now - 700, exp=now - 60),
            "not yet valid": self._token(nbf=now + 120),
            "issued in the future": self._token(iat=now + 120, exp=now + 400),
            "no end": self._token(exp=None),
            "no id": self._token(jti=None),
            "lives for a year": self._token(exp=now + 365 * 86400),
            "unknown key": self._token(kid="key-9"),
            "another's key under a known id": self._token(key=stranger),
            "no signature": self.issuer.token_without_signature(AUDIENCE),
            "HS256 with the public key": self.issuer.token_signed_with_the_public_key(AUDIENCE),
            "another issuer": self._token(iss="https://token.actions.githubusercontent.com"),
            "another issuer that begins alike": self._token(iss=f"{self.issuer.url}.evil.example"),
            "a changed payload": ".".join(self._mixed(self._token(), self._token(environment="production"))),
            "no JSON": "YQ.YQ.YQ",
            "very long": self._token(padding="x" * 20_000),
        }
        for name, token in cases.items():
            with self.subTest(name):
                status, answer = self._call(token)
                self.assertEqual(status, 401, answer)
                self.assertNotIn("\n", answer["message"])
                self.assertNotIn(token[-40:], answer["message"])
        self.assertFalse(self.project.release_ids)
        self.assertFalse(self.env["odooops.oidc.use"].search([]))

    def _mixed(self, one, other):
        header, _payload, signature = one.split(".")
        return header, other.split(".")[1], signature

    @mute_logger("odoo.http")
    def test_who_may_not(self):
        workflow = "acme/demo/.github/workflows/{}@refs/heads/main"
        cases = {
            "another repository": {"repository_id": "4712"},
            "no repository": {"repository_id": None},
            "a squatted name": {"repository_id": "666", "sub": "repo:acme/demo:environment:staging"},
            "a squatted name, its subject with the true ids": {
                "repository_id": "666",
                "sub": "repo:acme@11/demo@4711:environment:staging",
            },
            "another owner": {"repository_owner_id": "12"},
            "another branch": {"ref": "refs/heads/feature"},
            "a branch that begins alike": {"ref": "refs/heads/main2"},
            "a pull request's merge": {"ref": "refs/pull/7/merge"},
            "another environment": {"environment": "production"},
            "no environment": {"environment": None},
            "another workflow": {"workflow_ref": workflow.format("evil.yml")},
            "another repository's workflow": {
                "workflow_ref": "mallory/x/.github/workflows/deploy-staging.yml@refs/heads/main"
            },
            "no workflow": {"workflow_ref": None},
            "another event": {"event_name": "workflow_dispatch"},
            "a pull request": {"event_name": "pull_request"},
            "a pull request of a fork": {"event_name": "pull_request_target"},
        }
        for name, changes in cases.items():
            with self.subTest(name):
                status, answer = self._call(self._token(**changes))
                self.assertEqual(status, 403, answer)
                self.assertNotIn("\n", answer["message"])
        self.assertFalse(self.project.release_ids)

    def test_a_pull_request_is_never_trusted(self):
        with self.assertRaisesRegex(ValidationError, "can't be trusted"):
            self.trust.events = "push, pull_request_target"
        self.env.cr.execute("UPDATE odooops_oidc_trust SET events = 'pull_request'")
        self.trust.invalidate_recordset()
        self.assertEqual(self._call(self._token(event_name="pull_request"))[0], 403)

    @mute_logger("odoo.http")
    def test_a_token_counts_once(self):
        token = self._token()
        self.assertEqual(self._call(token)[0], 200)
        status, answer = self._call(token)
        self.assertEqual(status, 401)
        self.assertIn("was used before", answer["message"])
        self.env.cr.execute("UPDATE odooops_oidc_use SET expires_at = '2020-01-01'")
        self.env["odooops.oidc.use"].invalidate_model()
        self.env["odooops.oidc.use"]._gc_uses()
        self.assertFalse(self.env["odooops.oidc.use"].search([]))

    @mute_logger("odoo.http")
    def test_a_job_acts_on_its_own_environment_and_commit(self):
        self._live_on_stage()
        asked = {"environment": "demo/prod", "ref": "refs/tags/v1.0.0"}
        status, answer = self._call(self._token(), "odooops.deployment", "request", **asked)
        self.assertEqual(status, 403)
        self.assertIn("environment: prod", answer["message"])
        self.trust.write({"environment": "production", "refs": "refs/tags/v*"})
        production = {"environment": "Production", "ref": "refs/tags/v1.0.0"}
        status, answer = self._call(self._token(**production), "odooops.deployment", "request", **asked)
        self.assertEqual((status, answer["environment"]), (200, "demo/prod"), answer)
        status, answer = self._call(self._token(**production, sha=SHA_B))
        self.assertEqual(status, 403)
        self.assertIn("may not register", answer["message"])
        tagged_release = {"project": "demo", "ref": "refs/tags/v1.1.0"}
        status, answer = self._call(self._token(**production), **tagged_release, commit_sha=SHA_B)
        self.assertEqual(status, 403)
        self.assertIn("may not register", answer["message"])
        status, answer = self._call(self._token(**production), **tagged_release, commit_sha=SHA_A)
        self.assertEqual(status, 403)
        self.assertIn("may not register as refs/tags/v1.1.0", answer["message"])
        production["ref"] = "refs/tags/v1.1.0"
        status, answer = self._call(self._token(**production), **tagged_release, commit_sha=SHA_A)
        self.assertEqual((status, answer["tag"]), (200, "v1.1.0"), answer)

    @mute_logger("odoo.http")
    def test_a_job_registers_under_its_own_ref(self):
        """What is registered as main goes to staging by itself: a tag's job may not call its commit that."""
        self.trust.write({"refs": "refs/heads/main, refs/tags/v*"})
        status, answer = self._call(self._token(ref="refs/tags/v9"))
        self.assertEqual(status, 403, answer)
        self.assertIn("may not register as refs/heads/main", answer["message"])
        self.assertFalse(self.env["odooops.release"].search([("commit_sha", "=", SHA_A)]))
        by_hand = {"ref": "refs/tags/v9", "event_name": "workflow_dispatch"}
        self.assertIsNone(oidc.ref_refusal(by_hand, "refs/tags/v8", has_image=False))
        self.assertIn("may not register", oidc.ref_refusal(by_hand, "refs/tags/v8", has_image=True))

    @mute_logger("odoo.http")
    def test_a_job_reports_on_its_own_commit(self):
        check = {"project": "demo", "name": "tests", "status": "success"}
        for event in ("push", "workflow_dispatch"):
            self.trust.events = event
            token = self._token(event_name=event)
            status, answer = self._call(token, "odooops.check.run", "report", **check, commit_sha=SHA_B)
            self.assertEqual(status, 403, answer)
            self.assertIn("may not report on bbbbbbb", answer["message"])
        self.assertFalse(self.env["odooops.check.run"].search([("commit_sha", "=", SHA_B)]))

    @mute_logger("odoo.http")
    def test_another_project_is_out_of_reach(self):
        self._make_project("other")
        check = {"project": "other", "commit_sha": SHA_A, "name": "lint", "status": "success"}
        self.assertEqual(self._call(self._token(), "odooops.check.run", "report", **check)[0], 404)

    @mute_logger("odoo.http")
    def test_opens_nothing_but_the_calls_of_ci(self):
        for model, method in (
            ("odooops.release", "search_read"),
            ("odooops.release", "write"),
            ("res.users", "context_get"),
            ("odooops.deployment", "action_approve"),
            ("odooops.deployment", "action_cancel"),
        ):
            with self.subTest(method=f"{model}.{method}"):
                status, answer = self._call(self._token(), model, method, domain=[])
                self.assertEqual(status, 403, answer)

    @mute_logger("odoo.http")
    def test_context_does_not_free_a_job_from_its_environment(self):
        status, _answer = self._call(
            self._token(), "odooops.environment", "status", environment="demo/prod", context={"odooops_oidc": None}
        )
        self.assertEqual(status, 403)

    @mute_logger("odoo.http", "odoo.addons.odooops_control.jwks")
    def test_keys_are_kept_and_rotated(self):
        for _time in range(3):
            self.assertEqual(self._call(self._token())[0], 200)
        self.assertEqual(self.issuer.asked.count("/jwks"), 1)
        self.issuer.down = True
        self.assertEqual(self._call(self._token())[0], 200)
        self.issuer.down = False
        self.issuer.rotate("key-2")
        with patch.object(jwks, "ASK_AGAIN_SECONDS", 0):
            self.assertEqual(self._call(self._token())[0], 200)
        self.assertEqual(self.issuer.asked.count("/jwks"), 2)

    @mute_logger("odoo.http", "odoo.addons.odooops_control.jwks")
    def test_issuer_that_does_not_answer(self):
        self.issuer.down = True
        status, answer = self._call(self._token())
        self.assertEqual(status, 503)
        self.assertIn("try again later", answer["message"])

    @mute_logger("odoo.http")
    def test_api_keys_still_count(self):
        self.assertEqual(self._call(self._api_key(self.ci))[0], 200)
        self.assertEqual(self._call("not-a-key")[0], 401)


@tagged("post_install", "-at_install")
class TestOidcTrust(OdooopsCase):
    """What may be trusted, and how long keys are kept."""

    def test_values_that_are_refused(self):
        for values, says in (
            ({"workflow": "deploy.yml"}, "Name the workflow's file"),
            ({"workflow": ".github/workflows/deploy"}, "Name the workflow's file"),
            ({"environment": "a b"}, "is no environment"),
            ({"events": "pull_request"}, "can't be trusted"),
            ({"refs": "main"}, "is no ref"),
            ({"refs": "*"}, "is no ref"),
            ({"refs": "refs/heads/*"}, "is no ref"),
        ):
            with self.subTest(values=values), self.assertRaisesRegex(ValidationError, says):
                self.env["odooops.oidc.trust"].create({"project_id": self.project.id, **values})

    def test_who_may_trust(self):
        values = {"project_id": self.project.id}
        for user in (self.viewer, self.developer, self.manager, self.ci):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                self.env["odooops.oidc.trust"].with_user(user).create(values)
        trust = self.env["odooops.oidc.trust"].with_user(self.administrator).create(values)
        trust.refs = "refs/tags/v*"
        trust.unlink()
        self.env.cr.precommit.run()
        audit = self.env["odooops.audit.event"].search([("action", "like", "trust.")], order="id")
        self.assertEqual(audit.mapped("action"), ["trust.added", "trust.changed", "trust.removed"])

    def test_issuer_over_plain_http(self):
        self.env["ir.config_parameter"].set_param("odooops_control.oidc_issuer", "http://ghes.example.com")
        with self.assertRaisesRegex(UserError, "https"):
            self.env["odooops.oidc.trust"]._issuer()

    def test_two_tokens_at_once_after_a_start(self):
        """The second waits for the keys that the first fetches."""
        began, go_on = threading.Event(), threading.Event()

        def fetch(_issuer):
            began.set()
            go_on.wait(30)
            return [{"kid": "a"}]

        store, found = jwks.KeyStore(fetch), []
        threads = [threading.Thread(target=lambda: found.append(store.key("https://i", "a"))) for _ in range(2)]
        threads[0].start()
        self.assertTrue(began.wait(30))
        threads[1].start()
        threads[1].join(0.2)
        go_on.set()
        for thread in threads:
            thread.join(30)
        self.assertEqual(found, [{"kid": "a"}] * 2)

    def test_stale_keys_end(self):
        now, answers = [0.0], [[{"kid": "a", "kty": "RSA"}], ValueError(), ValueError(), [{"kid": "b"}]]

        def fetch(_issuer):
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        store = jwks.KeyStore(fetch, clock=lambda: now[0])
        self.assertTrue(store.key("x", "a"))
        self.assertIsNone(store.key("x", "b"), "asked just before")
        now[0] = jwks.KEEP_SECONDS + 1
        with mute_logger("odoo.addons.odooops_control.jwks"):
            self.assertTrue(store.key("x", "a"), "the issuer is away, the key stays good")
            now[0] = jwks.STALE_SECONDS + 1
            with self.assertRaises(jwks.Unavailable):
                store.key("x", "a")
        now[0] += jwks.ASK_AGAIN_SECONDS
        self.assertIsNone(store.key("x", "a"), "it was taken out of use")
        self.assertTrue(store.key("x", "b"))

    def test_what_is_a_token(self):
        self.assertTrue(oidc.is_token("a.b.c"))
        self.assertTrue(oidc.is_token("a.b."))
        for text in ("0" * 40, "a.b", "a.b.c.d", "a b.c.d", "", None, "a.b.c\n"):
            self.assertFalse(oidc.is_token(text))
