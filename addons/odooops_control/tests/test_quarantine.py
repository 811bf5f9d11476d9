from odoo.exceptions import AccessError, MissingError, UserError
from odoo.tests import tagged

from .common import DIGEST_A, DIGEST_B, SHA_A, SHA_B, SHA_C
from .rollback_common import RollbackCase

SHA_D, SHA_E = "d" * 40, "e" * 40
DIGEST_D, DIGEST_E = "sha256:" + "4" * 64, "sha256:" + "5" * 64
HISTORY = [SHA_C, SHA_B, SHA_A]


@tagged("post_install", "-at_install")
class TestQuarantine(RollbackCase):
    """What was rolled back, and what contains it, does not reach production until someone answers for it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.first, cls.second = cls._ran(2)
        cls.done = cls._back_to("v1.0.0")
        cls.bar = cls.done.quarantine_ids

    def _staged(self, tag, sha, digest, ancestors):
        """Bring a release to staging, tagged, with what CI says of its history."""
        release = self._live_on_stage(tag, sha, digest)
        self._register(sha=sha, digest=digest, ancestors=ancestors)
        return release

    def _refused(self, pattern, tag, sha):
        with self.assertRaisesRegex(UserError, pattern):
            self._request(ref=f"refs/tags/{tag}", sha=sha)

    def test_what_was_rolled_back_is_barred(self):
        self.assertEqual((self.bar.state, self.bar.tag, self.bar.environment_id), ("barred", "v1.1.0", self.prod))
        self._refused("v1.1.0 was rolled back on demo/prod and is barred from production", "v1.1.0", SHA_B)
        self.assertTrue(self._audited("quarantine.barred"))
        self.assertIn("is barred from production", self.second.release_id.bar_text)
        self.assertFalse(self.first.release_id.bar_text)

    def test_taking_the_rollback_back_bars_nothing(self):
        """v1.1.0 contains v1.0.0, which is left for it: a bar on that would bar what now runs."""
        self._register(sha=SHA_B, digest=DIGEST_B, ancestors=[SHA_A])
        self.bar.with_user(self.manager).action_lift("it was the relay")
        forth = self._back_to("v1.1.0")
        self.assertEqual((forth.state, self.prod.running_tag), ("done", "v1.1.0"))
        self.assertFalse(forth.quarantine_ids)
        self.assertFalse(self.second.release_id.bar_text or self.first.release_id.bar_text)

    def test_what_contains_it_is_barred(self):
        self._staged("v1.2.0", SHA_C, DIGEST_D, [SHA_B, SHA_A])
        self._refused("v1.2.0 contains v1.1.0, which was rolled back on demo/prod", "v1.2.0", SHA_C)

    def test_what_leads_to_it_through_another_release_is_barred(self):
        """CI sends a bounded history: the releases in between tell the rest."""
        self._staged("v1.2.0", SHA_C, DIGEST_D, [SHA_B])
        self._staged("v1.3.0", SHA_D, DIGEST_E, [SHA_C])
        self._refused("v1.3.0 contains v1.1.0", "v1.3.0", SHA_D)

    def test_what_does_not_contain_it_is_free(self):
        self._staged("v1.0.1", SHA_C, DIGEST_D, [SHA_A])
        deployment = self._plan(self._request(ref="refs/tags/v1.0.1", sha=SHA_C), "e" * 64)
        deployment._approve(self.manager, "e" * 64)
        self.assertEqual(deployment.state, "queued")

    def test_a_later_release_without_history_may_contain_it(self):
        release = self._live_on_stage("v1.2.0", SHA_C, DIGEST_D)
        self._refused("Nobody knows whether v1.2.0 contains v1.1.0.*fetch-depth: 0", "v1.2.0", SHA_C)
        self._register(sha=SHA_C, digest=DIGEST_D, ancestors=[SHA_A])
        self.assertEqual(release.ancestors, [SHA_C, SHA_A])
        self.assertEqual(self._request(ref="refs/tags/v1.2.0", sha=SHA_C).state, "draft")

    def test_staging_goes_on(self):
        release = self._staged("v1.2.0", SHA_C, DIGEST_D, [SHA_B])
        self.assertEqual(self.stage.running_release_id, release)

    def test_what_was_approved_before_is_stopped(self):
        self.bar.with_user(self.manager).action_lift("for a moment")
        self._staged("v1.2.0", SHA_C, DIGEST_D, [SHA_B])
        deployment = self._plan(self._request(ref="refs/tags/v1.2.0", sha=SHA_C), "e" * 64)
        deployment._approve(self.manager, "e" * 64)
        self.bar.state = "barred"
        self.assertFalse(self._lease(("deploy",)))
        self.assertEqual(deployment.state, "draft")
        self._plan(deployment, "e" * 64)
        with self.assertRaisesRegex(UserError, "v1.2.0 contains v1.1.0"):
            deployment._approve(self.manager, "e" * 64)

    def test_the_banner(self):
        self.assertEqual(self.prod.quarantine_ids, self.bar)
        self.assertIn("v1.1.0 was rolled back on demo/prod", self.prod.banner)
        self.assertFalse(self.stage.banner)
        self.assertIn("was rolled back", self.env["odooops.environment"].status("prod")["banner"])
        self.bar.with_user(self.manager).action_lift("it was the relay")
        self.assertFalse(self.prod.banner or self.prod.quarantine_ids)

    def test_the_fix_frees_what_contains_it_and_nothing_else(self):
        fix = self._staged("v1.2.0", SHA_C, DIGEST_D, [SHA_B, SHA_A])
        without = self._staged("v1.1.1", SHA_E, "sha256:" + "6" * 64, [SHA_B, SHA_A])
        after = self._staged("v1.3.0", SHA_D, DIGEST_E, HISTORY)
        self.bar.with_user(self.manager).action_link_fix(fix.id, "the constraint is gone")
        self.assertEqual((self.bar.state, self.bar.fix_release_id), ("fixed", fix))
        self.assertEqual(self.bar.carrier_ids, self.second.release_id | without)
        self._refused("v1.1.1 contains v1.1.0.*and not its fix v1.2.0", "v1.1.1", SHA_E)
        self._refused("is barred from production", "v1.1.0", SHA_B)
        self.assertFalse(fix.bar_text or after.bar_text or self.prod.banner)
        self.assertEqual(self._request(ref="refs/tags/v1.3.0", sha=SHA_D).state, "draft")
        [event] = self._audited("quarantine.fixed")
        self.assertEqual(event.details["fix"], "v1.2.0")

    def test_what_cannot_be_the_fix(self):
        self._register(sha=SHA_B, digest=self.second.release_id.digest, ancestors=[SHA_A])
        for release in (self.second.release_id, self.first.release_id):
            with self.subTest(release.name), self.assertRaisesRegex(UserError, "it is part of it"):
                self.bar.with_user(self.manager).action_link_fix(release.id, "x")
        with self.assertRaises(MissingError):
            self.bar.with_user(self.manager).action_link_fix(0, "x")

    def test_lifting_has_a_reason_and_the_right(self):
        for user in (self.viewer, self.developer):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                self.bar.with_user(user).action_lift("please")
        with self.assertRaises(AccessError):
            self.bar.with_user(self.outsider).action_lift("please")
        for reason in ("", " ", None):
            with self.subTest(reason=reason), self.assertRaisesRegex(UserError, "Say why"):
                self.bar.with_user(self.manager).action_lift(reason)
        self.bar.with_user(self.manager).action_lift("it was the relay")
        self.assertEqual((self.bar.state, self.bar.ended_by_id), ("lifted", self.manager))
        self.assertEqual(self._request(ref="refs/tags/v1.1.0", sha=SHA_B).state, "draft")
        self.assertTrue(self._audited("quarantine.lifted"))
        with self.assertRaisesRegex(UserError, "lifted already"):
            self.bar.with_user(self.manager).action_lift("again")
        with self.assertRaisesRegex(UserError, "stays in the ledger"):
            self.bar.unlink()

    def test_rolled_back_twice_is_barred_once(self):
        self.bar.with_user(self.manager).action_lift("it was the relay")
        forth = self._back_to("v1.1.0", digits="d")
        self.assertFalse(forth.quarantine_ids)
        again = self._back_to("v1.0.0", digits="e")
        self.assertEqual(again.quarantine_ids.state, "barred")
        self.assertEqual(len(self.second.release_id.quarantine_ids), 2)

    def test_a_history_that_is_none(self):
        for wrong in ("x", [1], ["abc"], [SHA_A + "\n"], {"a": 1}):
            with self.subTest(wrong), self.assertRaisesRegex(UserError, "list of commits of 40 hex digits"):
                self._register(sha=SHA_D, digest=DIGEST_D, ancestors=wrong)

    def test_a_history_is_learnt_once(self):
        self._register(sha=SHA_D, digest=DIGEST_D, ancestors=[SHA_A])
        self._register(sha=SHA_D, digest=DIGEST_D, ancestors=[SHA_B])
        release = self.project.release_ids.filtered(lambda one: one.commit_sha == SHA_D)
        self.assertEqual(release.ancestors, [SHA_D, SHA_A])
        with self.assertRaisesRegex(UserError, "never changes"):
            release.ancestors = [SHA_B]

    def test_the_first_commit_has_a_history_too(self):
        self._register(sha=SHA_D, digest=DIGEST_A, ancestors=[])
        release = self.project.release_ids.filtered(lambda one: one.commit_sha == SHA_D)
        self.assertEqual(release.ancestors, [SHA_D])
        self.assertFalse(release.bar_text)

    def test_another_projects_commits_do_not_count(self):
        other = self._make_project("other")
        self._make_environments(other, self.agent)
        self._join(self.ci, "ci", other)
        self._register(project="other", sha=SHA_C, digest=DIGEST_D, ancestors=[SHA_B])
        self.assertFalse(other.release_ids.bar_text)
