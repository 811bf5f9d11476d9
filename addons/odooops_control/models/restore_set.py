import re
from datetime import timedelta

from odoo import api, fields, models

from ..core import protocol

_TOKEN = re.compile(r"__s([0-9]{1,9})\Z")


class OdooopsRestoreSet(models.Model):
    _name = "odooops.restore.set"
    _description = "Restore Set"
    _order = "id desc"

    deployment_id = fields.Many2one(
        "odooops.deployment", readonly=True, ondelete="restrict", index=True, help="Which deployment left it."
    )
    rollback_id = fields.Many2one(
        "odooops.rollback.request",
        readonly=True,
        ondelete="restrict",
        index="btree_not_null",
        help="Which rollback gave this state up.",
    )
    operation_id = fields.Many2one("odooops.operation", required=True, readonly=True, ondelete="restrict")
    environment_id = fields.Many2one(related="operation_id.environment_id", store=True, index=True)
    project_id = fields.Many2one(related="operation_id.project_id", store=True, index=True)
    token = fields.Integer(readonly=True, help="The fencing token under which it was taken; it is part of its names.")
    tag = fields.Char(readonly=True, help="What ran when it was taken.")
    state = fields.Selection(
        [("kept", "Kept"), ("used", "Put back"), ("dropped", "Dropped")],
        default="kept",
        required=True,
        readonly=True,
        index=True,
    )
    restorable = fields.Boolean(default=True, readonly=True, help="As the agent found it when it looked last.")
    not_restorable_reason = fields.Char(string="Why not", readonly=True)
    checked_at = fields.Datetime(string="Looked at", readonly=True)
    protected = fields.Boolean(
        compute="_compute_protected",
        help="It can be put back: neither its image nor its database nor its files are pruned.",
    )
    from_digest = fields.Char(string="Image digest", readonly=True)
    from_release_id = fields.Many2one("odooops.release", compute="_compute_from_release", string="Release")
    config_hash = fields.Char(readonly=True)
    database_uuid = fields.Char(readonly=True, help="The identity that its database bears; a copy has one of its own.")
    database_snapshot = fields.Char(readonly=True)
    filestore_snapshot = fields.Char(readonly=True)
    database_bytes = fields.Float(readonly=True, digits=(20, 0))
    database_gb = fields.Float(string="Database (GB)", compute="_compute_database_gb", digits=(12, 2))
    module_versions = fields.Json(readonly=True, prefetch=False)
    submodules = fields.Json(readonly=True, prefetch=False)
    taken_at = fields.Datetime(readonly=True)

    _token_uniq = models.Constraint("UNIQUE (operation_id, token)", "This restore set is recorded already.")

    @api.depends("taken_at", "environment_id.key", "tag")
    def _compute_display_name(self):
        for one in self:
            what = " ".join(filter(None, (one.environment_id.key, one.tag or one.database_snapshot)))
            one.display_name = f"{what} ({one.taken_at:%Y-%m-%d %H:%M})" if one.taken_at else what

    @api.depends("database_bytes")
    def _compute_database_gb(self):
        for one in self:
            one.database_gb = one.database_bytes / 2**30

    @api.depends("state", "restorable")
    def _compute_protected(self):
        for one in self:
            one.protected = one.state == "kept" and one.restorable

    @api.depends("from_digest", "project_id")
    def _compute_from_release(self):
        releases = self.env["odooops.release"].search([("digest", "in", self.mapped("from_digest"))])
        by_digest = {(release.project_id, release.digest): release for release in releases}
        for one in self:
            one.from_release_id = by_digest.get((one.project_id, one.from_digest), releases.browse())

    @api.model
    def _record(self, subject, operation, reported):
        """Record what the agent reported; once per lease.

        :param subject: the deployment or rollback that the operation was done for
        """
        # A set that was taken in an earlier attempt bears that attempt's token.
        named = _TOKEN.search(str(reported.get("database_snapshot")))
        token = int(named[1]) if named else operation.token
        known = self.sudo().search([("operation_id", "=", operation.id), ("token", "=", token)])
        if known:
            return known
        texts = ("from_digest", "config_hash", "database_snapshot", "filestore_snapshot")
        size = reported.get("database_bytes")
        try:
            taken_at = protocol.take_time(reported, "taken_at", None)
        except protocol.BadMessage:
            taken_at = None
        versions = reported.get("module_versions")
        environment = operation.environment_id
        return self.sudo().create(
            {
                **{name: str(reported[name])[:200] for name in texts if reported.get(name)},
                "deployment_id" if subject._name == "odooops.deployment" else "rollback_id": subject.id,
                "operation_id": operation.id,
                "token": token,
                "tag": environment.running_tag,
                "database_uuid": environment.database_uuid,
                "database_bytes": size if isinstance(size, int | float) else 0,
                "module_versions": versions if isinstance(versions, dict) else {},
                "submodules": environment.running_release_id.submodules or {},
                "taken_at": taken_at or fields.Datetime.now(),
            }
        )

    def _agent_payload(self):
        """Return what an agent has to know to put it back."""
        self.ensure_one()
        return {
            **self._known_payload(),
            "config_hash": self.config_hash or None,
            "taken_at": protocol.show_time(self.taken_at),
            "module_versions": self.module_versions or {},
        }

    def _known_payload(self):
        """Return what an agent has to know to look whether it is all there."""
        return {
            "token": self.token,
            "digest": self.from_digest or "",
            "database_snapshot": self.database_snapshot or "",
            "filestore_snapshot": self.filestore_snapshot or "",
        }

    @api.model
    def _apply_policy(self, environment):
        """Note which sets the agent dropped when it ended: it goes by the same rule."""
        limit = fields.Datetime.now() - timedelta(hours=environment.restore_set_hours)
        beyond = environment.sudo()._kept_sets() - environment._promised_sets()
        beyond.filtered(lambda one: one.taken_at < limit).state = "dropped"

    def _found(self, restorable, reason):
        """Record what the agent found when it looked at one set; tell people when one can't be put back any more."""
        self.ensure_one()
        if not restorable and self not in self.environment_id._promised_sets():
            # For want of room the agent drops those beyond the newest before their hours are over.
            self.write({"state": "dropped", "not_restorable_reason": reason})
            return
        was = self.restorable
        self.write(
            {
                "restorable": restorable,
                "not_restorable_reason": False if restorable else reason,
                "checked_at": fields.Datetime.now(),
            }
        )
        if was and not restorable:
            self._tell_lost(reason)

    def _found_gone(self, reason):
        """Record that it was missing when it was needed."""
        for one in self:
            one._found(False, reason)

    def _tell_lost(self, reason):
        environment = self.environment_id
        text = self.env._(
            "%(tag)s of %(at)s UTC can't be put back any more: %(reason)s A rollback to it has to use a backup.",
            tag=self.tag or self.database_snapshot or "",
            at=self.taken_at,
            reason=reason,
        )
        environment.message_post(body=text)
        self.env["odooops.audit.event"]._record(environment, "restore_set.lost", token=self.token, reason=reason)
        environment.project_id._notify_release_managers(
            environment, self.env._("A restore set of %s is lost", environment.key), text
        )
