from odoo import fields, models
from odoo.exceptions import AccessError, UserError

from ..core import redact


class OdooopsBackup(models.Model):
    _inherit = "odooops.backup"

    def action_restore(self):
        """Open the wizard that says what would be lost and asks whether that is meant."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Restore %s", self.display_name),
            "res_model": "odooops.restore.wizard",
            "view_mode": "form",
            "target": "new",
            "context": {"default_backup_id": self.id},
        }

    def _restore_refusal(self):
        """Return why this backup can't take its environment's place, or None."""
        environment = self.environment_id
        if self.state != "kept":
            return self.env._("%s is not kept any more: choose another backup.", self.display_name)
        if not self.release_id:
            return self.env._("The release of %s is not registered here any more.", self.display_name)
        if self.repository_id.agent_id != environment.agent_id or not self.repository_id.is_sealed:
            return self.env._(
                "The droplet of %(environment)s can't open %(repository)s: enter its password again.",
                environment=environment.key,
                repository=self.repository_id.name,
            )
        if environment.indeterminate:
            return self.env._("%s needs repair: see what it runs, mark it as repaired, then restore.", environment.key)
        return None

    def _check_may_restore(self, user):
        """Refuse who may not: production is put back by administrators, anything else by release managers."""
        environment = self.environment_id
        if environment.tier != "production":
            self.project_id.with_user(user)._require_role("release_manager")
        elif not user.has_group("odooops_control.group_administrator"):
            raise AccessError(
                self.env._(
                    "%s is production: an administrator restores it, or a rollback is asked for.", environment.key
                )
            )

    def _start_restore(self, user, reason):
        """Queue the restore; it is looked at by the release managers afterwards, and stands in the audit log."""
        self.ensure_one()
        environment = self.environment_id
        if refusal := self._restore_refusal():
            raise UserError(refusal)  # pylint: disable=missing-gettext
        under_way = environment.operation_ids.filtered(
            lambda one: one.exclusive and one.state in ("queued", "leased", "running")
        )
        if under_way:
            raise UserError(self.env._("%s is under way: wait until it ends.", under_way[0].display_name))
        operation = self.env["odooops.operation"].sudo()._enqueue("restore", environment, backup_id=self.id)
        self.env["odooops.audit.event"].sudo()._record(
            environment, "backup.restore_requested", backup=self.id, user=user.login, reason=reason
        )
        sentence = self.env._(
            "%(user)s has %(backup)s restored: %(reason)s", user=user.name, backup=self.display_name, reason=reason
        )
        environment._tell_of_backup(sentence)
        return operation

    # What an operation asks and tells its subject: only a restore is exclusive, and only those are asked about

    def _may_run(self):
        return not self._restore_refusal()

    def _run_refusal(self):
        return self._restore_refusal()

    def _on_operation_ended(self, operation, result, failure):
        if operation.kind != "restore":
            super()._on_operation_ended(operation, result, failure)
            return
        if failure and failure.code.startswith("repository_"):
            self._note_trouble(failure)
        environment = self.environment_id
        if result:
            environment._on_agent_result(result)
        if operation.state == "succeeded":
            self._on_restored(operation, result)
            return
        if result.get("reverted"):
            environment.indeterminate = False
        elif operation.state == "indeterminate":
            environment.indeterminate = True
        why = redact.masked(failure.message, 1000) if failure else operation.state
        environment._tell_of_backup(
            self.env._("%(backup)s was not restored: %(why)s", backup=self.display_name, why=why)
        )

    def _on_restored(self, operation, result):
        environment = self.environment_id
        former = environment.running_deployment_id
        if isinstance(result.get("restore_set"), dict) and former:
            self.env["odooops.restore.set"]._record(former, operation, result["restore_set"])
        known, seen = environment.database_uuid, result.get("database_uuid")
        # A copy has an identity of its own, so that a backup of before it bears another.
        expected = (known,) if environment.tier == "production" else (known, self.database_uuid)
        if result.get("digest") != self.digest or (known and seen and seen not in expected):
            environment.indeterminate = True
            environment._tell_of_backup(
                self.env._(
                    "The agent reports another image or database than that of %s: find out why.", self.display_name
                )
            )
            return
        if isinstance(seen, str) and seen != known:
            environment.database_uuid = seen[:64]
        environment.indeterminate = False
        restored = environment.deployment_ids.filtered(
            lambda one: one.release_id == self.release_id and (one.live_at or one.soak_until)
        ).sorted(lambda one: one.live_at or one.soak_until)[-1:]
        if restored and restored != former:
            former._update_state("superseded")
            restored._update_state("live", live_at=fields.Datetime.now())
            environment.running_deployment_id = restored
        environment.message_post(
            body=self.env._("%s was restored; what was there before is a restore set.", self.display_name)
        )
