from odoo.tests import tagged

from .common import DATABASE_UUID, DIGEST_B, PLAN_HASH, SHA_B, OdooopsCase


@tagged("post_install", "-at_install")
class TestJourney(OdooopsCase):
    """A release travels from a push to production."""

    def test_push_goes_to_stage_by_itself(self):
        release = self._live_on_stage()
        self.assertEqual(self.stage.running_release_id, release)
        self.assertEqual(self.stage.health, "green")
        self.assertEqual(self.stage.database_uuid, DATABASE_UUID)
        self.assertEqual(release.state, "staged")
        self.assertEqual(release.name, "v1.0.0")
        self.assertRegex(release.tag_ids.sorted("id")[0].name, r"^main-\d{14}-aaaaaaa$")

    def test_prod_waits_for_approval_then_goes_live(self):
        deployment = self._awaiting()
        self.assertEqual(deployment.state, "awaiting_approval")
        activities = deployment.activity_ids.filtered(lambda one: "Approve" in (one.summary or ""))
        self.assertEqual(activities.user_id, self.manager | self.manager_2)
        deployment._approve(self.manager, PLAN_HASH, "health is green on stage")
        self.assertEqual(deployment.state, "queued")
        self.assertFalse(deployment.activity_ids)
        self._deploy(deployment)
        self.assertEqual(deployment.state, "live")
        self.assertEqual(self.prod.running_tag, "v1.0.0")
        self.assertEqual(deployment.held_seconds, 1.5)
        self.assertEqual(
            [move["state"] for move in deployment.timeline],
            ["planned", "awaiting_approval", "approved", "queued", "running", "live"],
        )

    def test_next_release_supersedes_the_former(self):
        first = self._live_on_prod()
        second = self._live_on_prod(tag="v1.1.0", sha=SHA_B, digest=DIGEST_B, plan_hash="e" * 64)
        self.assertEqual((first.state, second.state), ("superseded", "live"))
        self.assertEqual(self.prod.running_deployment_id, second)
