from odoo import api, models
from odoo.exceptions import UserError

# Whoever may change these could make a review disappear.
_KEPT = frozenset(("active", "activity_type_id", "res_id", "res_model", "res_model_id"))
_REVIEWED = ("odooops.deployment", "odooops.rollback.request")


class MailActivity(models.Model):
    _inherit = "mail.activity"

    def write(self, vals):
        """Keep the review of a broken glass on what went on by it until it is written down there."""
        if _KEPT & vals.keys():
            self._refuse_open_reviews()
        return super().write(vals)

    @api.ondelete(at_uninstall=False)
    def _unlink_no_open_review(self):
        self._refuse_open_reviews()

    def _refuse_open_reviews(self):
        for model in _REVIEWED:
            records = self.env[model].sudo()
            kind = self.env.ref(records._review_activity, raise_if_not_found=False)
            asking = self.sudo().filtered(
                lambda one, model=model, kind=kind: (one.activity_type_id, one.res_model) == (kind, model)
            )
            for record in records.browse(asking.mapped("res_id")).exists().filtered("needs_review"):
                raise UserError(
                    self.env._("The glass was broken for %s: open it and press Review, which ends this.", record.name)
                )
