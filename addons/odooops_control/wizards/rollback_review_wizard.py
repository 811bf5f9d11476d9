from odoo import api, fields, models


class OdooopsRollbackReviewWizard(models.TransientModel):
    _name = "odooops.rollback.review.wizard"
    _description = "Review a Broken Glass"

    rollback_id = fields.Many2one("odooops.rollback.request")
    deployment_id = fields.Many2one("odooops.deployment")
    break_glass_by_id = fields.Many2one("res.users", compute="_compute_glass", compute_sudo=False)
    break_glass_reason = fields.Char(compute="_compute_glass", compute_sudo=False)
    # With the user's own rights: the ids come from the client.
    lost_html = fields.Html(related="rollback_id.lost_html", related_sudo=False)
    note = fields.Text(string="What did you find?")

    _subject_check = models.Constraint(
        "CHECK (num_nonnulls(rollback_id, deployment_id) = 1)", "A review is of one rollback or one deployment."
    )

    @api.depends("rollback_id", "deployment_id")
    def _compute_glass(self):
        for wizard in self:
            reviewed = wizard._reviewed()
            wizard.break_glass_by_id = reviewed.break_glass_by_id
            wizard.break_glass_reason = reviewed.break_glass_reason

    def _reviewed(self):
        """Return the one thing that is reviewed."""
        return self.rollback_id or self.deployment_id

    def _check_may_read(self):
        for wizard in self:
            wizard.rollback_id.check_access("read")
            wizard.deployment_id.check_access("read")

    @api.model_create_multi
    def create(self, vals_list):
        """Refuse what the user may not read."""
        wizards = super().create(vals_list)
        wizards._check_may_read()
        return wizards

    def write(self, vals):
        """Refuse what the user may not read."""
        done = super().write(vals)
        self._check_may_read()
        return done

    def action_review(self):
        """Write the review down."""
        self.ensure_one()
        return self._reviewed().action_review(self.note or "")
