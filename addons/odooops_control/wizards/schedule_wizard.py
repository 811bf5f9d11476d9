from odoo import api, fields, models

from ..core import freeze


class OdooopsScheduleWizard(models.TransientModel):
    _name = "odooops.schedule.wizard"
    _description = "Choose when a Deployment begins"

    deployment_id = fields.Many2one("odooops.deployment", required=True)
    at = fields.Datetime(
        string="Begins at",
        compute="_compute_at",
        store=True,
        readonly=False,
        precompute=True,
        help="Empty: as soon as everybody agreed and no window is closed.",
    )

    @api.depends("deployment_id")
    def _compute_at(self):
        """Propose what was chosen, else the next opening of a window that is closed."""
        for wizard in self:
            deployment = wizard.deployment_id
            deployment.check_access("read")
            now = fields.Datetime.now()
            windows = self.env["odooops.freeze.window"]._of_environment(deployment.sudo().environment_id)
            opens = freeze.opens_at(windows, now)
            wizard.at = deployment.scheduled_at or (opens if opens != now else False)

    @api.model_create_multi
    def create(self, vals_list):
        """Refuse deployments that the user may not read."""
        wizards = super().create(vals_list)
        wizards.deployment_id.check_access("read")
        return wizards

    def write(self, vals):
        """Refuse deployments that the user may not read."""
        done = super().write(vals)
        self.deployment_id.check_access("read")
        return done

    def action_schedule(self):
        """Set the time."""
        self.ensure_one()
        return self.deployment_id.action_schedule(self.at)
