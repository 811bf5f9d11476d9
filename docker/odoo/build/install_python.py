"""Install requirement files, then what the addons' `external_dependencies` still miss.

Usage: install_python.py FOLDER, with `files.txt` (one requirements file a line, relative) and
`external.json` (see check_dependencies.py) in FOLDER. Settings of pip come as build secrets.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import check_dependencies

SECRETS = Path("/run/secrets")
ENVIRONMENT_BY_SECRET = {
    "pip_conf": ("PIP_CONFIG_FILE",),
    # Build back ends that fetch by themselves read the other two.
    "ca_bundle": ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"),
    "netrc": ("NETRC",),
}


def pip_environment() -> dict[str, str]:
    """Return the environment for pip, with the secrets that this build was given."""
    environment = dict(os.environ, PIP_BREAK_SYSTEM_PACKAGES="1")  # the image is the environment
    for secret, names in ENVIRONMENT_BY_SECRET.items():
        if (SECRETS / secret).is_file():
            environment.update(dict.fromkeys(names, str(SECRETS / secret)))
    return environment


def pip_install(*arguments: str) -> str | None:
    """Run pip; return None, or its last error line."""
    argv = [sys.executable, "-m", "pip", "install", "--no-cache-dir", "--no-input", "--root-user-action=ignore"]
    done = subprocess.run(
        [*argv, "--disable-pip-version-check", *arguments],
        env=pip_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout, flush=True)
    if done.returncode == 0:
        return None
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["pip failed"])[-1].removeprefix("ERROR: ").rstrip(".")


def install_requirements(folder: Path) -> list[str]:
    files = (folder / "files.txt").read_text(encoding="utf-8").splitlines()
    if not files:
        return []
    # One call, so that files that contradict each other are refused rather than applied in turn.
    problem = pip_install(*(argument for file in files for argument in ("-r", str(folder / "files" / file))))
    return [f"The requirements ({', '.join(files)}) can't be installed: {problem}"] if problem else []


def install_external(needs: check_dependencies.Needs) -> list[str]:
    errors = []
    for requirement, addons in sorted(needs.get("python", {}).items()):
        if check_dependencies.python_problem(requirement) is None:
            continue
        problem = pip_install("--", requirement)
        if problem:
            errors.append(f"Addon {', '.join(addons)}: Python package {requirement!r} can't be installed: {problem}")
    return errors


def odoo_problem() -> str | None:
    """Return how what was installed broke Odoo itself, if it did."""
    done = subprocess.run(
        [sys.executable, "-c", "import odoo.http, odoo.service.server"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr.strip().splitlines()[-1] if done.returncode else None


def main(folder: Path) -> int:
    needs = json.loads((folder / "external.json").read_text(encoding="utf-8"))
    errors = install_requirements(folder) or install_external(needs) or check_dependencies.find_errors(needs)
    if not errors and (problem := odoo_problem()):
        errors = [f"Odoo does not start with these requirements: {problem}"]
    for error in errors:
        print(f"ODOOOPS_ERROR {error.rstrip('.')}.", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
