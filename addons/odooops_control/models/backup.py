from odoo import api, fields, models
from odoo.exceptions import UserError

from ..core import protocol, redact, transitions
from .backup_repository import TROUBLES

# A test that ended with one of these says nothing about the backup.
UNTOLD = frozenset({"interrupted", "unavailable", "lease_expired", "repository_locked", "repository_unreachable"})

_MAX_CHECKS = 200


class OdooopsBackup(models.Model):
    _name = "odooops.backup"
    _description = "Backup"
    _inherit = ["odooops.state.mixin"]
    _order = "id desc"
    _moves = transitions.BACKUP

    environment_id = fields.Many2one(
        "odooops.environment", required=True, readonly=True, ondelete="restrict", index=True
    )
    project_id = fields.Many2one(related="environment_id.project_id", store=True, index=True, precompute=True)
    repository_id = fields.Many2one(
        "odooops.backup.repository", required=True, readonly=True, ondelete="restrict", index=True
    )
    deployment_id = fields.Many2one(
        "odooops.deployment", string="Taken before", readonly=True, ondelete="restrict", index="btree_not_null"
    )
    operation_ids = fields.One2many("odooops.operation", "backup_id", string="Operations", readonly=True)
    reason = fields.Selection(
        [("schedule", "Every night"), ("button", "By hand"), ("deployment", "Before a deployment")],
        required=True,
        readonly=True,
    )
    requested_by_id = fields.Many2one("res.users", readonly=True, default=lambda self: self.env.user)
    state = fields.Selection(
        [
            ("queued", "Queued"),
            ("running", "Running"),
            ("kept", "Kept"),
            ("failed", "Failed"),
            ("cancelled", "Cancelled"),
            ("forgotten", "Let go"),
        ],
        default="queued",
        required=True,
        readonly=True,
        index=True,
    )
    error_code = fields.Char(readonly=True)
    error_message = fields.Char(readonly=True)
    snapshot = fields.Char(readonly=True, index="btree_not_null")
    taken_at = fields.Datetime(readonly=True, help="What was entered later is not in it.")
    database_uuid = fields.Char(readonly=True)
    digest = fields.Char(string="Image digest", readonly=True)
    release_id = fields.Many2one("odooops.release", compute="_compute_release")
    config_hash = fields.Char(readonly=True)
    module_versions = fields.Json(readonly=True, prefetch=False)
    checksum = fields.Char(readonly=True, help="SHA-256 of the database's dump.")
    database_bytes = fields.Float(readonly=True, digits=(20, 0))
    filestore_bytes = fields.Float(readonly=True, digits=(20, 0))
    added_bytes = fields.Float(readonly=True, digits=(20, 0))
    size_mb = fields.Float(compute="_compute_sizes", string="Size (MB)", digits=(20, 1))
    added_mb = fields.Float(compute="_compute_sizes", string="Stored anew (MB)", digits=(20, 1))
    files = fields.Integer(readonly=True)
    seconds = fields.Float(readonly=True)
    test_state = fields.Selection(
        [("untested", "Not tested"), ("testing", "Being tested"), ("proven", "Restored"), ("failed", "Not restorable")],
        default="untested",
        required=True,
        readonly=True,
    )
    tested_at = fields.Datetime(readonly=True)
    test_message = fields.Char(readonly=True)
    recovery_seconds = fields.Float(readonly=True, help="From the repository to a page of Odoo, as measured.")
    test_checks = fields.Json(readonly=True, prefetch=False)
    test_checks_text = fields.Text(compute="_compute_test_checks_text", string="Checks")

    _under_way_uniq = models.UniqueIndex(
        "(environment_id) WHERE state IN ('queued', 'running')",
        "A backup of this environment is under way already: wait until it ends.",
    )
    _snapshot_uniq = models.UniqueIndex(
        "(repository_id, snapshot) WHERE snapshot IS NOT NULL", "This backup is recorded already."
    )

    @api.depends("environment_id.key", "taken_at")
    def _compute_display_name(self):
        for backup in self:
            at = fields.Datetime.to_string(backup.taken_at)[:16] if backup.taken_at else f"#{backup.id}"
            backup.display_name = f"{backup.environment_id.key} {at}"

    @api.depends("digest", "project_id")
    def _compute_release(self):
        releases = self.env["odooops.release"].search([("digest", "in", self.mapped("digest"))])
        by_digest = {(release.project_id, release.digest): release for release in releases}
        for backup in self:
            backup.release_id = by_digest.get((backup.project_id, backup.digest), releases.browse())

    @api.depends("database_bytes", "filestore_bytes", "added_bytes")
    def _compute_sizes(self):
        for backup in self:
            backup.size_mb = (backup.database_bytes + backup.filestore_bytes) / 2**20
            backup.added_mb = backup.added_bytes / 2**20

    @api.depends("test_checks")
    def _compute_test_checks_text(self):
        for backup in self:
            lines = (
                f"{'✓' if check.get('ok') else '✗'} {check.get('name')}: {check.get('detail') or ''}".rstrip(": ")
                for check in backup.test_checks or ()
            )
            backup.test_checks_text = "\n".join(lines)

    @api.model
    def _start(self, environment, reason, deployment=None):
        """Queue a backup and return it; the one that is under way where there is one."""
        refusal = environment._backup_impossible()
        if refusal:
            raise UserError(refusal)  # pylint: disable=missing-gettext
        Backup = self.sudo()
        under_way = Backup.search(
            [("environment_id", "=", environment.id), ("state", "in", ("queued", "running"))], limit=1
        )
        if under_way:
            under_way.deployment_id = under_way.deployment_id or deployment
            return under_way
        backup = Backup.create(
            {
                "environment_id": environment.id,
                "repository_id": environment.repository_id.id,
                "deployment_id": deployment.id if deployment else False,
                "requested_by_id": self.env.user.id,
                "reason": reason,
            }
        )
        self.env["odooops.operation"].sudo()._enqueue("backup", environment, backup_id=backup.id)
        return backup

    def _start_test(self):
        """Queue a restore test of each."""
        for backup in self.filtered(lambda one: one.state == "kept" and one.test_state != "testing"):
            backup.test_state = "testing"
            self.env["odooops.operation"].sudo()._enqueue("restore_test", backup.environment_id, backup_id=backup.id)

    def action_test(self):
        """Have the backup restored into a disposable database and container."""
        self.check_access("read")
        for backup in self:
            backup.project_id._require_role("developer", "release_manager")
            if backup.state != "kept":
                raise UserError(self.env._("%s is not kept: there is nothing to restore.", backup.display_name))
            if not backup.release_id:
                raise UserError(
                    self.env._("The release of %s is not registered here, so it can't be tested.", backup.display_name)
                )
        self.sudo()._start_test()
        return True

    # What an operation asks and tells its subject

    def _on_operation_leased(self, operation):
        """The agent began."""
        if operation.kind == "backup":
            self._update_state("running")

    def _on_operation_requeued(self, operation):
        """The agent fell silent at work: another try waits for it."""
        if operation.kind == "backup":
            self._update_state("queued")

    def _on_operation_ended(self, operation, result, failure):
        """Follow the agent's outcome."""
        self.ensure_one()
        if failure and failure.code.startswith("repository_"):
            self._note_trouble(failure)
        if operation.kind == "backup":
            self._on_backup_ended(operation, result, failure)
        else:
            self._on_test_ended(operation, result, failure)

    def _note_trouble(self, failure):
        trouble = failure.code.removeprefix("repository_")
        if trouble in TROUBLES:
            self.repository_id._note(trouble, redact.masked(failure.message, 1000))

    def _on_backup_ended(self, operation, result, failure):
        if operation.state == "succeeded" and self._record(result):
            self._waiting_deployments()._on_backup_kept()
            return
        target = "cancelled" if operation.state == "cancelled" else "failed"
        message = redact.masked(failure.message, 1000) if failure else self.env._("The agent told no snapshot.")
        moved = self._update_state(
            target, error_code=redact.masked(failure.code, 64) if failure else False, error_message=message
        )
        if moved:
            moved._waiting_deployments()._on_backup_missing(message)
            if target == "failed":
                moved.environment_id._tell_of_backup(self.env._("The backup failed: %s", message))

    def _waiting_deployments(self):
        """Return what waits for a backup, also what was approved while one for another deployment was under way."""
        waiting = [("environment_id", "=", self.environment_id.id), ("state", "=", "approved")]
        return self.env["odooops.deployment"].sudo().search(waiting)

    def _record(self, result):
        """Take in what the agent kept; return whether it is a backup."""
        snapshot = str(result.get("snapshot") or "")
        if len(snapshot) != 64 or result.get("check") != "ok":
            return False
        try:
            taken_at = protocol.take_time(result, "taken_at", None)
        except protocol.BadMessage:
            taken_at = None
        numbers = ("database_bytes", "filestore_bytes", "added_bytes", "files", "seconds")
        texts = ("digest", "config_hash", "database_uuid", "checksum")
        versions = result.get("module_versions")
        moved = self._update_state(
            "kept",
            snapshot=snapshot,
            taken_at=taken_at or fields.Datetime.now(),
            module_versions=versions if isinstance(versions, dict) else {},
            **{name: result[name] if isinstance(result.get(name), int | float) else 0 for name in numbers},
            **{name: str(result[name])[:200] if result.get(name) else False for name in texts},
        )
        known = {"identity": str(result.get("repository_identity") or "")[:64] or self.repository_id.identity}
        if result.get("recovery_sealed"):
            known["recovery_sealed"] = str(result["recovery_sealed"])[:500]
        self.repository_id._note("ok", **known)
        self._gone(result)._update_state("forgotten")
        return bool(moved)

    def _gone(self, result):
        """Return the backups that the repository no longer has.

        What remains is told with each backup: the word about one that went may have been lost with its messenger.
        """
        gone = [str(one) for one in result.get("forgotten") or ()]
        let_go = self.search([("repository_id", "=", self.repository_id.id), ("snapshot", "in", gone)])
        remaining = result.get("remaining")
        if not isinstance(remaining, list) or self.snapshot not in remaining:
            return let_go
        # A list that comes late knows nothing of what was taken since.
        return let_go | self.search(
            [
                ("environment_id", "=", self.environment_id.id),
                ("repository_id", "=", self.repository_id.id),
                ("state", "=", "kept"),
                ("taken_at", "<", self.taken_at),
                ("snapshot", "not in", remaining),
            ]
        )

    def _on_test_ended(self, operation, result, failure):
        told = [check for check in result.get("checks") or () if isinstance(check, dict)]
        checks = redact.masked_data(told[:_MAX_CHECKS])
        proven = operation.state == "succeeded" and result.get("ok") is True
        values = {"tested_at": fields.Datetime.now(), "test_checks": checks}
        if proven:
            seconds = result.get("recovery_seconds")
            values["recovery_seconds"] = seconds if isinstance(seconds, int | float) else 0
            self.repository_id._note("ok")
            self.write({**values, "test_state": "proven", "test_message": False})
            return
        message = redact.masked(failure.message, 1000) if failure else self.env._("The agent proved nothing.")
        untold = operation.state == "cancelled" or (failure and failure.code in UNTOLD)
        self.write({**values, "test_state": "untested" if untold else "failed", "test_message": message})
        if not untold:
            self.environment_id._tell_of_backup(self.env._("%(name)s: %(why)s", name=self.display_name, why=message))

    def _operation_payload(self, kind):
        """Return what the agent has to know of it."""
        self.ensure_one()
        environment, policy = self.environment_id, self.environment_id.policy_id
        return {
            "backup": self.id,
            "repository": self.repository_id._agent_payload(),
            "retention": policy._retention_payload(),
            "snapshot": self.snapshot or None,
            "source": None
            if kind == "backup"
            else {
                "environment": environment.key,
                "tier": environment.tier,
                "database_uuid": self.database_uuid or None,
            },
        }
