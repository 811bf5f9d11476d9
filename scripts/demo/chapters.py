"""The story's chapters: each does what its people would do, and verifies what it tells."""

from __future__ import annotations

import time
from typing import Any

from .ci import Built
from .load import LoadReport
from .sample_repository import BAD_ORDER, PARTNER_FIRSTNAME
from .world import PLAN_SECONDS, StoryError, World

ONLINE_SECONDS = 60
HEALTH_SECONDS = 90
# The load runs a little before and after, so that it sees all of the deployment and the site as it is without.
MARGIN_SECONDS = 2.0
WORKSHOP = "workshop"
AGENT_ROLE = "odooops_agent"


def meet_the_agent(world: World) -> None:
    """1. The control Odoo is up with the addon; an agent is enrolled and heart-beating."""
    addon = world.admin.one("ir.module.module", [["name", "=", "odooops_control"]], ["state", "latest_version"])
    world.claim("the control Odoo runs with odooops_control installed", addon and addon["state"] == "installed")
    agent = world.wait_for("the agent's first heartbeat", lambda: _online_agent(world), ONLINE_SECONDS)
    world.tell("agent online", f"{agent['name']} on {agent['host']}, version {agent['version']}")
    beat = agent["last_seen_at"]
    world.wait_for("the next heartbeat", lambda: _online_agent(world)["last_seen_at"] > beat, ONLINE_SECONDS)
    world.claim(f"{agent['name']} is enrolled and keeps beating", True)
    world.claim("the agent's role in PostgreSQL is no superuser", not world.cluster.is_superuser(AGENT_ROLE))


def build_first_release(world: World) -> Built:
    """2. CI builds the customer's repository, pushes the image and registers it by its digest."""
    built = world.workflow.push_main(world.workflow.repository.create())
    world.tell("image pushed", built.image, tag="main")
    release = world.release(built.release)
    world.claim("the release is registered by digest", f"{release['image']}@{release['digest']}" == built.image)
    addons = built.manifest["addons"]
    origins = {name: addons[name]["origin"] for name in (WORKSHOP, PARTNER_FIRSTNAME.module)}
    world.claim(
        f"the image holds the customer's {WORKSHOP} and OCA's {PARTNER_FIRSTNAME.module} {PARTNER_FIRSTNAME.version}",
        origins == {WORKSHOP: "custom", PARTNER_FIRSTNAME.module: "oca"}
        and addons[PARTNER_FIRSTNAME.module]["version"] == PARTNER_FIRSTNAME.version,
    )
    return built


def stage_follows_main(world: World, built: Built, tag: str) -> None:
    """3. `stage` takes the push to main by itself and turns green; the tag then names the same digest."""
    deployment = world.newest_deployment("stage", built.release)
    world.claim("stage took the push to main by itself", deployment, "stage", tag)
    if not deployment:
        raise StoryError("The registration of a push to main has to send it to stage.")
    deployment = world.wait_for_state(deployment["id"], "live")
    world.tell("stage is live", _measures(deployment), "stage", deployment["tag"])
    wait_until_green(world, "stage", built.digest)
    world.claim(
        f"stage answers with release {tag} and is green",
        world.status_page("stage")["release"] == tag.removeprefix("v"), "stage", tag,
    )  # fmt: skip
    release = world.release(world.workflow.push_tag(built, tag))
    running = world.environment("stage", "running_digest")["running_digest"]
    world.claim(
        f"{tag} names the digest that stage runs",
        (release["id"], release["name"], release["digest"]) == (built.release, tag, running), "stage", tag,
    )  # fmt: skip


def check_installation(world: World, environment: str) -> None:
    """The environment's modules are installed, in a database that belongs to a role without superuser."""
    database = world.database(environment)
    modules = database.modules()
    world.claim(
        f"{WORKSHOP} and {PARTNER_FIRSTNAME.module} are installed, no module is stuck",
        {WORKSHOP, PARTNER_FIRSTNAME.module} <= modules.keys() and not _stuck(database.states()), environment,
    )  # fmt: skip
    owner, is_super = database.owner()
    world.claim(f"the database {database.name} belongs to {owner}, no superuser", not is_super, environment)


def production_waits(world: World, built: Built, tag: str) -> dict[str, Any]:
    """4. `prod` waits: the approver has an activity, and CI can't approve what it asked for."""
    asked = world.workflow.request("prod", f"refs/tags/{tag}", built.sha)
    deployment = world.wait_for_state(asked, "awaiting_approval", timeout_seconds=PLAN_SECONDS)
    world.tell("waits for approval", _plan_text(deployment), "prod", tag)
    activities = world.activities("odooops.deployment", asked)
    world.claim("the approver has an activity, the CI user has none",
                world.approver.uid in activities and world.ci_user not in activities, "prod", tag)  # fmt: skip
    world.claim(
        "the chatter says who is waited for",
        "Waits for the approval" in world.chatter("odooops.deployment", asked),
        "prod",
        tag,
    )
    answer = world.ci.call(
        "odooops.deployment", "action_approve", ids=[asked], plan_hash=deployment["plan_hash"], note="me"
    )
    world.claim(f"CI's own approval is refused ({answer.status}: {answer.sentence})", answer.status == 403, "prod", tag)
    world.claim("it still waits", world.deployment(asked)["state"] == "awaiting_approval", "prod", tag)
    return deployment


def production_goes_live(world: World, deployment: dict[str, Any], built: Built, tag: str) -> None:
    """5. The approver approves; `prod` is live and green behind Caddy."""
    world.approve(deployment, "Looked at stage: the orders are there.")
    world.tell("approved", f"by {world.approver.login}, plan {deployment['plan_hash'][:12]}", "prod", tag)
    done = world.wait_for_state(deployment["id"], "live")
    world.tell("prod is live", _measures(done), "prod", tag)
    wait_until_green(world, "prod", built.digest)
    status, page = world.get("prod", "/web/login")
    world.claim("prod is green and shows its login page through Caddy", status == 200 and b"login" in page, "prod", tag)
    world.claim(f"prod runs {tag}", world.status_page("prod")["release"] == tag.removeprefix("v"), "prod", tag)


def update_under_load(world: World, tag: str) -> Built:
    """6. A release with a migration goes live while visitors keep asking; nobody sees an error."""
    built = world.workflow.push_main(world.workflow.repository.change_model())
    world.tell("image pushed", f"{built.image}, in {built.seconds:.1f} s", tag="main")
    stage_follows_main(world, built, tag)
    deployment = production_waits(world, built, tag)
    _check_plan(world, deployment)
    database = world.database("prod")
    modules = database.modules()
    done = _deploy_under_load(world, deployment, "live", tag)
    world.claim("there is a restore set to go back to", done["restore_set_ids"], "prod", tag)
    changed = {name for name, version in database.modules().items() if modules.get(name) != version}
    updated = world.updated_modules(done["id"])
    world.claim(f"exactly {WORKSHOP} was updated", changed == updated == {WORKSHOP}, "prod", tag)
    page = world.status_page("prod")
    minutes = dict(database.query("SELECT name, minutes FROM workshop_order"))
    world.claim(
        f"the migration filled the orders' minutes: {minutes}",
        minutes == {"WO/001": 90, "WO/002": 45, "WO/003": 120} and page.get("minutes") == 255, "prod", tag,
    )  # fmt: skip
    wait_until_green(world, "prod", built.digest)
    return built


def failing_migration(world: World, before: Built, tag: str) -> None:
    """7. A migration passes on `stage` and raises on a record that only `prod` has: `prod` stays as it was."""
    world.customer("prod").create("workshop.order", **BAD_ORDER)
    world.tell("on prod only", f"a user types an order that lasts {BAD_ORDER['duration']!r}", "prod")
    built = world.workflow.push_main(world.workflow.repository.break_on_production())
    stage_follows_main(world, built, tag)
    deployment = production_waits(world, built, tag)
    content = world.database("prod").content()
    done = _deploy_under_load(world, deployment, "failed", tag)
    world.tell("reverted", done["failure_message"], "prod", tag)
    wait_until_green(world, "prod", before.digest)
    page = world.status_page("prod")
    world.claim(
        "prod still runs v1.1.0, by its digest, and is green",
        page["release"] == "1.1.0" and world.running_digests("prod") == {before.digest}, "prod", tag,
    )  # fmt: skip
    after = world.database("prod").content()
    world.claim(
        f"prod's data is as before: {after.rows} rows in {len(after.tables)} tables; "
        f"differing tables: {', '.join(after.changed_since(content)) or 'none'}",
        after == content, "prod", tag,
    )  # fmt: skip
    chatter = world.chatter("odooops.deployment", deployment["id"])
    world.claim(
        "the deployment's chatter has the failure's log",
        BAD_ORDER["name"] in chatter and "ValueError" in chatter,
        "prod",
        tag,
    )
    world.claim(
        "the release manager is told",
        world.approver.uid in world.activities("odooops.deployment", deployment["id"]),
        "prod",
        tag,
    )


def _check_plan(world: World, deployment: dict[str, Any]) -> None:
    plan, tag = deployment["plan"], deployment["tag"]
    modules = [(module["name"], module["from"], module["to"], module["action"]) for module in plan["modules"]]
    world.claim(
        f"the plan updates {WORKSHOP} from 19.0.1.0.0 to 19.0.1.1.0 and nothing else",
        modules == [(WORKSHOP, "19.0.1.0.0", "19.0.1.1.0", "update")], "prod", tag,
    )  # fmt: skip
    world.claim(f"the plan names its migration: {plan['migrations']}", len(plan["migrations"]) == 1, "prod", tag)


def _deploy_under_load(world: World, deployment: dict[str, Any], end: str, tag: str) -> dict[str, Any]:
    """Approve and follow a deployment to its end while eight visitors keep asking."""
    with world.visitor_load("prod") as load:
        time.sleep(MARGIN_SECONDS)
        world.approve(deployment, "Looked at stage and read the plan.")
        world.tell("approved", f"by {world.approver.login}, plan {deployment['plan_hash'][:12]}", "prod", tag)
        done = world.wait_for_state(deployment["id"], end)
        time.sleep(MARGIN_SECONDS)
        report = load.stop()
    world.tell(f"prod: {end}", _measures(done), "prod", tag)
    claim_no_failure(world, report, tag)
    return done


def claim_no_failure(world: World, report: LoadReport, tag: str) -> None:
    """Keep what eight visitors saw, and say whether any of them saw an error."""
    world.reports.append(report)
    failures = "; ".join(f"{answer.status} {answer.detail}" for answer in report.failed[:3])
    world.claim(
        f"no request failed: {len(report.answers)} of 8 visitors, {len(report.failed)} failed, "
        f"longest wait {report.longest_wait_seconds:.1f} s {failures}".strip(),
        report.answers and not report.failed, "prod", tag,
    )  # fmt: skip


def _online_agent(world: World) -> dict[str, Any]:
    (agent_id, _name) = world.environment("prod", "agent_id")["agent_id"]
    agent = world.admin.read("odooops.agent", agent_id, ["name", "host", "version", "state", "last_seen_at"])
    return agent if agent["state"] == "online" else {}


def wait_until_green(world: World, environment: str, digest: str) -> None:
    def green() -> bool:
        row = world.environment(environment, "health", "running_digest")
        return row["health"] == "green" and row["running_digest"] == digest

    world.wait_for(f"{environment} to be green", green, HEALTH_SECONDS)


def _stuck(states: set[str]) -> set[str]:
    return states & {"to install", "to upgrade", "to remove"}


def _measures(deployment: dict[str, Any]) -> str:
    return f"held {deployment['held_seconds']:.1f} s, update {deployment['update_seconds']:.1f} s"


def _plan_text(deployment: dict[str, Any]) -> str:
    names = [module["name"] for module in deployment["plan"]["modules"]]
    what = f"{len(names)} modules to install" if len(names) > 10 else ", ".join(names)
    return f"plan {deployment['plan_hash'][:12]}: {what or 'restart only'}"
