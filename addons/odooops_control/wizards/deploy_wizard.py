from odoo import api, fields, models
from odoo.exceptions import UserError

from ..models.mixins import says_bad_names


class OdooopsDeployWizard(models.TransientModel):
    _name = "odooops.deploy.wizard"
    _description = "Ask for a Deployment"

    environment_id = fields.Many2one("odooops.environment", required=True)
    # With the user's own rights: the ids come from the client.
    project_id = fields.Many2one(related="environment_id.project_id", related_sudo=False)
    tier = fields.Selection(related="environment_id.tier", related_sudo=False)
    release_id = fields.Many2one(
        "odooops.release",
        compute="_compute_release",
        compute_sudo=False,
        store=True,
        readonly=False,
        precompute=True,
        domain="[('project_id', '=', project_id), ('is_tagged', 'in', [True, tier == 'production'])]",
    )
    is_live = fields.Boolean(compute="_compute_is_live", compute_sudo=False)

    @api.depends("environment_id")
    def _compute_release(self):
        for wizard in self:
            domain = [("project_id", "=", wizard.environment_id.project_id.id)]
            if wizard.environment_id.tier == "production":
                domain += [("state", "!=", "registered"), ("is_tagged", "=", True)]
            wizard.release_id = self.env["odooops.release"].search(domain, limit=1)

    @api.depends("environment_id", "release_id")
    def _compute_is_live(self):
        for wizard in self:
            running = wizard.environment_id.running_release_id
            wizard.is_live = bool(running) and running == wizard.release_id

    @api.model_create_multi
    def create(self, vals_list):
        """Refuse environments and releases that the user may not read."""
        wizards = super().create(vals_list)
        wizards._check_readable()
        return wizards

    def write(self, vals):
        """Refuse environments and releases that the user may not read."""
        done = super().write(vals)
        self._check_readable()
        return done

    def _check_readable(self):
        self.environment_id.check_access("read")
        self.release_id.check_access("read")

    @says_bad_names
    def action_request(self):
        """Ask for the deployment, also of what is live already, and open it."""
        self.ensure_one()
        self._check_readable()
        if not self.release_id:
            raise UserError(self.env._("Choose a release first."))
        environment, release = self.environment_id.sudo(), self.release_id.sudo()
        environment.project_id._require_role("developer", "release_manager")
        Deployment = self.env["odooops.deployment"]
        if environment.tier == "production":
            release, _tag = Deployment._find_release(environment, release.name, None)
        deployment, _is_new = Deployment._request(environment, release, release.name, force=True)
        return {
            "type": "ir.actions.act_window",
            "res_model": "odooops.deployment",
            "res_id": deployment.id,
            "view_mode": "form",
        }
