from uuid import uuid4

from odoo import api, fields, models
from odoo.exceptions import UserError

from .. import signing_key
from ..core import grants


class OdooopsOperation(models.Model):
    """What changes production is signed: the agent obeys the signature, not the queue."""

    _inherit = "odooops.operation"

    grant = fields.Json(readonly=True, prefetch=False, copy=False, groups="odooops_control.group_administrator")
    grant_approvers = fields.Json(readonly=True, prefetch=False, copy=False)
    grant_expires_at = fields.Datetime(readonly=True, copy=False)

    @api.model
    def _enqueue(self, kind, environment, deployment=None, **links):
        """Queue nothing for production that can't be signed."""
        operation = super()._enqueue(kind, environment, deployment, **links)
        if operation._needs_grant():
            operation._sign()
        return operation

    def _lease(self, tokens):
        """Sign anew what waited for long: its approvals were asked just now. What has begun goes on as it is."""
        fresh = not self._interrupted()
        moved = super()._lease(tokens)
        for operation in moved.filtered(lambda one: fresh and one._needs_grant() and one._is_grant_old()):
            if signing_key.load():
                operation._sign()
        return moved

    def _needs_grant(self):
        environment = self.environment_id
        return self.exclusive and (environment.tier == "production" or environment.code == "prod")

    def _is_grant_old(self):
        return not self.grant or self.grant_expires_at < fields.Datetime.now() + grants.LIFETIME / 2

    def _sign(self):
        """Sign that this may be done.

        :raises UserError: when there is no key, or nobody who agreed
        """
        self.ensure_one()
        key = signing_key.load()
        if not key:
            raise UserError(self._sentence_of_missing_key())  # pylint: disable=missing-gettext
        subject = self._subject()
        terms = subject._grant_terms(self) if hasattr(subject, "_grant_terms") else {"approvers": []}
        if not terms["approvers"]:
            raise UserError(self.env._("Nobody is known who agreed to %s: ask for an approval.", self.display_name))
        said = grants.document(str(uuid4()), self.agent_id.id, self._payload(), fields.Datetime.now(), **terms)
        self.write(
            {
                "grant": grants.signed(said, key),
                "grant_approvers": said["approvers"],
                "grant_expires_at": fields.Datetime.now() + grants.LIFETIME,
            }
        )
        self.env["odooops.audit.event"]._record(
            self,
            "grant.signed",
            grant=said["id"],
            kind=self.kind,
            plan_hash=said["plan_hash"],
            approvers=", ".join(one["login"] for one in said["approvers"]),
            break_glass=said["break_glass"],
            expires_at=said["expires_at"],
        )

    @api.model
    def _sentence_of_missing_key(self):
        return self.env._(
            "This console has no signing key, so no droplet would change production for it: name the key's file in %s "
            "(the console's container makes one at its start).",
            signing_key.VARIABLE,
        )

    def _payload(self):
        """Add the grant, where there is one."""
        payload = super()._payload()
        if self.grant:
            payload["grant"] = self.grant
        return payload


class OdooopsDecisionMixin(models.AbstractModel):
    _inherit = "odooops.decision.mixin"

    def _grant_terms(self, operation):
        """Return who agreed to it, and whether the glass was broken."""
        if not self:
            return {"approvers": []}
        broken = self._is_glass_broken()
        authors = self._question().authors
        agreed = self._valid_approvals().filtered(lambda one: one._people()[0] not in authors)
        alone = broken and self._glass_replaces_approvals
        approvers = _named(self.break_glass_by_id) if alone else [one._for_grant() for one in agreed.sorted("user_id")]
        return {"approvers": approvers, "break_glass": bool(broken)}


class OdooopsBackup(models.Model):
    _inherit = "odooops.backup"

    def _grant_terms(self, operation):
        """Return who has it restored: an administrator, on production."""
        return {"approvers": operation.grant_approvers or _named(self.env.user)}


class OdooopsEnvironment(models.Model):
    _inherit = "odooops.environment"

    def _grant_terms(self, operation):
        """Return who has data imported: an administrator."""
        return {"approvers": operation.grant_approvers or _named(self.env.user)}


class OdooopsAgent(models.Model):
    _inherit = "odooops.agent"

    console_pin = fields.Char(
        string="Console's key",
        compute="_compute_console_pin",
        help="Whoever this droplet obeys: it comes with the droplet's key, or odooops-agent pin takes it.",
    )

    def _compute_console_pin(self):
        key = signing_key.load()
        for agent in self:
            agent.console_pin = grants.pin(agent.id, key) if key and agent._origin.id else False


def _named(people):
    return [{"id": one.id, "name": one.name, "login": one.login} for one in people.sorted("id")]
