from odoo import api, fields, models

from ..core import protocol


class OdooopsRestoreSet(models.Model):
    _name = "odooops.restore.set"
    _description = "Restore Set"
    _order = "id desc"

    deployment_id = fields.Many2one("odooops.deployment", required=True, readonly=True, ondelete="restrict", index=True)
    operation_id = fields.Many2one("odooops.operation", required=True, readonly=True, ondelete="restrict")
    environment_id = fields.Many2one(related="deployment_id.environment_id", store=True, index=True)
    project_id = fields.Many2one(related="deployment_id.project_id", store=True, index=True)
    token = fields.Integer(readonly=True)
    from_digest = fields.Char(string="Image digest", readonly=True)
    from_release_id = fields.Many2one("odooops.release", compute="_compute_from_release", string="Release")
    config_hash = fields.Char(readonly=True)
    database_snapshot = fields.Char(readonly=True)
    filestore_snapshot = fields.Char(readonly=True)
    database_bytes = fields.Float(readonly=True, digits=(20, 0))
    module_versions = fields.Json(readonly=True, prefetch=False)
    submodules = fields.Json(readonly=True, prefetch=False)
    taken_at = fields.Datetime(readonly=True)

    _token_uniq = models.Constraint("UNIQUE (operation_id, token)", "This restore set is recorded already.")

    @api.depends("taken_at", "environment_id.key")
    def _compute_display_name(self):
        for one in self:
            one.display_name = f"{one.environment_id.key} {one.database_snapshot or ''}".strip()

    @api.depends("from_digest", "project_id")
    def _compute_from_release(self):
        releases = self.env["odooops.release"].search([("digest", "in", self.mapped("from_digest"))])
        by_digest = {(release.project_id, release.digest): release for release in releases}
        for one in self:
            one.from_release_id = by_digest.get((one.project_id, one.from_digest), releases.browse())

    @api.model
    def _record(self, deployment, operation, reported):
        """Record what the agent reported; once per lease."""
        known = self.sudo().search([("operation_id", "=", operation.id), ("token", "=", operation.token)])
        if known:
            return known
        texts = ("from_digest", "config_hash", "database_snapshot", "filestore_snapshot")
        size = reported.get("database_bytes")
        try:
            taken_at = protocol.take_time(reported, "taken_at", None)
        except protocol.BadMessage:
            taken_at = None
        versions = reported.get("module_versions")
        return self.sudo().create(
            {
                **{name: str(reported[name])[:200] for name in texts if reported.get(name)},
                "deployment_id": deployment.id,
                "operation_id": operation.id,
                "token": operation.token,
                "database_bytes": size if isinstance(size, int | float) else 0,
                "module_versions": versions if isinstance(versions, dict) else {},
                "submodules": deployment.environment_id.running_release_id.submodules or {},
                "taken_at": taken_at or fields.Datetime.now(),
            }
        )
