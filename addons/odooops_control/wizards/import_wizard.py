from odoo import api, fields, models
from odoo.addons.base.models.res_users import check_identity
from odoo.exceptions import UserError

from ..models.mixins import interactive_only, says_bad_names


class OdooopsImportWizard(models.TransientModel):
    _name = "odooops.import.wizard"
    _description = "Import a Backup of Elsewhere"

    environment_id = fields.Many2one("odooops.environment", required=True, readonly=True)
    # With the user's own rights: the ids come from the client.
    project_id = fields.Many2one(related="environment_id.project_id", related_sudo=False)
    agent_id = fields.Many2one(related="environment_id.agent_id", related_sudo=False)
    file = fields.Char(required=True, help="A zip of Odoo.sh's or of Odoo's database manager, or a dump of pg_dump's.")
    filestore = fields.Char(help="Beside a dump alone: a folder, a zip, or a tar archive.")
    release_id = fields.Many2one(
        "odooops.release",
        compute="_compute_release",
        compute_sudo=False,
        store=True,
        readonly=False,
        precompute=True,
        required=True,
        domain="[('project_id', '=', project_id), ('is_tagged', '=', True)]",
        help="Its image loads the data and has to have all of their modules; deploy it afterwards.",
    )
    reason = fields.Char(required=True)

    @api.depends("environment_id")
    def _compute_release(self):
        for wizard in self:
            domain = [("project_id", "=", wizard.environment_id.project_id.id), ("is_tagged", "=", True)]
            wizard.release_id = self.env["odooops.release"].search(domain, limit=1)

    @interactive_only
    @check_identity
    @says_bad_names
    def action_import(self):
        """Import, from the user's own session."""
        self.ensure_one()
        environment, release = self.environment_id, self.release_id
        for record in (environment, release):
            record.check_access("read")
        environment._check_may_import(self.env.user)
        if not release:
            raise UserError(self.env._("Choose a release first."))
        operation = environment.sudo()._start_import(
            self.env.user, release.sudo(), (self.file or "").strip(), (self.filestore or "").strip(), self.reason
        )
        return {
            "type": "ir.actions.act_window",
            "res_model": "odooops.operation",
            "res_id": operation.id,
            "view_mode": "form",
        }
