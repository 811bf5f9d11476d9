from urllib.parse import urlsplit
from uuid import uuid4

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tools import SQL

from ..core import names, protocol, transitions
from .triggers import guard

TIERS = [("preview", "Preview"), ("staging", "Staging"), ("production", "Production")]
_MACHINE_FIELDS = frozenset(
    (
        "uuid",
        "token",
        "database_uuid",
        "health",
        "health_detail",
        "health_at",
        "red_since",
        "running_digest",
        "running_deployment_id",
        "indeterminate",
        "asked_at",
        "exported_as_of",
    )
)
# What names a database or says how carefully it is treated stays as long as there is one.
_KEPT = {"project_id": "project", "code": "name", "tier": "tier", "database_name": "database"}
_AUDITED = (
    "code",
    "tier",
    "policy_id",
    "agent_id",
    "auto_deploy",
    "active",
    "url",
    "database_name",
    "module_names",
    "languages",
    "bucket",
    "workers",
    "cron_workers",
    "mail_host",
    "mail_from_filter",
    "hold_limit_seconds",
    "update_timeout_seconds",
    "restore_sets_keep",
    "restore_set_hours",
    "clone_source_id",
    "clone_obfuscate",
    "clone_schedule",
    "refresh_mode",
    "manual_changes",
)


class OdooopsEnvironment(models.Model):
    _name = "odooops.environment"
    _description = "Environment"
    _inherit = ["odooops.project.mixin", "mail.thread", "mail.activity.mixin"]
    _order = "project_id, tier_rank desc, code"
    _rec_name = "key"
    _mail_post_access = "read"

    project_id = fields.Many2one(
        "odooops.project",
        required=True,
        ondelete="restrict",
        index=True,
        default=lambda self: self.env["odooops.project"].search([], limit=1),
    )
    code = fields.Char(required=True, copy=False, default="stage", help="stage, prod, or pr-12 and the like.")
    key = fields.Char(compute="_compute_key", store=True, index=True)
    uuid = fields.Char(string="Identity", required=True, readonly=True, copy=False, default=lambda self: str(uuid4()))
    active = fields.Boolean(default=True)
    tier = fields.Selection(
        TIERS, required=True, compute="_compute_tier", store=True, readonly=False, precompute=True, tracking=True
    )
    tier_rank = fields.Integer(compute="_compute_tier_rank", store=True)
    agent_id = fields.Many2one(
        "odooops.agent",
        ondelete="restrict",
        index=True,
        tracking=True,
        default=lambda self: self._default_agent(),
    )
    policy_id = fields.Many2one(
        "odooops.approval.policy",
        compute="_compute_policy",
        store=True,
        readonly=False,
        ondelete="restrict",
        index="btree_not_null",
        tracking=True,
    )
    auto_deploy = fields.Boolean(
        compute="_compute_auto_deploy",
        store=True,
        precompute=True,
        readonly=False,
        help="Every push to the main branch goes here by itself. Production is always asked for.",
    )
    # Where it is reached
    domain_ids = fields.One2many("odooops.environment.domain", "environment_id", string="Domains", copy=False)
    main_domain = fields.Char(compute="_compute_main_domain")
    url = fields.Char(
        string="URL",
        compute="_compute_url",
        store=True,
        readonly=False,
        copy=False,
        help="Frozen into Odoo as web.base.url. Its host is the main domain, where there is one.",
    )
    # What runs
    database_name = fields.Char(
        compute="_compute_database_name", store=True, readonly=False, copy=False, required=True, precompute=True
    )
    database_uuid = fields.Char(
        string="Database identity", readonly=True, copy=False, help="Odoo's database.uuid, as first seen by the agent."
    )
    module_names = fields.Char(
        string="Modules to install", help="Names, separated by commas; what they depend on comes along.", tracking=True
    )
    languages = fields.Char(default="en_US", help="Language codes, separated by commas.")
    bucket = fields.Char(tracking=True, help="Storage buckets, separated by commas: staging-… or prod-….")
    workers = fields.Integer(default=2, required=True, tracking=True)
    cron_workers = fields.Integer(default=1, required=True)
    memory_soft_mb = fields.Integer(string="Soft memory limit (MB)", default=640, required=True)
    memory_hard_mb = fields.Integer(string="Hard memory limit (MB)", default=768, required=True)
    container_memory_mb = fields.Integer(string="Container memory (MB)", default=2048, required=True)
    cpus = fields.Float(help="How many CPUs a container may use; 0 leaves it open.")
    request_seconds = fields.Integer(default=120, required=True)
    request_cpu_seconds = fields.Integer(default=60, required=True)
    database_connections_max = fields.Integer(
        default=16, required=True, help="What all its processes together may open on the cluster."
    )
    mail_host = fields.Char(string="Mail relay", tracking=True)
    mail_port = fields.Integer(default=587)
    mail_encryption = fields.Selection(
        [("none", "None"), ("starttls", "STARTTLS"), ("ssl", "TLS")], default="starttls", required=True
    )
    mail_from_filter = fields.Char(help="The address or domain that may stand as sender.")
    # How it is deployed
    drain_limit_seconds = fields.Integer(default=120, required=True)
    hold_limit_seconds = fields.Integer(default=45, required=True)
    update_timeout_seconds = fields.Integer(default=3600, required=True)
    disk_reserve_mb = fields.Integer(string="Disk to leave free (MB)", default=1024, required=True)
    # What is known of it
    token = fields.Integer(readonly=True, copy=False, help="The highest fencing token that was given out.")
    health = fields.Selection(
        [("green", "Green"), ("yellow", "Yellow"), ("red", "Red"), ("unknown", "Unknown")],
        default="unknown",
        required=True,
        readonly=True,
        copy=False,
    )
    health_detail = fields.Char(string="What the agent sees", readonly=True, copy=False)
    busy = fields.Json(
        readonly=True, prefetch=False, copy=False, help="What people are in the midst of, as the agent saw it last."
    )
    health_at = fields.Datetime(string="Seen at", readonly=True, copy=False)
    running_digest = fields.Char(readonly=True, copy=False)
    running_deployment_id = fields.Many2one("odooops.deployment", readonly=True, copy=False, ondelete="set null")
    running_release_id = fields.Many2one(related="running_deployment_id.release_id", string="Running release")
    running_tag = fields.Char(related="running_deployment_id.tag", string="Running tag")
    drift = fields.Char(compute="_compute_drift")
    indeterminate = fields.Boolean(
        readonly=True, copy=False, tracking=True, help="The agent could not prove its state: repair it first."
    )
    asked_at = fields.Datetime(readonly=True, copy=False)
    deployment_ids = fields.One2many("odooops.deployment", "environment_id", string="Deployments")
    operation_ids = fields.One2many("odooops.operation", "environment_id", string="Operations")
    restore_set_ids = fields.One2many("odooops.restore.set", "environment_id", string="Restore sets")
    queue_count = fields.Integer(compute="_compute_queue")
    active_deployment_id = fields.Many2one("odooops.deployment", compute="_compute_queue", string="Under way")
    active_state = fields.Selection(
        lambda self: self._deployment_states(), compute="_compute_queue", string="State of what is under way"
    )
    last_deployment_id = fields.Many2one("odooops.deployment", compute="_compute_queue", string="Last deployment")
    last_tag = fields.Char(compute="_compute_queue", string="Last tag")
    last_state = fields.Selection(lambda self: self._deployment_states(), compute="_compute_queue", string="Last state")
    last_at = fields.Datetime(compute="_compute_queue", string="Last asked for")

    _key_uniq = models.Constraint("UNIQUE (project_id, code)", "This project has an environment of this name already.")
    _uuid_uniq = models.Constraint("UNIQUE (uuid)", "Two environments can't have one identity.")
    _database_uniq = models.UniqueIndex(
        "(agent_id, database_name) WHERE active", "Another environment of this agent has this database already."
    )
    _numbers_check = models.Constraint(
        "CHECK (workers BETWEEN 1 AND 64 AND cron_workers BETWEEN 1 AND 16 AND memory_soft_mb >= 128 "
        "AND memory_hard_mb >= memory_soft_mb AND container_memory_mb >= 256 AND cpus >= 0 "
        "AND request_seconds BETWEEN 10 AND 86400 AND request_cpu_seconds BETWEEN 10 AND 86400 "
        "AND database_connections_max BETWEEN 2 AND 1000 AND hold_limit_seconds BETWEEN 1 AND 600 "
        "AND drain_limit_seconds BETWEEN 1 AND 3600 AND update_timeout_seconds BETWEEN 10 AND 86400 "
        "AND disk_reserve_mb >= 0)",
        "A number is out of range: 1-64 workers, 1-16 cron workers, memory of at least 128 MB with the hard limit "
        "above the soft one, 2-1000 connections, a hold of at most 600 s.",
    )

    def init(self):
        """Let fencing tokens only grow, whoever writes them."""
        guard(self.env.cr, self._table, "odooops_refuse_smaller_token", SQL("UPDATE OF token"))

    @api.model
    def _default_agent(self):
        agents = self.env["odooops.agent"].search([], limit=2)
        return agents if len(agents) == 1 else agents.browse()

    @api.depends("project_id.code", "code")
    def _compute_key(self):
        for environment in self:
            environment.key = f"{environment.project_id.code}/{environment.code}"

    @api.depends("code")
    def _compute_tier(self):
        for environment in self:
            wanted = names.TIER_OF_CODE.get(names.canonical_code(environment.code))
            # What is installed keeps its tier, and so does what is renamed to a name that says nothing.
            if not environment.tier or not environment._origin:
                environment.tier = wanted or "preview"
            elif wanted and not environment.database_uuid:
                environment.tier = wanted

    @api.depends("tier")
    def _compute_tier_rank(self):
        ranks = {tier: rank for rank, (tier, _label) in enumerate(TIERS)}
        for environment in self:
            environment.tier_rank = ranks.get(environment.tier, 0)

    @api.depends("tier")
    def _compute_policy(self):
        for environment in self:
            if not environment.policy_id or environment.policy_id.tier != environment.tier:
                environment.policy_id = self.env["odooops.approval.policy"]._for_tier(environment.tier)

    @api.depends("tier")
    def _compute_auto_deploy(self):
        for environment in self:
            if not environment._origin or environment.tier == "production":
                environment.auto_deploy = environment.tier == "staging"

    @api.depends("project_id.code", "code")
    def _compute_database_name(self):
        for environment in self:
            # A database in use is never renamed behind its agent's back.
            if not environment.database_uuid and environment.project_id.code and environment.code:
                environment.database_name = names.database_name(environment.project_id.code, environment.code)

    @api.depends("domain_ids.name", "domain_ids.kind")
    def _compute_main_domain(self):
        for environment in self:
            main = environment.domain_ids.filtered(lambda domain: domain.kind == "main")[:1]
            environment.main_domain = main.name

    @api.depends("domain_ids.name", "domain_ids.kind")
    def _compute_url(self):
        """Follow the main domain; scheme and port stay as they were given."""
        for environment in self:
            parts = urlsplit(environment.url or "https://")
            if environment.main_domain and parts.hostname != environment.main_domain:
                port = f":{parts.port}" if parts.port else ""
                environment.url = f"{parts.scheme or 'https'}://{environment.main_domain}{port}"

    @api.depends("running_digest", "running_deployment_id.release_id.digest")
    def _compute_drift(self):
        for environment in self:
            recorded = environment.running_deployment_id.release_id.digest
            drifted = environment.running_digest and recorded and environment.running_digest != recorded
            environment.drift = environment.env._("Runs %s", environment.running_digest[:19]) if drifted else False

    @api.depends("deployment_ids.state", "operation_ids.state")
    def _compute_queue(self):
        waiting = self.env["odooops.operation"]._read_group(
            [("environment_id", "in", self.ids), ("state", "in", transitions.OPERATION_OPEN)],
            ["environment_id"],
            ["__count"],
        )
        counts = {environment.id: count for environment, count in waiting}
        for environment in self:
            environment.queue_count = counts.get(environment._origin.id, 0)
            active, last = environment._active_deployments(limit=1), environment._deployments(limit=1)
            environment.active_deployment_id, environment.active_state = active, active.state
            environment.last_deployment_id, environment.last_state = last, last.state
            environment.last_tag, environment.last_at = last.tag, last.create_date

    @api.model
    def _deployment_states(self):
        return self.env["odooops.deployment"]._fields["state"].selection

    @api.constrains("code", "module_names", "languages", "database_name")
    def _check_names(self):
        for environment in self:
            lists = (
                (names.ENVIRONMENT, [environment.code], self.env._("an environment's name such as stage or pr-12")),
                (names.MODULE, names.split_list(environment.module_names), self.env._("a module's name")),
                (names.LANGUAGE, names.split_list(environment.languages), self.env._("a language such as fr_BE")),
                (names.DATABASE, [environment.database_name], self.env._("a database's name such as demo_prod")),
            )
            for pattern, values, wanted in lists:
                for value in values:
                    if not pattern.fullmatch(value or ""):
                        raise ValidationError(
                            self.env._("%(value)s is not %(wanted)s.", value=names.shown(value or ""), wanted=wanted)
                        )

    @api.constrains("code", "project_id")
    def _check_lookalikes(self):
        everyones = self.sudo().with_context(active_test=False)
        for environment in self:
            other = everyones.search([("key", "in", names.lookalikes(environment.key))], limit=1)
            if other:
                raise ValidationError(
                    self.env._(
                        "%(key)s and %(other)s would have the same containers and networks on a droplet: choose "
                        "another name.",
                        key=environment.key,
                        other=other.key,
                    )
                )

    @api.constrains("code")
    def _check_alias(self):
        for environment in self:
            if environment.code in names.ALIASES:
                raise ValidationError(
                    self.env._(
                        "%(alias)s means %(code)s: name the environment %(code)s.",
                        alias=environment.code,
                        code=names.ALIASES[environment.code],
                    )
                )

    @api.constrains("auto_deploy", "tier")
    def _check_auto_deploy(self):
        for environment in self:
            if environment.auto_deploy and environment.tier == "production":
                raise ValidationError(
                    self.env._("Production is asked for, never deployed by a push: leave that to staging.")
                )

    @api.constrains("bucket", "tier")
    def _check_bucket(self):
        for environment in self:
            if sentence := names.bucket_refusal(environment.tier, environment.bucket):
                raise ValidationError(sentence)  # pylint: disable=missing-gettext

    @api.constrains("agent_id", "database_connections_max")
    def _check_connections(self):
        self.agent_id._check_connections()

    @api.model_create_multi
    def create(self, vals_list):
        """Take ``staging`` and ``production`` for what they mean."""
        for vals in vals_list:
            self._refuse_machine_fields({*vals, *self._given_by_context()})
            if vals.get("code"):
                vals["code"] = names.canonical_code(vals["code"])
        environments = super().create(vals_list)
        for environment in environments:
            self.env["odooops.audit.event"]._record(environment, "environment.created", **environment._audited())
        return environments

    def write(self, vals):
        """Keep what agent and control plane record out of people's hands; audit what weighs."""
        self._refuse_machine_fields(vals)
        self._refuse_to_move(vals)
        if "agent_id" in vals:
            self._hand_over(vals["agent_id"])
        if vals.get("active") is False:
            self._refuse_to_archive()
        before = {environment: environment._audited() for environment in self}
        done = super().write(vals)
        for environment in self:
            environment._audit_change(before[environment])
        return done

    def _refuse_machine_fields(self, given):
        if not self.env.su and _MACHINE_FIELDS & set(given):
            raise AccessError(self.env._("This is recorded by OdooOps and can't be edited."))

    def _given_by_context(self):
        return [key.removeprefix("default_") for key in self.env.context if key.startswith("default_")]

    def _refuse_to_move(self, vals):
        for environment in self.filtered("database_uuid"):
            current = environment._convert_to_write({name: environment[name] for name in _KEPT})
            for name in _KEPT:
                if name in vals and vals[name] != current[name]:
                    raise UserError(
                        self.env._(
                            "%s has a database: it keeps its project, name, tier and database. "
                            "Make another environment instead.",
                            environment.key,
                        )
                    )

    def _refuse_to_archive(self):
        for environment in self.sudo().filtered("active"):
            if environment.queue_count or environment.active_deployment_id:
                raise UserError(
                    self.env._("%s is being worked on: wait until that has ended, or cancel it.", environment.key)
                )
            if environment.running_deployment_id:
                environment.message_post(
                    body=self.env._(
                        "Archived. %(tag)s goes on running on %(agent)s until its containers are removed there.",
                        tag=environment.running_tag,
                        agent=environment.agent_id.name or "",
                    )
                )

    def _audited(self):
        """Return the settings that decide how carefully this environment is treated."""
        shown = {name: self[name] for name in _AUDITED}
        return {name: value.display_name if name.endswith("_id") else value for name, value in shown.items()}

    def _audit_change(self, before):
        after = self._audited()
        changed = {name: [before[name], after[name]] for name in _AUDITED if before[name] != after[name]}
        if changed:
            self.env["odooops.audit.event"]._record(self, "environment.changed", **changed)

    def _hand_over(self, agent_id):
        """Give queued operations to another agent; refuse while the old one is, or was, at work."""
        moving = self.filtered(lambda environment: environment.agent_id.id != agent_id)
        operations = moving.sudo().operation_ids.filtered(lambda one: one.state in transitions.OPERATION_OPEN)
        for operation in operations:
            begun = operation.exclusive and operation.attempt
            if operation.state != "queued" or begun or not agent_id:
                raise UserError(
                    self.env._(
                        "%(agent)s works on %(environment)s: wait until it has finished.",
                        agent=operation.agent_id.name,
                        environment=operation.environment_id.key,
                    )
                )
        operations.write({"agent_id": agent_id})
        operations.agent_id._wake()

    @api.model
    def _find(self, text):
        """Return the environment that ``demo/prod``, ``prod`` or ``production`` names, in sudo.

        :raises BadName: for what is no environment's name
        :raises MissingError: when the user sees none of that name
        :raises UserError: when the project is left out and several are visible
        """
        project_code, code = names.parse_environment(text)
        Project = self.env["odooops.project"]
        projects = Project._find(project_code) if project_code else Project.search([], limit=2)
        if len(projects) > 1:
            raise UserError(self.env._("Which project? Write the environment as <project>/%(code)s.", code=code))
        found = self.search([("project_id", "in", projects.ids), ("code", "=", code)], limit=1)
        if not found:
            raise self._sentence_of_missing(self.env._("environment"), names.shown(text))
        return found.sudo()

    def _active_deployments(self, limit=None):
        """Return what is under way here, newest first."""
        return self._deployments([("is_active", "=", True)], limit)

    def _deployments(self, domain=(), limit=None):
        """Return deployments to here, newest first."""
        return self.env["odooops.deployment"].search(
            [("environment_id", "in", self.ids), *domain], order="id desc", limit=limit
        )

    @api.model
    @api.readonly
    def status(self, environment):
        """Return how an environment is.

        :param str environment: ``demo/prod``, or ``prod`` while there is one project
        :return: health, running tag and digest, last deployment, drift, what is under way
        :raises: 404 for an environment the caller may not see, 422 for what is no name
        """
        try:
            found = self._find(environment)
        except names.BadName as error:
            raise UserError(str(error)) from error  # pylint: disable=missing-gettext
        return found._status()

    def _status(self):
        last = self._deployments(limit=1)
        silent = self.agent_id.state == "silent"
        return {
            "environment": self.key,
            "tier": self.tier,
            "url": self.url or None,
            "health": "unknown" if silent or not self.agent_id else self.health,
            "health_detail": self.health_detail or "",
            "health_at": protocol.show_time(self.health_at),
            "agent": {"name": self.agent_id.name or None, "state": self.agent_id.state or None},
            "tag": self.running_tag or None,
            "digest": self.running_release_id.digest or None,
            "last_deployment": last._status() if last else None,
            "drift": self.drift or None,
            "indeterminate": self.indeterminate,
            "queue": self.queue_count,
        }

    def action_deploy(self):
        """Open the wizard that asks which release goes here."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Deploy to %s", self.key),
            "res_model": "odooops.deploy.wizard",
            "view_mode": "form",
            "target": "new",
            "context": {"default_environment_id": self.id},
        }

    def action_open_url(self):
        """Open the environment in a new tab."""
        self.ensure_one()
        if not self.url:
            raise UserError(self.env._("Give %s a main domain or a URL first.", self.key))
        return {"type": "ir.actions.act_url", "url": self.url, "target": "new"}

    def action_open_deployments(self):
        """Open what was deployed here."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Deployments of %s", self.key),
            "res_model": "odooops.deployment",
            "view_mode": "list,kanban,form",
            "domain": [("environment_id", "=", self.id)],
        }

    def action_open_operations(self):
        """Open what agents did and have to do here."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Operations of %s", self.key),
            "res_model": "odooops.operation",
            "view_mode": "list,form",
            "domain": [("environment_id", "=", self.id)],
        }

    def action_mark_repaired(self):
        """Let deployments go on after someone made sure of the environment's state by hand."""
        self.ensure_one()
        self.project_id._require_role("release_manager")
        if self.indeterminate:
            self.sudo().indeterminate = False
            # What was refused meanwhile may go on.
            self.sudo().agent_id._wake()
            self.sudo().message_post(body=self.env._("Marked as repaired by %s.", self.env.user.name))
            self.env["odooops.audit.event"]._record(self, "environment.repaired")
