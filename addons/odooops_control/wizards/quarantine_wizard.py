from odoo import api, fields, models
from odoo.exceptions import UserError


class OdooopsQuarantineWizard(models.TransientModel):
    _name = "odooops.quarantine.wizard"
    _description = "End a Quarantine"

    quarantine_id = fields.Many2one("odooops.quarantine", required=True)
    kind = fields.Selection([("fix", "Link the fix"), ("lift", "Lift the bar")], required=True, default="fix")
    # With the user's own rights: the ids come from the client.
    project_id = fields.Many2one(related="quarantine_id.project_id", related_sudo=False)
    barred_id = fields.Many2one(related="quarantine_id.release_id", related_sudo=False, string="Barred")
    release_id = fields.Many2one(
        "odooops.release",
        string="Release with the fix",
        domain="[('project_id', '=', project_id), ('id', '!=', barred_id)]",
    )
    reason = fields.Char(string="Why is that right?")

    @api.model_create_multi
    def create(self, vals_list):
        """Refuse what the user may not read."""
        wizards = super().create(vals_list)
        wizards._check_readable()
        return wizards

    def write(self, vals):
        """Refuse what the user may not read."""
        done = super().write(vals)
        self._check_readable()
        return done

    def _check_readable(self):
        self.quarantine_id.check_access("read")
        self.release_id.check_access("read")

    def action_confirm(self):
        """End the quarantine as chosen."""
        self.ensure_one()
        self._check_readable()
        if self.kind == "lift":
            return self.quarantine_id.action_lift(self.reason)
        if not self.release_id:
            raise UserError(self.env._("Choose the release with the fix."))
        return self.quarantine_id.action_link_fix(self.release_id.id, self.reason)
