from odoo import api, fields, models

from .mixins import Conflict


class OdooopsDeployment(models.Model):
    _inherit = "odooops.deployment"

    rollback_ids = fields.One2many("odooops.rollback.request", "target_id", string="Rollbacks to here", readonly=True)
    is_running = fields.Boolean(compute="_compute_is_running", help="It is what the environment runs.")
    can_go_back = fields.Boolean(compute="_compute_is_running", help="It ran on its environment and does not now.")

    @api.depends("environment_id.running_deployment_id", "live_at", "soak_until")
    def _compute_is_running(self):
        for deployment in self:
            running = deployment.environment_id.sudo().running_deployment_id
            deployment.is_running = deployment == running
            ran = deployment.live_at or deployment.soak_until
            deployment.can_go_back = bool(ran and running and running.release_id != deployment.sudo().release_id)

    @api.model
    def _refuse_request(self, environment, release, tag):
        super()._refuse_request(environment, release, tag)
        if environment.tier != "production":
            return
        if under_way := environment._active_rollback():
            raise Conflict(
                self.env._(
                    "%(environment)s is going back to %(tag)s (%(state)s): wait until that has ended, or cancel it.",
                    environment=environment.key,
                    tag=under_way.tag,
                    state=under_way._label().lower(),
                )
            )
        self._refuse(release._bar_sentence(tag))

    def action_roll_back(self):
        """Open the wizard that leaves this release, or goes back to it when it does not run."""
        self.ensure_one()
        action = self.environment_id.action_roll_back()
        if self.can_go_back:
            action["context"]["default_target_id"] = self.id
        return action
