from odoo import api, fields, models


class OdooopsEnvironment(models.Model):
    _inherit = "odooops.environment"

    caught_mail_ids = fields.One2many("odooops.caught.mail", "environment_id", groups="odooops_control.group_developer")
    caught_mail_count = fields.Integer(
        compute="_compute_caught_mail_count", groups="odooops_control.group_developer", string="Caught mails"
    )
    mail_keep_days = fields.Integer(string="Keep caught mails (days)", default=14, required=True)
    mails_keep = fields.Integer(string="At most (mails)", default=5000, required=True)

    _mails_check = models.Constraint(
        "CHECK (mail_keep_days BETWEEN 1 AND 365 AND mails_keep BETWEEN 1 AND 100000)",
        "Keep caught mails for 1 to 365 days, and 1 to 100000 of them.",
    )

    @api.depends("caught_mail_ids")
    def _compute_caught_mail_count(self):
        found = self.env["odooops.caught.mail"]._read_group(
            [("environment_id", "in", self.ids)], ["environment_id"], ["__count"]
        )
        counts = {environment.id: count for environment, count in found}
        for environment in self:
            environment.caught_mail_count = counts.get(environment._origin.id, 0)

    def action_open_caught_mails(self):
        """Open what this environment sent and nobody got."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Mails of %s", self.key),
            "res_model": "odooops.caught.mail",
            "view_mode": "list,kanban,form",
            "domain": [("environment_id", "=", self.id)],
        }
