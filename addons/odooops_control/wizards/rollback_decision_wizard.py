from odoo import api, fields, models
from odoo.exceptions import UserError

from ..core import rollback


class OdooopsRollbackDecisionWizard(models.TransientModel):
    _name = "odooops.rollback.decision.wizard"
    _description = "Decide on a Rollback"

    rollback_id = fields.Many2one("odooops.rollback.request", required=True)
    preview_hash = fields.Char(required=True, readonly=True)
    # With the user's own rights: the rollback's id comes from the client.
    preview_html = fields.Html(related="rollback_id.preview_html", related_sudo=False)
    mode = fields.Selection(related="rollback_id.mode", related_sudo=False)
    can_decide = fields.Boolean(related="rollback_id.can_decide", related_sudo=False)
    reason = fields.Char(related="rollback_id.reason", related_sudo=False)
    requested_by_id = fields.Many2one(related="rollback_id.requested_by_id", related_sudo=False)
    note = fields.Char(string="What did you check?")
    percent = fields.Integer(string="More records, in percent", default=rollback.DEFAULT.percent)
    minutes = fields.Integer(string="More minutes", default=rollback.DEFAULT.minutes)
    invoices = fields.Integer(string="More posted invoices", default=rollback.DEFAULT.invoices)
    payments = fields.Integer(string="More payments", default=rollback.DEFAULT.payments)
    is_raised = fields.Boolean(compute="_compute_is_raised")
    ceiling_reason = fields.Char(string="Why more than usual?")
    glass_reason = fields.Char(string="Why it can't wait")

    @api.depends("percent", "minutes", "invoices", "payments")
    def _compute_is_raised(self):
        for wizard in self:
            wizard.is_raised = rollback.is_raised(wizard._allowance())

    def _allowance(self):
        return rollback.Allowance(self.percent, self.minutes, self.invoices, self.payments)

    @api.model_create_multi
    def create(self, vals_list):
        """Refuse rollbacks that the user may not read."""
        wizards = super().create(vals_list)
        wizards.rollback_id.check_access("read")
        return wizards

    def write(self, vals):
        """Refuse rollbacks that the user may not read."""
        done = super().write(vals)
        self.rollback_id.check_access("read")
        return done

    def action_approve(self):
        """Approve what is shown."""
        self.ensure_one()
        if not self.note:
            raise UserError(self.env._("Say in a few words what you checked."))
        return self.rollback_id.action_approve(
            self.preview_hash,
            self.note,
            self.percent,
            self.minutes,
            self.invoices,
            self.payments,
            self.ceiling_reason or "",
        )

    def action_reject(self):
        """Reject the rollback."""
        self.ensure_one()
        return self.rollback_id.action_reject(self.preview_hash, self.note or "")

    def action_break_glass(self):
        """Roll back at once, without approval."""
        self.ensure_one()
        return self.rollback_id.action_break_glass(self.preview_hash, self.glass_reason or self.note or "")
