from odoo import fields, models
from odoo.exceptions import UserError

from ..core import copies, names, protocol, redact

_UUID_CHARACTERS = 64


class OdooopsClone(models.Model):
    _inherit = "odooops.clone"

    # What the agent gets

    def _operation_payload(self):
        """Return what an operation for this copy says beside the usual."""
        self.ensure_one()
        source, kept = self.source_id, self.restore_set_id
        payload = {
            "release": self.release_id._agent_payload(self.release_id.name),
            "clone": {
                "source": {
                    "environment": source.key,
                    "tier": source.tier,
                    "database": source.database_name,
                    "database_uuid": self._source_uuid() or None,
                    "restore_set": kept._agent_payload() if kept else None,
                },
                "data_as_of": protocol.show_time(self.data_as_of),
                "rules": {**self.rules, "obfuscate": self.obfuscate},
            },
        }
        return payload | ({"backup": self.backup_id._operation_payload("restore")} if self.backup_id else {})

    def _source_uuid(self):
        return self.backup_id.database_uuid or self.source_id.database_uuid

    # What an operation asks and tells its subject

    def _may_run(self):
        if refusal := self._run_refusal():
            self._give_up("failed", refusal)
            return False
        return True

    def _run_refusal(self):
        return self.environment_id._clone_refusal(self.source_id) or self._source_refusal()

    def _source_refusal(self):
        """Return why what it was to be made of can't be used any more, or None."""
        kept, backup = self.restore_set_id, self.backup_id
        if (kept and not kept.protected) or (backup and backup.state != "kept"):
            return self.env._("What it was to be copied from is not kept any more: clone again.")
        return None

    def _on_operation_leased(self, operation):
        """The agent began."""
        self._update_state("running", started_at=self.started_at or fields.Datetime.now())

    def _on_operation_requeued(self, operation):
        """The agent fell silent at work: another try waits for it."""
        self._update_state("queued")

    def _on_operation_ended(self, operation, result, failure):
        """Follow the agent's outcome.

        :param dict result: what the agent measured and proved
        :param failure: a ``core.protocol.Failure`` or None
        """
        self.ensure_one()
        self.checks = copies.checks(result)
        if operation.state == "succeeded":
            self._on_copied(operation, result)
        else:
            self._on_not_copied(operation, result, failure)

    def _on_copied(self, operation, result):
        environment = self.environment_id
        environment._on_agent_result(result)
        if sentence := self._result_refusal(result):
            environment.indeterminate = True
            self._give_up("failed", sentence, code="wrong_result")
            return
        former = environment.running_deployment_id
        if isinstance(result.get("restore_set"), dict):
            self.env["odooops.restore.set"]._record(former, operation, result["restore_set"])
        numbers = ("seconds", "held_seconds", "database_bytes", "filestore_bytes")
        uuid = result["database_uuid"][:_UUID_CHARACTERS]
        environment.write({"database_uuid": uuid, "indeterminate": False})
        self._update_state(
            "done",
            database_uuid=uuid,
            error_code=False,
            error_message=False,
            **{name: result[name] for name in numbers if isinstance(result.get(name), int | float)},
        )
        self._turn_the_ledger(former)
        environment.message_post(body=self._sentence())
        self._deploy_on_it(former)

    def _result_refusal(self, result):
        """Return why what the agent says is no safe copy of what was to be copied, or None."""
        uuid = result.get("database_uuid")
        if not copies.is_proven(result):
            return self.env._("The agent proved nothing of the copy: find out what it left, then mark it as repaired.")
        if result.get("digest") != self.release_id.digest or not isinstance(uuid, str) or not uuid:
            return self.env._("The agent reports another image than that of the data: find out what runs there.")
        if uuid in (self._source_uuid(), self.source_id.database_uuid):
            return self.env._(
                "The copy has the identity of %s: Odoo would take the two for one. Stop it, then find out why.",
                self.source_id.key,
            )
        return None

    def _turn_the_ledger(self, former):
        """Let the environment run the release that the data are of."""
        environment = self.environment_id
        if former.release_id == self.release_id:
            return
        ran = environment.deployment_ids.filtered(lambda one: one.release_id == self.release_id and one.live_at)
        former._update_state("superseded")
        now_running = ran.sorted("live_at")[-1:]
        if now_running:
            now_running._update_state("live", live_at=fields.Datetime.now(), replaced_at=False)
        environment.running_deployment_id = now_running

    def _deploy_on_it(self, former):
        """Plan what waited for the copy; without that, bring the environment's own release back on the new data."""
        waiting = self._waiting_deployments()
        if waiting:
            waiting._start_planning()
            return
        if not former or former.release_id == self.release_id:
            return
        Deployment = self.env["odooops.deployment"].with_user(self.requested_by_id).sudo()
        try:
            with self.env.cr.savepoint():
                Deployment.with_context(default_copy_id=self.id)._request(
                    self.environment_id, former.release_id, former.tag, force=True
                )
        except UserError as error:
            self.environment_id.message_post(
                body=self.env._("%(tag)s was not deployed on the copy: %(why)s", tag=former.tag, why=error)
            )

    def _waiting_deployments(self):
        return self.deployment_ids.filtered(lambda one: one.state == "draft")

    def _on_not_copied(self, operation, result, failure):
        environment = self.environment_id
        if names.DIGEST.fullmatch(str(result.get("digest"))):
            environment._on_agent_result(result)
        if result.get("reverted"):
            environment.indeterminate = False
        elif operation.state == "indeterminate":
            environment.indeterminate = True
        why = redact.masked(failure.message, 1000) if failure else operation.state
        if failure and failure.code == "source_gone":
            self.restore_set_id._found_gone(why)
        target = "cancelled" if operation.state == "cancelled" else "failed"
        self._give_up(target, why, code=redact.masked(failure.code, 64) if failure else False)

    def _give_up(self, target, why, code=False):
        """End it without a copy: the environment stays what it was, and who waited for it is told."""
        for one in self._update_state(target, error_code=code, error_message=why):
            environment = one.environment_id
            if target == "failed":
                environment._tell_of_copy(self.env._("%s was not copied", environment.key), why)
            one._waiting_deployments()._on_copy_missing(why)
