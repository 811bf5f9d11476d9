import re
from secrets import token_urlsafe

from odoo import api, fields, models
from odoo.addons.base.models.res_users import check_identity
from odoo.exceptions import UserError, ValidationError

from ..core import sealing
from .mixins import interactive_only

_URL = re.compile(r"(?:/[A-Za-z0-9._-]+){2,}|s3:https?://[A-Za-z0-9.-]+(?::\d{1,5})?(?:/[A-Za-z0-9._-]+)+")
# What is entered and never stored: sealed to the agent's key at once.
_ENTERED = ("entered_password", "entered_access_key", "entered_secret_key", "entered_region")
TROUBLES = ("locked", "unreachable", "wrong_password", "damaged")


class OdooopsBackupRepository(models.Model):
    _name = "odooops.backup.repository"
    _description = "Backup Repository"
    _order = "name, id"

    name = fields.Char(required=True)
    agent_id = fields.Many2one(
        "odooops.agent",
        string="Droplet",
        required=True,
        ondelete="restrict",
        index=True,
        default=lambda self: self.env["odooops.environment"]._default_agent(),
        help="The agent that writes to it; what opens it is sealed to this agent's key.",
    )
    url = fields.Char(
        string="Address",
        required=True,
        help="s3:https://<host>/<bucket>, or a folder of the droplet below ODOOOPS_BACKUP_DIR (/srv/odooops-backups). "
        "A folder is lost with its droplet.",
    )
    region = fields.Char(help="Where it stands; better not where the droplet stands.")
    same_region = fields.Boolean(compute="_compute_same_region")
    active = fields.Boolean(default=True)
    sealed = fields.Char(readonly=True, copy=False, groups="odooops_control.group_administrator", prefetch=False)
    is_sealed = fields.Boolean(string="Can be opened", compute="_compute_is_sealed")
    sealed_for = fields.Char(readonly=True, copy=False, groups="odooops_control.group_administrator")
    identity = fields.Char(readonly=True, copy=False, help="restic's own id of it: nothing else is written to.")
    recovery_public_key = fields.Char(
        readonly=True, copy=False, default=lambda self: self._default_recovery_key(), string="Offline recovery key"
    )
    recovery_sealed = fields.Char(
        readonly=True,
        copy=False,
        help="A second password that only the offline recovery key opens. It stands in the repository as well.",
    )
    state = fields.Selection(
        [
            ("new", "Not used yet"),
            ("ok", "Well"),
            ("locked", "Locked"),
            ("unreachable", "Unreachable"),
            ("wrong_password", "Wrong password"),
            ("damaged", "Damaged"),
        ],
        default="new",
        required=True,
        readonly=True,
        copy=False,
    )
    state_detail = fields.Char(string="What the agent sees", readonly=True, copy=False)
    checked_at = fields.Datetime(readonly=True, copy=False)
    environment_ids = fields.One2many("odooops.environment", "repository_id", string="Environments")
    backup_ids = fields.One2many("odooops.backup", "repository_id", string="Backups")
    entered_password = fields.Char(
        string="Password", compute="_compute_entered", inverse="_inverse_entered", copy=False,
        help="Left empty, one is made that only the agent and the recovery key know.",
    )  # fmt: skip
    entered_access_key = fields.Char(
        string="Access key", compute="_compute_entered", inverse="_inverse_entered", copy=False
    )
    entered_secret_key = fields.Char(
        string="Secret key", compute="_compute_entered", inverse="_inverse_entered", copy=False
    )
    entered_region = fields.Char(
        string="Storage region", compute="_compute_entered", inverse="_inverse_entered", copy=False
    )

    _url_uniq = models.Constraint("UNIQUE (agent_id, url)", "This droplet has a repository at this address already.")

    @api.model
    def _default_recovery_key(self):
        return self.search([("recovery_public_key", "!=", False)], order="id desc", limit=1).recovery_public_key

    @api.depends("region", "agent_id.region")
    def _compute_same_region(self):
        for repository in self:
            on_disk = (repository.url or "").startswith("/")
            same = repository.region and repository.region == repository.agent_id.region
            repository.same_region = bool(on_disk or same)

    def _compute_is_sealed(self):
        for repository in self:
            own = repository.sudo()
            repository.is_sealed = bool(own.sealed and own.sealed_for == own.agent_id.sealing_public_key)

    def _compute_entered(self):
        for name in _ENTERED:
            self[name] = False

    def _inverse_entered(self):
        """Seal what was entered; nothing of it reaches a table."""
        for repository in self:
            if any(repository[name] for name in _ENTERED):
                repository._seal(repository.entered_password)

    @api.constrains("url")
    def _check_url(self):
        for repository in self:
            parts = (repository.url or "").split("/")
            if not _URL.fullmatch(repository.url or "") or {".", ".."} & set(parts):
                raise ValidationError(
                    self.env._(
                        "%s is no repository's address: give s3:https://<host>/<bucket>, or a folder such as "
                        "/srv/odooops-backups/demo.",
                        repository.url,
                    )
                )

    @api.model_create_multi
    def create(self, vals_list):
        """Seal a password of its own where none was entered."""
        repositories = super().create(vals_list)
        for repository in repositories:
            if not repository.sudo().sealed:
                repository._seal(False)
            repository._audit("repository.created", url=repository.url)
        return repositories

    def write(self, vals):
        """Forget what was known of another place; record who changed what in the audit log, without secrets."""
        if {"url", "agent_id"} & set(vals):
            used = self.filtered(lambda one: one.backup_ids.filtered(lambda backup: backup.state == "kept"))
            if used:
                raise UserError(
                    self.env._(
                        "%s has backups: make another repository for another place, and keep this one for them.",
                        used[0].name,
                    )
                )
            vals = {**vals, "identity": False, "state": "new", "state_detail": False}
        before = {repository: repository._shown_settings() for repository in self}
        done = super().write(vals)
        if entered := {"url", "agent_id", "active", *_ENTERED} & set(vals):
            for repository in self:
                after, was = repository._shown_settings(), before[repository]
                changed = {name: [was[name], after[name]] for name in after if was[name] != after[name]}
                repository._audit("repository.changed", fields=sorted(entered), **changed)
        return done

    def _shown_settings(self):
        return {"url": self.url, "agent": self.agent_id.name, "active": self.active}

    def _audit(self, action, **values):
        self.env["odooops.audit.event"]._record(self, action, **values)

    def _seal(self, password):
        """Seal what opens the repository to its agent."""
        agent = self.agent_id.sudo()
        if not agent.sealing_public_key:
            raise UserError(
                self.env._("%s has not told its key yet: start its agent once, then make the repository.", agent.name)
            )
        if not password and not self.sudo().sealed:
            password = token_urlsafe(32)
        elif not password:
            raise UserError(
                self.env._(
                    "Enter the repository's password beside the storage's keys: nobody here can read the old one."
                )
            )
        login = {
            "AWS_ACCESS_KEY_ID": self.entered_access_key,
            "AWS_SECRET_ACCESS_KEY": self.entered_secret_key,
            "AWS_DEFAULT_REGION": self.entered_region,
        }
        document = {"password": password, "environment": {name: value for name, value in login.items() if value}}
        sealed = sealing.seal(document, agent.sealing_public_key)
        self.sudo().write({"sealed": sealed, "sealed_for": agent.sealing_public_key})

    @interactive_only
    @check_identity
    def action_make_recovery_key(self):
        """Make an offline key that opens all repositories without one, and this one; show its private half once."""
        return self._make_recovery_key()

    def _make_recovery_key(self):
        self.ensure_one()
        self.check_access("write")
        private, public = sealing.make_recovery_key()
        others = self.search([("recovery_public_key", "=", False)])
        for repository in self | others:
            repository.sudo().write({"recovery_public_key": public, "recovery_sealed": False})
            repository._audit("repository.recovery_key_made")
        return self.env["odooops.key.show"]._action(
            self.env._("Offline recovery key"),
            private,
            self.env._(
                "Print it or put it into a safe now: it is shown only here. With it and the repository you get every "
                "backup back when droplet and console are gone: odooops-agent recovery-password. The next backup "
                "makes it count."
            ),
        )

    def _note(self, state, detail=False, **values):
        """Record what the agent found."""
        for repository in self.sudo():
            repository.write({"state": state, "state_detail": detail, "checked_at": fields.Datetime.now(), **values})

    def _agent_payload(self):
        """Return the repository as the agent gets it."""
        self.ensure_one()
        return {
            "id": self.id,
            "url": self.url,
            "sealed": self.sealed or "",
            "identity": self.identity or None,
            "recovery_public_key": self.recovery_public_key or None,
        }
