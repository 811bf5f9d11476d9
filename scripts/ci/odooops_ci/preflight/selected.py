"""Judge the golden path: every link of addons/oca/selected against its repository, its manifest and allowlist.yaml."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePosixPath

from .. import addons, git, vendored
from ..addons import ALLOWLIST, MANIFEST, OCA_REPOS, OCA_SELECTED
from ..errors import Refused
from . import repository as repositories
from .allowlist import Allowlist, Entry
from .findings import WARNING, Finding
from .repository import Repository
from .sources import normal_url, odoo_modules

NO_ADDONS = frozenset({"README.md", "README.rst", ".gitkeep", ".odooops-ignore"})
INITIALISE = "Run git submodule update --init --recursive."


@dataclass(frozen=True)
class Link:
    """A link that leads to an addon: `module` is that addon's folder, `source` the folder of its repository."""

    name: str
    path: str
    folder: str
    source: str

    @property
    def manifest(self) -> str:
        return f"{self.folder}/{MANIFEST}"


class Selected:
    """The check's state: the repository, the allowlist, and the findings so far."""

    def __init__(self, repository: Repository, allowlist: Allowlist) -> None:
        self.repository = repository
        self.tree = repository.tree
        self.allowlist = allowlist
        self.findings: list[Finding] = []
        self.links: dict[str, Link] = {}
        self.blocked: set[str] = set()

    def check(self) -> list[Finding]:
        names = self._names()
        for name in names:
            if link := self._follow(name):
                self.links[name] = link
        for path in sorted({link.source for link in self.links.values()} | self._submodules()):
            self._check_source(path)
        for link in self.links.values():
            self._check_link(link)
        self._check_orphans(set(names))
        return self.findings

    def _names(self) -> list[str]:
        """Return what lies in addons/oca/selected, whatever it is."""
        prefix = f"{OCA_SELECTED}/"
        inside = {path.removeprefix(prefix).partition("/")[0] for path in self.tree.files if path.startswith(prefix)}
        return sorted(inside - NO_ADDONS)

    def _follow(self, name: str) -> Link | None:
        path = f"{OCA_SELECTED}/{name}"
        if path not in self.tree.links:
            self._add(
                path,
                f"{name} is no symbolic link: an addon was copied here, which no allowlist entry can pin.",
                f"Move it to addons/custom, or take it from its repository: odooops oca add <repository> {name}.",
                "selected-not-link",
            )
            return None
        target = os.readlink(self.tree.root / path)
        if PurePosixPath(target).is_absolute():
            self._add(
                path,
                f"The link {name} leads to an absolute path, {target}, which only one machine has.",
                f"Link relatively: ln -sfn ../repos/<repository>/{name} {path}.",
                "selected-absolute",
            )
            return None
        return self._resolve(name, path, target)

    def _resolve(self, name: str, path: str, target: str) -> Link | None:
        relink = f"Link it anew: ln -sfn ../repos/<repository>/{name} {path}."
        lexical = os.path.normpath(f"{OCA_SELECTED}/{target}")
        if source := self._absent_source(lexical):
            self.blocked.add(name)
            self._absent(source)
            return None
        try:
            folder = self.tree.follow(path)
        except Refused as refused:
            self._add(path, f"{refused.errors[0].partition(': ')[0]}.", relink, "selected-link")
            return None
        if not folder.startswith(f"{OCA_REPOS}/") or not lexical.startswith(f"{OCA_REPOS}/"):
            self._add(path, f"The link {name} leads to {folder}, outside {OCA_REPOS}.", relink, "selected-outside")
            return None
        if f"{folder}/{MANIFEST}" not in self.tree.files:
            self._add(
                path,
                f"The link {name} leads to {folder}, which is no addon: it has no {MANIFEST}.",
                relink,
                "selected-no-addon",
            )
            return None
        return Link(name, path, folder, self._source_of(folder))

    def _source_of(self, folder: str) -> str:
        """Return the submodule that holds a folder, or the folder below addons/oca/repos."""
        holders = [path for path in self.tree.pinned if folder.startswith(f"{path}/")]
        return max(holders, key=len, default="/".join(folder.split("/")[:4]))

    def _absent_source(self, folder: str) -> str | None:
        return next((path for path in self.tree.absent if folder.startswith(f"{path}/")), None)

    def _submodules(self) -> set[str]:
        return {path for path in self.tree.pinned if path.startswith(f"{OCA_REPOS}/") and path.count("/") == 3}

    def _check_source(self, path: str) -> None:
        if path in self.tree.absent:
            self._absent(path)
        elif path in self.tree.pinned:
            self._check_submodule(path)

    def _absent(self, path: str) -> None:
        self._add(
            path,
            f"Submodule {path} is not initialised, so what is selected from it can't be read.",
            INITIALISE,
            "submodule-absent",
        )

    def _check_submodule(self, path: str) -> None:
        if path not in git.submodule_urls(self.tree.root):
            self._add(
                path,
                f"{path} is a submodule that .gitmodules does not name, so nobody else can fetch it.",
                f"Add it with odooops oca add, or git submodule add <address> {path}.",
                "submodule-unnamed",
            )
        have, want = self.tree.submodules[path], self.tree.pinned[path]
        if have != want:
            self._add(
                path,
                f"Submodule {path} is at {have[:12]}, and the repository pins {want[:12]}.",
                f"Run git submodule update {path}, or git add {path} to pin what is checked out.",
                "submodule-moved",
            )
        if changed := git.changed_paths(self.tree.root / path):
            self._add(
                path,
                f"Submodule {path} has changes of its own ({changed[0]}), which no commit pins.",
                f"Put them upstream, or undo them: git -C {path} checkout .",
                "submodule-dirty",
            )
        if not any(link.source == path for link in self.links.values()):
            self._add(
                path,
                f"Nothing is selected from submodule {path}.",
                f"Select a module of it, or remove it: git rm {path}.",
                "submodule-unused",
                level=WARNING,
            )

    def _check_link(self, link: Link) -> None:
        if link.name != PurePosixPath(link.folder).name:
            self._add(
                link.path,
                f"The link {link.name} leads to the addon {PurePosixPath(link.folder).name}, and Odoo "
                "goes by the link's name.",
                "Give the link the addon's own name.",
                "selected-other-name",
            )
        if not self._inner_links_hold(link):
            return
        if manifest := self._manifest(link):
            self._check_manifest(link, manifest)
        entry = self.allowlist.entries.get(link.name)
        if entry is None:
            self._missing_entry(link)
        else:
            self._check_entry(link, entry, manifest)

    def _inner_links_hold(self, link: Link) -> bool:
        """Tell whether every link inside the addon stays inside the repository."""
        before = len(self.findings)
        for path in sorted(self.tree.links):
            if path.startswith(f"{link.folder}/"):
                try:
                    self.tree.follow(path)
                except Refused as refused:
                    what, _, mend = refused.errors[0].partition(": ")
                    self._add(path, f"{what}.", f"{mend[:1].upper()}{mend[1:]}", "selected-inner-link")
        return len(self.findings) == before

    def _missing_entry(self, link: Link) -> None:
        what = (
            f"{ALLOWLIST} is missing" if not self.allowlist.is_there else f"{link.name} does not stand in {ALLOWLIST}"
        )
        self._add(
            link.path if self.allowlist.is_there else ALLOWLIST,
            f"{what}, and {link.path} selects it.",
            f"Audit it, then odooops oca add <repository> {link.name} writes the entry.",
            "allowlist-missing",
        )

    def _manifest(self, link: Link) -> dict[str, object] | None:
        module = self.repository.modules.get(link.name)
        if module is not None and module.folder == link.folder:
            return dict(module.manifest)
        try:
            return addons.read_manifest(addons.Addon(link.name, "oca", self.tree, link.path, link.folder))
        except Refused as refused:
            self.findings.append(repositories.unreadable_manifest(link.manifest, str(refused)))
            return None

    def _check_manifest(self, link: Link, manifest: dict[str, object]) -> None:
        policy, version = self.allowlist.policy, str(manifest.get("version", ""))
        if version.count(".") > 2 and not version.startswith(f"{policy.series}."):
            self._add(
                link.manifest,
                f"{link.name} is version {version}, and this project runs Odoo {policy.series}.",
                f"Take the branch {policy.series} of its repository.",
                "selected-series",
            )
        if not manifest.get("installable", True):
            self._add(
                link.manifest,
                f"{link.name} says installable: False.",
                f"Take a commit in which it is ported to {policy.series}, or remove it: odooops oca remove "
                f"{link.name}.",
                "selected-not-installable",
            )
        licence = manifest.get("license")
        if licence not in policy.licences:
            self._add(
                link.manifest,
                f"{link.name} is under {licence or 'no licence that it names'}, which the policy does not accept.",
                f"Remove it, or add the licence to policy.licences in {ALLOWLIST}.",
                "selected-licence",
            )
        self._check_dependencies(link, manifest)

    def _check_dependencies(self, link: Link, manifest: dict[str, object]) -> None:
        known = odoo_modules(self.allowlist.policy.series) | self.allowlist.policy.provided | self.blocked
        for name in repositories.names_in(manifest, "depends"):
            if name not in known and name not in self.repository.modules:
                self._add(
                    link.manifest,
                    f"{link.name} depends on {name}, which is neither Odoo's nor selected nor a custom addon.",
                    f"Add it too: odooops oca add <repository> {name}; if it comes from "
                    f"elsewhere, name it under policy.provided in {ALLOWLIST}.",
                    "selected-dependency",
                )

    def _check_entry(self, link: Link, entry: Entry, manifest: dict[str, object] | None) -> None:
        licence = (manifest or {}).get("license")
        if manifest is not None and entry.licence and entry.licence != licence:
            self._entry(
                entry,
                f"{entry.name} is entered as {entry.licence}, and its manifest says {licence}.",
                "Write what the manifest says, after looking whether that is right for you.",
            )
        if link.source in self.tree.pinned:
            self._check_pinned(link, entry)
        elif entry.is_vendored:
            self._check_vendored(link, entry)
        else:
            self._add(
                link.path,
                f"{link.name} is from {link.source}, which is no submodule.",
                f"Make it one: git submodule add {entry.repository or '<address>'} {link.source}; where GitHub "
                "can't be reached, odooops oca add --vendored records a wheel.",
                "selected-not-submodule",
            )

    def _check_pinned(self, link: Link, entry: Entry) -> None:
        pinned = self.tree.pinned[link.source]
        if entry.is_vendored:
            self._entry(
                entry,
                f"{entry.name} is entered as unpacked from a wheel, and {link.source} is a submodule.",
                f"Run odooops oca update {entry.name}.",
            )
        elif entry.commit and entry.commit != pinned:
            there = git.has_commit(self.tree.root / link.source, entry.commit)
            is_other = f"is not the commit that is pinned, {pinned[:12]}" if there else "is not in its repository"
            span = f"{entry.commit[:12]} {pinned[:12]}"
            mend = f"Audit what changed (git -C {link.source} diff {span} -- {link.name}), then "
            self._entry(
                entry,
                f"{entry.name}: commit {entry.commit[:12]} {is_other}.",
                (mend if there else "") + f"{'r' if there else 'R'}un odooops oca update {entry.name}.",
            )
        url = git.submodule_urls(self.tree.root).get(link.source, "")
        if url and entry.repository and normal_url(url) != normal_url(entry.repository):
            self._entry(
                entry,
                f"{entry.name}: repository {entry.repository} is not where the submodule comes from, {url}.",
                "Write the submodule's address, or correct .gitmodules.",
            )

    def _check_vendored(self, link: Link, entry: Entry) -> None:
        content = vendored.content_hash(self.tree, link.folder)
        if entry.content_sha256 and content != entry.content_sha256:
            self._add(
                link.folder,
                f"{link.name} is not what was audited: its content is {content[:12]}…, and {ALLOWLIST} "
                f"(line {entry.line}) says {entry.content_sha256[:12]}….",
                f"Undo the change: an addon of the OCA is changed upstream, or by a custom addon that inherits. "
                f"If the new content is meant, audit it and run odooops oca update {link.name}.",
                "vendored-changed",
            )

    def _check_orphans(self, selected: set[str]) -> None:
        for entry in self.allowlist.entries.values():
            if entry.name not in selected:
                self._entry(
                    entry,
                    f"{entry.name} is allowed and not selected.",
                    f"Remove the entry, or link the module: odooops oca add <repository> {entry.name}.",
                    code="allowlist-orphan",
                )

    def _entry(self, entry: Entry, message: str, mend: str, code: str = "allowlist-entry") -> None:
        self.findings.append(Finding(ALLOWLIST, message, mend, code, entry.line))

    def _add(self, path: str, message: str, mend: str, code: str, level: str = "error") -> None:
        self.findings.append(Finding(path, message, mend, code, level=level))
