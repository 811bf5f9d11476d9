from datetime import timedelta

from odoo import fields, models

from ..core import names, redact

_MAX_PLANS = 5
_TAIL = 40
_LISTS = frozenset(("dependents", "steps", "warnings"))


class OdooopsDeployment(models.Model):
    _inherit = "odooops.deployment"

    def _on_operation_leased(self, operation):
        """The agent began."""
        if operation.kind == "deploy":
            self._update_state("running", started_at=self.started_at or fields.Datetime.now())

    def _on_operation_requeued(self, operation):
        """The agent fell silent at work: another try waits for it."""
        if operation.kind == "deploy":
            self._update_state("queued")
        self._say(self.env._("The agent fell silent; attempt %s waits for it.", operation.attempt + 1))

    def _on_operation_ended(self, operation, result, failure):
        """Follow the agent's outcome.

        :param dict result: what the agent measured
        :param failure: a ``core.protocol.Failure`` or None
        """
        handler = {
            ("plan", "succeeded"): self._on_planned,
            ("deploy", "succeeded"): self._on_deployed,
        }.get((operation.kind, operation.state))
        if handler:
            handler(operation, result)
        else:
            self._on_not_succeeded(operation, result, failure)

    def _on_planned(self, operation, result):
        plan, plan_hash = result.get("plan"), result.get("plan_hash")
        sentence = self._plan_refusal(plan, plan_hash)
        if sentence:
            self._update_state("failed", failure_code="bad_plan", failure_message=sentence)._say(sentence)
            return
        moved = self._update_state(
            "planned",
            plan=plan,
            plan_hash=plan_hash,
            plan_facts=self._checked_facts(result.get("facts")),
            policy_reference=plan.get("policy_version") or "",
            planned_at=fields.Datetime.now(),
        )
        moved._say_plan()
        moved._ask_for_approval()

    def _plan_refusal(self, plan, plan_hash):
        """Return why this is no plan for this deployment, or None."""
        if not self._is_plan(plan) or not names.HASH.fullmatch(str(plan_hash)):
            return self.env._("The agent sent no plan: update the agent.")
        if (plan.get("environment"), plan.get("to_digest")) != (self.environment_id.key, self.release_id.digest):
            return self.env._("The agent planned something else than %s: look at the agent's log.", self.name)
        known = self.environment_id.database_uuid
        if known and plan.get("database_uuid") != known:
            return self.env._("The database of %s is not the one it had: find out why first.", self.environment_id.key)
        return None

    def _is_plan(self, plan):
        if not isinstance(plan, dict):
            return False
        modules, migrations = plan.get("modules") or [], plan.get("migrations") or []
        return (
            isinstance(migrations, list) and isinstance(modules, list) and all(isinstance(one, dict) for one in modules)
        )

    def _checked_facts(self, facts):
        """Return the plan's facts with lists of texts where the form shows lists."""
        facts = dict(facts) if isinstance(facts, dict) else {}
        for name in _LISTS & facts.keys():
            facts[name] = [str(item) for item in facts[name]] if isinstance(facts[name], list) else []
        return facts

    def _say_plan(self):
        for deployment in self:
            modules = deployment.plan.get("modules") or []
            what = ", ".join(str(module.get("name")) for module in modules[:10])
            if len(modules) > 10:
                what += f" … (+{len(modules) - 10})"
            what = what or self.env._("no module changes, restart only")
            deployment._say(self.env._("Plan %(hash)s: %(what)s", hash=deployment.plan_hash[:12], what=what))

    def _on_deployed(self, operation, result):
        environment = self.environment_id
        if sentence := self._result_refusal(result):
            self._on_unproven(operation, result, sentence)
            return
        former = (environment.running_deployment_id - self).filtered(lambda one: one.state in ("live", "soaking"))
        self._record_restore_set(operation, result)
        self._measured(result)
        environment.running_deployment_id = self
        environment._on_agent_result(result)
        if isinstance(result.get("database_uuid"), str) and not environment.database_uuid:
            environment.database_uuid = result["database_uuid"][:64]
        environment.indeterminate = False
        former._update_state("superseded")
        minutes = self._soak_minutes()
        now = fields.Datetime.now()
        if minutes:
            self._update_state("soaking", soak_until=now + timedelta(minutes=minutes))
        else:
            self._update_state("live", live_at=now)

    def _result_refusal(self, result):
        """Return why what the agent did is not what was approved, or None."""
        wanted = (self.release_id.digest, self.plan_hash)
        if (result.get("digest"), result.get("plan_hash")) != wanted:
            return self.env._(
                "The agent reports another image or plan than the approved one: find out what %s runs.",
                self.environment_id.key,
            )
        # An agent that could not read the identity just then says none.
        known, seen = self.environment_id.database_uuid, result.get("database_uuid")
        if known and seen and seen != known:
            return self.env._("The database of %s is not the one it had: find out why first.", self.environment_id.key)
        return None

    def _on_unproven(self, operation, result, sentence):
        """Stop everything here: the agent's own report contradicts what it was told."""
        self._record_restore_set(operation, result)
        self._measured(result)
        self.environment_id._on_agent_result(result)
        self.environment_id.indeterminate = True
        self._update_state("indeterminate", failure_code="wrong_result", failure_message=sentence)
        self._say_not_succeeded("indeterminate", ())

    def _measured(self, result):
        self.write(
            {
                name: float(result[name])
                for name in ("held_seconds", "update_seconds")
                if isinstance(result.get(name), int | float)
            }
        )

    def _record_restore_set(self, operation, result):
        """Keep what a rollback would restore, so that nothing of it is lost."""
        reported = result.get("restore_set")
        if isinstance(reported, dict):
            self.env["odooops.restore.set"]._record(self, operation, reported)

    def _on_not_succeeded(self, operation, result, failure):
        self._record_restore_set(operation, result)
        self._measured(result)
        if result:
            self.environment_id._on_agent_result(result)
        if failure and failure.code == "plan_changed" and self.plan_count < _MAX_PLANS:
            self._plan_again(redact.masked(failure.message))
            return
        if result.get("reverted"):
            self.environment_id.indeterminate = False
        elif operation.state == "indeterminate":
            # Also when the deployment was over for us: nothing else may begin here.
            self.environment_id.indeterminate = True
        target = operation.state if operation.state in ("cancelled", "indeterminate") else "failed"
        tail = [redact.masked(line) for line in (failure.log_tail if failure else ())] or operation._last_lines(_TAIL)
        moved = self._update_state(
            target,
            failure_code=redact.masked(failure.code, 64) if failure else operation.state,
            failure_step=redact.masked(failure.step, 64) if failure else False,
            failure_message=redact.masked(failure.message, 1000) if failure else False,
            log_tail="\n".join(tail),
            reverted=bool(result.get("reverted")),
        )
        if moved or target == "indeterminate":
            self._say_not_succeeded(target, tail)

    def _say_not_succeeded(self, target, tail):
        label = dict(self._fields["state"]._description_selection(self.env))[target]
        message = self.failure_message or self.env._("The operation ended: %s.", label.lower())
        self._say(message, tail)
        if target != "cancelled":
            self.project_id._notify_release_managers(
                self, self.env._("%(name)s: %(state)s", name=self.name, state=label), message
            )
