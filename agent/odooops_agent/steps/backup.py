"""Steps of a backup and of its proof. None of them touches what visitors see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any

from ..commands import dump
from ..commands.containers import spec_from
from ..errors import Permanent
from ..facts import DatabaseFacts
from ..plans.backup import order
from ..plans.checks import no_disk_for_backup, no_room_for_dump
from ..plans.rollback import backed_up_at
from ..ports import ContainerSpec
from ..protocol import Repository
from .context import Arguments, Context

MANIFEST_SCHEMA = 1
MISSING_LISTED = 1000
WHOLE_SECOND = timedelta(seconds=1)  # messages tell no less
POLL_SECONDS = 0.5
ASK_SECONDS = 15
VERSION_MISMATCH = "server version mismatch"


def open_repository(ctx: Context, args: Arguments) -> str | None:
    """See that the repository opens before anything costs time or room."""
    repository = _repository(ctx)
    identity = ctx.ports.vault.ensure(repository, make=args["make"])
    ctx.keep("repository_identity", identity)
    recovery = ctx.ports.vault.ensure_recovery(repository, ctx.line, ctx.cancelled) if args["make"] else None
    ctx.keep("recovery_sealed", recovery)
    return f"repository {identity[:8]}"


def make_workspace(ctx: Context, args: Arguments) -> str | None:
    ctx.keep("began_at", ctx.clock.now().isoformat())
    ctx.ports.workspace.make(ctx.key, args["workspace"], args["uid"], args["gid"])
    return None


def remove_workspace(ctx: Context, args: Arguments) -> str | None:
    ctx.ports.workspace.remove(ctx.key, args["workspace"])
    return None


def collect_files(ctx: Context, args: Arguments) -> str | None:
    """Link the filestore's files; the second time those that came since."""
    files = ctx.ports.workspace.collect_files(ctx.key, args["workspace"], args["database"])
    ctx.keep("filestore", {"files": files.count, "bytes": files.bytes})
    return f"{files.count} files"


def dump_database(ctx: Context, args: Arguments) -> str | None:
    """Run pg_dump in a one-off and take its file only when it ended well."""
    facts = _require_facts(ctx, args["database"])
    ctx.keep("described", _described(facts))
    ctx.keep("taken_at", ctx.clock.now().isoformat())
    run_one_off(ctx, args, ctx.names.app_role, "pg_dump", code="dump_failed")
    taken = ctx.ports.workspace.take_dump(ctx.key, args["workspace"])
    ctx.keep("dump", {"bytes": taken.bytes, "sha256": taken.sha256})
    return f"{taken.bytes / (1 << 20):.0f} MB"


def describe_backup(ctx: Context, args: Arguments) -> str | None:
    """Write down what the backup is of; refuse one that a deployment has cut in two."""
    database, environment = ctx.names.database, ctx.operation.environment
    now, before = _described(_require_facts(ctx, database)), ctx.result("described")
    if now != before:
        raise Permanent(
            f"{ctx.key} was deployed to while it was dumped, so its files may be of another release: back it up again.",
            code="dump_failed",
        )
    missing = ctx.ports.workspace.missing_files(
        ctx.key, args["workspace"], ctx.ports.database.attachment_files(database)
    )
    if missing:
        ctx.say(f"{len(missing)} attachments have no file in the environment itself, such as {missing[0]}.")
    document = {
        "schema": MANIFEST_SCHEMA,
        "environment": {"key": ctx.key, "uuid": environment.uuid, "tier": environment.tier},
        "release": {"tag": ctx.operation.release.tag, "image": ctx.operation.release.image},
        "database": database,
        "taken_at": ctx.result("taken_at"),
        "dump": ctx.result("dump"),
        "filestore": ctx.result("filestore"),
        "missing_files": list(missing[:MISSING_LISTED]),
        "missing_count": len(missing),
        **before,
    }
    ctx.ports.workspace.write_manifest(ctx.key, args["workspace"], document)
    return None


def store_backup(ctx: Context, args: Arguments) -> str | None:
    """Give all of it to restic, in one snapshot."""
    folder = ctx.ports.workspace.folder(ctx.key, args["workspace"])
    saved = ctx.ports.vault.save(
        _repository(ctx),
        folder,
        ("database.dump", "filestore", "manifest.json"),
        host=ctx.key,
        tags=(_own_tag(ctx), f"operation={ctx.operation.id}"),
        at=datetime.fromisoformat(str(ctx.result("taken_at"))),
        on_line=ctx.line,
        cancelled=ctx.cancelled,
    )
    ctx.keep("saved", {"snapshot": saved.snapshot, "files": saved.files, "added_bytes": saved.added_bytes})
    return f"snapshot {saved.snapshot[:8]}, {saved.added_bytes / (1 << 20):.1f} MB new"


def check_repository(ctx: Context, args: Arguments) -> str | None:
    """Have restic look for damage; a backup in a damaged repository is none."""
    ctx.ports.vault.check(_repository(ctx), ctx.line, ctx.cancelled)
    return None


def apply_retention(ctx: Context, args: Arguments) -> str | None:
    """Let go what the policy keeps no longer; only ever after a backup that is whole."""
    retention = order(ctx.operation).retention
    done = ctx.ports.vault.forget(_repository(ctx), ctx.key, _own_tag(ctx), retention, ctx.line, ctx.cancelled)
    ctx.keep("retained", {"forgotten": list(done.forgotten), "remaining": list(done.remaining)})
    return f"{len(done.forgotten)} old backups gone" if done.forgotten else None


def _own_tag(ctx: Context) -> str:
    return f"environment={ctx.operation.environment.uuid}"


# -- the proof


def fetch_backup(ctx: Context, args: Arguments) -> str | None:
    """Restore the backup's files into the workspace and compare them with what it says of itself."""
    asked, room = order(ctx.operation), args["workspace"]
    folder = ctx.ports.workspace.folder(ctx.key, room)
    _require_disk(ctx, args.get("copies", 1) * ctx.ports.vault.size(asked.repository, str(asked.snapshot)))
    ctx.ports.vault.restore(asked.repository, str(asked.snapshot), folder, ctx.line, ctx.cancelled)
    manifest = ctx.ports.workspace.read_manifest(ctx.key, room)
    _require_origin(ctx, manifest)
    taken = ctx.ports.workspace.dump_facts(ctx.key, room)
    if taken.sha256 != manifest["dump"]["sha256"]:
        raise Permanent(
            f"The dump in backup {asked.backup} is not the one that was written: the repository can't be trusted.",
            code="repository_damaged",
        )
    files = ctx.ports.workspace.adopt_files(ctx.key, room)
    ctx.keep("manifest", dict(manifest))
    ctx.keep("wrong_files", list(files.wrong[:MISSING_LISTED]))
    if args.get("loads", True):
        require_room(ctx, taken.bytes)
    if "addons" in args:
        _require_addons(ctx, manifest["module_versions"], args["addons"])
    return f"{taken.bytes / (1 << 20):.0f} MB and {files.count} files"


def _require_origin(ctx: Context, manifest: Any) -> None:
    """Refuse a backup of another environment or tier than the operation speaks of, whatever that was told."""
    asked, environment, said = order(ctx.operation), ctx.operation.environment, manifest["environment"]
    key = asked.source.environment if asked.source else ctx.key
    if manifest["environment"]["key"] != key:
        raise Permanent(
            f"Backup {asked.backup} says it is of {manifest['environment']['key']}, not of {key}: it is left alone.",
            code="restore_refused",
        )
    tier = asked.source.tier if asked.source else environment.tier
    if said["tier"] != tier:
        raise Permanent(
            f"Backup {asked.backup} says it is of a {said['tier']} environment, not of a {tier} one: it is left alone, "
            "as no tier's data go into another.",
            code="restore_refused",
        )
    # A console that was set up anew gives its environments other ids; it then names the backup's own database.
    named = asked.source.database_uuid if asked.source else None
    if said["uuid"] != environment.uuid and (named is None or named != manifest["database_uuid"]):
        raise Permanent(
            f"Backup {asked.backup} is of another environment that was called {key} too, and the operation does not "
            "name that one's database: choose a backup of this one.",
            code="restore_refused",
        )
    approved = backed_up_at(ctx.operation) if ctx.operation.way_back else None
    reaches = datetime.fromisoformat(manifest["taken_at"])
    if approved and reaches < approved - WHOLE_SECOND:
        raise Permanent(
            f"Backup {asked.backup} reaches up to {reaches:%Y-%m-%d %H:%M:%S} UTC only, not {approved:%H:%M:%S} as was "
            "approved, so more would be lost: correct its time in the console and preview the rollback again.",
            code="restore_refused",
        )


def _require_disk(ctx: Context, size_bytes: int) -> None:
    """Refuse before the download what would fill the disk that production writes to."""
    missing = no_disk_for_backup(ctx.operation, ctx.ports.filestore.free_bytes(ctx.key), size_bytes)
    if missing:
        raise Permanent(missing, code="disk_too_small")


def require_room(ctx: Context, dump_bytes: int) -> None:
    missing = no_room_for_dump(ctx.ports.database.free_bytes(), dump_bytes)
    if missing:
        raise Permanent(missing, code="disk_too_small")


def _require_addons(ctx: Context, modules: Mapping[str, str], addons: Sequence[str]) -> None:
    missing = sorted(set(modules) - set(addons))
    if missing:
        raise Permanent(
            f"{ctx.operation.release.tag} lacks {', '.join(missing[:8])}, which the backup has installed: restore it "
            "with the release that it was taken of.",
            code="missing_modules",
        )


def place_files(ctx: Context, args: Arguments) -> str | None:
    """Put the restored files where the environment's are: beside its snapshots, or in an empty filestore's place."""
    if "token" in args:
        ctx.ports.workspace.place_snapshot(ctx.key, args["workspace"], args["token"])
    else:
        ctx.ports.workspace.place_filestore(ctx.key, args["workspace"], args["database"])
    return None


def create_disposable(ctx: Context, args: Arguments) -> str | None:
    """Make the database that the dump goes into, closed to the environment's servers; what a dead test left goes."""
    drop_disposable(ctx, args)
    names = ctx.names
    app, upgrade = (ctx.passwords.get(role) for role in (names.app_role, names.upgrade_role))
    ctx.ports.database.ensure_roles(names.app_role, app.reveal(), names.upgrade_role, upgrade.reveal())
    ctx.ports.database.create(args["database"], args["owner"])
    ctx.ports.database.write_tag(args["database"], ctx.operation.environment.uuid, names.token)
    ctx.ports.database.fence(args["database"], names.app_role, names.upgrade_role)
    return None


def drop_disposable(ctx: Context, args: Arguments) -> str | None:
    """Drop it, but never a database that bears another environment's mark."""
    identity = ctx.ports.database.identity(args["database"])
    if identity and identity.tag and identity.tag.environment_uuid != ctx.operation.environment.uuid:
        raise Permanent(f"{args['database']} is another environment's: leave it alone.", code="identity_mismatch")
    ctx.ports.database.drop(args["database"])
    return None


def load_dump(ctx: Context, args: Arguments) -> str | None:
    """Run pg_restore in a one-off that reaches this one database."""
    ctx.ports.workspace.give_dump(ctx.key, args["workspace"])
    run_one_off(ctx, args, ctx.names.upgrade_role, "pg_restore", code="restore_failed")
    ctx.ports.workspace.drop_dump(ctx.key, args["workspace"])
    return None


def prove_backup(ctx: Context, args: Arguments) -> str | None:
    """Boot Odoo on what was restored, ask for pages, compare modules, identity and files."""
    manifest, fatal = ctx.result("manifest"), list[str]()
    checks: list[dict[str, Any]] = []

    def judge(name: str, problem: str | None, detail: str = "", *, vital: bool = True) -> None:
        checks.append({"name": name, "ok": problem is None, "detail": problem or detail})
        ctx.say(f"{name}: {problem or detail or 'ok'}")
        if problem and vital:
            fatal.append(f"{name}: {problem}")

    facts = _require_facts(ctx, args["database"])
    judge("identity", None if facts.uuid == manifest["database_uuid"] else f"the database says it is {facts.uuid}")
    versions = manifest["module_versions"]
    judge("modules", _modules_problem(facts, versions), f"{len(versions)} installed")
    judge("attachments", _first_said(ctx, args), f"{manifest['filestore']['files']} files")
    # The repository's own checksums hold, or restic would not have restored it: so it was cut short where it came from.
    judge("file contents", _contents_problem(ctx), "each file is what its name says", vital=False)
    judge("Odoo boots", _boot_problem(ctx, args), "/web/health and /web/login answer")
    began = datetime.fromisoformat(str(ctx.result("began_at")))
    ctx.keep("recovery_seconds", round((ctx.clock.now() - began).total_seconds(), 1))
    ctx.keep("checks", checks)
    if fatal:
        raise Permanent(
            f"The backup can't be relied on: {'; '.join(fatal)}. Back up again and test that.",
            code="restore_test_failed",
        )
    return f"recovered in {ctx.result('recovery_seconds'):.0f} s"


def _modules_problem(facts: DatabaseFacts, expected: dict[str, str]) -> str | None:
    found = _versions(facts)
    differing = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    return f"{', '.join(differing[:5])} differ from what was backed up" if differing else None


def _first_said(ctx: Context, args: Arguments) -> str | None:
    """Return what is wrong with the files, as seen before they were put where the Odoo of an earlier try looked."""
    if ctx.result("attachments") is None:
        ctx.keep("attachments", _attachments_problem(ctx, args) or "")
    return ctx.result("attachments") or None


def _attachments_problem(ctx: Context, args: Arguments) -> str | None:
    wanted = ctx.ports.database.attachment_files(args["database"])
    missing = ctx.ports.workspace.missing_files(ctx.key, args["workspace"], wanted)
    lost, such_as = lost_files(missing, ctx.result("manifest"))
    return f"{lost} attachments have no file, such as {such_as}" if lost else None


def lost_files(missing: Sequence[str], manifest: Mapping[str, Any]) -> tuple[int, str | None]:
    """Return how many files are missing that were there when the backup was taken, and one of them.

    Its list of those that were missing already is in order and may end before all are told: up to there names are
    compared, beyond it numbers.
    """
    known = set(manifest["missing_files"])
    new = sorted(one for one in missing if one not in known)
    count = manifest.get("missing_count")  # which older agents did not write
    if len(known) == count or (count is None and len(known) < MISSING_LISTED):
        lost = len(new)
    else:
        new = [one for one in new if one < max(known)] or new
        named = sum(one < max(known) for one in new)
        lost = max(named, len(missing) - count if count is not None else 0)
    return lost, new[0] if lost else None


def _contents_problem(ctx: Context) -> str | None:
    wrong = ctx.result("wrong_files")
    return f"the content of {len(wrong)} files is not what their names say, such as {wrong[0]}" if wrong else None


def _boot_problem(ctx: Context, args: Arguments) -> str | None:
    spec = spec_from(args["spec"])
    role, database = ctx.names.upgrade_role, args["database"]
    text = dump.test_config(database, role, ctx.passwords.get(role).reveal(), tuple(args["addons_paths"]))
    ctx.ports.workspace.write(ctx.key, args["workspace"], dump.TEST_CONFIG, text)
    ctx.ports.workspace.write(ctx.key, args["workspace"], dump.SERVE, dump.SERVE_SCRIPT)
    ctx.ports.workspace.offer_files(ctx.key, args["workspace"], database)
    ctx.ports.runtime.remove(spec.name)
    with ctx.ports.door.open(_io(ctx, args), database):
        ctx.ports.runtime.create(spec)
        ctx.ports.runtime.start(spec.name)
        try:
            return _wait_for_pages(ctx, spec.name, args)
        except Permanent as error:  # Docker that is away says nothing about the backup
            return f"it does not ({error.message})"
        finally:
            ctx.ports.runtime.stop(spec.name, 5)
            ctx.ports.runtime.remove(spec.name)


def _wait_for_pages(ctx: Context, container: str, args: Arguments) -> str | None:
    argv = dump.answers(args["host"], args["database"])
    deadline = ctx.clock.monotonic() + args["start_seconds"]
    while True:
        said: list[str] = []
        if ctx.ports.runtime.execute(container, argv, ASK_SECONDS, said.append) == 0:
            return None
        if ctx.clock.monotonic() >= deadline or ctx.cancelled():
            return said[-1] if said else f"no answer within {args['start_seconds']} s"
        ctx.clock.sleep(POLL_SECONDS)


# -- shared


def remove_one_off(ctx: Context, args: Arguments) -> str | None:
    """Remove what this operation left running; one of that name may be a later operation's."""
    spec = spec_from(args["spec"])
    found = ctx.ports.runtime.spec(spec.name)
    if found is None or found.labels != spec.labels:
        return None
    ctx.ports.runtime.stop(spec.name, 5)
    ctx.ports.runtime.remove(spec.name)
    return None


def run_one_off(ctx: Context, args: Arguments, role: str, program: str, code: str) -> list[str]:
    """Run a one-off, on one database or on none; returns its lines. Raises Permanent(code) unless it ended with 0."""
    spec = spec_from(args["spec"])
    room, password = args["workspace"], ctx.passwords.get(role).reveal()
    ctx.ports.workspace.write(ctx.key, room, dump.PASSWORDS, dump.pgpass(role, password))
    ctx.ports.runtime.remove(spec.name)
    said: list[str] = []

    def take(line: str) -> None:
        said.append(line)
        ctx.line(line)

    # One that only turns files into others gets no way out at all.
    door = ctx.ports.door.open(_io(ctx, args), args["database"]) if "database" in args else nullcontext()
    with door:
        ctx.ports.runtime.create(spec)
        ended = ctx.ports.runtime.run(spec.name, _starter(ctx, spec), args["timeout_seconds"], take, ctx.cancelled)
    if ended != 0:
        raise Permanent(_why(program, ended, said), code=code)
    return said


def _starter(ctx: Context, spec: ContainerSpec) -> Any:
    return lambda: ctx.ports.runtime.start(spec.name)


def _why(program: str, ended: int, said: list[str]) -> str:
    if any(VERSION_MISMATCH in line for line in said):
        return (
            f"The image's {program} is older than the PostgreSQL server: build the release on a base image with a "
            "PostgreSQL client of the server's version."
        )
    if any("No space left" in line for line in said):
        return f"{program} ran out of room: free some on the droplet."
    last = next((line for line in reversed(said) if line.strip()), "no word")
    return f"{program} ended with code {ended}: {last}"


def _io(ctx: Context, args: Arguments) -> Any:
    return ctx.ports.workspace.folder(ctx.key, args["workspace"]) / "io"


def _repository(ctx: Context) -> Repository:
    return order(ctx.operation).repository


def _require_facts(ctx: Context, database: str) -> DatabaseFacts:
    facts = ctx.ports.database.facts(database)
    if facts is None:
        raise Permanent(f"The database {database} is gone.", code="no_database")
    return facts


def _described(facts: DatabaseFacts) -> dict[str, Any]:
    return {
        "database_uuid": facts.uuid,
        "digest": facts.recorded_digest,
        "module_versions": _versions(facts),
    }


def _versions(facts: DatabaseFacts) -> dict[str, str]:
    return {
        name: module.version
        for name, module in sorted(facts.modules.items())
        if module.state == "installed" and module.version
    }
