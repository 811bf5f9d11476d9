from odoo import api, fields, models

from ..core import checks, summary

_UPDATES = 10
_RELEASES = 12


class OdooopsDeployment(models.Model):
    _inherit = "odooops.deployment"

    summary_html = fields.Html(compute="_compute_summary_html", string="In short")

    @api.depends("plan", "plan_facts", "state")
    def _compute_summary_html(self):
        for deployment in self:
            values = deployment.sudo()._summary() if deployment.plan else None
            deployment.summary_html = bool(values) and self.env["ir.qweb"]._render(
                "odooops_control.deployment_summary", values
            )

    def _summary(self):
        """Return what the approval page says before everything else."""
        self.ensure_one()
        modules = [one for one in self.plan.get("modules") or [] if isinstance(one, dict)]
        held = bool((self.plan_facts or {}).get("needs_hold"))
        running = self.environment_id.running_release_id
        brought = self.release_id._brought_to(running).sorted("id", reverse=True)
        return {
            "running": self.environment_id.running_tag,
            "tag": self.tag,
            "updates": [one for one in modules if one.get("action") == "update"],
            "installs": [one for one in modules if one.get("action") == "install"],
            "migrations": self.plan.get("migrations") or [],
            "brought": brought[:_RELEASES],
            "more": max(0, len(brought) - _RELEASES),
            "risk": self.risk_tier,
            "risk_reason": self._risk_reason(brought),
            "waiting": summary.waiting(held, self._held_on_staging(), self._held_before()),
            "undoing": summary.undoing(held, not self.environment_id.running_deployment_id),
        }

    def _risk_reason(self, brought):
        """Return what the risk check said of the releases that make up the risk."""
        found = brought.check_ids.filtered(lambda one: one.name == checks.RISK_CHECK and one._risk() == self.risk_tier)
        return found[:1].summary or ""

    def _held_on_staging(self):
        """Return for how many seconds the same image held staging when it was last updated to it, or None."""
        ran = self.release_id.deployment_ids.filtered(lambda one: one.tier == "staging" and one.update_seconds)
        return ran.sorted("id")[-1:].held_seconds or None

    def _held_before(self):
        """Return for how many seconds the last updates held this environment."""
        updated = [("update_seconds", ">", 0), ("live_at", "!=", False), ("id", "!=", self.id)]
        return [one.held_seconds for one in self.environment_id._deployments(updated, _UPDATES) if one.held_seconds]
