from odoo import api, fields, models


class OdooopsRollbackReviewWizard(models.TransientModel):
    _name = "odooops.rollback.review.wizard"
    _description = "Review a Rollback without Approval"

    rollback_id = fields.Many2one("odooops.rollback.request", required=True)
    # With the user's own rights: the rollback's id comes from the client.
    break_glass_by_id = fields.Many2one(related="rollback_id.break_glass_by_id", related_sudo=False)
    break_glass_reason = fields.Char(related="rollback_id.break_glass_reason", related_sudo=False)
    lost_html = fields.Html(related="rollback_id.lost_html", related_sudo=False)
    note = fields.Text(string="What did you find?")

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

    def action_review(self):
        """Write the review down."""
        self.ensure_one()
        return self.rollback_id.action_review(self.note or "")
