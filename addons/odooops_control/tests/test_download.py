from base64 import b64encode
from contextlib import contextmanager
from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged
from odoo.tools import config

from ..models import backup_download
from .common import PASSWORD, OdooopsHttpCase, fixture

SNAPSHOT = "6f2c" * 16
CONTENT = b"a zip of a whole company"


@tagged("post_install", "-at_install")
class TestDownload(OdooopsHttpCase):
    """A backup comes to the console piece by piece, and goes to one person by a link that ends."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.agent.sudo().sealing_public_key = b64encode(b"k" * 32).decode()
        cls.repository = (
            cls.env["odooops.backup.repository"]
            .with_user(cls.administrator)
            .create({"name": "Disk", "agent_id": cls.agent.id, "url": "/srv/odooops-backups/demo"})
        )
        cls._live_on_prod()
        cls.of_prod = cls._kept(cls.prod, SNAPSHOT)
        cls.of_stage = cls._kept(cls.stage, "0a1b" * 16)

    @classmethod
    def _kept(cls, environment, snapshot):
        return cls.env["odooops.backup"].create(
            {
                "environment_id": environment.id,
                "repository_id": cls.repository.id,
                "reason": "button",
                "state": "kept",
                "snapshot": snapshot,
                "digest": environment.running_release_id.digest,
                "taken_at": fields.Datetime.now(),
            }
        )

    def setUp(self):
        super().setUp()
        self.addCleanup(lambda: self.env["odooops.backup.download"].search([])._remove_file())

    def _ask(self, backup=None, user=None):
        user = user or self.administrator
        self.env.flush_all()
        action = (backup or self.of_prod).with_user(user).action_download()
        return self.env["odooops.backup.download"].browse(action["res_id"])

    def _upload(self, operation, data, offset=0, **changes):
        message = {
            **fixture("upload_request"),
            "operation_id": operation.id,
            "token": operation.token,
            "offset": offset,
            "data": b64encode(data).decode(),
            **changes,
        }
        return self._post("upload", message)

    def _ready(self, backup=None, user=None):
        download = self._ask(backup, user)
        operation = self._lease(("export",))
        self.assertEqual(operation.download_id, download)
        self.assertEqual(self._upload(operation, CONTENT), (200, fixture("upload_response")))
        result = {**fixture("finish_request_export")["result"], "bytes": len(CONTENT)}
        self._finish(operation, result=result)
        self.assertEqual(download.state, "ready")
        return download

    def _get(self, download, token, user="ops_administrator", **options):
        if user:
            self.authenticate(user, PASSWORD)
        else:
            self.authenticate(None, None)
        return self.url_open(f"/odooops/download/{download.id}/{token}", allow_redirects=False, **options)

    # Who may

    def test_who_may_ask(self):
        for user in (self.manager, self.developer, self.viewer, self.outsider, self.ci):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                self._ask(self.of_prod, user)
        for user in (self.developer, self.viewer, self.outsider, self.ci):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                self._ask(self.of_stage, user)
        self.assertEqual(self._ask(self.of_stage, self.manager).user_id, self.manager)

    def test_nobody_sees_another_s_download_or_what_opens_it(self):
        download = self._ready()
        Download = self.env["odooops.backup.download"]
        self.assertFalse(Download.with_user(self.manager).search([]))
        self.assertEqual(Download.with_user(self.administrator).search([]), download)
        for name in ("token_hash", "file_name"):
            self.assertNotIn(name, Download.with_user(self.administrator).fields_get())
            with self.assertRaises(AccessError):
                download.with_user(self.administrator).read([name])
        with self.assertRaisesRegex(AccessError, "web client"):
            download.with_user(self.administrator).action_make_link()

    # From the agent

    def test_the_operation_travels_as_in_the_fixture(self):
        self._ask()
        payload, expected = self._lease(("export",))._payload(), fixture("lease_response_export")["operation"]
        self.assertEqual(payload["backup"].keys(), expected["backup"].keys())
        self.assertEqual((payload["kind"], payload["backup"]["snapshot"]), ("export", SNAPSHOT))
        self.assertEqual(payload["release"]["digest"], self.of_prod.digest)

    def test_pieces_come_in_order_and_once_more_changes_nothing(self):
        download = self._ask()
        operation = self._lease(("export",))
        for offset in (0, 0, 5, 10, 10, 15, 20):
            self.assertEqual(self._upload(operation, CONTENT[offset : offset + 5], offset)[0], 200)
        self.assertEqual(download._path().read_bytes(), CONTENT)
        self.assertEqual(download._path().stat().st_mode & 0o777, 0o600)
        self.assertFalse(self.env["ir.attachment"].search([("res_model", "=", "odooops.backup.download")]))
        self.assertEqual(self._upload(operation, b"x", 100)[0], 400)
        self.assertEqual(self._upload(operation, b"again", 0)[0], 200)
        self.assertEqual(download._path().read_bytes(), b"again", "another try begins at the first byte")

    def test_what_is_no_piece_of_this_download_is_refused(self):
        self._ask()
        operation = self._lease(("export",))
        self.assertEqual(self._upload(operation, b"x", token=operation.token + 1)[0], 409)
        self.assertEqual(self._upload(operation, b"x", operation_id=operation.id + 1000)[0], 404)
        for changes in ({"data": "no base64!"}, {"data": None}, {"offset": -1}, {"offset": "0"}, {"offset": True}):
            with self.subTest(**changes):
                message = {"operation_id": operation.id, "token": operation.token, **changes}
                self.assertEqual(self._post("upload", {**fixture("upload_request"), **message})[0], 400)
        other = self.env["odooops.operation"].sudo()._enqueue("restore_test", self.prod, backup_id=self.of_prod.id)
        self._lease(("restore_test",))
        self.assertEqual(self._upload(other, b"x")[0], 403)

    def test_a_console_without_room_says_so(self):
        download = self._ask()
        operation = self._lease(("export",))
        with patch.object(backup_download, "RESERVE_BYTES", 1 << 60):
            status, answer = self._upload(operation, CONTENT)
        self.assertEqual((status, answer["error"]["code"]), (413, "too_large"))
        self.assertFalse(download._path().exists())

    def test_what_is_not_whole_is_no_download(self):
        for values in ({"bytes": len(CONTENT) + 1}, {"bytes": None}, {}):
            download = self._ask()
            operation = self._lease(("export",))
            self._upload(operation, CONTENT)
            self._finish(operation, result=values)
            with self.subTest(**values):
                self.assertEqual(download.state, "failed")
                self.assertFalse(download._path().exists())
        download = self._ask()
        error = {"code": "disk_too_small", "step": "fetch_backup", "message": "No room."}
        self._finish(self._lease(("export",)), "failed", error=error)
        self.assertEqual((download.state, download.error_message), ("failed", "No room."))
        self.assertEqual(self.of_prod.test_state, "untested")

    def test_one_download_for_each_who_asks(self):
        download = self._ask()
        self.assertEqual(self._ask(), download)
        self.assertEqual(len(self.prod.operation_ids.filtered(lambda one: one.kind == "export")), 1)

    def test_what_can_not_be_handed_out(self):
        self.agent.sudo().capabilities = ["backup"]
        with self.assertRaisesRegex(UserError, "update it"):
            self._ask()
        self.of_prod.state = "forgotten"
        with self.assertRaisesRegex(UserError, "not kept"):
            self._ask()

    # To a person

    def test_the_link_gives_the_file_to_its_user(self):
        download = self._ready()
        token = download._make_link()
        self.assertNotIn(token, str(download.read()))
        answer = self._get(download, token)
        self.assertEqual((answer.status_code, answer.content), (200, CONTENT))
        self.assertIn("attachment; filename=demo-prod_", answer.headers["Content-Disposition"])
        self.assertIn("no-store", answer.headers["Cache-Control"])
        self.assertEqual(answer.headers["Content-Type"], "application/zip")
        part = self._get(download, token, headers={"Range": "bytes=5-9"})
        self.assertEqual((part.status_code, part.content), (206, CONTENT[5:10]), "what was cut off goes on")
        self.assertTrue(download.fetched_at)

    @contextmanager
    def _closed(self, download, token, what, user="ops_administrator"):
        yield
        with self.subTest(what=what):
            self.assertIn(self._get(download, token, user).status_code, (303, 404))

    def test_everybody_else_sees_nothing(self):
        download = self._ready(self.of_stage, self.manager)
        token = download._make_link()
        self.assertEqual(self._get(download, token, "ops_manager").status_code, 200)
        for login in ("ops_administrator", "ops_manager_2", "ops_viewer", "ops_portal", None):
            with self._closed(download, token, login, login):
                pass
        for wrong in (token[:-1], token + "x", "x", "0" * 43, download.token_hash):
            with self._closed(download, wrong, wrong, "ops_manager"):
                pass
        with self._closed(download, token, "no role any more", "ops_manager"):
            self.project.member_ids.filtered(lambda one: one.user_id == self.manager).unlink()

    def test_a_link_ends(self):
        download = self._ready()
        token = download._make_link()
        with self._closed(download, token, "a newer link"):
            newer = download._make_link()
        self.assertEqual(self._get(download, newer).status_code, 200)
        with self._closed(download, newer, "its hour"):
            download.link_until = fields.Datetime.now() - timedelta(seconds=1)

    def test_a_file_ends(self):
        download, on_its_way = self._ready(), self._ask(self.of_stage, self.manager)
        token, path = download._make_link(), download._path()
        operation = self._lease(("export",))
        self._upload(operation, CONTENT)
        orphan = path.with_name("999-orphan.zip")
        orphan.write_bytes(b"x")
        download._cron_expire()
        self.assertTrue(path.exists())
        self.assertFalse(orphan.exists())
        download.expires_at = fields.Datetime.now() - timedelta(seconds=1)
        with self._closed(download, token, "its day"):
            download._cron_expire()
        self.assertFalse(path.exists())
        self.assertTrue(on_its_way._path().exists())
        self.assertEqual((download.state, on_its_way.state), ("expired", "preparing"))
        self.assertEqual(self._upload(operation, CONTENT)[0], 200)
        on_its_way.create_date = fields.Datetime.now()
        on_its_way._update_state("expired")
        self.assertEqual(self._upload(operation, CONTENT)[0], 403)

    def test_a_file_goes_with_its_record(self):
        path = self._ready()._path()
        self.assertTrue(str(path).startswith(config["data_dir"]))
        self.env["odooops.backup.download"].search([]).unlink()
        self.assertFalse(path.exists())

    def test_each_step_stands_in_the_audit_log(self):
        download = self._ready()
        self._get(download, download._make_link())
        self._get(download, "wrong")
        self.env.cr.precommit.run()
        actions = [one for one in self.env["odooops.audit.event"].search([]).mapped("action") if "download" in one]
        expected = ("backup.download_link_made", "backup.download_requested", "backup.downloaded")
        self.assertEqual(sorted(actions), list(expected))
