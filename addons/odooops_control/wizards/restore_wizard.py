from odoo import api, fields, models
from odoo.addons.base.models.res_users import check_identity
from odoo.exceptions import UserError

from ..models.mixins import interactive_only


class OdooopsRestoreWizard(models.TransientModel):
    _name = "odooops.restore.wizard"
    _description = "Restore a Backup"

    backup_id = fields.Many2one("odooops.backup", required=True, readonly=True)
    environment_id = fields.Many2one(related="backup_id.environment_id")
    loss = fields.Char(compute="_compute_loss")
    key_typed = fields.Char(string="Type the environment's name", required=True)
    reason = fields.Char(required=True)

    @api.depends("backup_id")
    def _compute_loss(self):
        now = fields.Datetime.now()
        for wizard in self:
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
        backup.sudo()._check_may_restore(self.env.user)
        if (self.key_typed or "").strip() != self.environment_id.key:
            raise UserError(self.env._("Type %s to say that you mean it.", self.environment_id.key))
        operation = backup.sudo()._start_restore(self.env.user, self.reason)
        return {
            "type": "ir.actions.act_window",
            "res_model": "odooops.operation",
            "res_id": operation.id,
            "view_mode": "form",
        }
