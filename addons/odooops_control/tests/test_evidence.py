import base64
import hashlib
import json
from unittest.mock import patch

from odoo.addons.base.models.ir_actions_report import IrActionsReport
from odoo.exceptions import AccessError, MissingError, UserError
from odoo.tests import tagged

from ..core import evidence
from .common import DATABASE_UUID, PASSWORD, PLAN_HASH, OdooopsCase, OdooopsHttpCase

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>"


@tagged("post_install", "-at_install")
class TestEvidence(OdooopsCase):
    """What proves a deployment."""

    def setUp(self):
        super().setUp()
        # Whether the machine has wkhtmltopdf is nothing that these tests are about.
        self.startPatcher(patch.object(IrActionsReport, "get_wkhtmltopdf_state", lambda _self: "install"))

    def _evidence(self, deployment, user=None):
        answer = self.env["odooops.deployment"].with_user(user or self.viewer).evidence(deployment.id)
        return answer, json.loads(answer["json"])

    def _attachments(self, deployment):
        return self.env["ir.attachment"].search(
            [("res_model", "=", "odooops.deployment"), ("res_id", "=", deployment.id)], order="id"
        )

    def test_it_tells_the_whole_story(self):
        deployment = self._live_on_prod()
        log = {"operation_id": deployment.operation_ids.sorted("id")[-1:].id, "token": 1, "text": "Modules loaded."}
        self.env["odooops.operation.log"].create([{**log, "seq": 1}])
        _answer, facts = self._evidence(deployment)
        self.assertEqual(facts["odooops_evidence"], evidence.SCHEMA)
        self.assertEqual(facts["plan"]["hash"], PLAN_HASH)
        [decision] = facts["decisions"]
        self.assertEqual(
            (decision["by"]["login"], decision["decision"], decision["plan_hash"], decision["note"]),
            ("ops_manager", "approved", PLAN_HASH, "looked"),
        )
        self.assertEqual({one["name"] for one in facts["checks"]}, {"lint", "tests", "allowlist", "version", "risk"})
        self.assertIn("preflight", {one["key"] for one in facts["conditions"]})
        self.assertEqual(facts["verdict"]["state"], "live")
        self.assertEqual(facts["verdict"]["agent_reported"]["digest"], deployment.release_id.digest)
        self.assertEqual([one["state"] for one in facts["timeline"]][-1], "live")
        self.assertEqual([one["kind"] for one in facts["operations"]], ["plan", "deploy"])
        self.assertEqual(facts["operations"][-1]["log"], ["Modules loaded."])

    def test_both_files_are_attached_and_the_audit_log_has_the_hash(self):
        deployment = self._live_on_prod()
        answer, _facts = self._evidence(deployment)
        data, page = self._attachments(deployment)
        self.assertEqual((data.name, page.name), (answer["json_name"], answer["document_name"]))
        self.assertEqual(hashlib.sha256(data.raw).hexdigest(), answer["json_sha256"])
        self.assertEqual((data.mimetype, page.mimetype), ("application/json", "text/html"))
        self.assertIn(answer["json_sha256"].encode(), page.raw)
        self.env.cr.precommit.run()
        event = self.env["odooops.audit.event"].search([("action", "=", "deployment.evidence_made")])
        self.assertEqual(event.details["sha256"], answer["json_sha256"])
        self.assertEqual(event.details["document_sha256"], hashlib.sha256(page.raw).hexdigest())
        self.assertEqual(event.user_id, self.viewer.id)

    def test_the_same_facts_are_one_pack_whoever_asks(self):
        deployment = self._live_on_prod()
        first, _facts = self._evidence(deployment)
        self.manager.write({"tz": "Asia/Tokyo"})
        again, _facts = self._evidence(deployment, self.manager)
        self.assertEqual(again["json_sha256"], first["json_sha256"])
        self.assertEqual(len(self._attachments(deployment)), 2)
        deployment._update_state("superseded")
        later, facts = self._evidence(deployment)
        self.assertEqual(facts["verdict"]["state"], "superseded")
        self.assertNotEqual(later["json_sha256"], first["json_sha256"])
        self.assertEqual(len(self._attachments(deployment)), 4)

    def test_what_people_wrote_is_text_on_the_page(self):
        deployment = self._awaiting()
        deployment._approve(self.manager, deployment.plan_hash, EVIL)
        self.manager.name = f"Ada {EVIL}"
        self._deploy(deployment)
        self._evidence(deployment)
        page = self._attachments(deployment)[-1].raw.decode()
        self.assertIn("&lt;script&gt;", page)
        self.assertNotIn("<script", page)
        self.assertNotIn("<img", page)

    def test_secrets_are_masked(self):
        deployment = self._awaiting()
        deployment._approve(self.manager, deployment.plan_hash, "password=hunter2 is gone")
        operation = deployment.operation_ids.sorted("id")[-1:]
        log = {"operation_id": operation.id, "token": 1, "seq": 1, "text": "postgres://odoo:s3cr3tpw@db/demo"}
        self.env["odooops.operation.log"].create([log])
        answer, _facts = self._evidence(deployment)
        files = answer["json"] + self._attachments(deployment)[-1].raw.decode()
        self.assertNotIn("hunter2", files)
        self.assertNotIn("s3cr3tpw", files)

    def test_a_rollback_is_part_of_what_it_left(self):
        former = self._live_on_prod()
        deployment = self._live_on_prod(tag="v1.1.0", sha="b" * 40, digest=f"sha256:{'2' * 64}", plan_hash="e" * 64)
        request = self.env["odooops.rollback.request"].create(
            {
                "environment_id": self.prod.id,
                "target_id": former.id,
                "left_id": deployment.id,
                "tag": former.tag,
                "tier": "production",
                "reason": "Orders are lost",
            }
        )
        _answer, facts = self._evidence(deployment)
        [rollback] = facts["rollbacks"]
        self.assertEqual(
            (rollback["id"], rollback["leaves_this"], rollback["reason"]), (request.id, True, "Orders are lost")
        )
        _answer, facts = self._evidence(former)
        self.assertFalse(facts["rollbacks"][0]["leaves_this"])

    def test_an_upload_under_its_name_is_no_evidence(self):
        deployment = self._live_on_prod()
        answer, _facts = self._evidence(deployment)
        _data, page = self._attachments(deployment)
        page.unlink()
        forged = self.env["ir.attachment"].with_user(self.manager).sudo().create(
            {
                "name": answer["document_name"],
                "raw": b"All is well.",
                "mimetype": "text/html",
                "res_model": "odooops.deployment",
                "res_id": deployment.id,
            }
        )  # fmt: skip
        self.assertEqual(forged.create_uid, self.manager)
        again, _facts = self._evidence(deployment)
        self.assertNotEqual(again["document_sha256"], hashlib.sha256(b"All is well.").hexdigest())

    def test_whoever_may_not_read_it_gets_nothing(self):
        deployment = self._live_on_prod()
        for user, error in ((self.outsider, MissingError), (self.internal, AccessError), (self.portal, AccessError)):
            with self.subTest(user.login), self.assertRaises(error):
                self._evidence(deployment, user)
            with self.subTest(user.login), self.assertRaises(AccessError):
                deployment.with_user(user).action_evidence()
        self.assertFalse(self._attachments(deployment))
        with self.assertRaises(UserError):
            self.env["odooops.deployment"].with_user(self.viewer).evidence("1")

    def test_ci_may_fetch_it_document_and_all(self):
        deployment = self._live_on_prod()
        answer = self.env["odooops.deployment"].with_user(self.ci).evidence(deployment.id, document=True)
        document = base64.b64decode(answer["document"])
        self.assertEqual(hashlib.sha256(document).hexdigest(), answer["document_sha256"])
        self.assertIn(DATABASE_UUID, answer["json"])

    def test_a_pdf_where_odoo_can_make_one(self):
        deployment = self._live_on_prod()

        def convert(_self, bodies, **_options):
            [page] = bodies
            return b"%PDF-1.4 " + hashlib.sha256(page.encode()).hexdigest().encode()

        with (
            patch.object(IrActionsReport, "get_wkhtmltopdf_state", lambda _self: "ok"),
            patch.object(IrActionsReport, "_run_wkhtmltopdf", convert),
        ):
            action = deployment.with_user(self.viewer).action_evidence()
        pdf = self._attachments(deployment)[-1]
        self.assertEqual((pdf.mimetype, pdf.name[-4:]), ("application/pdf", ".pdf"))
        self.assertEqual(action["url"], f"/web/content/{pdf.id}")


@tagged("post_install", "-at_install")
class TestEvidenceHttp(OdooopsHttpCase):
    """The page and the call from outside."""

    def test_page_and_json2(self):
        self.startPatcher(patch.object(IrActionsReport, "get_wkhtmltopdf_state", lambda _self: "install"))
        deployment = self._live_on_prod()
        status, answer = self._json2("odooops.deployment", "evidence", self._api_key(self.ci), id=deployment.id)
        self.assertEqual((status, json.loads(answer["json"])["deployment"]["id"]), (200, deployment.id))
        status, _answer = self._json2("odooops.deployment", "evidence", self._api_key(self.outsider), id=deployment.id)
        self.assertEqual(status, 404)
        page = self.env["ir.attachment"].search([("name", "=", answer["document_name"])])
        address = f"/odooops/evidence/{page.id}"
        self.authenticate("ops_viewer", PASSWORD)
        response = self.url_open(address)
        self.assertEqual((response.status_code, response.content), (200, page.raw))
        self.assertIn("default-src 'none'", response.headers["Content-Security-Policy"])
        uploaded = page.copy({"name": "evidence-x.html", "raw": b"<p>x</p>"})
        uploaded._write({"create_uid": self.manager.id})
        self.assertEqual(self.url_open(f"/odooops/evidence/{uploaded.id}").status_code, 404)
        self.authenticate("ops_outsider", PASSWORD)
        self.assertEqual(self.url_open(address).status_code, 404)
