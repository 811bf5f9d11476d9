"""Backups and their proof, told as stories. Neither changes the environment, so neither can leave it in doubt."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import UNSET

from .errors import AgentError
from .executor import Ending
from .journal import Entry
from .observe import observe
from .operations import Finish, Job, sentence
from .plans.backup import order, plan_backup, plan_export, plan_restore_test
from .plans.brought import plan_import
from .plans.building import serving_container
from .plans.model import Plan
from .plans.restore import plan_restore
from .protocol import BackupResult, ExportResult, ImportResult, RestoreCheck, RestoreResult, RestoreTestResult


class _BesideJob(Job):
    """What runs beside everything else."""

    def work(self) -> Finish:
        plan = self._prepare()
        self.begin(plan)
        return self._conclude(plan, self._executor.run(plan))

    def recover(self, entry: Entry, *, onward: bool) -> Finish:
        # Never onward: what a dump or a repository was at when the agent stopped is done anew at the next try.
        return super().recover(entry, onward=False)

    def _prepare(self) -> Plan:
        runtime, reference = self._shop.ports.runtime, self._operation.release.reference
        self._in_step("pull_image", lambda: runtime.pull(reference, self._context.line))
        return self._in_step("check_plan", self._check_beside)

    def _check_beside(self) -> Plan:
        self._facts = observe(self._shop.ports, self._operation)
        planners = {"backup": plan_backup, "restore_test": plan_restore_test, "export": plan_export}
        plan = planners[self._operation.kind](self._operation, self._facts, self._shop.droplet)
        serving = serving_container(self._facts)
        before = {
            "digest": plan.document.from_digest,
            "database_uuid": plan.document.database_uuid,
            "config_hash": serving.config_hash if serving else None,
        }
        self._shop.journal.keep_result(self._operation.id, "before", before)
        return plan

    def _stuck_back(self, ending: Ending) -> Finish:
        """Tell what was left lying about: the environment itself is as it was."""
        assert ending.error is not None
        assert ending.undo_error is not None
        message = (
            f"{sentence(ending.error)} What was made for it could not be removed ({ending.undo_error.message}); the "
            "next one removes it."
        )
        error = AgentError(message, ending.error.code, ending.error.log_tail)
        return self._unsuccessful("failed", error, ending.step, message, reverted=True)

    def _shown_before(self) -> str:
        return f"{self._operation.environment.key} itself was not touched."

    def _at(self, name: str) -> datetime:
        return datetime.fromisoformat(str(self._context.result(name))).astimezone(UTC)


class RestoreJob(Job):
    """A backup takes the environment's place; what was there is kept as a restore set."""

    _plan = staticmethod(plan_restore)

    def work(self) -> Finish:
        self._pull()
        plan = self._in_step("check_plan", self._check_restore)
        self._keep_before()
        self.begin(plan)
        return self._conclude(plan, self._executor.run(plan))

    def _shown_before(self) -> str:
        if (self._context.result("before") or {}).get("database_uuid") is None:
            return f"{self._operation.environment.key} has no database, as before; its files are as they were."
        return super()._shown_before()

    def _check_restore(self) -> Plan:
        facts = self._observed(lambda: observe(self._shop.ports, self._operation))
        return self._plan(self._operation, facts, self._shop.droplet)

    def _succeeded(self, plan: Plan) -> Finish:
        uuid = self._database_uuid()
        self._remember(uuid)
        result = self._context.result
        return self._finish(
            "succeeded",
            RestoreResult(
                snapshot=str(order(self._operation).snapshot),
                digest=self._operation.release.digest,
                database_uuid=uuid,
                held_seconds=self._held_seconds(),
                health=self._health(),
                recovery_point_at=datetime.fromisoformat(str(result("manifest")["taken_at"])).astimezone(UTC),
                restore_set=self._restore_set(plan),
            ),
        )


class ImportJob(RestoreJob):
    """A backup of elsewhere becomes a new environment's data; a deployment brings it up."""

    _plan = staticmethod(plan_import)

    def _succeeded(self, plan: Plan) -> Finish:
        result = self._context.result
        found, files = result("imported"), result("files")
        return self._finish(
            "succeeded",
            ImportResult(
                database_uuid=str(self._database_uuid()),
                database_bytes=found["bytes"],
                modules=found["modules"],
                files=files["count"],
                missing_files=found["missing"],
                wrong_files=files["wrong"],
                health=self._health(),
            ),
        )


class BackupJob(_BesideJob):
    """Dump and files into the repository, then prove it whole, then let old ones go."""

    def _succeeded(self, plan: Plan) -> Finish:
        result, described = self._context.result, self._context.result("described")
        saved, files, taken, retained = result("saved"), result("filestore"), result("dump"), result("retained")
        return self._finish(
            "succeeded",
            BackupResult(
                snapshot=saved["snapshot"],
                repository_identity=result("repository_identity"),
                recovery_sealed=result("recovery_sealed"),
                database_bytes=taken["bytes"],
                filestore_bytes=files["bytes"],
                added_bytes=saved["added_bytes"],
                files=files["files"],
                seconds=round((self._shop.clock.now() - self._at("began_at")).total_seconds(), 1),
                taken_at=self._at("taken_at"),
                digest=described["digest"] or result("before")["digest"],
                config_hash=result("before")["config_hash"],
                database_uuid=described["database_uuid"],
                module_versions=described["module_versions"],
                checksum=taken["sha256"],
                forgotten=tuple(retained["forgotten"]) if retained else (),
                remaining=tuple(retained["remaining"]) if retained else UNSET,
                check="ok",
            ),
        )


class ExportJob(_BesideJob):
    """A backup goes to the console as a zip, for a person to download."""

    def _succeeded(self, plan: Plan) -> Finish:
        return self._finish("succeeded", ExportResult(**self._context.result("exported")))


class RestoreTestJob(_BesideJob):
    """A disposable database and an Odoo that reaches nothing else."""

    def _succeeded(self, plan: Plan) -> Finish:
        result = self._context.result
        return self._finish(
            "succeeded",
            RestoreTestResult(
                ok=True,
                snapshot=str(order(self._operation).snapshot),
                recovery_seconds=float(result("recovery_seconds")),
                recovery_point_at=datetime.fromisoformat(str(result("manifest")["taken_at"])).astimezone(UTC),
                checks=tuple(RestoreCheck(**each) for each in result("checks")),
            ),
        )
