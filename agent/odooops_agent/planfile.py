"""A plan from a file of facts: what `odooops-agent plan FILE` and the golden cases of the tests read."""

from __future__ import annotations

from typing import Any

import msgspec

from .commands.odoo_conf import Cluster
from .errors import Refused
from .facts import EnvironmentFacts
from .plans.deploy import Droplet, plan_deploy
from .plans.model import Plan
from .protocol import BadMessage, Operation, convert

DROPLET = Droplet("odooops", "/srv/odooops", Cluster("postgresql"))


def read_plan_file(text: str) -> Plan:
    """Return the plan of `{"operation": …, "facts": …, "droplet": …, "execute": …}`; the last two may be absent.

    :raises Refused: the file is not what it should be, or the deployment may not run.
    """
    try:
        given = msgspec.json.decode(text, type=dict[str, Any])
        operation = convert(given.get("operation"), Operation)
        facts = convert(given.get("facts"), EnvironmentFacts)
        droplet = convert(given["droplet"], Droplet) if "droplet" in given else DROPLET
    except (BadMessage, msgspec.DecodeError) as error:
        raise Refused(f"The file holds no operation and facts: {error}", code="bad_file") from None
    return plan_deploy(operation, facts, droplet, execute=bool(given.get("execute", True)))


def shown(plan: Plan) -> str:
    """Return the plan for a person: the modules, then each step with what takes it back."""
    lines = [f"{plan.document.environment}: {plan.shape}, plan {plan.plan_hash}"]
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
