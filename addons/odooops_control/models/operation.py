from datetime import timedelta
from uuid import uuid4

from odoo import api, fields, models
from odoo.tools import SQL

from ..core import fairness, protocol, transitions

_LEASED_SQL = ", ".join(f"'{state}'" for state in transitions.OPERATION_LEASED)


class OdooopsOperation(models.Model):
    _name = "odooops.operation"
    _description = "Operation"
    _inherit = ["odooops.state.mixin"]
    _order = "id desc"
    _moves = transitions.OPERATION

    kind = fields.Selection(
        [
            ("plan", "Plan"),
            ("deploy", "Deploy"),
            ("rollback", "Roll back"),
            ("restore", "Restore"),
            ("backup", "Back up"),
            ("restore_test", "Restore test"),
            ("import", "Import"),
            ("export", "Prepare download"),
            ("clone", "Clone"),
            ("inspect", "Inspect"),
            ("rehearse", "Rehearse"),
            ("destroy", "Destroy"),
            ("health", "Health"),
        ],
        required=True,
        readonly=True,
    )
    state = fields.Selection(
        [
            ("queued", "Queued"),
            ("leased", "Leased"),
            ("running", "Running"),
            ("succeeded", "Succeeded"),
            ("failed", "Failed"),
            ("cancelled", "Cancelled"),
            ("indeterminate", "Indeterminate"),
        ],
        default="queued",
        required=True,
        readonly=True,
        index=True,
    )
    uuid = fields.Char(required=True, readonly=True, default=lambda self: str(uuid4()))
    environment_id = fields.Many2one(
        "odooops.environment", required=True, readonly=True, ondelete="restrict", index=True
    )
    project_id = fields.Many2one(related="environment_id.project_id", store=True, index=True, precompute=True)
    agent_id = fields.Many2one("odooops.agent", required=True, readonly=True, ondelete="restrict", index=True)
    deployment_id = fields.Many2one("odooops.deployment", readonly=True, ondelete="restrict", index=True)
    exclusive = fields.Boolean(readonly=True)
    heavy = fields.Boolean(readonly=True)
    attempt = fields.Integer(readonly=True, default=0)
    token = fields.Integer(readonly=True, default=0)
    queued_at = fields.Datetime(readonly=True, default=fields.Datetime.now)
    leased_at = fields.Datetime(readonly=True)
    lease_until = fields.Datetime(readonly=True)
    finished_at = fields.Datetime(readonly=True)
    seconds = fields.Float(compute="_compute_seconds")
    cancel_requested = fields.Boolean(readonly=True)
    reported = fields.Boolean(readonly=True, help="The agent said how it ended.")
    error_code = fields.Char(readonly=True)
    error_message = fields.Char(readonly=True)
    result = fields.Json(readonly=True, prefetch=False, groups="odooops_control.group_developer")
    step_ids = fields.One2many("odooops.operation.step", "operation_id", string="Steps", readonly=True)
    log_ids = fields.One2many("odooops.operation.log", "operation_id", readonly=True)
    current_step = fields.Char(compute="_compute_current_step")

    _exclusive_uniq = models.UniqueIndex(
        f"(environment_id) WHERE exclusive AND state IN ({_LEASED_SQL})",
        "Another operation has this environment to itself: wait until it ends.",
    )
    _uuid_uniq = models.Constraint("UNIQUE (uuid)", "Two operations can't have one identity.")
    _queue_idx = models.Index("(agent_id, id) WHERE state IN ('queued', 'leased', 'running')")

    @api.depends("kind", "environment_id.key")
    def _compute_display_name(self):
        labels = dict(self._fields["kind"]._description_selection(self.env))
        for operation in self:
            operation.display_name = f"{labels.get(operation.kind, '')} {operation.environment_id.key} #{operation.id}"

    @api.depends("leased_at", "finished_at")
    def _compute_seconds(self):
        for operation in self:
            ended = operation.leased_at and (operation.finished_at or fields.Datetime.now())
            operation.seconds = (ended - operation.leased_at).total_seconds() if ended else 0

    @api.depends("step_ids.state")
    def _compute_current_step(self):
        for operation in self:
            steps = operation._current_steps().sorted("seq")
            running = steps.filtered(lambda step: step.state == "running")
            operation.current_step = (running or steps)[-1:].name

    def _current_steps(self):
        """Return the steps of the current attempt."""
        return self.step_ids.filtered(lambda step: step.token == self.token)

    @api.model
    def _enqueue(self, kind, environment, deployment=None, **links):
        """Queue an operation and wake the environment's agent after the commit.

        :param links: what else it is done for, as ids by the names of this model's fields
        """
        operation = self.create(
            {
                "kind": kind,
                "environment_id": environment.id,
                "agent_id": environment.agent_id.id,
                "deployment_id": deployment.id if deployment else False,
                "exclusive": kind in transitions.EXCLUSIVE_KINDS,
                "heavy": kind in transitions.HEAVY_KINDS,
                **links,
            }
        )
        environment.agent_id._wake()
        return operation

    def _subject(self):
        """Return the record that the operation is done for, or nothing.

        It is asked whether the operation still may begin (``_may_run``, ``_run_refusal``) and told how it goes:
        ``_on_operation_leased``, ``_on_operation_requeued`` and ``_on_operation_ended``.
        """
        self.ensure_one()
        return self.deployment_id

    def _cancel(self):
        """Take back what never began, and have the agent stop what it works on or left half done."""
        begun = self._filter(*transitions.OPERATION_LEASED) | self._interrupted()
        (self - begun)._filter("queued")._update_state("cancelled", finished_at=fields.Datetime.now())
        begun.write({"cancel_requested": True})

    def _interrupted(self):
        """Return those that an agent began to change something with and did not bring to an end."""
        return self.filtered(lambda one: one.state == "queued" and one.exclusive and one.attempt)

    def _give_up(self):
        """End what a silent agent left half done: nobody can say how the environment is."""
        for operation in self._interrupted().filtered(lambda one: one.agent_id.state == "silent"):
            text = self.env._(
                "%s is silent and left this half done: look at the environment, then mark it as repaired.",
                operation.agent_id.name,
            )
            operation._end("indeterminate", {}, protocol.Failure("agent_silent", "", text, ()))

    def _filter(self, *states):
        return self.filtered(lambda operation: operation.state in states)

    # Leases

    @api.model
    def _lease_next(self, agent, kinds, tokens):
        """Lease the next operation to ``agent`` and return it, or nothing.

        :param kinds: the kinds of operation that the agent can do
        :param tokens: the highest token the agent has seen, by environment key
        """
        self._expire_leases(agent)
        queued = self.sudo().search(self._queue_domain(agent, kinds), order="id", limit=200)
        for candidate in fairness.in_order(queued._candidates(), self._load(agent)):
            operation = self.sudo().browse(candidate.id).try_lock_for_update(allow_referencing=True)
            operation.invalidate_recordset(["state"])
            if operation.state == "queued" and operation._lease(tokens):
                return operation
        return self.browse()

    @api.model
    def _queue_domain(self, agent, kinds):
        """Return what waits for this agent and is of a kind that it can do."""
        return [("agent_id", "=", agent.id), ("state", "=", "queued"), ("kind", "in", list(kinds))]

    def _candidates(self):
        return [
            fairness.Candidate(
                id=operation.id,
                project=operation.project_id.id,
                environment=operation.environment_id.id,
                exclusive=operation.exclusive,
                heavy=operation.heavy,
                queued_at=operation.queued_at.timestamp(),
            )
            for operation in self
        ]

    @api.model
    def _load(self, agent):
        """Return what the agent is working on."""
        domain = [("agent_id", "=", agent.id)]
        working = self.sudo().search([*domain, ("state", "in", transitions.OPERATION_LEASED)])
        served = self.sudo()._read_group([*domain, ("leased_at", "!=", False)], ["project_id"], ["leased_at:max"])
        return fairness.Load(
            heavy_running=len(working.filtered("heavy")),
            heavy_beside=len(working.filtered(lambda one: one.heavy and not one.exclusive)),
            heavy_limit=agent.heavy_limit,
            busy_environments=frozenset(working.filtered("exclusive").environment_id.ids),
            running_by_project=tuple((project.id, len(ops)) for project, ops in working.grouped("project_id").items()),
            served_at=tuple((project.id, at.timestamp()) for project, at in served),
        )

    def _lease(self, tokens):
        """Give this operation to its agent with a new fencing token."""
        environment = self.environment_id
        if self.exclusive and (environment.indeterminate or self._waits_for_interrupted()):
            return self.browse()
        if self.kind == "deploy" and not self._interrupted() and self.deployment_id._has_to_wait():
            return self.browse()
        if self.exclusive and self._subject() and not self._still_allowed():
            self._update_state("cancelled", finished_at=fields.Datetime.now())
            return self.browse()
        now = fields.Datetime.now()
        moved = self._update_state(
            "leased",
            attempt=self.attempt + 1,
            token=environment._next_token(tokens.get(environment.key, 0)),
            leased_at=now,
            lease_until=now + timedelta(seconds=self.agent_id.lease_seconds),
        )
        if moved.heavy:
            # Two calls that see none running would both lease: the second runs into this row and is tried again.
            query = SQL("UPDATE odooops_agent SET heavy_limit = heavy_limit WHERE id = %s", moved.agent_id.id)
            self.env.cr.execute(query)
        if moved and moved._subject():
            moved._subject()._on_operation_leased(moved)
        return moved

    def _waits_for_interrupted(self):
        """Return whether something else was left half done here: that comes to its end first."""
        others = self.search(
            [
                ("environment_id", "=", self.environment_id.id),
                ("exclusive", "=", True),
                ("state", "=", "queued"),
                ("id", "!=", self.id),
            ]
        )
        return bool(others._interrupted())

    def _still_allowed(self):
        """Return whether it may be leased; what has begun is leased in any case, if only to be undone."""
        if not self._interrupted():
            return self._subject()._may_run()
        if self._subject()._run_refusal():
            self.cancel_requested = True
        return True

    @api.model
    def _expire_leases(self, agent=None):
        """Take back leases that ran out, of one agent or of all."""
        domain = [("state", "in", transitions.OPERATION_LEASED), ("lease_until", "<", fields.Datetime.now())]
        if agent:
            domain.append(("agent_id", "=", agent.id))
        for operation in self.sudo().search(domain, order="id").try_lock_for_update(allow_referencing=True):
            operation._expire()

    def _expire(self):
        target = transitions.after_lost_lease(self.kind, self.attempt)
        if target == "queued":
            for moved in self._update_state("queued", lease_until=False):
                if moved._subject():
                    moved._subject()._on_operation_requeued(moved)
                moved.agent_id._wake()
            return
        text = self.env._(
            "The agent %(agent)s fell silent %(count)s times at this: look at its log, then repair the environment.",
            agent=self.agent_id.name,
            count=self.attempt,
        )
        failure = protocol.Failure("lease_expired", self.current_step or "", text, ())
        self._end(target, {}, failure)

    def _end(self, outcome, result, failure, finished_at=None):
        """Record the end and let what it was done for follow; return whether it moved."""
        moved = self._update_state(
            outcome,
            finished_at=finished_at or fields.Datetime.now(),
            lease_until=False,
            result=result,
            error_code=failure.code[:64] if failure else False,
            error_message=failure.message[:1000] if failure else False,
        )
        for operation in moved.filtered(lambda one: one._subject()):
            operation._subject()._on_operation_ended(operation, result, failure)
        if moved:
            # What waited for this one may run now.
            moved.agent_id._wake()
        return moved

    def _last_lines(self, count):
        lines = self.log_ids.search([("operation_id", "=", self.id)], order="id desc", limit=count)
        return lines.sorted("id").mapped("text")

    def _payload(self):
        """Return the operation as the agent gets it."""
        self.ensure_one()
        deployment, environment = self.deployment_id, self.environment_id
        return {
            "id": self.id,
            "uuid": self.uuid,
            "kind": self.kind,
            "attempt": self.attempt,
            "token": self.token,
            "lease_seconds": self.agent_id.lease_seconds,
            "queued_at": protocol.show_time(self.queued_at),
            "environment": environment._agent_payload(),
            "release": deployment.release_id._agent_payload(deployment.tag) if deployment else None,
            "plan_hash": deployment.plan_hash or None,
            "policy_version": environment.policy_id._reference(),
            "options": environment._options_payload(),
        }
