"""`preflight lint`: ruff, pylint-odoo and OCA's checks, each on the changed addons or on all.

A repository's own settings (`ruff.toml` or `pyproject.toml`, `.pylintrc`, `.oca_hooks.cfg`) are used where they are, as
they were before the change.
The tools run side by side; pylint gets the addons in as many parts as there are cores, as its checks look at one
addon at a time and its own `--jobs` loses those that need a whole addon. What the OCA wrote is left out, as it is
mended upstream; `--with-oca` shows it as warnings.
"""

from __future__ import annotations

import concurrent.futures
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from . import lint_settings
from .changes import DELETED, Changes
from .findings import WARNING, Finding, Report, ordered
from .repository import Module, Repository

HERE = Path(__file__).parent / "data"
# A README.rst is made when an addon is published; a model spread over files by concern is a layout; comments may name
# other tools' checks.
PYLINT_NOT = "missing-readme,consider-merging-classes-inherited,unknown-option-value"
OWN_CHOICE = re.compile(r"^\s*(enable|disable)\s*=", re.MULTILINE)
PYLINT_OWN = (
    "duplicate-key,function-redefined,no-self-argument,redundant-keyword-arg,undefined-variable,unreachable,"
    "used-before-assignment"
)
OCA_LINE = re.compile(r"(?P<file>[^:]+)(?::(?P<line>\d+))?(?::\d+)?: (?P<code>[a-z]+(?:-[a-z0-9]+)+) (?P<text>.+)")
INSTALL = "Install the linters: pip install 'odooops[lint]'."


@dataclass(frozen=True)
class Target:
    """What a tool is to look at.

    :ivar settings: the folder in which the settings are: the root, or another one with those of before the change.
    """

    root: Path
    modules: tuple[Module, ...]
    python: tuple[str, ...]
    settings: Path

    @property
    def size(self) -> int:
        return sum(path.stat().st_size for module in self.modules for path in (self.root / module.folder).rglob("*.py"))


def check(repository: Repository, changes: Changes, *, everything: bool = False, with_oca: bool = False) -> Report:
    """Lint what changed, or everything."""
    target = _target(repository, None if everything else changes, with_oca=with_oca)
    settings_changed = lint_settings.notices(changes)
    if not target.modules and not target.python:
        return Report("lint", tuple(settings_changed), idle="No addon and no Python file changed", facts={"addons": []})
    with lint_settings.before(repository.root, changes) as settings:
        found = _run(_jobs(replace(target, settings=settings)))
    findings = [*settings_changed, *(_of_oca(finding) for finding in found)]
    names = [module.name for module in target.modules]
    return Report(
        "lint",
        ordered(findings),
        checked=f"{len(names)} addons, {len(target.python)} Python files",
        facts={"addons": names},
    )


def _jobs(target: Target) -> list[Callable[[], list[Finding]]]:
    jobs: list[Callable[[], list[Finding]]] = []
    if target.python:
        jobs.append(lambda: ruff(target))
    for part in _parts(target):
        jobs += [functools.partial(pylint, part), functools.partial(oca_checks, part)]
    return jobs


def _run(jobs: list[Callable[[], list[Finding]]]) -> list[Finding]:
    with concurrent.futures.ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 2)) as pool:
        return [finding for found in pool.map(lambda job: job(), jobs) for finding in found]


def _target(repository: Repository, changes: Changes | None, *, with_oca: bool) -> Target:
    modules = repository.modules.values() if changes is None else repository.changed_modules(changes)
    origins = ("custom", "oca") if with_oca else ("custom",)
    chosen = tuple(sorted((one for one in modules if one.origin in origins), key=lambda one: one.name))
    files = repository.tree.files - repository.tree.links
    if changes is not None:
        new = tuple(f"{module.folder}/" for module in chosen if module.place in changes.paths)
        changed = {change.path for change in changes.items if change.status != DELETED}
        files = frozenset(path for path in files if path in changed or path.startswith(new))
    python = tuple(sorted(path for path in files if path.endswith(".py") and _is_linted(path, chosen)))
    return Target(repository.root, chosen, python, repository.root)


def _is_linted(path: str, modules: Iterable[Module]) -> bool:
    if path.startswith(("addons/oca/", "enterprise/", "addons/enterprise/")):
        return any(path.startswith(f"{module.folder}/") for module in modules)
    return True


def _of_oca(finding: Finding) -> Finding:
    return replace(finding, level=WARNING) if finding.file.startswith("addons/oca/") else finding


def _parts(target: Target) -> list[Target]:
    """Share the addons out to the cores by size; two when there is something to share."""
    count = min(os.cpu_count() or 1, len(target.modules))
    shares: list[list[Module]] = [[] for _ in range(count)]
    weights = [0] * count
    sized = sorted(target.modules, key=lambda module: -replace(target, modules=(module,)).size)
    for module in sized:
        lightest = weights.index(min(weights))
        shares[lightest].append(module)
        weights[lightest] += replace(target, modules=(module,)).size
    return [replace(target, modules=tuple(share)) for share in shares if share]


def ruff(target: Target) -> list[Finding]:
    target = _beside_its_settings(target)
    settings = [] if _has_ruff_settings(target) else [f"--config={HERE / 'ruff.toml'}"]
    options = ["--output-format=json", "--force-exclude", *settings]
    done = _call(target.root, [tool("ruff"), "check", *options, *target.python])
    if done is None:
        return [_missing("ruff")]
    try:
        found = json.loads(done.stdout)
    except ValueError:
        return [_broken("ruff", done)]
    return [
        Finding(
            _relative(target.root, one["filename"]),
            f"{one['message']} ({one['code'] or 'syntax'})",
            _ruff_mend(one),
            f"ruff-{one['code'] or 'syntax'}",
            (one.get("location") or {}).get("row"),
        )
        for one in found
    ]


def _beside_its_settings(target: Target) -> Target:
    """Have the files where the settings are: ruff looks for these beside and above each file."""
    if target.settings != target.root:
        for path in target.python:
            (target.settings / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(target.root / path, target.settings / path)
    return replace(target, root=target.settings)


def _has_ruff_settings(target: Target) -> bool:
    """Tell whether ruff finds settings of the repository's own for one of the files: beside it or above it."""
    folders = {target.root / parent for path in target.python for parent in PurePosixPath(path).parents}
    if any((folder / name).is_file() for folder in folders for name in ("ruff.toml", ".ruff.toml")):
        return True
    projects = [folder / "pyproject.toml" for folder in folders if (folder / "pyproject.toml").is_file()]
    return any("[tool.ruff" in path.read_text(encoding="utf-8", errors="replace") for path in projects)


def _ruff_mend(one: dict[str, object]) -> str:
    fix = one.get("fix")
    message = fix.get("message") if isinstance(fix, dict) else None
    return f"{message}: ruff check --fix does it." if message else f"See {one.get('url') or 'ruff rule'}."


def pylint(target: Target) -> list[Finding]:
    if refused := lint_settings.pylint_refusals(target.settings):
        return refused
    folders = (module.folder for module in target.modules)
    done = _call(
        target.root,
        [tool("pylint"), *pylint_options(target.settings), "--output-format=json", "--score=no", *folders],
    )
    if done is None:
        return [_missing("pylint")]
    try:
        found = json.loads(done.stdout or "[]")
    except ValueError:
        return [_broken("pylint", done)]
    if done.returncode & 32 or (done.returncode & 1 and not found):
        return [_broken("pylint", done)]
    return [
        Finding(
            one["path"],
            f"{one['message'].rstrip('.')} ({one['symbol']}).",
            _pylint_mend(one["symbol"]),
            f"pylint-{one['symbol']}",
            one["line"] or 1,
        )
        for one in found
    ]


def pylint_options(root: Path) -> list[str]:
    """Return the options: a .pylintrc that chooses checks decides, else pylint-odoo's and some of pylint's."""
    own = root / ".pylintrc"
    if not own.is_file():
        # The last is the OCA's own rule for its own addons.
        return [f"--rcfile={HERE / 'pylintrc'}", *_checks(f"{PYLINT_NOT},manifest-required-author")]
    if OWN_CHOICE.search(own.read_text(encoding="utf-8", errors="replace")):
        return [f"--rcfile={own}"]
    return [f"--rcfile={own}", *_checks(PYLINT_NOT)]


def _checks(unwanted: str) -> list[str]:
    return ["--disable=all", f"--enable=odoolint,{PYLINT_OWN}", f"--disable={unwanted}"]


def _pylint_mend(symbol: str) -> str:
    return f"Correct it, or say in a comment why not: # pylint: disable={symbol}."


def oca_checks(target: Target) -> list[Finding]:
    folders = [f"{module.folder}/__manifest__.py" for module in target.modules]
    own = target.settings / lint_settings.OCA
    settings = [f"--config={own if own.is_file() else os.devnull}"]
    done = _call(target.root, [tool("oca-checks-odoo-module"), *settings, *folders])
    if done is None:
        return [_missing("oca-checks-odoo-module")]
    if done.returncode not in (0, 1) or "Traceback" in done.stderr:
        return [_broken("oca-checks-odoo-module", done)]
    found = [finding for line in done.stdout.splitlines() if (finding := _oca_finding(target.root, line))]
    return found or ([_broken("oca-checks-odoo-module", done)] if done.returncode else [])


def _oca_finding(root: Path, line: str) -> Finding | None:
    match = OCA_LINE.fullmatch(line.strip())
    if not match:
        return None
    return Finding(
        _relative(root, match["file"]),
        f"{match['text'].strip().rstrip('.')} ({match['code']}).",
        "Correct it; oca-checks-odoo-module --fix does it where it can.",
        f"oca-{match['code']}",
        int(match["line"]) if match["line"] else None,
    )


def tool(name: str) -> str:
    """Return a program of the environment this runs in, else of the machine."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name) or name


def _call(root: Path, argv: Sequence[str]) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(list(argv), cwd=root, capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        return None


def _relative(root: Path, path: str) -> str:
    """Return a path as the repository has it; OCA's checks print it relative to / outside a checkout's root."""
    for candidate in (Path(path), Path("/", path)):
        if candidate.is_absolute() and candidate.is_relative_to(root):
            return candidate.relative_to(root).as_posix()
    return path


def _missing(name: str) -> Finding:
    return Finding(".", f"{name} is not installed, so nothing was linted with it.", INSTALL, "lint-missing")


def _broken(name: str, done: subprocess.CompletedProcess[str]) -> Finding:
    words = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
    return Finding(
        ".",
        f"{name} ended with code {done.returncode}: {words[-1][:300]}.",
        "Run it by hand to see why.",
        "lint-broken",
    )
