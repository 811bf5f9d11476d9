from odoo.modules import neutralize
from odoo.tests import tagged

from .common import OdooopsCase


@tagged("post_install", "-at_install")
class TestNeutralize(OdooopsCase):
    """A copy of the control database neither answers agents nor has work for them."""

    def test_neutralized(self):
        deployment = self._awaiting()
        rollback = self.env["odooops.rollback.request"].create(
            {
                "environment_id": self.stage.id,
                "tier": "staging",
                "target_id": self.stage.running_deployment_id.id,
                "tag": "v1.0.0",
                "reason": "orders fail",
            }
        )
        copied = self.env["odooops.clone"].create(
            {
                "environment_id": self.stage.id,
                "source_id": self.prod.id,
                "release_id": deployment.release_id.id,
                "data_as_of": "2026-11-23 10:00:00",
                "reason": "schedule",
                "state": "queued",
            }
        )
        self.stage.clone_schedule = "daily"
        self._register("refs/heads/main", sha="d" * 40, digest="sha256:" + "4" * 64)
        self.env["odooops.ci.access"].with_user(self.administrator).create({"name": "CI"}).action_create_key()
        self.env.flush_all()
        [queries] = neutralize.get_neutralization_queries(["odooops_control"])
        self.cr.execute(queries)
        self.env.invalidate_all()
        self.assertEqual(set(self.agent.key_ids.mapped("state")), {"revoked"})
        self.assertFalse(self.env["odooops.operation"].search([("state", "in", ("queued", "leased", "running"))]))
        self.assertEqual((deployment.state, rollback.state, rollback.is_active), ("cancelled", "cancelled", False))
        self.assertEqual((copied.state, self.stage.clone_schedule), ("cancelled", "none"))
        self.assertFalse(self.env["odooops.deployment"].search([("is_active", "=", True)]))
        self.assertFalse(self.env["res.users"].search([("login", "=", "odooops-ci")]).api_key_ids)
