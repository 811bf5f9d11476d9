from odoo.tests import tagged

from .common import DIGEST_B, PASSED, SHA_A, SHA_B, OdooopsCase

MODULES = ({"name": "workshop", "from": "19.0.1.0.0", "to": "19.0.1.1.0", "action": "update"},)


@tagged("post_install", "-at_install")
class TestSummary(OdooopsCase):
    """What the approval page says first."""

    def test_what_an_approver_reads(self):
        self._live_on_prod()
        self.manager_2.email = "tom@example.com"
        self._register(
            sha=SHA_B, digest=DIGEST_B, checks=PASSED, ancestors=[SHA_A],
            manifest={"author_email": "tom@example.com", "message": "Orders <b>by phone</b>"},
        )  # fmt: skip
        release = self._live_on_stage("v1.1.0", SHA_B, DIGEST_B)
        release._raise_risk("high")
        deployment = self._plan(self._request(ref="refs/tags/v1.1.0", sha=SHA_B), modules=MODULES)
        said = deployment.with_user(self.viewer).summary_html
        for text in ("v1.0.0", "workshop", "19.0.1.1.0", "Orders &lt;b&gt;by phone", self.manager_2.name, "High"):
            with self.subTest(text):
                self.assertIn(text, said)
        self.assertIn("on staging, with this very image", said)
        self.assertIn("loses what was entered since", said)
        self.assertNotIn(SHA_A[:7], said, "what runs already is no news")

    def test_before_the_plan_it_says_nothing(self):
        self._live_on_stage()
        self.assertFalse(self._request().summary_html)
