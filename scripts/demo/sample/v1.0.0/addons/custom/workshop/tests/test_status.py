from odoo.tests import HttpCase, tagged


@tagged("post_install", "-at_install")
class TestStatus(HttpCase):
    def test_status_counts_orders(self):
        self.env["workshop.order"].create({"name": "WO/100"})
        status = self.url_open("/workshop/status").json()
        self.assertEqual(status["orders"], self.env["workshop.order"].search_count([]))
