import logging
import threading
from datetime import timedelta

from odoo import SUPERUSER_ID, api, fields, models
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.fields import Domain
from odoo.modules.registry import Registry

from ..core import protocol

_logger = logging.getLogger(__name__)
# One timer per database and process: Odoo's crons look at the clock once a minute only.
_timers = {}

_MACHINE_FIELDS = frozenset(
    (
        "user_id",
        "last_seen_at",
        "silent",
        "version",
        "boot_id",
        "capabilities",
        "host_facts",
        "sealing_public_key",
        "audit_break",
    )
)
_SETTINGS = ("name", "region", "heavy_limit", "database_connections_budget", "poll_seconds", "lease_seconds")


class OdooopsAgent(models.Model):
    _name = "odooops.agent"
    _description = "Agent"
    _inherit = ["mail.thread", "mail.activity.mixin", "bus.listener.mixin"]
    _order = "name, id"
    _mail_post_access = "read"

    name = fields.Char(required=True, tracking=True)
    active = fields.Boolean(default=True, tracking=True)
    user_id = fields.Many2one("res.users", string="Service user", readonly=True, ondelete="restrict", copy=False)
    key_ids = fields.One2many("odooops.agent.key", "agent_id", string="Keys")
    environment_ids = fields.One2many("odooops.environment", "agent_id", string="Environments")
    operation_ids = fields.One2many("odooops.operation", "agent_id", string="Operations")
    state = fields.Selection(
        [("new", "Never seen"), ("online", "Online"), ("silent", "Silent")],
        compute="_compute_state",
        search="_search_state",
    )
    last_seen_at = fields.Datetime(readonly=True, copy=False)
    silent = fields.Boolean(readonly=True, copy=False, help="Its silence was noticed and reported.")
    host = fields.Char(readonly=True, copy=False)
    version = fields.Char(readonly=True, copy=False)
    boot_id = fields.Char(readonly=True, copy=False)
    capabilities = fields.Json(readonly=True, copy=False, prefetch=False)
    host_facts = fields.Json(string="Host facts", readonly=True, copy=False, prefetch=False)
    disk_free_gb = fields.Float(compute="_compute_disk", string="Free disk (GB)")
    sealing_public_key = fields.Char(readonly=True, copy=False)
    region = fields.Char(help="Where the droplet stands; compared with the console's own region.")
    heavy_limit = fields.Integer(
        default=1, required=True, help="How many deployments, backups and the like it runs at a time."
    )
    database_connections_budget = fields.Integer(
        default=90, required=True, help="What the PostgreSQL cluster allows, less what it reserves."
    )
    poll_seconds = fields.Integer(default=protocol.POLL_SECONDS, required=True)
    lease_seconds = fields.Integer(default=protocol.LEASE_SECONDS, required=True)

    _name_uniq = models.Constraint("UNIQUE (name)", "Another agent has this name already.")
    _user_uniq = models.UniqueIndex("(user_id) WHERE user_id IS NOT NULL", "This user serves another agent already.")
    _limits_check = models.Constraint(
        "CHECK (heavy_limit BETWEEN 1 AND 50 AND poll_seconds BETWEEN 1 AND 3600 "
        "AND lease_seconds BETWEEN 10 AND 3600)",
        "Let it run 1 to 50 heavy operations, poll every 1 to 3600 s and lease for 10 to 3600 s.",
    )

    @api.depends("last_seen_at")
    def _compute_state(self):
        since = self._silent_before()
        for agent in self:
            if not agent.last_seen_at:
                agent.state = "new"
            else:
                agent.state = "online" if agent.last_seen_at > since else "silent"

    def _search_state(self, operator, value):
        if operator != "in":
            return NotImplemented
        since = self._silent_before()
        domains = {
            "new": Domain("last_seen_at", "=", False),
            "online": Domain("last_seen_at", ">", since),
            "silent": Domain("last_seen_at", "<=", since),
        }
        return Domain.OR(domains[state] for state in value if state in domains)

    @api.depends("host_facts")
    def _compute_disk(self):
        for agent in self:
            free = (agent.host_facts or {}).get("disk_free_bytes")
            agent.disk_free_gb = free / 2**30 if isinstance(free, int | float) else 0

    @api.constrains("database_connections_budget")
    def _check_connections(self):
        for agent in self:
            wanted = sum(agent.environment_ids.mapped("database_connections_max"))
            if wanted > agent.database_connections_budget:
                raise ValidationError(
                    self.env._(
                        "The environments of %(agent)s may open %(wanted)s connections, its cluster allows "
                        "%(budget)s: lower the environments' limits or raise the budget.",
                        agent=agent.name,
                        wanted=wanted,
                        budget=agent.database_connections_budget,
                    )
                )

    @api.model_create_multi
    def create(self, vals_list):
        """Keep what the agent itself reports out of people's hands."""
        defaults = {key.removeprefix("default_") for key in self.env.context if key.startswith("default_")}
        for vals in vals_list:
            self._refuse_machine_fields({*vals, *defaults})
        return super().create(vals_list)

    def write(self, vals):
        """Keep what the agent itself reports out of people's hands; audit who shuts an agent out."""
        self._refuse_machine_fields(vals)
        changed = self.filtered(lambda agent: "active" in vals and agent.active != bool(vals["active"]))
        settings = [name for name in _SETTINGS if name in vals]
        before = {agent: {name: agent[name] for name in settings} for agent in self}
        done = super().write(vals)
        for agent in self if settings else ():
            moved = {name: [was, agent[name]] for name, was in before[agent].items() if was != agent[name]}
            if moved:
                self.env["odooops.audit.event"]._record(agent, "agent.changed", **moved)
        for agent in changed:
            action = "agent.activated" if agent.active else "agent.archived"
            self.env["odooops.audit.event"]._record(agent, action)
        return done

    def _refuse_machine_fields(self, given):
        if not self.env.su and _MACHINE_FIELDS & set(given):
            raise AccessError(self.env._("This is reported by the agent and can't be edited."))

    @api.model
    def _silent_before(self):
        return fields.Datetime.now() - timedelta(seconds=protocol.SILENT_SECONDS)

    @api.model
    def _enrol(self, name, **values):
        """Create an agent with its service user and return it with the text of its first key."""
        if self.sudo().with_context(active_test=False).search_count([("name", "=", name)], limit=1):
            raise UserError(self.env._("There is an agent %s already: make a new key on its page.", name))
        user = (
            self.env["res.users"]
            .sudo()
            ._create_service_user(name, f"odooops-agent-{name}", "odooops_control.group_agent")
        )
        agent = self.sudo().create({"name": name, "user_id": user.id, **values})
        self.env["odooops.audit.event"]._record(agent, "agent.enrolled", host=agent.name)
        return agent, self.env["odooops.agent.key"]._issue(agent)

    def _key_days(self):
        """Return for how many days its keys live, as the agents' group says."""
        return self.env.ref("odooops_control.group_agent").sudo().api_key_duration or 30.0

    def _wake(self):
        """Tell the agents after the commit that there is work."""
        self._bus_send("odooops_wake", {})

    def _seen(self, heartbeat):
        """Record a sign of life."""
        self.ensure_one()
        info = heartbeat.agent
        self.write(
            {
                "last_seen_at": fields.Datetime.now(),
                "version": info.version,
                "host": info.host,
                "boot_id": info.boot_id,
                "capabilities": list(info.capabilities),
                "host_facts": heartbeat.host,
                "sealing_public_key": heartbeat.sealing_public_key or self.sealing_public_key,
            }
        )
        if self.silent:
            self.silent = False
            self.activity_unlink(["odooops_control.mail_activity_agent_silent"])
            self.message_post(body=self.env._("The agent answers again."))

    @api.model
    def _notice_silent(self):
        """Report the agents that fell silent; return them."""
        silent = (
            self.sudo()
            .search([("last_seen_at", "<=", self._silent_before()), ("silent", "=", False)])
            .try_lock_for_update(allow_referencing=True)
        )
        for agent in silent:
            agent._report_silent()
        return silent

    def _report_silent(self):
        self.silent = True
        self.environment_ids.write({"health": "unknown", "health_detail": self.env._("The agent is silent.")})
        text = self.env._(
            "No sign of life since %(at)s UTC: look at the service odooops-agent on %(host)s.",
            at=self.last_seen_at,
            host=self.host or self.name,
        )
        self.message_post(body=text)
        for user in self.env["res.users"]._odooops_administrators():
            self.activity_schedule(
                "odooops_control.mail_activity_agent_silent",
                user_id=user.id,
                summary=self.env._("%s is silent", self.name),
                note=text,
            )

    @api.model
    def _cron_watch(self):
        """Notice silent agents and leases that ran out; what fails does not keep the rest from it."""
        jobs = (
            self._notice_silent,
            self.env["odooops.operation"]._expire_leases,
            self.env["odooops.deployment"]._fail_soaks,
            self.env["odooops.deployment"]._end_soaks,
            self.env["odooops.deployment"]._renew_void,
            self.env["odooops.deployment"]._follow_conditions,
        )
        for job in jobs:
            try:
                with self.env.cr.savepoint():
                    job()
            except Exception:  # pylint: disable=broad-except
                _logger.exception("The watch failed at %s.", job)
        self._watch_again()

    @api.model
    def _watch_again(self):
        """Have the watch run again as soon as the quietest agent would count as silent."""
        database = self.env.cr.dbname
        quietest = self.sudo().search(
            [("silent", "=", False), ("last_seen_at", "!=", False)], order="last_seen_at", limit=1
        )
        # Only in a cron's own process, never in a test or a request.
        if not quietest or not self.env.context.get("cron_id") or database in _timers:
            return
        quiet = (fields.Datetime.now() - quietest.last_seen_at).total_seconds()
        timer = threading.Timer(max(protocol.SILENT_SECONDS - quiet, 0) + 1, _wake_cron, [database])
        timer.daemon = True
        _timers[database] = timer
        timer.start()

    def action_regenerate_key(self):
        """Open the wizard that makes a new key; the old one stays valid until the new one is used."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("New key for %s", self.name),
            "res_model": "odooops.agent.enrol",
            "view_mode": "form",
            "target": "new",
            "context": {"default_agent_id": self.id, "default_name": self.name},
        }

    def action_revoke_keys(self):
        """End all keys of the agent now."""
        self.check_access("write")
        self.sudo().key_ids._revoke()
        self.sudo().message_post(body=self.env._("All keys were revoked."))
        for agent in self:
            self.env["odooops.audit.event"]._record(agent, "agent.keys_revoked")


def _wake_cron(database):
    """Have the cron that watches run now."""
    _timers.pop(database, None)
    with Registry(database).cursor() as cr:
        api.Environment(cr, SUPERUSER_ID, {}).ref("odooops_control.cron_watch")._trigger()
