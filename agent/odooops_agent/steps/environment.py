"""Steps around an environment's containers and files."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict

from ..commands.containers import CRON_STOP_SECONDS, WEB_STOP_SECONDS, spec_from
from ..commands.odoo_conf import OdooSecrets, odoo_config
from ..errors import AgentError, Permanent, Retryable
from ..facts import ImageManifest
from ..names import ADMIN_PASSWORD, BASELINE, Names
from .context import Arguments, Context

POLL_SECONDS = 0.25
# Nobody is being answered any more: only the websocket process would keep it waiting.
DRAINED_STOP_SECONDS = 2
# Visitors wait for it, yet what Odoo still writes after an answer (sessions, attachments) has to come to its end.
HELD_STOP_SECONDS = 5
ASK_SECONDS = 15


def prepare_environment(ctx: Context, args: Arguments) -> str | None:
    """Have network, directory, roles and configuration; nothing that serves is touched."""
    for name in args["leftovers"]:
        _stop_and_remove(ctx, name, 5)
    ctx.ports.runtime.ensure_network(args["network"], args["labels"])
    ctx.ports.filestore.prepare(ctx.key, args["uid"], args["gid"])
    _ensure_roles(ctx)
    _write_configs(ctx, args)
    return None


def _ensure_roles(ctx: Context) -> None:
    names = ctx.names
    app, upgrade = (ctx.passwords.get(role) for role in (names.app_role, names.upgrade_role))
    ctx.ports.database.ensure_roles(names.app_role, app.reveal(), names.upgrade_role, upgrade.reveal())


def _write_configs(ctx: Context, args: Arguments) -> None:
    names, uid, gid = ctx.names, args["uid"], args["gid"]
    image = ImageManifest("", "", uid, gid, tuple(args["addons_paths"]), {})
    for file, role in ((names.config, names.app_role), (names.upgrade_config, names.upgrade_role)):
        config = odoo_config(ctx.operation.environment, image, ctx.droplet.cluster, role)
        secrets = OdooSecrets(ctx.passwords.get(role), ctx.passwords.get(f"{ctx.key} master"))
        ctx.ports.filestore.write_config(ctx.key, file, config.render(secrets), uid, gid)
    if args["install"]:
        password = ctx.passwords.get(admin_password_name(ctx.key)).reveal()
        ctx.ports.filestore.write_config(ctx.key, ADMIN_PASSWORD, password + "\n", uid, gid)
    if ctx.ports.filestore.read_config(ctx.key, BASELINE) is None:
        ctx.ports.filestore.write_config(ctx.key, BASELINE, "", uid, gid)


def admin_password_name(key: str) -> str:
    return f"{key} admin"


def clean_up(ctx: Context, args: Arguments) -> str | None:
    """Remove what the deployment made; the old containers serve again by now."""
    names = ctx.names
    for role in ("update", "cron", "web"):
        _stop_and_remove(ctx, names.container(role), 5)
    # What the update left is dropped only now that the old database serves again.
    if not args["install"] and ctx.ports.database.exists(names.database):
        ctx.ports.database.drop(names.aside)
    for file in (names.config, names.upgrade_config, names.gate, names.update_gate, ADMIN_PASSWORD):
        ctx.ports.filestore.remove_config(ctx.key, file)
    return None


def create_web(ctx: Context, args: Arguments) -> str | None:
    ctx.ports.runtime.create(spec_from(args["spec"]))
    return None


def remove_container(ctx: Context, args: Arguments) -> str | None:
    _stop_and_remove(ctx, args["spec"]["name"], 5)
    return None


def preload_web(ctx: Context, args: Arguments) -> str | None:
    """Start the new web container behind its gate and wait until it has imported its code."""
    _preload(ctx, args, args["name"])
    return None


def preload_update(ctx: Context, args: Arguments) -> str | None:
    """Start the update behind its gate and wait until it has imported its code; it has not seen the database yet."""
    spec = spec_from(args["spec"])
    ctx.ports.runtime.remove(spec.name)  # one that was left may have gone through its gate
    ctx.ports.runtime.create(spec)
    _preload(ctx, args, spec.name)
    return None


def start_standby(ctx: Context, args: Arguments) -> str | None:
    """Start the new web container behind its gate."""
    _start_behind_gate(ctx, args, args["name"])
    return None


def _start_behind_gate(ctx: Context, args: Arguments, name: str) -> None:
    modules = "".join(f"{module}\n" for module in args["modules"])
    ctx.ports.filestore.write_config(ctx.key, args["gate"], modules, args["uid"], args["gid"])
    ctx.ports.runtime.start(name)


def _preload(ctx: Context, args: Arguments, name: str) -> None:
    _start_behind_gate(ctx, args, name)
    problem = _wait_until(ctx, name, args["ready"], args["start_seconds"], "did not get ready")
    if problem:
        raise Permanent(f"The new release can't be loaded. {problem[-1]}", code="not_loadable", log_tail=tuple(problem))


def start_web(ctx: Context, args: Arguments) -> str | None:
    """Start the new web container, or let go the one that waits, and see that it answers."""
    if "gate" in args:
        ctx.ports.filestore.remove_config(ctx.key, args["gate"])
    ctx.ports.runtime.start(args["name"])
    if "healthy" in args:
        _wait_until(ctx, args["name"], args["healthy"], args["start_seconds"], "is not healthy")
    return None


def stop_container(ctx: Context, args: Arguments) -> str | None:
    ctx.ports.runtime.stop(args["name"], WEB_STOP_SECONDS)
    return None


def warm_web(ctx: Context, args: Arguments) -> str | None:
    """Have every worker answer a page, so that the first visitor waits no longer than the second."""
    name, said = args["name"], list[str]()
    if ctx.ports.runtime.execute(name, args["warm"], args["warm_seconds"] + 5, ctx.line) == 0:
        return None
    if ctx.ports.runtime.execute(name, args["healthy"], ASK_SECONDS, said.append) == 0:
        raise Permanent(f"{name} answers and not all of its workers got warm: read the log above.", code="not_warm")
    raise Permanent(f"{name} is not healthy: {said[-1] if said else 'it does not answer'}", code="not_healthy")


def stop_cron(ctx: Context, args: Arguments) -> str | None:
    _keep_specs(ctx, args["names"])
    for name in args["names"]:
        ctx.ports.runtime.stop(name, CRON_STOP_SECONDS)
    return None


def start_containers(ctx: Context, args: Arguments) -> str | None:
    for name in args["names"]:
        _start_again(ctx, name)
    return None


def start_cron(ctx: Context, args: Arguments) -> str | None:
    spec = spec_from(args["spec"])
    ctx.ports.runtime.create(spec)
    ctx.ports.runtime.start(spec.name)
    return None


def stop_workers(ctx: Context, args: Arguments) -> str | None:
    """Stop the old web container: soon when nobody is being answered, as visitors are waiting."""
    _keep_specs(ctx, args["names"])
    seconds = WEB_STOP_SECONDS if ctx.result("undrained") else HELD_STOP_SECONDS
    for name in args["names"]:
        ctx.ports.runtime.stop(name, seconds)
    return None


def start_workers(ctx: Context, args: Arguments) -> str | None:
    """Start the old web container again; a sick one still beats the maintenance page, so only tell it."""
    old = args["old_web"]
    if old is None or old not in args["names"]:
        return None
    _start_again(ctx, old)
    try:
        _wait_until(ctx, old, args["healthy"], args["start_seconds"], "is not healthy")
        ctx.ports.runtime.execute(old, args["warm"], args["warm_seconds"] + 5, ctx.line)
    except Retryable:
        raise
    except AgentError as error:
        ctx.say(f"The old web container is back and not well: {error.message}")
        return "not healthy"
    return None


def remove_old(ctx: Context, args: Arguments) -> str | None:
    """Remove the containers and files that the new release replaced; images, snapshots and filestores stay."""
    for name in args["names"]:
        ctx.ports.runtime.stop(name, WEB_STOP_SECONDS if ctx.result("undrained") else DRAINED_STOP_SECONDS)
    for token in args["tokens"]:
        old = Names(ctx.droplet.stack, ctx.key, ctx.names.database, token)
        for file in (old.config, old.upgrade_config, old.gate, old.update_gate):
            ctx.ports.filestore.remove_config(ctx.key, file)
    for file in (ctx.names.upgrade_config, ADMIN_PASSWORD):
        ctx.ports.filestore.remove_config(ctx.key, file)
    # Last: while a container is there, the next deployment knows that its files may be too.
    for name in args["names"]:
        ctx.ports.runtime.remove(name)
    verdict = ctx.result("verdict")
    if verdict:
        lines = "".join(f"{line}\n" for line in verdict["log_errors"])
        ctx.ports.filestore.write_config(ctx.key, BASELINE, lines, args["uid"], args["gid"])
    return None


def _keep_specs(ctx: Context, names: list[str]) -> None:
    """Keep what containers were made from: somebody may prune the droplet's stopped ones meanwhile."""
    found = {name: asdict(spec) for name in names if (spec := ctx.ports.runtime.spec(name))}
    ctx.keep("stopped", {**(ctx.result("stopped") or {}), **found})


def _start_again(ctx: Context, name: str) -> None:
    """Start a container that the deployment had stopped; one that was removed since is made anew."""
    kept = (ctx.result("stopped") or {}).get(name)
    if kept and not any(one.name == name for one in ctx.ports.runtime.containers(ctx.key)):
        ctx.say(f"{name} was removed by somebody else: making it anew.")
        spec = spec_from(kept)
        ctx.ports.runtime.ensure_network(spec.network, ctx.names.labels)
        ctx.ports.runtime.pull(spec.image, ctx.line)
        ctx.ports.runtime.create(spec)
    ctx.ports.runtime.start(name)


def _stop_and_remove(ctx: Context, name: str, seconds: int) -> None:
    ctx.ports.runtime.stop(name, seconds)
    ctx.ports.runtime.remove(name)


def _wait_until(ctx: Context, name: str, argv: list[str], limit_seconds: float, complaint: str) -> list[str]:
    """Ask within the container until the answer is yes; return what it said."""
    deadline = ctx.clock.monotonic() + limit_seconds
    last: list[str] = []
    while True:
        last.clear()
        # The container may die between the two questions.
        with suppress(Permanent):
            if ctx.ports.runtime.execute(name, argv, ASK_SECONDS, last.append) == 0:
                return last
        if not any(one.name == name and one.running for one in ctx.ports.runtime.containers(ctx.key)):
            raise Permanent(
                f"{name} ended by itself instead of serving: read its log (docker logs {name}).", code="not_healthy"
            )
        if ctx.clock.monotonic() >= deadline or ctx.cancelled():
            why = last[-1] if last else f"no answer in {limit_seconds:.0f} s"
            raise Permanent(f"{name} {complaint}: {why}", code="not_healthy")
        ctx.clock.sleep(POLL_SECONDS)
