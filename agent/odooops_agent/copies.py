"""Copies for other environments, told as a story: what is not proven safe never gets in anybody's reach."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from .observe import observe
from .operations import Finish, Job
from .plans.copies import clone, plan_clone
from .plans.model import Plan
from .protocol import CloneResult, FailedClone, FailedResult, RestoreCheck


class CloneJob(Job):
    """The environment becomes a copy of another one's data; what it was stays as a restore set."""

    def work(self) -> Finish:
        self._pull()
        plan = self._in_step("check_plan", self._check_clone)
        self._keep_before()
        self.begin(plan)
        return self._conclude(plan, self._executor.run(plan))

    def _check_clone(self) -> Plan:
        facts = self._observed(lambda: observe(self._shop.ports, self._operation))
        return plan_clone(self._operation, facts, self._shop.droplet)

    def _succeeded(self, plan: Plan) -> Finish:
        uuid = self._database_uuid()
        self._remember(uuid)
        result, now = self._context.result, self._shop.clock.now()
        began = datetime.fromisoformat(str(result("began_at"))).astimezone(UTC)
        return self._finish(
            "succeeded",
            CloneResult(
                digest=self._operation.release.digest,
                database_uuid=str(uuid),
                data_as_of=clone(self._operation).data_as_of,
                neutralised=self._checks(),
                seconds=round((now - began).total_seconds(), 1),
                held_seconds=self._held_seconds(),
                database_bytes=int(result("copy_bytes") or 0),
                filestore_bytes=int(result("copy_files_bytes") or 0),
                health=self._health(),
                restore_set=self._restore_set(plan),
            ),
        )

    def _checks(self) -> tuple[RestoreCheck, ...]:
        return tuple(RestoreCheck(**one) for one in self._context.result("neutralised") or ())

    def _told(self, result: FailedResult) -> FailedResult:
        return FailedClone(**msgspec.structs.asdict(result), neutralised=self._checks())
