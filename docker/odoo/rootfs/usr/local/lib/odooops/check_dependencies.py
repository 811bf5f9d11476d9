"""Fail the image's build when an addon's external dependency is missing, and name the addon.

Reads `{"python": {requirement: [addon, …]}, "bin": {program: [addon, …]}}`, made from the manifests'
`external_dependencies` by scripts/ci/build_image.py.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

Needs = dict[str, dict[str, list[str]]]


def python_problem(requirement: str) -> str | None:
    """Return what is wrong with a Python dependency, by the rule that Odoo applies when it installs."""
    from odoo.modules.module import MissingDependency, check_python_external_dependency

    try:
        check_python_external_dependency(requirement)
    except (MissingDependency, ValueError) as error:
        return str(error).splitlines()[0].rstrip(".")
    return None


def find_errors(needs: Needs) -> list[str]:
    """Return one sentence per missing dependency: who needs it and what to do."""
    errors = []
    for requirement, addons in sorted(needs.get("python", {}).items()):
        problem = python_problem(requirement)
        if problem:
            errors.append(
                f"{_names(addons)} needs the Python package {requirement!r}: {problem}; "
                "name it as on PyPI in external_dependencies, or add what provides it to requirements.txt"
            )
    for program, addons in sorted(needs.get("bin", {}).items()):
        if shutil.which(program) is None:
            errors.append(
                f"{_names(addons)} needs the program {program!r}, which is not in the image: "
                "add the Debian package that has it to apt.txt"
            )
    return errors


def _names(addons: list[str]) -> str:
    return ("Addon " if len(addons) == 1 else "Each of the addons ") + ", ".join(sorted(addons))


def main(argv: list[str]) -> int:
    errors = find_errors(json.loads(Path(argv[0]).read_text(encoding="utf-8")))
    for error in errors:
        print(f"ODOOOPS_ERROR {error}.", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
