from odoo import api, fields, models
from odoo.addons.base.models.res_users import check_identity
from odoo.exceptions import AccessError, UserError

from ..core import conditions
from .mixins import interactive_only

_MAX_REASON = 500
KEYS = [
    ("preflight", "Preflight"),
    ("oca", "OCA modules"),
    ("staging_time", "Time on staging"),
    ("staging_health", "Staging healthy"),
    ("backup", "Fresh backup"),
    ("restore_test", "Restored backup"),
]


class OdooopsConditionOverride(models.Model):
    _name = "odooops.condition.override"
    _description = "Condition that was overridden"
    _order = "id desc"
    _rec_name = "key"

    deployment_id = fields.Many2one("odooops.deployment", required=True, readonly=True, ondelete="cascade", index=True)
    project_id = fields.Many2one(related="deployment_id.project_id", store=True, index=True, precompute=True)
    key = fields.Selection(KEYS, string="Condition", required=True, readonly=True)
    reason = fields.Char(required=True, readonly=True)
    user_id = fields.Many2one("res.users", string="By", required=True, readonly=True, ondelete="restrict")
    policy_reference = fields.Char(readonly=True, help="The policy and its version under which it was overridden.")

    _key_uniq = models.Constraint(
        "UNIQUE (deployment_id, key, policy_reference)", "This condition is overridden already."
    )

    def write(self, vals):
        """Refuse: what somebody answers for stays as they said it."""
        if vals:
            raise UserError(self.env._("An override can't be changed: cancel the deployment instead."))
        return super().write(vals)


class OdooopsDeployment(models.Model):
    _inherit = "odooops.deployment"

    override_ids = fields.One2many("odooops.condition.override", "deployment_id", readonly=True)
    can_override = fields.Boolean(compute="_compute_can_override")

    @api.depends("state")
    @api.depends_context("uid")
    def _compute_can_override(self):
        for deployment in self:
            deployment.can_override = deployment.is_undecided and not deployment._override_refusal()

    def _overrides(self):
        """Return by key who overrode a condition and why, as far as the policy is still the one they knew."""
        known = self.override_ids.filtered(lambda one: one.policy_reference == self.policy_id._reference())
        return {one.key: (one.user_id.name, one.reason) for one in known}

    def _override_refusal(self):
        """Return why this user may not override a condition here, or None."""
        user, deployment = self.env.user, self.sudo()
        if not user.has_group("odooops_control.group_override"):
            return self.env._("Only who has the right to override conditions may do that: ask an administrator.")
        if deployment._person(user).id in deployment._question().authors:
            return self.env._("%s asked for this or wrote it: another person has to override.", user.name)
        return None

    def action_open_override(self):
        """Open the wizard in which a condition is overridden."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Override a condition of %s", self.name),
            "res_model": "odooops.override.wizard",
            "view_mode": "form",
            "target": "new",
            "context": {"default_deployment_id": self.id},
        }

    @interactive_only
    @check_identity
    def action_override(self, key, reason):
        """Let a condition not count for this deployment, under one's name.

        :param str key: the condition's key
        :param str reason: why that is right
        :raises: one sentence for whoever may not, for what can't be overridden, and without a reason
        """
        self.ensure_one()
        self.check_access("read")
        if sentence := self._override_refusal():
            raise AccessError(sentence)  # pylint: disable=missing-gettext
        self.sudo()._override(self.env.user, key, reason)
        return {"type": "ir.actions.act_window_close"}

    def _override(self, user, key, reason):
        reason = " ".join(reason.split())[:_MAX_REASON] if isinstance(reason, str) else ""
        if not reason:
            raise UserError(
                self.env._("Say why: the reason stands beside your name, for whoever approves and in the audit.")
            )
        found = {one.key: one for one in self._conditions()} if self.is_undecided else {}
        if key not in conditions.OVERRIDABLE or key not in found:
            raise UserError(self.env._("There is no condition of %s that could be overridden by this name.", self.name))
        condition = found[key]
        if condition.state in (conditions.GREEN, conditions.OVERRIDDEN):
            raise UserError(
                self.env._("%s holds or is overridden already: there is nothing to override.", condition.label)
            )
        self.env["odooops.condition.override"].create(
            {
                "deployment_id": self.id,
                "key": key,
                "reason": reason,
                "user_id": user.id,
                "policy_reference": self.policy_id._reference(),
            }
        )
        self._say(
            self.env._(
                "%(user)s overrode “%(label)s”: %(reason)s", user=user.name, label=condition.label, reason=reason
            )
        )
        self.env["odooops.audit.event"]._record(
            self, "condition.overridden", key=key, seen=condition.detail, reason=reason, user=user.login
        )
        self._void_decisions(self.env._("A condition was overridden after it was read."))
        self.filtered(lambda one: one.state == "planned")._ask_for_approval()

    def _void_decisions(self, why):
        """Plan again what people decided on under another checklist."""
        self.filtered(lambda one: one.approval_ids and one.state in ("awaiting_approval", "approved"))._plan_again(why)
