"""What a change does, as facts that rules can speak about: files by role, models and fields by parsing, size."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ..addons import ALLOWLIST, MANIFEST, OCA_REPOS, OCA_SELECTED
from . import models_ast
from .changes import ADDED, DELETED, Change, Changes
from .findings import Finding
from .models_ast import Field, Model, Source
from .repository import Module, Repository

IRRELEVANT = ("/tests/", "/migrations/", "/upgrades/", "/static/")
XML_MODELS = re.compile(r"""model=["']([a-z0-9_.]+)["']|name=["'](?:model|res_model)["']\s*>\s*([a-z0-9_.]+)\s*<""")
XML_REFERENCES = re.compile(r"""(?:\bid|inherit_id"\s+ref|\bref)=["']([a-z0-9_]+)\.[A-Za-z0-9_.]+["']""")
ACCESS_MODELS = re.compile(r"\bmodel_([a-z0-9_]+)")


@dataclass(frozen=True)
class Fact:
    """One thing that a change does.

    :ivar kind: what risk_rules.yaml calls it.
    :ivar text: the same for people, in a few words.
    :ivar models: of Odoo's models, those that it is about.
    :ivar module: the addon it is in.
    :ivar number: for sizes.
    """

    kind: str
    file: str
    text: str
    line: int | None = None
    module: str = ""
    origin: str = ""
    status: str = ""
    models: frozenset[str] = frozenset()
    modules: frozenset[str] = frozenset()
    stored: bool = False
    number: int = 0


def gather(repository: Repository, changes: Changes) -> list[Fact]:
    """Return every fact of a change."""
    found = [_file(repository, change) for change in changes.items if not change.submodule]
    for module in repository.changed_modules(changes):
        found += of_models(module, changes)
        found += _of_code(module, changes)
        found += _of_manifest(module, changes)
    found += _of_migrations(repository, changes)
    found += _removed_modules(repository, changes)
    found += _of_oca(changes)
    found.append(Fact("size", ".", f"{changes.line_count} changed lines", number=changes.line_count))
    return found


def _file(repository: Repository, change: Change) -> Fact:
    owner = repository.owner(change.path)
    both = f"{change.before or ''}\n{change.after or ''}"
    models: set[str] = set()
    modules: set[str] = set()
    if change.path.endswith(".xml"):
        models |= {one or other for one, other in XML_MODELS.findall(both)} - {"ir.ui.view"}
        modules |= set(XML_REFERENCES.findall(both))
    elif change.path.endswith(".csv"):
        models |= {name.replace("_", ".") for name in ACCESS_MODELS.findall(both)}
    return Fact(
        "file",
        change.path,
        f"{change.status} file",
        module=owner.name if owner else "",
        origin=owner.origin if owner else "",
        status=change.status,
        models=frozenset(models),
        modules=frozenset(modules | ({owner.name} if owner else set())),
    )


def of_models(module: Module, changes: Changes) -> list[Fact]:
    """Compare an addon's models as its changed files had them with how they have them now.

    All changed files together: a field that moved from one file to another has not changed.
    """
    before: dict[str, tuple[Model, str]] = {}
    after: dict[str, tuple[Model, str]] = {}
    for change in _python(module, changes):
        for text, found in ((change.before, before), (change.after, after)):
            for name, model in _parsed(text).models.items():
                if name in found:
                    found[name][0].merge(model)
                else:
                    found[name] = (model, change.path)
    facts: list[Fact] = []
    for name in sorted(before.keys() | after.keys()):
        facts += _compare(name, before.get(name), after.get(name))
    return [replace(fact, module=module.name, origin=module.origin, modules=frozenset({module.name})) for fact in facts]


def _compare(name: str, before: tuple[Model, str] | None, after: tuple[Model, str] | None) -> Iterator[Fact]:
    def fact(kind: str, text: str, line: int, stored: bool = False) -> Fact:
        file = (after or before or (None, ""))[1]
        return Fact(kind, file, text, line if after else None, models=frozenset({name}), stored=stored)

    old, new = before[0] if before else Model(0), after[0] if after else Model(0)
    if new.defines and not old.defines:
        yield fact("model_added", f"model {name} is new", new.line)
    if old.defines and not new.defines:
        yield fact("model_removed", f"model {name} is gone", old.line)
    if before and after:
        for key in sorted(old.attributes.keys() | new.attributes.keys()):
            if old.attributes.get(key) != new.attributes.get(key):
                yield fact("model_changed", f"{key} of {name} changes", new.line)
    yield from _compare_fields(name, old, new, fact)
    if new.defines and not old.defines:  # no data is there yet that a constraint could refuse
        return
    for key, now, kind in _differing(old.constraints, new.constraints, "constraint"):
        yield fact(kind, f"constraint {key} of {name} is {kind.partition('_')[2]}", now)
    for key, now, kind in _differing(old.python_constraints, new.python_constraints, "python_constraint"):
        yield fact("python_constraint", f"check {key} of {name} is {kind.rpartition('_')[2]}", now)


def _differing(
    old: Mapping[str, tuple[str, int]], new: Mapping[str, tuple[str, int]], kind: str
) -> Iterator[tuple[str, int, str]]:
    """Yield (name, line, kind of fact) of what is not as it was."""
    for key in sorted(old.keys() | new.keys()):
        was, now = old.get(key), new.get(key)
        if (was and was[0]) != (now and now[0]):
            end = "added" if not was else "removed" if not now else "changed"
            yield key, (now or was or ("", 1))[1], f"{kind}_{end}"


def _compare_fields(name: str, old: Model, new: Model, fact: Callable[..., Fact]) -> Iterator[Fact]:
    is_new = new.defines and not old.defines
    for key in sorted(old.fields.keys() | new.fields.keys()):
        was, now = old.fields.get(key), new.fields.get(key)
        label = f"{name}.{key}"
        if was is None and now is not None:
            yield fact("field_added", f"field {label} is new", now.line, now.is_stored)
            if not is_new and now.is_required and now.is_stored and not now.has_default:
                yield fact("field_required", f"field {label} is new and required", now.line, stored=True)
            if not is_new and now.is_stored_computed:
                yield fact("field_recomputed", f"field {label} is computed for every record", now.line, stored=True)
        elif now is None and was is not None:
            yield fact("field_removed", f"field {label} is gone", new.line or was.line, was.is_stored)
        elif was is not None and now is not None:
            yield from _compare_field(label, was, now, fact)


def _compare_field(label: str, was: Field, now: Field, fact: Callable[..., Fact]) -> Iterator[Fact]:
    stored = was.is_stored or now.is_stored
    if was.kind != now.kind or was.argument("comodel_name") != now.argument("comodel_name"):
        yield fact("field_retyped", f"field {label} was {was.kind} and is {now.kind}", now.line, stored)
    if was.is_stored != now.is_stored:
        yield fact(
            "field_store_changed", f"field {label} is {'' if now.is_stored else 'no longer '}stored", now.line, True
        )
    elif now.is_stored_computed and was.argument("compute") != now.argument("compute"):
        yield fact("field_recomputed", f"field {label} is computed by {now.argument('compute')}", now.line, True)
    if now.is_required and not was.is_required:
        yield fact("field_required", f"field {label} becomes required", now.line, stored)
    ignored = {"comodel_name", "required", "store", "compute"}
    other = {key for key, _ in set(was.schema) ^ set(now.schema)} - ignored
    if other:
        yield fact("field_changed", f"field {label} changes {', '.join(sorted(other))}", now.line, stored)


def _of_code(module: Module, changes: Changes) -> list[Fact]:
    facts: list[Fact] = []
    for change in _python(module, changes):
        before, after = _parsed(change.before), _parsed(change.after)

        def fact(kind: str, text: str, line: int, models: Iterable[str] = (), path: str = change.path) -> Fact:
            return Fact(
                kind,
                path,
                text,
                line,
                module.name,
                module.origin,
                models=frozenset(models),
                modules=frozenset({module.name}),
            )

        facts += [fact("raw_sql", _short(sql), line) for sql, line in after.sql.items() if sql not in before.sql]
        facts += [
            fact("open_route", _short(route), line)
            for route, line in after.open_routes.items()
            if route not in before.open_routes
        ]
        if len(after.sudo) > len(before.sudo):
            facts.append(fact("sudo", f"{len(after.sudo) - len(before.sudo)} more sudo()", after.sudo[-1]))
        facts += [
            fact("model_used", f"uses {name}", line, [name])
            for name, line in after.used_models.items()
            if name not in before.used_models
        ]
    return facts


def _of_manifest(module: Module, changes: Changes) -> Iterator[Fact]:
    change = next((one for one in changes.items if one.path == module.manifest_file), None)
    if module.place in changes.paths and not change:
        return
    if change is None:
        return
    if change.before is None:
        yield Fact(
            "module_added",
            change.path,
            f"addon {module.name} is new",
            1,
            module.name,
            module.origin,
            modules=frozenset({module.name, *module.depends}),
        )
        return
    for key in ("pre_init_hook", "post_init_hook", "uninstall_hook"):
        if module.manifest.get(key) and str(module.manifest[key]) not in change.before:
            yield Fact("hook_added", change.path, f"{key} of {module.name} is new", 1, module.name, module.origin)
    more = {name for name in module.depends if f'"{name}"' not in change.before and f"'{name}'" not in change.before}
    if more:
        yield Fact(
            "depends_added",
            change.path,
            f"{module.name} depends on {', '.join(sorted(more))} now",
            1,
            module.name,
            module.origin,
            modules=frozenset(more),
        )


def _of_migrations(repository: Repository, changes: Changes) -> Iterator[Fact]:
    for change in changes.items:
        if change.status == DELETED or not change.path.endswith(".py"):
            continue
        if "/migrations/" in change.path or "/upgrades/" in change.path:
            owner = repository.owner(change.path)
            source = _parsed(change.after)
            yield Fact(
                "migration",
                change.path,
                "migration script",
                1,
                owner.name if owner else "",
                owner.origin if owner else "",
                change.status,
                frozenset(source.used_models),
                frozenset({owner.name} if owner else ()),
            )
            for sql, line in source.sql.items():
                yield Fact(
                    "raw_sql",
                    change.path,
                    _short(sql),
                    line,
                    owner.name if owner else "",
                    owner.origin if owner else "",
                    modules=frozenset({owner.name} if owner else ()),
                )


def _removed_modules(repository: Repository, changes: Changes) -> Iterator[Fact]:
    for change in changes.items:
        folder, _, name = change.path.rpartition("/")
        if name == MANIFEST and change.status == DELETED and folder.rpartition("/")[2] not in repository.modules:
            yield Fact("module_removed", change.path, f"addon {folder.rpartition('/')[2]} is gone")


def _of_oca(changes: Changes) -> Iterator[Fact]:
    for change in changes.items:
        if change.submodule and change.path.startswith(f"{OCA_REPOS}/"):
            before, after = change.submodule
            if before != after:
                what = {ADDED: "is new", DELETED: "is gone"}.get(change.status, f"moves {before[:7]} to {after[:7]}")
                yield Fact(
                    "oca_moved", change.path, f"submodule {change.path.rpartition('/')[2]} {what}", status=change.status
                )
        elif change.path.startswith(f"{OCA_SELECTED}/") and change.path.count("/") == 3:
            kind = {ADDED: "oca_added", DELETED: "oca_removed"}.get(change.status, "oca_moved")
            verb = {"oca_added": "selected", "oca_removed": "no longer selected"}.get(kind, "linked elsewhere")
            yield Fact(kind, change.path, f"OCA module {change.name} is {verb}", modules=frozenset({change.name}))
        elif change.path == ALLOWLIST:
            yield Fact("allowlist_changed", change.path, "the allowlist changes")


def unparsed(changes: Changes) -> list[Finding]:
    """Return a finding for each changed Python file that is none: its risk can't be told."""
    found = []
    for change in changes.items:
        if change.path.endswith(".py") and change.after is not None and "/static/" not in change.path:
            try:
                models_ast.parse(change.after)
            except SyntaxError as error:
                found.append(unparsable(change.path, error))
    return found


def unparsable(path: str, error: Exception) -> Finding:
    line = error.lineno if isinstance(error, SyntaxError) else None
    what = error.msg if isinstance(error, SyntaxError) and error.msg else str(error)
    return Finding(
        path,
        f"This does not parse as Python: {what}.",
        "Correct it: Odoo can't load it either.",
        "python-syntax",
        line or 1,
    )


def _python(module: Module, changes: Changes) -> list[Change]:
    return [
        change
        for change in changes.below(module.folder)
        if change.path.endswith(".py")
        and change.name != MANIFEST
        and not any(part in change.path.removeprefix(module.folder) for part in IRRELEVANT)
    ]


def _parsed(text: str | None) -> Source:
    if text is None:
        return Source()
    try:
        return models_ast.parse(text)
    except SyntaxError:
        return Source()


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 90 else f"{text[:89]}…"
