from odoo import api, fields, models
from odoo.addons.base.models.res_users import check_identity
from odoo.exceptions import UserError

from ..models.mixins import interactive_only


class OdooopsRestoreWizard(models.TransientModel):
    _name = "odooops.restore.wizard"
    _description = "Restore a Backup"

    backup_id = fields.Many2one("odooops.backup", required=True, readonly=True)
    source_id = fields.Many2one(related="backup_id.environment_id", string="Backup of")
    project_id = fields.Many2one(related="backup_id.project_id")
    environment_id = fields.Many2one(
        "odooops.environment",
        string="Restore into",
        compute="_compute_environment",
        store=True,
        readonly=False,
        precompute=True,
        required=True,
        domain="[('project_id', '=', project_id), '|', ('id', '=', source_id), ('tier', '!=', 'production')]",
    )
    is_copy = fields.Boolean(compute="_compute_is_copy")
    obfuscate = fields.Boolean(string="Make personal data unreadable")
    loss = fields.Char(compute="_compute_loss")
    key_typed = fields.Char(string="Type the environment's name", required=True)
    reason = fields.Char(required=True)

    @api.depends("backup_id")
    def _compute_environment(self):
        for wizard in self:
            wizard.environment_id = wizard.backup_id.environment_id

    @api.depends("environment_id", "source_id")
    def _compute_is_copy(self):
        for wizard in self:
            wizard.is_copy = wizard.environment_id != wizard.source_id

    @api.depends("backup_id", "environment_id")
    def _compute_loss(self):
        now = fields.Datetime.now()
        for wizard in self:
            if wizard.is_copy:
                wizard.loss = self.env._(
                    "%(environment)s becomes a neutralised copy of %(backup)s. What is there now stays as a restore "
                    "set that a rollback can bring back.",
                    environment=wizard.environment_id.key or "",
                    backup=wizard.backup_id.display_name or "",
                )
                continue
            taken_at = wizard.backup_id.taken_at or now
            hours = (now - taken_at).total_seconds() / 3600
            wizard.loss = self.env._(
                "All that was entered in %(environment)s since %(at)s UTC, %(hours).1f hours ago, leaves the site. "
                "What is there now stays as a restore set that a rollback can bring back.",
                environment=wizard.environment_id.key or "",
                at=fields.Datetime.to_string(taken_at),
                hours=hours,
            )

    @interactive_only
    @check_identity
    def action_restore(self):
        """Restore, from the user's own session."""
        self.ensure_one()
        backup = self.backup_id
        backup.check_access("read")
        self.environment_id.check_access("read")
        if not self.is_copy:
            backup.sudo()._check_may_restore(self.env.user)
        if (self.key_typed or "").strip() != self.environment_id.key:
            raise UserError(self.env._("Type %s to say that you mean it.", self.environment_id.key))
        if self.is_copy:
            return self._start_copy()
        operation = backup.sudo()._start_restore(self.env.user, self.reason)
        return {
            "type": "ir.actions.act_window",
            "res_model": "odooops.operation",
            "res_id": operation.id,
            "view_mode": "form",
        }

    def _start_copy(self):
        """Have a lower tier become a neutralised copy of the backup; production takes back its own only."""
        environment, backup = self.environment_id.sudo(), self.backup_id.sudo()
        environment.project_id.with_user(self.env.user)._require_role("release_manager")
        one, _is_new = self.env["odooops.clone"]._start(
            environment, "restore", backup.environment_id, backup, obfuscate=self.obfuscate
        )
        environment.message_post(
            body=self.env._(
                "%(user)s has %(backup)s restored here as a copy: %(reason)s",
                user=self.env.user.name,
                backup=backup.display_name,
                reason=self.reason,
            )
        )
        return {"type": "ir.actions.act_window", "res_model": one._name, "res_id": one.id, "view_mode": "form"}
