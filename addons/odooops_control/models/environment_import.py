from odoo import models
from odoo.exceptions import AccessError, UserError

from ..core import names, redact, transitions


class OdooopsEnvironment(models.Model):
    _inherit = "odooops.environment"

    def action_import(self):
        """Open the wizard that asks what is to be imported."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Import into %s", self.key),
            "res_model": "odooops.import.wizard",
            "view_mode": "form",
            "target": "new",
            "context": {"default_environment_id": self.id},
        }

    def _check_may_import(self, user):
        """Refuse who may not: what comes in is production's data from then on."""
        if not user.has_group("odooops_control.group_administrator"):
            raise AccessError(self.env._("An administrator imports data into %s.", self.key))

    def _import_refusal(self):
        """Return why nothing can be imported here, or None."""
        if self.tier != "production":
            return self.env._(
                "%s is below production, where data of elsewhere may go only neutralised: import them into a "
                "production environment, then copy that.",
                self.key,
            )
        if self.database_uuid or self.running_deployment_id:
            return self.env._("%s has data already: import into a new environment.", self.key)
        if self.indeterminate:
            return self.env._("%s needs repair: see what is there, mark it as repaired, then import.", self.key)
        abilities = self.agent_id.capabilities
        if abilities and "import" not in abilities:
            return self.env._("The agent %s can't import yet: update it.", self.agent_id.name)
        return None

    def _start_import(self, user, release, file, filestore, reason):
        """Queue the import; it stands in the audit log."""
        self.ensure_one()
        sentence = self.env._("Give the name of a file in the droplet's folder for imports, such as prod.zip.")
        for name in (file, *filter(None, [filestore])):
            names.require(names.FILE, name, sentence)
        self.env["odooops.deployment"]._refuse_work(self)
        if refusal := self._import_refusal():
            raise UserError(refusal)  # pylint: disable=missing-gettext
        if release.project_id != self.project_id:
            raise UserError(self.env._("%s is no release of this project: choose one that is.", release.display_name))
        under_way = self.operation_ids.filtered(
            lambda one: one.exclusive and one.state in transitions.OPERATION_OPEN
        ) or self.deployment_ids.filtered(lambda one: one.state in transitions.DEPLOYMENT_ACTIVE)
        if under_way:
            raise UserError(self.env._("%s is under way: wait until it ends.", under_way[0].display_name))
        operation = self.env["odooops.operation"]._enqueue(
            "import", self, import_file=file, import_filestore=filestore or False, import_release_id=release.id
        )
        self.env["odooops.audit.event"]._record(
            self, "environment.import_requested", file=file, filestore=filestore or "", user=user.login, reason=reason
        )
        self.message_post(
            body=self.env._("%(user)s imports %(file)s: %(reason)s", user=user.name, file=file, reason=reason)
        )
        return operation

    # What an import asks and tells its subject; a health check is told here too and asks nothing

    def _may_run(self):
        return not self._import_refusal()

    def _run_refusal(self):
        return self._import_refusal()

    def _on_operation_ended(self, operation, result, failure):
        if operation.kind != "import":
            super()._on_operation_ended(operation, result, failure)
            return
        if operation.state == "succeeded":
            self._on_imported(operation, result)
            return
        if result.get("reverted"):
            self.indeterminate = False
        elif operation.state == "indeterminate":
            self.indeterminate = True
        why = redact.masked(failure.message, 1000) if failure else operation.state
        self.message_post(body=self.env._("%(file)s was not imported: %(why)s", file=operation.import_file, why=why))

    def _on_imported(self, operation, result):
        """Know the database from now on: only a deployment onto it is possible, none that makes another."""
        seen = result.get("database_uuid")
        if not isinstance(seen, str) or not seen:
            self.indeterminate = True
            self.message_post(body=self.env._("The agent imported and tells no database: see what is there."))
            return
        self.write({"database_uuid": seen[:64], "indeterminate": False})
        missing = result.get("missing_files") or 0
        body = self.env._(
            "%(file)s is imported: %(modules)s modules and %(files)s files. Deploy %(release)s to bring it up.",
            file=operation.import_file,
            modules=result.get("modules"),
            files=result.get("files"),
            release=operation.import_release_id.name,
        )
        if missing:
            body = self.env._("%(body)s %(missing)s attachments have no file.", body=body, missing=missing)
        self.message_post(body=body)
