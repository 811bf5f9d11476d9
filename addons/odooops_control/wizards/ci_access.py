from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError

_OVERLAP = timedelta(days=7)


class OdooopsCiAccess(models.TransientModel):
    _name = "odooops.ci.access"
    _description = "Give CI Access"

    name = fields.Char(compute="_compute_name", store=True, readonly=False, required=True, precompute=True)
    user_id = fields.Many2one(
        "res.users", string="Existing CI user", help="Set to make a new key; older keys stay valid for a week."
    )
    project_ids = fields.Many2many(
        "odooops.project", string="Projects", default=lambda self: self.env["odooops.project"].search([], limit=1)
    )

    @api.depends("project_ids")
    def _compute_name(self):
        for access in self:
            if not access.name:
                names = access.project_ids.mapped("name")
                access.name = self.env._("CI of %s", ", ".join(names)) if names else self.env._("CI")

    def action_create_key(self):
        """Create the CI user, or a new key for it, and show the key once.

        :return: an action whose context has the key as ``default_key`` and the user's id as
            ``odooops_user_id``
        """
        self.ensure_one()
        self.check_access("write")
        user = self._ci_user()
        self._join(user)
        key = self._new_key(user)
        hint = self.env._("Store it as a secret of the repository now: it is shown only here.")
        action = self.env["odooops.key.show"]._action(self.env._("Key of %s", user.name), key, hint)
        action["context"]["odooops_user_id"] = user.id
        return action

    def _ci_user(self):
        Users = self.env["res.users"].sudo()
        login = "odooops-" + (self.env["ir.http"]._slugify(self.name) or "ci")
        user = self.user_id.sudo() or Users.search([("login", "=", login)], limit=1)
        if not user:
            return Users._create_service_user(self.name, login, "odooops_control.group_ci")
        if user.all_group_ids != self.env.ref("odooops_control.group_ci").sudo().all_implied_ids:
            raise UserError(self.env._("%s is a person: CI gets a user of its own.", user.name))
        if not self.user_id and self._joined(user) != self.project_ids:
            # One name for two customers would give each the other's key.
            raise UserError(
                self.env._(
                    "%s serves other projects already: choose it as existing CI user, or take another name.", user.name
                )
            )
        return user

    def _joined(self, user):
        return self.env["odooops.project.member"].sudo().search([("user_id", "=", user.id)]).project_id

    def _join(self, user):
        missing = self.project_ids - self._joined(user)
        self.env["odooops.project.member"].sudo().create(
            [{"project_id": project.id, "user_id": user.id, "role": "ci"} for project in missing]
        )

    def _new_key(self, user):
        now = fields.Datetime.now()
        days = self.env.ref("odooops_control.group_ci").sudo().api_key_duration
        for key in user.api_key_ids:
            if not key.expiration_date or key.expiration_date > now + _OVERLAP:
                self._shorten(key, now + _OVERLAP)
        # Sudo and not the user: only people's sessions may make keys otherwise.
        keys = self.env["res.users.apikeys"].with_user(user).sudo()
        self.env["odooops.audit.event"]._record(user.partner_id, "ci.key_issued", login=user.login)
        key = keys._generate(None, self.env._("OdooOps CI"), now + timedelta(days=days))
        # Odoo writes it past the ORM.
        user.invalidate_recordset(["api_key_ids"])
        return key

    def _shorten(self, key, until):
        key.sudo().expiration_date = until
