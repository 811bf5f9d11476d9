"""Take OCA's modules in, bring them up to date, take them out: submodule, links and entries as one, or not at all."""

from __future__ import annotations

import datetime
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .. import addons, git, vendored
from ..addons import ALLOWLIST, MANIFEST, OCA_REPOS, OCA_SELECTED
from ..errors import InvalidInput, Refused
from ..patterns import MODULE
from ..preflight import allowlist as allowlists
from ..preflight import repository as repositories
from ..preflight.allowlist import Allowlist, Entry
from ..preflight.repository import Repository
from ..preflight.sources import normal_url, odoo_modules
from ..tree import Tree
from . import review, wheels
from .entries import Entries
from .submodules import Submodules, configured

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
EMAIL = re.compile(r"[^\s@]+@[^\s@]+")


@dataclass
class Outcome:
    """What was done, for the person: `modules` with their review sheets."""

    done: list[str] = field(default_factory=list)
    sheets: list[review.Sheet] = field(default_factory=list)


class GoldenPath:
    """One checkout's OCA modules.

    :param auditor: who answers for the entries that are written.
    """

    def __init__(self, root: Path, auditor: str = "", today: datetime.date | None = None) -> None:
        self.root = root
        self.today = today or datetime.datetime.now(datetime.UTC).date()
        self._auditor = auditor
        self._submodules = Submodules(root)

    # -- reading

    def repository(self) -> Repository:
        return repositories.read(self.root)

    def allowlist(self) -> Allowlist:
        """Return the allowlist.

        :raise Refused: it is not as it must be; what is wrong is mended before something is added.
        """
        found = allowlists.read(self.root, self.today)
        wrong = [finding for finding in found.findings if finding.code in ("allowlist-yaml", "allowlist-form")]
        if wrong:
            raise Refused([str(finding) for finding in wrong])
        return found

    def auditor(self) -> str:
        """Return who answers for what is written.

        :raise InvalidInput: nobody was named, and git knows no address.
        """
        name = self._auditor or configured(self.root, "user.email")
        if not EMAIL.fullmatch(name):
            raise InvalidInput("Nobody is named who audited this: give --by ada@example.com, or set git's user.email.")
        return name

    # -- doing

    def add(self, where: str, module: str, tier: str = "", branch: str = "") -> Outcome:
        """Select a module and what it depends on from a repository that is, or becomes, a submodule."""
        _require_module(module)
        auditor, policy = self.auditor(), self.allowlist().policy
        url, path = self._place(where)
        with self._undone_on_failure(path) as outcome:
            if path not in self.repository().tree.pinned:
                self._submodules.add(url, path, branch or policy.series)
                outcome.done.append(f"Submodule {path} at {git.head_commit(self.root / path)[:12]} ({url}).")
            elif path in self.repository().tree.absent:
                raise Refused(f"Submodule {path} is not initialised: run git submodule update --init {path}.")
            for name in self._with_dependencies(path, module):
                self._link(path, name, outcome)
                self._write_entry(path, name, auditor, tier if name == module else "", outcome)
            self._submodules.stage([path, ".gitmodules"])
        return outcome

    def add_vendored(self, where: str, module: str, version: str, tier: str = "") -> Outcome:
        """Select a module from its wheel: unpacked into addons/oca/repos, and held to its content's hash."""
        _require_module(module)
        auditor = self.auditor()
        self.allowlist()
        url, path = self._place(where)
        if path in self.repository().tree.pinned:
            raise Refused(f"{path} is a submodule already: odooops oca add {where} {module} takes the module from it.")
        folder = self.root / path / module
        with self._undone_on_failure("") as outcome, wheels.fetch(module, version) as wheel:
            before = folder.with_name(f".{module}.before")
            if folder.exists():
                folder.rename(before)
            try:
                wheels.unpack(wheel.path, module, folder)
                self._refuse_missing(path, module)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                if before.exists():
                    before.rename(folder)
                raise
            shutil.rmtree(before, ignore_errors=True)
            outcome.done.append(f"{path}/{module} unpacked from {wheel.requirement}.")
            self._link(path, module, outcome)
            sheet = review.inspect(folder, self._manifest(path, module))
            values = {
                "repository": url, "commit": None, "wheel": wheel.requirement, "wheel_sha256": wheel.sha256,
                "content_sha256": vendored.folder_hash(folder),
            }  # fmt: skip
            self._put(module, self._manifest(path, module), auditor, tier or sheet.suggested_tier, values)
            outcome.sheets.append(sheet)
            self._submodules.stage([path])
        return outcome

    def remove(self, module: str) -> Outcome:
        """Take a module out, and its repository with its last module."""
        _require_module(module)
        checkout, outcome = self.repository(), Outcome()
        link = self.root / OCA_SELECTED / module
        if not link.is_symlink() and module not in self.allowlist().entries:
            raise Refused(f"{module} is not selected: odooops oca list shows what is.")
        needed_by = sorted(one.name for one in checkout.modules.values() if module in one.depends)
        if needed_by:
            raise Refused(f"{module} can't go, {', '.join(needed_by)} depends on it: remove that first.")
        source = self._source_of(checkout, module)
        link.unlink(missing_ok=True)
        entries = Entries(self.root)
        entries.remove(module)
        entries.save()
        outcome.done.append(
            f"{module} is no longer selected; uninstall it where it is installed before this is deployed."
        )
        self._submodules.stage([OCA_SELECTED, ALLOWLIST])
        if source:
            self._remove_source(checkout, module, source, outcome)
        return outcome

    def update(self, what: str, to: str = "") -> Outcome:
        """Bring a repository's modules to its newest commit, or to `to`; a wheel's to that version.

        A submodule that somebody moved by hand is not moved again: the entries follow it.
        """
        if to.startswith("-"):
            raise InvalidInput(f"{to!r} is no commit, branch or version.")
        auditor, checkout = self.auditor(), self.repository()
        entry = self.allowlist().entries.get(what)
        if entry and entry.is_vendored:
            if not to:
                raise InvalidInput(f"{what} came from a wheel: say to which version, --to 19.0.1.2.3.")
            return self.add_vendored(entry.repository, what, to, entry.tier)
        path = self._source_of(checkout, what) or f"{OCA_REPOS}/{what}"
        if path not in checkout.tree.pinned:
            raise Refused(f"{what} is neither selected nor a submodule of {OCA_REPOS}: odooops oca list shows them.")
        entries = {
            name: one for name, one in self.allowlist().entries.items() if self._source_of(checkout, name) == path
        }
        before = checkout.tree.pinned[path]
        outcome = Outcome()
        if to or all(one.commit == git.head_commit(self.root / path) for one in entries.values()):
            self._submodules.move(path, to, self.allowlist().policy.series)
        now = git.head_commit(self.root / path)
        outcome.done.append(
            f"Submodule {path} is at {now[:12]}" + (f", before at {before[:12]}." if now != before else ".")
        )
        for name, one in sorted(entries.items()):
            for needed in self._with_dependencies(path, name):
                if needed not in entries:
                    self._link(path, needed, outcome)
                self._write_entry(path, needed, auditor, one.tier if needed == name else "", outcome)
            outcome.done += self._changes_since(path, one)
        self._submodules.stage([path])
        return outcome

    def audit(self, module: str, *, record: bool) -> Outcome:
        """Return what to look at in a module; with `record` say that somebody did, today."""
        entry = self.allowlist().entries.get(module)
        path = self._source_of(self.repository(), module)
        if entry is None or path is None:
            raise Refused(f"{module} is not selected: odooops oca list shows what is.")
        outcome = Outcome(self._changes_since(path, entry))
        outcome.sheets.append(review.inspect(self.root / path / module, self._manifest(path, module)))
        if record:
            self._write_entry(path, module, self.auditor(), entry.tier, Outcome())
            outcome.done.append(f"{module}: audited by {self.auditor()} on {self.today}.")
            self._submodules.stage([])
        return outcome

    # -- the steps

    def _place(self, where: str) -> tuple[str, str]:
        """Return a repository's address and its folder; `where` is "web", "OCA/web" or an address."""
        if NAME.fullmatch(where):
            url = f"https://github.com/OCA/{where}"
        elif re.fullmatch(rf"{NAME.pattern}/{NAME.pattern}", where):
            url = f"https://github.com/{where}"
        else:
            url = where
        name = normal_url(url).rstrip("/").rpartition("/")[2]
        if not NAME.fullmatch(name) or url.startswith("-"):
            raise InvalidInput(f"{where!r} names no repository, such as server-tools or https://github.com/OCA/web.")
        path = f"{OCA_REPOS}/{name}"
        known = git.submodule_urls(self.root).get(path)
        if known and normal_url(known) != normal_url(url) and where != name:
            raise Refused(f"{path} comes from {known}, not from {url}: remove the one before you add the other.")
        return known or url, path

    def _with_dependencies(self, path: str, module: str) -> list[str]:
        """Return the module after those of its repository that it needs and nobody selected yet.

        :raise Refused: one of them is to be found nowhere.
        """
        policy = self.allowlist().policy
        known = odoo_modules(policy.series) | policy.provided
        selected = set(self.repository().modules)
        found: dict[str, None] = {}
        missing: list[str] = []

        def visit(name: str, above: tuple[str, ...]) -> None:
            for needed in repositories.names_in(self._manifest(path, name), "depends"):
                if needed in known or needed in selected or needed in found or needed in above:
                    continue
                if (self.root / path / needed / MANIFEST).is_file():
                    visit(needed, (*above, name))
                else:
                    missing.append(f"{name} depends on {needed}, which is not in {path}: find its repository and run "
                                   f"odooops oca add <repository> {needed} first.")  # fmt: skip
            found[name] = None

        visit(module, ())
        if missing:
            raise Refused(missing)
        return list(found)

    def _refuse_missing(self, path: str, module: str) -> None:
        """Refuse a module whose dependencies nobody brings."""
        self._with_dependencies(path, module)

    def _manifest(self, path: str, module: str) -> dict[str, object]:
        folder = self.root / path / module
        if not (folder / MANIFEST).is_file():
            near = sorted(one.parent.name for one in (self.root / path).glob(f"*/{MANIFEST}"))
            raise Refused(f"{path} has no module {module}; it has {', '.join(near[:12]) or 'none at all'}.")
        tree = Tree(self.root / path, frozenset())
        return addons.read_manifest(addons.Addon(module, "oca", tree, module, module))

    def _link(self, path: str, module: str, outcome: Outcome) -> None:
        link = self.root / OCA_SELECTED / module
        target = f"../repos/{path.removeprefix(f'{OCA_REPOS}/')}/{module}"
        if link.is_symlink() and os.readlink(link) == target:
            return
        if os.path.lexists(link):
            raise Refused(f"{OCA_SELECTED}/{module} is there and leads elsewhere: remove it first.")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
        outcome.done.append(f"{OCA_SELECTED}/{module} → {target}.")

    def _write_entry(self, path: str, module: str, auditor: str, tier: str, outcome: Outcome) -> None:
        sheet = review.inspect(self.root / path / module, self._manifest(path, module))
        entry = self.allowlist().entries.get(module)
        values: dict[str, object] = {"repository": git.submodule_urls(self.root).get(path, "")}
        if entry and entry.is_vendored and path not in self.repository().tree.pinned:
            values = {}
        else:
            values |= {"commit": git.head_commit(self.root / path)}
            values |= dict.fromkeys(("wheel", "wheel_sha256", "content_sha256"))
        kept = tier or (entry.tier if entry else "") or sheet.suggested_tier
        self._put(module, self._manifest(path, module), auditor, kept, values)
        outcome.sheets.append(sheet)

    def _put(
        self, module: str, manifest: dict[str, object], auditor: str, tier: str, values: Mapping[str, object]
    ) -> None:
        """Write the entry; what the policy would refuse is refused here already."""
        policy, licence = self.allowlist().policy, manifest.get("license")
        version = str(manifest.get("version", ""))
        if not manifest.get("installable", True):
            raise Refused(f"{module} says installable: False: it is not ported to {policy.series} yet.")
        if version.count(".") > 2 and not version.startswith(f"{policy.series}."):
            raise Refused(f"{module} is version {version}: take the branch {policy.series} (--branch).")
        if licence not in policy.licences:
            raise Refused(f"{module} is under {licence}, which policy.licences in {ALLOWLIST} does not accept.")
        entries = Entries(self.root)
        entries.put(module, **values, licence=licence, tier=tier, audited_by=auditor, audited_on=str(self.today))
        entries.save()

    def _changes_since(self, path: str, entry: Entry) -> list[str]:
        """Return what changed in a module since the commit that was audited."""
        now = git.head_commit(self.root / path) if git.is_checkout(self.root / path) else ""
        if not entry.commit or not now or entry.commit == now or not git.has_commit(self.root / path, entry.commit):
            return []
        stat = git.run(self.root / path, "diff", "--shortstat", entry.commit, now, "--", entry.name).strip()
        show = f"git -C {path} diff {entry.commit[:12]} {now[:12]} -- {entry.name}"
        return [f"{entry.name}: {stat or 'nothing changed'}; {show}"]

    def _source_of(self, checkout: Repository, module: str) -> str | None:
        """Return the folder in addons/oca/repos that a selected module is from."""
        link = self.root / OCA_SELECTED / module
        if not link.is_symlink():
            return None
        target = os.path.normpath(f"{OCA_SELECTED}/{os.readlink(link)}")
        return target.rpartition("/")[0] if target.startswith(f"{OCA_REPOS}/") else None

    def _remove_source(self, checkout: Repository, module: str, source: str, outcome: Outcome) -> None:
        if source not in checkout.tree.pinned:
            shutil.rmtree(self.root / source / module, ignore_errors=True)
            self._submodules.stage([source])
            outcome.done.append(f"{source}/{module} is removed.")
            return
        others = [
            path for path in (self.root / OCA_SELECTED).iterdir() if self._source_of(checkout, path.name) == source
        ]
        if not others:
            self._submodules.drop(source)
            outcome.done.append(f"Submodule {source} is removed: nothing else was selected from it.")

    @contextmanager
    def _undone_on_failure(self, submodule: str) -> Iterator[Outcome]:
        """Put links, allowlist and submodule back when a step in between fails."""
        known = submodule in self.repository().tree.pinned
        allowlist = self.root / ALLOWLIST
        text = allowlist.read_bytes() if allowlist.is_file() else None
        links = set(self._links())
        try:
            yield Outcome()
        except BaseException:
            for link in set(self._links()) - links:
                link.unlink()
            if text is None:
                allowlist.unlink(missing_ok=True)
            else:
                allowlist.write_bytes(text)
            if submodule and not known:
                self._submodules.forget(submodule)
            raise

    def _links(self) -> list[Path]:
        folder = self.root / OCA_SELECTED
        return [path for path in folder.iterdir() if path.is_symlink()] if folder.is_dir() else []


def _require_module(name: str) -> None:
    if not MODULE.fullmatch(name):
        raise InvalidInput(f"{name!r} is no name of a module: letters, digits and underscores only.")
