"""What `make lint` runs, one function a tool; each says how many files it looked at."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from scripts.setup import base_images, engine, paths
from scripts.setup.errors import SetupError
from scripts.setup.stack import Stack

HERE = Path(__file__).resolve().parent
STATE = paths.STATE / "lint"
TEST_LINT_IN_IMAGE = "/usr/lib/python3/dist-packages/odoo/addons/test_lint/tests"
PYLINT_OWN = (
    "duplicate-key,function-redefined,no-self-argument,redundant-keyword-arg,undefined-variable,unreachable,"
    "used-before-assignment"
)
# A README.rst is made when an addon is published; a model spread over files by concern is our layout;
# comments that name Odoo's own checkers are unknown to these.
PYLINT_NOT = "missing-readme,consider-merging-classes-inherited,unknown-option-value"
# As in Odoo's test_lint/tests/test_pylint.py.
ODOO_PYLINT = (
    "used-before-assignment,undefined-variable,eval-used,unreachable,function-redefined,bad-builtin,"
    "sql-injection,missing-gettext,gettext-variable,gettext-placeholders,gettext-repr,raise-unlink-override"
)
ODOO_PYLINT_PLUGINS = (
    "pylint.extensions.bad_builtin,_odoo_checker_sql_injection,_odoo_checker_gettext,_odoo_checker_unlink_override"
)


@dataclass(frozen=True)
class Target:
    """What to lint; `--prove` puts bad files in the place of ours."""

    root: Path

    @property
    def python(self) -> list[Path]:
        names = ("addons/odooops_control", "agent", "docker", "scripts", "tests")
        return [folder for name in names if (folder := self.root / name).is_dir()]

    @property
    def agent(self) -> Path:
        return self.root / "agent/odooops_agent"

    @property
    def addon(self) -> Path:
        return self.root / "addons/odooops_control"

    @property
    def workflows(self) -> list[Path]:
        return sorted((self.root / ".github/workflows").glob("*.y*ml"))


@dataclass(frozen=True)
class Outcome:
    """What a tool found, and in how many files it looked."""

    files: int
    findings: tuple[str, ...] = ()
    note: str = ""

    @property
    def ok(self) -> bool:
        return not self.findings and self.files > 0

    def line(self, tool: str, seconds: float) -> str:
        count = f"{len(self.findings)} findings" if self.findings else "OK" if self.files else "CHECKED NOTHING"
        return f"{tool:<28} {self.files:>5} files  {count:<16} {seconds:5.1f} s  {self.note}".rstrip()


def ruff(target: Target) -> Outcome:
    shown = call([tool("ruff"), "check", "--show-files", *target.python], cwd=target.root)
    found = call([tool("ruff"), "check", "--quiet", "--output-format=concise", *target.python], cwd=target.root)
    return Outcome(len(lines(shown.stdout)), failures(found))


def mypy(target: Target) -> Outcome:
    if not target.agent.is_dir():
        return Outcome(0)
    config = target.root / "setup.cfg"
    options = [f"--config-file={config if config.exists() else os.devnull}", f"--cache-dir={STATE}/mypy"]
    found = call(
        [tool("mypy"), "--strict", *options, target.agent], cwd=target.root, env={"MYPYPATH": str(target.agent.parent)}
    )
    checked = re.search(r"(\d+) source files?", found.stdout)
    return Outcome(int(checked[1]) if checked else 0, failures(found, skip="Found "))


def pylint_odoo(target: Target) -> Outcome:
    options = [
        f"--rcfile={paths.ROOT}/.pylintrc",
        "--disable=all",
        f"--enable=odoolint,{PYLINT_OWN}",
        f"--disable={PYLINT_NOT}",
    ]
    return _pylint(target, options)


def _pylint(target: Target, options: list[str], **environment: str) -> Outcome:
    found = call([tool("pylint"), "--verbose", *options, target.addon], cwd=target.root, env=environment)
    said = found.stdout + found.stderr
    checked = re.findall(r"\(\d+ of (\d+)\)", said)
    findings = [line for line in lines(found.stdout) if re.search(r":\d+: [A-Z]\d{4}: ", line)]
    if found.returncode and not findings:
        findings = lines(said)[-5:]
    return Outcome(int(checked[-1]) if checked and _manifest(target) else 0, tuple(findings))


def oca_hooks(target: Target) -> Outcome:
    found = call([tool("oca-checks-odoo-module"), target.addon], cwd=target.root)
    files = count(target.addon, ".py", ".xml", ".csv", ".po", ".pot") if _manifest(target) else 0
    return Outcome(files, failures(found))


def odoo_pylint(target: Target) -> Outcome:
    """Odoo's own pylint checkers, taken out of the Odoo image, with our pylint: the image has none."""
    checkers = _checkers()
    options = [
        "--rcfile=/dev/null",
        "--disable=all",
        f"--enable={ODOO_PYLINT}",
        f"--load-plugins={ODOO_PYLINT_PLUGINS}",
    ]
    return _pylint(target, [*options, "--bad-functions=input"], PYTHONPATH=str(checkers))


def test_lint_files(target: Target) -> Outcome:
    return _test_lint(target, ["--network=none"], [])


def test_lint_registry(target: Target) -> Outcome:
    """The tests of test_lint that read models: on a database that lives for as long as they run."""
    postgres = base_images.ensure_postgres(print).name
    name = f"{paths.stack_name()}-lint-{os.getpid()}"
    password = os.urandom(12).hex()
    labels = ["--label", f"odooops.stack={paths.stack_name()}"]
    engine.docker("network", "create", *labels, name)
    try:
        engine.docker(
            "run",
            "--detach",
            "--rm",
            "--name",
            name,
            "--network",
            name,
            *labels,
            "--tmpfs",
            "/var/lib/postgresql/data",
            "--env",
            "POSTGRES_USER=odoo",
            "--env",
            f"POSTGRES_PASSWORD={password}",
            postgres,
        )
        _await_postgres(name)
        database = [
            "-d",
            "lint",
            "--db_host",
            name,
            "--db_user",
            "odoo",
            "--db_password",
            password,
            "--addons-path",
            "/lint",
            "--log-level=error",
            "--no-http",
            "--stop-after-init",
        ]
        install = ["odoo", *database, "-i", target.addon.name]
        done = _in_odoo(target, ["--network", name], install)
        errors = [line for line in lines(done.stderr) if re.search(r" (ERROR|CRITICAL) ", line)]
        if done.returncode or errors:
            return Outcome(0, ("the addon does not install: " + (" ".join(errors) or done.stderr.strip())[-1500:],))
        return _test_lint(target, ["--network", name], ["--database", *database[:-1]])
    finally:
        call([engine.client(), "rm", "--force", "--volumes", name])
        call([engine.client(), "network", "rm", name])


def actionlint(target: Target) -> Outcome:
    # Without shellcheck and pyflakes, which it would run only where somebody happens to have them.
    options = ["-oneline", "-no-color", "-shellcheck=", "-pyflakes="]
    found = call([tool("actionlint"), *options, *target.workflows], cwd=target.root) if target.workflows else None
    return Outcome(len(target.workflows), failures(found) if found else ())


def zizmor(target: Target) -> Outcome:
    options = ["--offline", "--quiet", "--format=github"]
    found = call([tool("zizmor"), *options, *target.workflows]) if target.workflows else None
    return Outcome(len(target.workflows), failures(found) if found else ())


CHECKS: dict[str, Callable[[Target], Outcome]] = {
    "ruff": ruff,
    "mypy --strict (agent)": mypy,
    "pylint-odoo": pylint_odoo,
    "oca-checks-odoo-module": oca_hooks,
    "Odoo test_lint: pylint": odoo_pylint,
    "Odoo test_lint: files": test_lint_files,
    "Odoo test_lint: registry": test_lint_registry,
    "actionlint": actionlint,
    "zizmor": zizmor,
}


def call(
    argv: Iterable[object], cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in argv]
    return subprocess.run(
        words, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False
    )


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def failures(done: subprocess.CompletedProcess[str], skip: str = "\0") -> tuple[str, ...]:
    """Return what a tool printed when it ended badly; never nothing, so that a crash is a finding too."""
    if not done.returncode:
        return ()
    found = [line for line in lines(done.stdout) if not line.startswith(skip)]
    return tuple(found or lines(done.stderr) or [f"ended with code {done.returncode} and said nothing"])


def count(folder: Path, *suffixes: str) -> int:
    return sum(1 for path in folder.rglob("*") if path.suffix in suffixes and "__pycache__" not in path.parts)


def tool(name: str) -> Path:
    """Return a program of the environment this runs in, where scripts/setup/requirements-dev.txt pins it."""
    program = Path(sys.prefix) / "bin" / name
    if not program.exists():
        raise SetupError(f"{name} is not in {sys.prefix}: run `make lint`, which installs it.")
    return program


def _manifest(target: Target) -> bool:
    """Both tools for addons pass over a folder without a manifest in silence."""
    return (target.addon / "__manifest__.py").is_file()


def _checkers() -> Path:
    """Return a folder with the image's own pylint checkers, copied anew when the image changes."""
    base_images.ensure(base_images.ODOO, print)
    folder = STATE / f"checkers-{engine.image(base_images.ODOO)['Id'][-12:]}"
    if not folder.exists():
        container = engine.docker("create", base_images.ODOO).strip()
        engine.docker("cp", f"{container}:{TEST_LINT_IN_IMAGE}", folder)
        engine.docker("rm", container)
    return folder


def _in_odoo(target: Target, options: list[str], argv: list[str]) -> subprocess.CompletedProcess[str]:
    mounts = [
        "--volume",
        f"{target.addon}:/lint/{target.addon.name}:ro",
        "--volume",
        f"{HERE}/odoo_test_lint.py:/lint/run.py:ro",
    ]
    return call(
        [engine.client(), "run", "--rm", "--entrypoint", argv[0], *options, *mounts, _addons_image(), *argv[1:]]
    )


def _addons_image() -> str:
    """Return the image that has the Python packages which our addon depends on."""
    base_images.ensure(base_images.DEBIAN, print)
    base_images.ensure(base_images.ODOO, print)
    stack = Stack.load()
    stack.ensure_image("test")
    return stack.images["test"]


def _test_lint(target: Target, options: list[str], database: list[str]) -> Outcome:
    done = _in_odoo(target, options, ["python3", "/lint/run.py", f"/lint/{target.addon.name}", *database])
    try:
        outcome = json.loads(lines(done.stdout)[-1])
    except (IndexError, ValueError):
        return Outcome(0, (f"test_lint did not run: {(done.stderr or done.stdout).strip()[-1500:]}",))
    return Outcome(outcome["files"] if outcome["tests"] else 0, tuple(outcome["findings"]), f"{outcome['tests']} tests")


def _await_postgres(container: str) -> None:
    deadline = time.monotonic() + 60
    ask = [engine.client(), "exec", container, "pg_isready", "--quiet", "--host", "127.0.0.1", "--username", "odoo"]
    while call(ask).returncode:
        if time.monotonic() > deadline:
            raise SetupError(f"PostgreSQL in the container {container} does not answer after 60 s.")
        time.sleep(0.3)
