from odoo import api, models
from odoo.exceptions import UserError

from .rollback_decision import REVIEW_ACTIVITY

# Whoever may change these could make a review disappear.
_KEPT = frozenset(("active", "activity_type_id", "res_id", "res_model", "res_model_id"))


class MailActivity(models.Model):
    _inherit = "mail.activity"

    def write(self, vals):
        """Keep the review of a broken glass on its rollback until it is written down there."""
        if _KEPT & vals.keys():
            self._refuse_open_reviews()
        return super().write(vals)

    @api.ondelete(at_uninstall=False)
    def _unlink_no_open_review(self):
        self._refuse_open_reviews()

    def _refuse_open_reviews(self):
        kind = self.env.ref(REVIEW_ACTIVITY, raise_if_not_found=False)
        reviews = self.sudo().filtered(
            lambda one: one.activity_type_id == kind and one.res_model == "odooops.rollback.request"
        )
        rollbacks = self.env["odooops.rollback.request"].sudo().browse(reviews.mapped("res_id")).exists()
        for rollback in rollbacks.filtered("needs_review"):
            raise UserError(
                self.env._("%s went without approval: open it and press Review, which ends this.", rollback.name)
            )
