from odoo import fields, models

from ..core import conditions


class OdooopsRelease(models.Model):
    _inherit = "odooops.release"

    def _staging_runs(self):
        """Return how it went each time that the release's image was live on staging, for the core."""
        lived = (
            self.env["odooops.deployment"]
            .sudo()
            .search(
                [
                    ("project_id", "=", self.project_id.id),
                    ("release_id.digest", "=", self.digest),
                    ("tier", "=", "staging"),
                    ("live_at", "!=", False),
                ]
            )
        )
        return [conditions.StagingRun(one.live_at, one._trouble_while_it_ran()) for one in lived]

    def _staging_health(self):
        """Return the health of the staging environments that ran it."""
        ran = self.deployment_ids.filtered(lambda one: one.tier == "staging" and one.live_at)
        found = ran.environment_id or self.project_id.environment_ids.filtered(lambda one: one.tier == "staging")
        return [(one.key, one.health) for one in found.filtered("active")]


class OdooopsDeployment(models.Model):
    _inherit = "odooops.deployment"

    trouble = fields.Char(readonly=True, copy=False, help="What went wrong first while it ran, as its agent saw it.")

    def _trouble_while_it_ran(self):
        """Return what went wrong while it ran, empty when nothing did."""
        if self.state == "rolled_back":
            return self.env._("it was rolled back")
        return self.trouble or ""


class OdooopsEnvironment(models.Model):
    _inherit = "odooops.environment"

    def _report_one(self, report):
        """Note on what runs here that it went red: production asks how it did on staging."""
        was_red = self.health == "red"
        result = super()._report_one(report)
        running = self.running_deployment_id
        changing = self._active_deployments().filtered(lambda one: one.state == "running")
        if self.health == "red" and not was_red and not running.trouble and not changing:
            running.trouble = self.health_detail or self.env._("its health was red")
        return result
