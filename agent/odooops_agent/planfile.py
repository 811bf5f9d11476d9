"""A plan from a file of facts: what `odooops-agent plan FILE` and the golden cases of the tests read."""

from __future__ import annotations

from typing import Any

import msgspec

from .commands.odoo_conf import Cluster
from .errors import Refused
from .facts import EnvironmentFacts, RollbackFacts
from .plans.building import Droplet
from .plans.deploy import plan_deploy
from .plans.model import Plan
from .plans.rollback import DATA_MODES, plan_rollback, preview
from .protocol import BadMessage, Loss, LossCount, Operation, RollbackPreview, convert

DROPLET = Droplet("odooops", "/srv/odooops", Cluster("postgresql"))


def read_plan_file(text: str) -> Plan | RollbackPreview:
    """Return the plan of `{"operation": …, "facts": …, "droplet": …, "execute": …}`; the last two may be absent.

    A rollback's facts are `{"environment": …, "restore_set": …}`; without a mode all its ways back are returned, with
    the file's `"loss"` where there is one.

    :raises Refused: the file is not what it should be, or the deployment may not run.
    """
    try:
        given = msgspec.json.decode(text, type=dict[str, Any])
        operation = convert(given.get("operation"), Operation)
        droplet = convert(given["droplet"], Droplet) if "droplet" in given else DROPLET
        execute = bool(given.get("execute", True))
        rollback = operation.way_back
        if rollback is None:
            facts = convert(given.get("facts"), EnvironmentFacts)
            return plan_deploy(operation, facts, droplet, execute=execute)
        facts_back = convert(given.get("facts"), RollbackFacts)
        if rollback.mode is not None:
            return plan_rollback(operation, facts_back, droplet, rollback.mode, execute=execute)
        loss = convert(given["loss"], Loss) if given.get("loss") else None
        return preview(operation, facts_back, droplet, dict.fromkeys(DATA_MODES, loss))
    except (BadMessage, msgspec.DecodeError) as error:
        raise Refused(f"The file holds no operation and facts: {error}", code="bad_file") from None


def shown(plan: Plan | RollbackPreview) -> str:
    """Return the plan for a person: the modules, then each step with what takes it back; or every way back."""
    return shown_ways(plan) if isinstance(plan, RollbackPreview) else shown_steps(plan)


def shown_ways(preview: RollbackPreview) -> str:
    """Return each way back with its reason and what it would lose, the recommended one marked."""
    lines = []
    for one in preview.modes:
        mark = "→" if one.mode == preview.recommended else " "
        lines.append(f"{mark} {one.mode:11} {'open  ' if one.possible else 'closed'} {one.reason}")
        if one.plan_hash:
            lines.append(f"    plan {one.plan_hash}, holds about {one.hold_seconds:.0f} s")
        if one.loss:
            lines.append(f"    loses {one.loss.minutes:.0f} minutes")
            lines += [f"      {each.label}: {_counted(each)}" for each in one.loss.counts]
    return "\n".join(lines)


def _counted(one: LossCount) -> str:
    if one.created is None:
        return "nobody knows"
    changed = "changes not counted" if one.changed is None else f"{one.changed} changed"
    return f"{one.created} created, {changed}{f', {one.posted} posted' if one.posted else ''}"


def shown_steps(plan: Plan) -> str:
    """Return the modules, then each step with what takes it back."""
    what = f"rollback ({plan.rollback.mode}), {plan.shape}" if plan.rollback else plan.shape
    lines = [f"{plan.document.environment}: {what}, plan {plan.plan_hash}"]
    lines += [
        f"  {change.action} {change.name} {change.from_version or '–'} → {change.to_version}"
        for change in plan.document.modules
    ]
    lines += [f"  takes along {name}" for name in plan.facts.dependents]
    lines += [f"  runs {script}" for script in plan.document.migrations]
    lines += [f"  note: {warning}" for warning in plan.facts.warnings]
    for number, name in enumerate(plan.facts.steps[: -len(plan.steps)], 1):
        lines.append(f"{number:3} {name}")
    for number, step in enumerate(plan.steps, len(plan.facts.steps) - len(plan.steps) + 1):
        undo = f"   (taken back by {step.undo})" if step.undo else ""
        lines.append(f"{number:3} {step.name}{undo}{'   ← from here on only forward' if step.commits else ''}")
    return "\n".join(lines)
