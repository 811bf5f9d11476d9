import base64
from datetime import timedelta
from email.message import EmailMessage

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import PASSWORD, OdooopsHttpCase, fixture

FETCHES = (
    '<p>Hello</p><img src="http://tracker.test/pixel"><script>alert(1)</script><a href="https://x.test/reset">go</a>'
)


@tagged("post_install", "-at_install")
class TestCaughtMail(OdooopsHttpCase):
    """What staging sends is read here, by those who develop there, and fetches nothing."""

    def _message(self, raw=None, **values):
        message = fixture("mails_request")
        mail = message["mails"][0]
        if raw is not None:
            mail["raw"] = base64.b64encode(raw).decode()
        mail |= values
        return message

    def _caught(self, raw=None, **values):
        status, answer = self._post("mails", self._message(raw, **values))
        self.assertEqual(status, 200, answer)
        self.env.invalidate_all()
        return self.env["odooops.caught.mail"].search([("identity", "=", answer["accepted"][0])])

    def _rich(self):
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "shop@example.com", "bob@example.com", "Reset"
        mail.set_content("Hello")
        mail.add_alternative(FETCHES, subtype="html")
        mail.add_attachment(b"<script>alert(1)</script>", maintype="text", subtype="html", filename="x.html")
        return self._caught(mail.as_bytes())

    def test_a_mail_travels_as_in_the_fixture(self):
        status, answer = self._post("mails", fixture("mails_request"))
        self.assertEqual((status, answer), (200, fixture("mails_response")))
        mail = self.stage.caught_mail_ids
        self.assertEqual((mail.subject, mail.recipients), ("Your bicycle is ready", "anna@example.org"))
        self.assertEqual((mail.sender, mail.body_text.strip()), ("workshop@example.com", "Come and fetch it."))
        self.assertEqual(mail.received_at, fields.Datetime.to_datetime("2026-11-23 10:45:00"))
        self.assertEqual(self.stage.caught_mail_count, 1)

    def test_the_same_mail_counts_once(self):
        for _time in range(2):
            status, answer = self._post("mails", fixture("mails_request"))
            self.assertEqual((status, answer), (200, fixture("mails_response")))
        twice = fixture("mails_request")
        twice["mails"] *= 2
        self.assertEqual(self._post("mails", twice)[0], 200)
        self.assertEqual(len(self.stage.caught_mail_ids), 1)

    def test_whatever_the_bytes_are_the_intake_goes_on(self):
        message = fixture("mails_request")
        nasty = [
            b"",
            b"\x00" * 50,
            bytes(range(256)),
            b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n" * 500,
        ]
        texts = [*(base64.b64encode(raw).decode() for raw in nasty), "no base64", "!"]
        message["mails"] = [{**message["mails"][0], "id": f"nasty-{n}", "raw": raw} for n, raw in enumerate(texts)]
        status, answer = self._post("mails", message)
        self.assertEqual((status, len(answer["accepted"])), (200, len(texts)))
        for mail in self.stage.caught_mail_ids:
            self.assertTrue(mail.subject)
            mail.read()

    @mute_logger("odoo.http")
    def test_an_agent_brings_the_mails_of_its_own_environments(self):
        _agent, other_key = self.env["odooops.agent"]._enrol("droplet-other")
        for key, environment, wanted in (
            (other_key, "demo/stage", 403),
            (None, "demo/none", 403),
            ("x", "demo/stage", 401),
        ):
            with self.subTest(environment=environment, wanted=wanted):
                status, _answer = self._post("mails", {**fixture("mails_request"), "environment": environment}, key=key)
                self.assertEqual(status, wanted)
        self.assertFalse(self.stage.caught_mail_ids)

    @mute_logger("odoo.http")
    def test_messages_that_are_none(self):
        broken = (
            {**fixture("mails_request"), "mails": [{}]},
            {**fixture("mails_request"), "mails": "x"},
            self._message(received_at="yesterday"),
            {**fixture("mails_request"), "mails": fixture("mails_request")["mails"] * 101},
        )
        for message in broken:
            self.assertEqual(self._post("mails", message)[0], 400)
        self.assertEqual(self._post("mails", b" " * (8 * 1024 * 1024 + 1))[0], 413)

    def test_the_mail_is_shown_without_what_is_elsewhere(self):
        mail = self._rich()
        self.authenticate("ops_developer", PASSWORD)
        page = self.url_open(f"/odooops/mail/{mail.id}/body")
        self.assertIn("Hello", page.text)
        self.assertIn('href="https://x.test/reset"', page.text)
        for gone in ("tracker.test", "<script"):
            self.assertNotIn(gone, page.text)
        policy = page.headers["Content-Security-Policy"]
        for rule in ("sandbox", "default-src 'none'", "form-action 'none'"):
            self.assertIn(rule, policy)
        self.assertNotIn("allow-scripts", policy + mail.body_html)
        self.assertIn(f'src="/odooops/mail/{mail.id}/body"', mail.body_html)

    def test_an_attachment_is_kept_and_never_shown(self):
        mail = self._rich()
        self.assertIn("x.html", mail.attachments_html)
        self.authenticate("ops_developer", PASSWORD)
        answer = self.url_open(f"/odooops/mail/{mail.id}/part/2")
        self.assertEqual(answer.content, b"<script>alert(1)</script>")
        self.assertEqual(answer.headers["Content-Type"], "application/octet-stream")
        self.assertIn("attachment", answer.headers["Content-Disposition"])
        self.assertEqual(self.url_open(f"/odooops/mail/{mail.id}/part/9").status_code, 404)
        source = self.url_open(f"/web/content/odooops.caught.mail/{mail.id}/raw?download=1")
        self.assertIn(b"Subject: Reset", source.content)

    def test_who_may_read_them(self):
        mail = self._rich()
        for user in (self.viewer, self.ci, self.internal, self.portal):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                mail.with_user(user).read(["subject"])
        self.assertFalse(self.env["odooops.caught.mail"].with_user(self.outsider).search([]))
        for user in (self.developer, self.manager, self.administrator):
            found = self.env["odooops.caught.mail"].with_user(user).search([])
            self.assertEqual(found, mail)
            for operation in ("write", "create", "unlink"):
                self.assertFalse(found.has_access(operation))

    def test_a_developer_elsewhere_who_only_looks_on_here_reads_none(self):
        self._rich()
        self.project.member_ids.filtered(lambda one: one.user_id == self.developer).role = "viewer"
        self.assertFalse(self.env["odooops.caught.mail"].with_user(self.developer).search([]))

    @mute_logger("odoo.http")
    def test_pages_are_for_those_who_may_read_the_mail(self):
        mail = self._rich()
        raw = self.env["ir.attachment"].search(
            [("res_model", "=", mail._name), ("res_id", "=", mail.id), ("res_field", "=", "raw")]
        )
        for login in ("ops_viewer", "ops_outsider"):
            self.authenticate(login, PASSWORD)
            for path in (f"/odooops/mail/{mail.id}/body", f"/odooops/mail/{mail.id}/part/2", f"/web/content/{raw.id}"):
                with self.subTest(login=login, path=path):
                    self.assertIn(self.url_open(path).status_code, (403, 404))

    def test_old_ones_and_too_many_are_let_go(self):
        now = fields.Datetime.now()
        for number in range(6):
            at = (now - timedelta(days=number, hours=1)).isoformat() + "Z"
            self._caught(id=f"mail-{number}", received_at=at)
        self.stage.mails_keep = 4
        self._caught(id="mail-now", received_at=now.isoformat() + "Z")
        self.assertEqual(len(self.stage.caught_mail_ids), 4)
        self.stage.mail_keep_days = 2
        raws = [("res_model", "=", "odooops.caught.mail"), ("res_field", "=", "raw")]
        self.env["odooops.caught.mail"]._gc_mails()
        self.assertEqual(set(self.stage.caught_mail_ids.mapped("identity")), {"mail-0", "mail-1", "mail-now"})
        self.assertEqual(self.env["ir.attachment"].search_count(raws), 3, "their sources go with them")
