from odoo import api, fields, models
from odoo.exceptions import ValidationError

from ..core import names


class OdooopsEnvironmentDomain(models.Model):
    _name = "odooops.environment.domain"
    _description = "Domain of an Environment"
    _order = "environment_id, kind_rank, id"

    environment_id = fields.Many2one("odooops.environment", required=True, ondelete="cascade", index=True)
    project_id = fields.Many2one(related="environment_id.project_id", store=True, index=True)
    name = fields.Char(required=True, help="A host name such as www.example.com.")
    kind = fields.Selection(
        [("main", "Main"), ("alias", "Alias"), ("redirect", "Redirect")],
        required=True,
        default="main",
        help="An alias shows the same site, a redirect sends visitors to the main domain.",
    )
    kind_rank = fields.Integer(compute="_compute_kind_rank", store=True)

    _name_uniq = models.Constraint("UNIQUE (name)", "An environment has this domain already.")
    _main_uniq = models.UniqueIndex("(environment_id) WHERE kind = 'main'", "An environment has one main domain.")

    @api.depends("kind")
    def _compute_kind_rank(self):
        for domain in self:
            domain.kind_rank = ("main", "alias", "redirect").index(domain.kind or "main")

    @api.constrains("name")
    def _check_name(self):
        for domain in self:
            if not names.HOST.fullmatch(domain.name):
                raise ValidationError(
                    self.env._("%s is no host name: write it like www.example.com.", names.shown(domain.name))
                )

    @api.model_create_multi
    def create(self, vals_list):
        """Host names are written in lower case, without a dot at the end."""
        for vals in vals_list:
            self._normalize(vals)
        return super().create(vals_list)

    def write(self, vals):
        """Host names are written in lower case, without a dot at the end."""
        self._normalize(vals)
        return super().write(vals)

    @api.model
    def _normalize(self, vals):
        if vals.get("name"):
            vals["name"] = vals["name"].strip().lower().rstrip(".")
