from odoo import fields, models

from ..core import copies

_NAMED = 5
# What is to be overwritten is known from the plan on, until the update begins.
_PLANNED = ("planned", "awaiting_approval", "approved", "queued")


class OdooopsDeployment(models.Model):
    _inherit = "odooops.deployment"

    copy_id = fields.Many2one(
        "odooops.clone",
        string="On the copy",
        readonly=True,
        copy=False,
        ondelete="restrict",
        index="btree_not_null",
        help="The fresh copy that it is deployed on.",
    )
    copy_state = fields.Selection(related="copy_id.state", string="State of the copy")
    manual_changes_html = fields.Html(compute="_compute_manual_changes", string="Changes by hand")
    has_manual_changes = fields.Boolean(compute="_compute_manual_changes")

    def _compute_manual_changes(self):
        """Not stored, nor by the plan alone: the listing comes after it."""
        for deployment in self:
            lost = deployment._overwritten_changes()
            deployment.has_manual_changes = bool(lost)
            deployment.manual_changes_html = self.env["ir.qweb"]._render(
                "odooops_control.manual_changes", {"changes": lost, "kinds": self.env["odooops.environment"]._kinds()}
            )

    def _overwritten_changes(self):
        """Return what was changed by hand in what the plan updates: as the plan says, or the newest listing."""
        plan, facts = self.plan or {}, self.plan_facts or {}
        if "manual_changes" in facts:
            return copies.changes({"changes": facts["manual_changes"]})
        modules = [str(one.get("name")) for one in plan.get("modules") or ()]
        dependents = [str(one) for one in facts.get("dependents") or ()]
        if self.state not in _PLANNED:
            return []
        return copies.overwritten(self.environment_id.sudo()._listed_changes(), [*modules, *dependents])

    def _on_listed(self):
        """Keep what their updates are about to overwrite: afterwards people ask what became of their view."""
        for deployment in self.filtered(lambda one: one.state in _PLANNED):
            facts = deployment.plan_facts or {}
            if "manual_changes" in facts:
                continue
            lost = deployment._overwritten_changes()
            deployment.plan_facts = {**facts, "manual_changes": lost}
            if lost:
                names = ", ".join(one["name"] or one["xml_id"] for one in lost[:_NAMED])
                shown = names if len(lost) <= _NAMED else f"{names} … ({len(lost)})"
                deployment._say(self.env._("This update overwrites what was changed by hand: %s.", shown))

    def _start_planning(self):
        """Have a fresh copy made first where the environment is rebuilt for each new commit."""
        waiting = self.filtered(lambda one: one._waits_for_copy())
        for deployment in waiting:
            copy, _is_new = self.env["odooops.clone"]._start(deployment.environment_id, "deployment")
            deployment.copy_id = copy
            deployment._say(self.env._("A fresh copy of %s is made first.", copy.source_id.key))
        return super(OdooopsDeployment, self - waiting)._start_planning()

    def _waits_for_copy(self):
        environment = self.environment_id
        return (
            environment.refresh_mode == "rebuild"
            and environment.tier != "production"
            and not self.copy_id
            and environment.running_release_id != self.release_id
        )

    def _on_copy_missing(self, why):
        """Without the copy nothing is deployed."""
        moved = self._update_state("cancelled")
        moved._say(
            self.env._("No fresh copy could be made for it, so nothing was touched: mend that, then deploy. %s", why)
        )

    def _on_planned(self, operation, result):  # pylint: disable=missing-return
        """List what was configured by hand in production, so that whoever approves sees what the update overwrites."""
        super()._on_planned(operation, result)
        environment = self.environment_id
        installed = self.tier == "production" and environment.running_release_id
        if installed and (self.plan or {}).get("modules") and environment._can("inspect"):
            environment._inspect()
