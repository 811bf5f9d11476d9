import hashlib
import hmac
import logging
import os
import shutil
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from secrets import token_hex, token_urlsafe

from odoo import api, fields, models
from odoo.addons.base.models.res_users import check_identity
from odoo.exceptions import AccessError, UserError
from odoo.tools import config

from ..core import protocol, redact, transitions
from .mixins import interactive_only

_logger = logging.getLogger(__name__)

KEPT_HOURS = 24
LINK_MINUTES = 60
# What the console itself needs to go on.
RESERVE_BYTES = 1 << 30


class OdooopsBackupDownload(models.Model):
    _name = "odooops.backup.download"
    _description = "Download of a Backup"
    _inherit = ["odooops.state.mixin"]
    _order = "id desc"
    _moves = transitions.DOWNLOAD

    backup_id = fields.Many2one("odooops.backup", required=True, readonly=True, ondelete="cascade", index=True)
    environment_id = fields.Many2one(related="backup_id.environment_id")
    project_id = fields.Many2one(related="backup_id.project_id", store=True, index=True, precompute=True)
    user_id = fields.Many2one("res.users", string="For", required=True, readonly=True, ondelete="cascade", index=True)
    operation_ids = fields.One2many("odooops.operation", "download_id", string="Operations", readonly=True)
    state = fields.Selection(
        [("preparing", "Being prepared"), ("ready", "Ready"), ("failed", "Failed"), ("expired", "Gone")],
        default="preparing",
        required=True,
        readonly=True,
        index=True,
    )
    error_message = fields.Char(readonly=True)
    size_bytes = fields.Float(readonly=True, digits=(20, 0))
    size_mb = fields.Float(compute="_compute_size_mb", string="Size (MB)", digits=(20, 1))
    sha256 = fields.Char(string="SHA-256", readonly=True)
    expires_at = fields.Datetime(readonly=True, help="Then the file is removed.")
    link_until = fields.Datetime(string="Link works until", readonly=True)
    fetched_at = fields.Datetime(readonly=True)
    token_hash = fields.Char(groups=fields.NO_ACCESS, readonly=True, copy=False)
    # Nobody can guess it, should the folder ever be served by mistake.
    file_name = fields.Char(groups=fields.NO_ACCESS, readonly=True, copy=False, default=lambda self: token_hex(16))

    _preparing_uniq = models.UniqueIndex(
        "(backup_id, user_id) WHERE state = 'preparing'", "It is being prepared for you already."
    )

    @api.depends("backup_id", "create_date")
    def _compute_display_name(self):
        for download in self:
            download.display_name = self.env._("Download of %s", download.backup_id.display_name)

    @api.depends("size_bytes")
    def _compute_size_mb(self):
        for download in self:
            download.size_mb = download.size_bytes / 2**20

    # The file

    @api.model
    def _folder(self):
        """Return the folder of this database's downloads; files, as they may be larger than a row can be."""
        folder = Path(config["data_dir"]) / "odooops_downloads" / self.env.cr.dbname
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _path(self):
        return self._folder() / f"{self.id}-{self.sudo().file_name}.zip"

    def _receive(self, offset, data):
        """Put a piece in its place; the same once more changes nothing.

        :raises protocol.ProtocolError: it comes out of order, or there is no room for it
        """
        self.ensure_one()
        if self.state != "preparing":
            raise protocol.Forbidden("Nobody waits for this download any more.")
        folder = self._folder()
        if shutil.disk_usage(folder).free < len(data) + RESERVE_BYTES:
            raise protocol.TooLarge("The console has no room for the download: free some on its disk.")
        descriptor = os.open(self._path(), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            there = os.fstat(descriptor).st_size
            if offset > there:
                raise protocol.BadMessage(f"Bytes {there} to {offset} of the download are missing: send them first.")
            file.seek(offset)
            file.write(data)
            file.truncate()

    def _remove_file(self):
        for download in self:
            with suppress(FileNotFoundError):
                download._path().unlink()

    def unlink(self):
        """Remove the files too."""
        self._remove_file()
        return super().unlink()

    # Who may

    def _check_may_fetch(self, user):
        """Refuse everybody but the one who asked, as long as that one may."""
        self.ensure_one()
        if self.user_id != user:
            raise AccessError(self.env._("This download is another person's: ask for your own."))
        self.backup_id._check_may_restore(user)

    @interactive_only
    @check_identity
    def action_make_link(self):
        """Make a link that works for an hour and for this user alone, and follow it."""
        self.ensure_one()
        self.check_access("read")
        download = self.sudo()
        download._check_may_fetch(self.env.user)
        token = download._make_link()
        return {"type": "ir.actions.act_url", "url": f"/odooops/download/{self.id}/{token}", "target": "self"}

    def _make_link(self):
        """Return a new token; the one before opens nothing any more."""
        if self.state != "ready":
            raise UserError(self.env._("%s is not there: ask for another.", self.display_name))
        token = token_urlsafe(32)
        self.write(
            {"token_hash": _hashed(token), "link_until": fields.Datetime.now() + timedelta(minutes=LINK_MINUTES)}
        )
        self._audit("backup.download_link_made")
        return token

    def _fetch(self, user, token):
        """Return the file behind a link, or None where there is none for this user.

        A download that was cut off goes on with the same link, so it may be asked for more than once.
        """
        if not self.exists() or self.state != "ready" or not self.token_hash:
            return None
        if not hmac.compare_digest(self.token_hash, _hashed(token)) or self.link_until < fields.Datetime.now():
            return None
        try:
            self._check_may_fetch(user)
        except AccessError:
            return None
        path = self._path()
        if not path.is_file():
            return None
        if not self.fetched_at:
            self.fetched_at = fields.Datetime.now()
            self._audit("backup.downloaded")
        return path

    def _download_name(self):
        at = fields.Datetime.to_string(self.backup_id.taken_at)[:16].replace(" ", "_").replace(":", "-")
        return f"{self.environment_id.key.replace('/', '-')}_{at}.zip"

    def _audit(self, action, **values):
        self.env["odooops.audit.event"]._record(
            self.environment_id, action, backup=self.backup_id.id, user=self.user_id.login, **values
        )

    # What an operation tells its subject

    def _on_operation_leased(self, operation):
        """The agent began."""

    def _on_operation_requeued(self, operation):
        """The agent fell silent: the next try begins at the first byte."""

    def _on_operation_ended(self, operation, result, failure):
        """Follow the agent's outcome."""
        size, path = result.get("bytes"), self._path()
        if operation.state == "succeeded" and path.is_file() and path.stat().st_size == size:
            self._update_state(
                "ready",
                size_bytes=size,
                sha256=str(result.get("sha256") or "")[:64],
                expires_at=fields.Datetime.now() + timedelta(hours=KEPT_HOURS),
                error_message=False,
            )
            note = self.env._("It can be downloaded until %s UTC.", fields.Datetime.to_string(self.expires_at))
        else:
            note = redact.masked(failure.message, 1000) if failure else self.env._("What arrived is not whole.")
            self._update_state("failed", error_message=note)
            self._remove_file()
        self.environment_id.message_notify(
            partner_ids=self.user_id.partner_id.ids, subject=self.display_name, body=note
        )

    @api.model
    def _cron_expire(self):
        """Remove files whose time is over, and what belongs to no download."""
        now = fields.Datetime.now()
        over = self.search([("state", "=", "ready"), ("expires_at", "<", now)])
        lost = self.search([("state", "=", "preparing"), ("create_date", "<", now - timedelta(days=2))])
        (over | lost)._update_state("expired")
        kept = {one._path().name for one in self.search([("state", "in", ("preparing", "ready"))])}
        for path in self._folder().iterdir():
            if path.name not in kept:
                with suppress(FileNotFoundError):
                    path.unlink()


class OdooopsBackup(models.Model):
    _inherit = "odooops.backup"

    download_ids = fields.One2many("odooops.backup.download", "backup_id", string="Downloads", readonly=True)

    def action_download(self):
        """Have the backup prepared as a zip that Odoo's database manager takes."""
        self.ensure_one()
        self.check_access("read")
        backup = self.sudo()
        backup._check_may_restore(self.env.user)
        download = backup._start_download(self.env.user)
        return {
            "type": "ir.actions.act_window",
            "res_model": "odooops.backup.download",
            "res_id": download.id,
            "view_mode": "form",
        }

    def _start_download(self, user):
        """Return the user's download: the one that is there or on its way, else a new one."""
        mine = self.download_ids.filtered(lambda one: one.user_id == user and one.state in ("preparing", "ready"))
        if mine:
            return mine[0]
        if refusal := self._restore_refusal():
            raise UserError(refusal)  # pylint: disable=missing-gettext
        agent = self.environment_id.agent_id
        if agent.capabilities and "export" not in agent.capabilities:
            raise UserError(self.env._("The agent %s can't hand out backups yet: update it.", agent.name))
        download = self.env["odooops.backup.download"].create({"backup_id": self.id, "user_id": user.id})
        self.env["odooops.operation"]._enqueue(
            "export", self.environment_id, backup_id=self.id, download_id=download.id
        )
        download._audit("backup.download_requested")
        return download


def _hashed(token):
    return hashlib.sha256(token.encode()).hexdigest()
