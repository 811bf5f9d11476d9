from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import email_normalize

_KEY_WARNING = timedelta(days=14)


class ResUsers(models.Model):
    _inherit = "res.users"

    @api.model
    def _create_service_user(self, name, login, group):
        """Create a user without password who is in one service group only."""
        domain = (self.env.company.email or "").rpartition("@")[2] or "example.invalid"
        return self.with_context(no_reset_password=True, mail_create_nosubscribe=True).create(
            {
                "name": name,
                "login": login,
                "email": f"{login}@{domain}".lower().replace(" ", "-"),
                "group_ids": [fields.Command.set(self.env.ref(group).ids)],
            }
        )

    @api.model_create_multi
    def create(self, vals_list):
        """Record who comes with a role of ours."""
        users = super().create(vals_list)
        users._audit_roles(dict.fromkeys(users, ""))
        return users

    def write(self, vals):
        """Record who gains or loses a role of ours."""
        if not {"group_ids", "active"} & set(vals):
            return super().write(vals)
        before = {user: user._odooops_roles() for user in self}
        done = super().write(vals)
        self._audit_roles(before)
        return done

    def _audit_roles(self, before):
        for user in self:
            after = user._odooops_roles()
            if before[user] != after:
                self.env["odooops.audit.event"].sudo()._record(
                    user.sudo(), "user.roles_changed", user=user.sudo().login, roles=[before[user], after]
                )

    def _odooops_roles(self):
        """Return the roles of ours that the user has, as the audit log keeps them."""
        user = self.sudo()
        names = (user.all_group_ids if user.active else user.browse().all_group_ids).get_external_id().values()
        ours = (name.removeprefix("odooops_control.group_") for name in names if name.startswith("odooops_control."))
        return ", ".join(sorted(ours))

    @api.model
    def _odooops_administrators(self):
        """Return the people who look after the installation."""
        group = self.env.ref("odooops_control.group_administrator")
        return group.sudo().all_user_ids.filtered(lambda user: user.active and user._is_internal())

    @api.model
    def _cron_odooops_keys(self):
        """Remind of service users' keys that expire within 14 days."""
        soon = fields.Datetime.now() + _KEY_WARNING
        for key in self.env["odooops.agent.key"].sudo().search([("revoked_at", "=", False)]):
            newest = key.agent_id.key_ids.filtered(lambda one: not one.revoked_at)[:1]
            if key == newest and key.agent_id.active:
                self._remind_of_key(key.agent_id, key.agent_id.name, key.expires_at, soon)
        for user in self.env.ref("odooops_control.group_ci").sudo().all_user_ids:
            dates = [key.expiration_date for key in user.api_key_ids if key.expiration_date]
            if dates:
                self._remind_of_key(user.partner_id, user.name, max(dates), soon)

    @api.model
    def _remind_of_key(self, record, name, expires_at, soon):
        """Remind the administrators, or take the reminder back when there is a newer key."""
        kind = "odooops_control.mail_activity_key_expires"
        if expires_at > soon:
            record.activity_unlink([kind])
            return
        for user in self._odooops_administrators():
            if not record.activity_search([kind], user_id=user.id):
                record.activity_schedule(
                    kind,
                    user_id=user.id,
                    date_deadline=expires_at.date(),
                    summary=self.env._("The key of %s expires", name),
                    note=self.env._("Make a new key: old and new are valid side by side until then."),
                )

    def _odooops_people(self):
        """Return an id for each person behind these users: who has two accounts with one e-mail address is one."""
        addresses = {user: user._odooops_addresses() for user in self.sudo()}
        wanted = sorted(set().union(*addresses.values()))
        twins = self.sudo().with_context(active_test=False)
        twins = twins.search(["|", ("email_normalized", "in", wanted), ("login", "in", wanted)]) if wanted else twins
        known = {twin: twin._odooops_addresses() for twin in twins | self.sudo()}
        return [
            min([user.id, *(twin.id for twin, theirs in known.items() if theirs & mine)])
            for user, mine in addresses.items()
        ]

    def _odooops_addresses(self):
        """Return the e-mail addresses by which this person is known here, the login included."""
        login = email_normalize(self.login or "")
        return {address for address in (self.email_normalized, login) if address}

    def _odooops_project_ids(self):
        """Return the ids of the projects this user is a member of, for record rules."""
        return self.env["odooops.project.member"].sudo().search([("user_id", "=", self.id)]).project_id.ids
