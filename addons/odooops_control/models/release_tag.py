from odoo import fields, models
from odoo.exceptions import UserError


class OdooopsReleaseTag(models.Model):
    _name = "odooops.release.tag"
    _description = "Tag of a Release"
    _order = "id desc"

    release_id = fields.Many2one("odooops.release", required=True, ondelete="cascade", index=True)
    project_id = fields.Many2one(related="release_id.project_id", store=True, index=True, precompute=True)
    name = fields.Char(required=True, index=True)

    _name_uniq = models.Constraint("UNIQUE (project_id, name)", "This tag names another release already.")

    def write(self, vals):
        """Refuse: a tag never moves."""
        if vals:
            raise UserError(self.env._("A tag never moves: make a new one."))
        return super().write(vals)
