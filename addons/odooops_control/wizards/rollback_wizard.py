from odoo import api, fields, models
from odoo.exceptions import UserError

from ..models.mixins import says_bad_names


class OdooopsRollbackWizard(models.TransientModel):
    _name = "odooops.rollback.wizard"
    _description = "Ask for a Rollback"

    environment_id = fields.Many2one("odooops.environment", required=True)
    # With the user's own rights: the ids come from the client.
    running_id = fields.Many2one(related="environment_id.running_deployment_id", related_sudo=False, string="Runs now")
    tier = fields.Selection(related="environment_id.tier", related_sudo=False)
    choice_ids = fields.Many2many("odooops.deployment", compute="_compute_choices", compute_sudo=False)
    target_id = fields.Many2one(
        "odooops.deployment",
        string="Go back to",
        compute="_compute_target",
        compute_sudo=False,
        store=True,
        readonly=False,
        precompute=True,
        domain="[('id', 'in', choice_ids)]",
    )
    target_live_at = fields.Datetime(related="target_id.live_at", related_sudo=False, string="Ran since")
    target_replaced_at = fields.Datetime(related="target_id.replaced_at", related_sudo=False, string="Ran until")
    reason = fields.Char(string="Why?")

    @api.depends("environment_id")
    def _compute_choices(self):
        for wizard in self:
            wizard.choice_ids = wizard.environment_id._rollback_targets()

    @api.depends("environment_id")
    def _compute_target(self):
        for wizard in self:
            wizard.target_id = wizard.target_id or wizard.environment_id._last_good()

    @api.model_create_multi
    def create(self, vals_list):
        """Refuse environments and deployments that the user may not read."""
        wizards = super().create(vals_list)
        wizards._check_readable()
        return wizards

    def write(self, vals):
        """Refuse environments and deployments that the user may not read."""
        done = super().write(vals)
        self._check_readable()
        return done

    def _check_readable(self):
        self.environment_id.check_access("read")
        self.target_id.check_access("read")

    @says_bad_names
    def action_request(self):
        """Have the agent look what going back means, and open what it finds."""
        self.ensure_one()
        self._check_readable()
        if not self.target_id:
            raise UserError(self.env._("Choose the release to go back to first."))
        environment = self.environment_id.sudo()
        environment.project_id._require_role("developer", "release_manager")
        request, _is_new = self.env["odooops.rollback.request"]._request(environment, self.target_id.tag, self.reason)
        return {
            "type": "ir.actions.act_window",
            "res_model": "odooops.rollback.request",
            "res_id": request.id,
            "view_mode": "form",
        }
