from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError, ValidationError

from .mixins import in_own_session

# Longer is no absence: then somebody else gets the role.
_MAX_DAYS = 92


class OdooopsDelegation(models.Model):
    """Who decides for an approver while they are away; what they may decide stays what the approver may."""

    _name = "odooops.delegation"
    _description = "Delegation"
    _inherit = ["odooops.audited.mixin"]
    _order = "ends_at desc, id desc"
    _rec_name = "delegate_id"
    _audit_noun = "delegation"
    _audit_actions = ("made", "changed", "ended")
    _audit_fields = ("user_id", "delegate_id", "begins_at", "ends_at")

    user_id = fields.Many2one(
        "res.users",
        string="Away",
        required=True,
        readonly=True,
        default=lambda self: self.env.user,
        ondelete="cascade",
        index=True,
    )
    delegate_id = fields.Many2one(
        "res.users",
        string="Decides instead",
        required=True,
        ondelete="cascade",
        index=True,
        domain="[('share', '=', False), ('id', '!=', user_id)]",
    )
    begins_at = fields.Datetime(string="From", required=True, default=fields.Datetime.now)
    ends_at = fields.Datetime(string="Until", required=True)
    holds_for = fields.Char(
        compute="_compute_holds_for", string="Projects", help="Where they decide, and the delegate is a member."
    )

    @api.depends("user_id", "delegate_id")
    def _compute_holds_for(self):
        for delegation in self:
            delegation.holds_for = ", ".join(delegation._projects().mapped("name"))

    @api.constrains("begins_at", "ends_at")
    def _check_times(self):
        for one in self:
            if not timedelta(0) < one.ends_at - one.begins_at <= timedelta(days=_MAX_DAYS):
                raise ValidationError(
                    self.env._(
                        "Choose an end after the beginning and within %s days: for longer, have somebody be given "
                        "your role.",
                        _MAX_DAYS,
                    )
                )

    @api.constrains("user_id", "delegate_id")
    def _check_delegate(self):
        for one in self:
            if one.user_id._odooops_people() == one.delegate_id._odooops_people():
                raise ValidationError(self.env._("That is you, by another account or not: name another person."))
            if not one._projects():
                raise ValidationError(
                    self.env._(
                        "%s sees no project in which you decide: have them made a viewer of it, or name somebody else.",
                        one.delegate_id.name,
                    )
                )

    @api.model_create_multi
    def create(self, vals_list):
        """Refuse what is not one's own absence, or is not said in the web client."""
        delegations = super().create(vals_list)
        delegations._require_own()
        return delegations

    def write(self, vals):
        """Change nothing but the end: whom somebody named, and for when, they said."""
        if vals and set(vals) != {"ends_at"}:
            raise UserError(self.env._("Only the end can be changed: delete it and name somebody anew."))
        self._require_own()
        return super().write(vals)

    def _require_own(self):
        """Refuse everybody but the one who is away, and every program: a key must not give away a right to decide."""
        if self.env.su:
            return
        if self.user_id - self.env.user:
            raise AccessError(self.env._("Everybody names only who decides for themselves."))
        if not in_own_session(self.env):
            raise AccessError(self.env._("Say in the web client who decides instead of you: log in there."))

    def _projects(self):
        """Return the projects in which the one decides and the other is a member."""
        self.ensure_one()
        members = self.env["odooops.project.member"].sudo()
        roles = ("release_manager", "approver")
        mine = members.search([("user_id", "=", self.user_id.id), ("role", "in", roles)]).project_id
        return mine.filtered(lambda project: project._role_of(self.user_id) and project._role_of(self.delegate_id))

    @api.model
    def _now(self, domain):
        now = fields.Datetime.now()
        return self.sudo().search([("begins_at", "<=", now), ("ends_at", ">", now), *domain], order="id")

    @api.model
    def _away_for(self, user):
        """Return who is away now and named this user; what somebody decides for another can't be handed on."""
        return self._now([("delegate_id", "=", user.id)]).user_id

    @api.model
    def _now_of(self, users):
        """Return the delegations that these users made and that hold now."""
        return self._now([("user_id", "in", users.ids)])
