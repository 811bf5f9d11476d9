"""`preflight tests`: install and test the changed addons and all that depend on them, on a real PostgreSQL.

One template database has what they need of Odoo's own modules and is kept; each part of the addons gets a copy
of it, the parts run side by side. A run fails on a failed test, on an ERROR in the log, on a module that is not
wholly installed, and on an exit code.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import Refused
from . import covered, odoo_log, odoo_process
from .changes import Changes
from .databases import Databases
from .findings import WARNING, Finding, Report, ordered
from .odoo_process import Odoo
from .repository import Module, Repository

INSTALL_SECONDS = 1800
TEST_SECONDS = 3600
WHOLE = frozenset({"installed", "uninstalled", "uninstallable"})


@dataclass(frozen=True)
class Options:
    """How the tests are run."""

    odoo: str = "odoo"
    python: str = ""
    odoo_addons: tuple[str, ...] = ()
    image: str = ""
    network: str = ""
    jobs: int = 0
    with_demo: bool = False
    minimum_coverage: float = 0
    everything: bool = False

    @classmethod
    def of(cls, given: argparse.Namespace) -> Options:
        return cls(
            given.odoo,
            given.odoo_python,
            tuple(given.odoo_addons),
            given.image,
            given.network,
            given.jobs,
            given.with_demo,
            given.minimum_coverage,
            given.everything,
        )


@dataclass(frozen=True)
class Part:
    """Addons that are tested in one database, and what came of it."""

    modules: tuple[Module, ...]
    findings: tuple[Finding, ...] = ()
    ran: dict[str, int] = field(default_factory=dict)
    total: int = 0


class Run:
    """One run of the tests, with a folder of its own that is gone afterwards."""

    def __init__(self, repository: Repository, options: Options, work: Path) -> None:
        self._repository = repository
        self._options = options
        self._work = work
        self._databases = Databases()
        self._libraries, self._data = work / "lib", work / "coverage"
        for folder in (self._libraries, self._data, work / "data"):
            folder.mkdir()
        covered.provide(self._libraries)
        self._odoo = self._find_odoo()

    def _find_odoo(self) -> Odoo:
        if not self._options.image:
            login = self._databases.login
            return odoo_process.on_this_machine(self._options.odoo, self._options.python, self._libraries, login)
        mounts = {self._repository.root: "ro", self._work: "rw"}
        # A folder that is not here is one of the image's.
        mounts |= {Path(one): "ro" for one in self._options.odoo_addons if Path(one).is_dir()}
        return odoo_process.in_image(
            self._options.image, self._options.network, mounts, self._libraries, self._databases.login
        )

    def test(self, modules: Sequence[Module]) -> tuple[list[Part], str]:
        """Test addons; return the parts, and a word about the template."""
        needed = self._own_modules(modules)
        template, was_there = self._databases.template(
            (self._odoo.identity, str(self._options.with_demo), *needed), lambda name: self._install(name, needed)
        )
        parts = shares(modules, self._options.jobs or os.cpu_count() or 1)
        with concurrent.futures.ThreadPoolExecutor(max_workers=len(parts)) as pool:
            done = list(pool.map(lambda numbered: self._test_part(template, *numbered), enumerate(parts)))
        return done, f"template {'kept' if was_there else 'made'}, {len(needed)} of Odoo's modules asked for"

    def coverage(self, changes: Changes, modules: Sequence[Module]) -> covered.Coverage:
        tested = tuple(f"{module.folder}/" for module in modules)
        lines = {
            file: numbers
            for file, numbers in changes.lines.items()
            if file.endswith(".py")
            and file.startswith(tested)
            and "/tests/" not in file
            and "/migrations/" not in file
            and not file.endswith("__manifest__.py")
        }
        return covered.read(self._data, self._repository.root, lines)

    def _own_modules(self, modules: Sequence[Module]) -> tuple[str, ...]:
        """Return what the addons, and those of the repository that they need, take from Odoo itself."""
        found, waiting, needed = set(), [module.name for module in modules], {"base"}
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            found.add(name)
            module = self._repository.modules.get(name)
            if module is None:
                needed.add(name)
            else:
                waiting += module.depends
        return tuple(sorted(needed))

    def _install(self, database: str, names: Sequence[str]) -> None:
        """Fill a template; a module that Odoo does not know shows later, in the addon that depends on it.

        :raise Refused: Odoo can't install its own modules.
        """
        arguments = [*self._arguments(database, "template"), f"--init={','.join(names)}"]
        code, log = odoo_process.run(self._odoo, arguments, (), INSTALL_SECONDS)
        if code:
            errors = odoo_log.read(log, self._repository.root).findings
            why = errors[0].message if errors else (log.strip().splitlines() or ["it said nothing"])[-1]
            raise Refused(f"Odoo can't install its own modules ({', '.join(names)}) into the template: {why}")

    def _test_part(self, template: str, number: int, modules: tuple[Module, ...]) -> Part:
        names = [module.name for module in modules]
        with self._databases.copy(template) as database:
            arguments = [
                *self._arguments(database, f"part{number}"),
                f"--init={','.join(names)}",
                f"--test-tags={','.join(f'/{name}' for name in names)}",
            ]
            coverage = ("-m", "coverage", "run", f"--rcfile={self._coverage_settings()}")
            code, log = odoo_process.run(self._odoo, arguments, coverage, TEST_SECONDS)
            outcome = odoo_log.read(log, self._repository.root, self._repository.modules)
            findings = [*outcome.findings, *self._half_installed(database, modules)]
        if code and not findings:
            last = (log.strip().splitlines() or ["it said nothing"])[-1][:300]
            findings.append(
                Finding(".", f"Odoo ended with code {code}: {last}.", "Run it by hand to see why.", "odoo-exit")
            )
        findings += _untested(modules, outcome.ran)
        return Part(modules, tuple(findings), outcome.ran, outcome.total)

    def _half_installed(self, database: str, modules: Sequence[Module]) -> Iterator[Finding]:
        states = self._databases.states(database)
        for module in modules:
            if states.get(module.name) != "installed":
                yield Finding(
                    module.manifest_file,
                    f"{module.name} is {states.get(module.name, 'unknown to Odoo')} after its installation.",
                    "See the errors before it; a dependency may be missing.",
                    "not-installed",
                )
        asked = {module.name for module in modules}
        for name, state in sorted(states.items()):
            if state not in WHOLE and name not in asked:
                yield Finding(
                    ".",
                    f"The module {name} is left in the state {state!r}.",
                    "See the errors before it: its installation or update stopped half-way.",
                    "half-installed",
                )

    def _arguments(self, database: str, name: str) -> list[str]:
        conf = self._work / f"{name}.conf"
        data = self._work / "data" / name
        data.mkdir(exist_ok=True)
        conf.write_text(odoo_process.configuration(self._addons_path(), data))
        demo = ["--with-demo"] if self._options.with_demo else []
        return [
            f"--config={conf}",
            f"--database={database}",
            "--stop-after-init",
            *demo,
            f"--http-port={odoo_process.free_port()}",
        ]

    def _addons_path(self) -> list[str]:
        """Return every folder with addons of the repository; Odoo finds its own by itself."""
        folders = {
            str(self._repository.root / module.place.rpartition("/")[0]) for module in self._repository.modules.values()
        }
        return [*sorted(folders), *self._options.odoo_addons]

    def _coverage_settings(self) -> Path:
        path = self._work / "coverage.rc"
        folders = [
            str((self._repository.root / module.folder).resolve()) for module in self._repository.modules.values()
        ]
        path.write_text(covered.settings(self._data, folders))
        return path


def check(repository: Repository, changes: Changes, options: Options) -> Report:
    changed = (
        list(repository.modules) if options.everything else [one.name for one in repository.changed_modules(changes)]
    )
    names = repository.dependents(changed)
    modules = [repository.modules[name] for name in sorted(names) if repository.modules[name].installable]
    if not modules:
        return Report("tests", idle="No addon changed, so there is nothing to test", facts={"addons": []})
    with tempfile.TemporaryDirectory(prefix="odooops-preflight-") as folder:
        work = Path(folder).resolve()
        run = Run(repository, options, work)
        parts, word = run.test(modules)
        coverage = run.coverage(changes, modules)
    findings = [finding for part in parts for finding in part.findings]
    findings += [*coverage.findings(), *_too_little(coverage, options)]
    count = sum(part.total for part in parts)
    shown = (
        f", {coverage.percent:.0f} % of {coverage.total} changed statements run" if coverage.percent is not None else ""
    )
    return Report(
        "tests",
        ordered(findings),
        checked=f"{len(modules)} addons, {count} tests in {len(parts)} databases{shown} ({word})",
        facts={
            "addons": [module.name for module in modules],
            "changed": sorted(changed),
            "tests": count,
            "coverage_percent": None if coverage.percent is None else round(coverage.percent, 1),
            "coverage_statements": coverage.total,
        },
    )


def shares(modules: Sequence[Module], jobs: int) -> list[tuple[Module, ...]]:
    """Share addons out to as many databases as there are jobs, none empty."""
    count = max(1, min(jobs, len(modules)))
    return [tuple(modules[start::count]) for start in range(count)]


def _untested(modules: Sequence[Module], ran: dict[str, int]) -> Iterator[Finding]:
    for module in modules:
        if not ran.get(module.name) and module.origin == "custom":
            yield Finding(
                module.manifest_file,
                f"{module.name} has no test that ran.",
                f"Write one in {module.folder}/tests and import it in its __init__.py.",
                "no-tests",
                level=WARNING,
            )


def _too_little(coverage: covered.Coverage, options: Options) -> Iterator[Finding]:
    if coverage.percent is not None and coverage.percent < options.minimum_coverage:
        yield Finding(
            ".",
            f"Tests run {coverage.percent:.0f} % of the changed statements, and at least "
            f"{options.minimum_coverage:g} % are asked for.",
            "Write tests for the lines named here.",
            "coverage-minimum",
        )
