from datetime import timedelta
from urllib.parse import urlsplit

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.http import request
from odoo.tools import SQL

from ..core import names, oidc
from ..jwks import STORE

_WORKFLOW = ".github/workflows/"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class OdooopsOidcTrust(models.Model):
    """A workflow of a project whose jobs may call with the token that GitHub gives them."""

    _name = "odooops.oidc.trust"
    _description = "Trusted Workflow"
    _inherit = ["odooops.audited.mixin"]
    _order = "project_id, workflow, id"
    _rec_name = "workflow"
    _audit_noun = "trust"
    _audit_actions = ("added", "changed", "removed")
    _audit_fields = ("workflow", "environment", "refs", "events")

    project_id = fields.Many2one("odooops.project", required=True, ondelete="cascade", index=True)
    workflow = fields.Char(
        required=True, default=f"{_WORKFLOW}deploy-staging.yml", help="The workflow's file in the repository."
    )
    environment = fields.Char(
        help="The environment that the job names; it may act on this one only. Empty: the job names none, and may "
        "register releases and report checks only."
    )
    refs = fields.Char(
        required=True, default="refs/heads/main", help="On which refs it may run, separated by commas: refs/tags/v*."
    )
    events = fields.Char(
        required=True, default="push", help=f"What may start it, separated by commas: {', '.join(oidc.EVENTS)}."
    )

    @api.constrains("workflow", "environment", "refs", "events")
    def _check_values(self):
        for trust in self:
            parts = trust._trust()
            if not parts.workflow.startswith(_WORKFLOW) or not parts.workflow.endswith((".yml", ".yaml")):
                raise ValidationError(self.env._("Name the workflow's file, such as %sdeploy-staging.yml.", _WORKFLOW))
            if parts.environment and not names.ENVIRONMENT.fullmatch(parts.environment):
                raise ValidationError(
                    self.env._("%s is no environment: give one such as stage or prod.", names.shown(trust.environment))
                )
            for event in parts.events:
                if event not in oidc.EVENTS:
                    raise ValidationError(
                        self.env._(
                            "%(event)s can't be trusted: choose of %(known)s.",
                            event=names.shown(event),
                            known=", ".join(oidc.EVENTS),
                        )
                    )
            for ref in parts.refs:
                if not ref.startswith(("refs/heads/", "refs/tags/")) or ref in ("refs/heads/*", "refs/tags/*"):
                    raise ValidationError(
                        self.env._(
                            "%s is no ref that can be trusted: write refs/heads/main or refs/tags/v*.", names.shown(ref)
                        )
                    )

    @api.model_create_multi
    def create(self, vals_list):
        """Let the jobs that are trusted act as somebody."""
        trusts = super().create(vals_list)
        for project in trusts.project_id:
            project._make_ci_user()
        return trusts

    def _audit_record(self):
        return self.project_id

    def _audit_identity(self):
        return {"workflow": self.workflow}

    def _trust(self):
        self.ensure_one()
        return oidc.Trust(
            workflow=self.workflow or "",
            events=tuple(names.split_list(self.events)),
            refs=tuple(names.split_list(self.refs)),
            environment=oidc.environment_code(self.environment or ""),
        )

    @api.model
    def _issuer(self):
        """Return whose tokens are believed: GitHub's, or those of a GitHub Enterprise Server.

        :raises UserError: when somebody set one that anybody on the way could answer for
        """
        issuer = (
            self.env["ir.config_parameter"].sudo().get_param("odooops_control.oidc_issuer") or oidc.ISSUER
        ).rstrip("/")
        parts = urlsplit(issuer)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise UserError(self.env._("The parameter odooops_control.oidc_issuer has to begin with https://."))
        return issuer

    @api.model
    def _audience(self):
        """Return for whom a token has to be: the console's own address, unless another name is set."""
        parameters = self.env["ir.config_parameter"].sudo()
        return parameters.get_param("odooops_control.oidc_audience") or self.get_base_url().rstrip("/")

    @api.model
    def _accepted(self, token):
        """Return the project that a token speaks for, and its claims.

        :raises oidc.BadToken: when it proves nothing
        :raises oidc.NotAllowed: when this job is not trusted
        :raises jwks.Unavailable: when the issuer's keys can't be had
        """
        issuer = self._issuer()
        kid = oidc.key_id(token, issuer)
        jwk = STORE.key(issuer, kid)
        if not jwk:
            raise oidc.BadToken("This token is signed with a key that its issuer does not have.")
        claims = oidc.verified(token, jwk, issuer, self._audience())
        project = self._project(claims)
        refusal = oidc.refusal(claims, project.github_owner_key or "", [one._trust() for one in project.trust_ids])
        if refusal:
            raise oidc.NotAllowed(refusal)
        return project, claims

    @api.model
    def _project(self, claims):
        key = oidc.repository_id(claims)
        project = (
            self.env["odooops.project"].sudo().search([("github_repository_key", "=", key)], limit=1) if key else None
        )
        if not project:
            raise oidc.NotAllowed("No project of the console has this repository's id: set it on the project.")
        return project


class OdooopsOidcUse(models.Model):
    """Tokens that were used, until they have expired."""

    _name = "odooops.oidc.use"
    _description = "Used Token"
    _order = "id desc"
    _rec_name = "key"

    key = fields.Char(required=True, readonly=True)
    expires_at = fields.Datetime(required=True, readonly=True)

    _key_uniq = models.Constraint("UNIQUE (key)", "This token was used before.")

    @api.model
    def _first(self, claims):
        """Return whether a token comes for the first time; of two at once the second waits and then is not."""
        expires_at = fields.Datetime.now() + timedelta(seconds=oidc.MAX_LIFE_SECONDS + 2 * oidc.SKEW_SECONDS)
        self.env.cr.execute(
            SQL(
                """
                INSERT INTO odooops_oidc_use (key, expires_at) VALUES (%s, %s)
                ON CONFLICT (key) DO NOTHING RETURNING id
                """,
                oidc.use_key(claims),
                expires_at,
            )
        )
        return bool(self.env.cr.fetchone())

    @api.autovacuum
    def _gc_uses(self):
        """Forget tokens that have expired: they don't count any more."""
        old = self.sudo().search([("expires_at", "<", fields.Datetime.now())], limit=10000)
        old.unlink()
        return len(old), len(old) == 10000


class OdooopsProject(models.Model):
    _inherit = "odooops.project"

    trust_ids = fields.One2many("odooops.oidc.trust", "project_id", string="Trusted workflows")
    oidc_user_id = fields.Many2one(
        "res.users", string="Service user of Actions", readonly=True, copy=False, ondelete="restrict"
    )

    def _ci_user(self):
        """Return the service user that CI's calls with GitHub's token are made as, in sudo.

        :raises oidc.NotAllowed: when somebody archived it
        """
        user = self.sudo().oidc_user_id
        if not user.active:
            raise oidc.NotAllowed(f"The service user {user.login} is archived: activate it, or use an API key.")
        return user

    def _make_ci_user(self):
        """Make the service user, which has the role of CI on this project and none on any other."""
        project = self.sudo()
        if not project.oidc_user_id:
            project.oidc_user_id = (
                self.env["res.users"]
                .sudo()
                ._create_service_user(
                    self.env._("Actions of %s", self.name), f"odooops-oidc-{self.code}", "odooops_control.group_ci"
                )
            )
            self.env["odooops.project.member"].sudo().create(
                {"project_id": self.id, "user_id": project.oidc_user_id.id, "role": "ci"}
            )


def claims_of_request():
    """Return the claims of the token that the request came with, None for any other way in."""
    return getattr(request, "odooops_oidc", None) if request else None


class OdooopsEnvironment(models.Model):
    _inherit = "odooops.environment"

    @api.model
    def _find(self, text):
        """Let a job act on the environment only that it runs in on GitHub."""
        found = super()._find(text)
        claims = claims_of_request()
        refusal = claims and oidc.environment_refusal(claims, found.code)
        if refusal:
            raise AccessError(refusal)  # pylint: disable=missing-gettext
        return found


class OdooopsRelease(models.Model):
    _inherit = "odooops.release"

    @api.model
    def _wanted(self, project, ref, commit_sha, image, manifest, checks):
        """Let the job of a push register its own commit only, under its own ref."""
        self._refuse_other_commit(commit_sha)
        self._refuse_other_ref(ref, has_image=True)
        return super()._wanted(project, ref, commit_sha, image, manifest, checks)

    @api.model
    def _built(self, project, ref, commit_sha):
        """Let the job of a push name its own commit only, by its own ref."""
        self._refuse_other_commit(commit_sha)
        self._refuse_other_ref(f"refs/tags/{ref.name}", has_image=False)
        return super()._built(project, ref, commit_sha)

    @api.model
    def _refuse_other_ref(self, ref, has_image):
        claims = claims_of_request()
        refusal = claims and oidc.ref_refusal(claims, ref, has_image)
        if refusal:
            raise AccessError(refusal)  # pylint: disable=missing-gettext

    @api.model
    def _refuse_other_commit(self, commit_sha):
        claims = claims_of_request()
        refusal = claims and oidc.commit_refusal(claims, commit_sha)
        if refusal:
            raise AccessError(refusal)  # pylint: disable=missing-gettext


class OdooopsCheckRun(models.Model):
    _inherit = "odooops.check.run"

    @api.model
    def _refuse_report(self, project, commit_sha):
        """Let a job report on its own commit only."""
        claims = claims_of_request()
        refusal = claims and oidc.report_refusal(claims, commit_sha)
        if refusal:
            raise AccessError(refusal)  # pylint: disable=missing-gettext
        return super()._refuse_report(project, commit_sha)
