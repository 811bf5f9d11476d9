"""Write the image's own manifest while the image is built; the agent reads it without starting Odoo.

`write_manifest.py odoo --output FILE` describes what Odoo itself ships (its own cached layer);
`write_manifest.py release --odoo FILE --build FILE --output FILE` adds the repository's addons.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from addons_scan import InvalidAddonError, addon_folders, describe_addon

SCHEMA = 1
UID = GID = 10019  # pinned, so that a filestore keeps its owner from image to image
ADDONS_ROOT = Path("/opt/odoo/addons")
# The order of odoo.conf's addons_path: what is nearer to the customer wins.
ORIGINS = ("custom", "oca", "enterprise")

Addons = dict[str, dict[str, Any]]


def describe_odoo() -> dict[str, object]:
    """Return series, addons paths and addons of the Odoo that this Python imports."""
    import odoo.release

    root = Path(odoo.release.__file__).parent
    # Odoo's two places (odoo/tools/config.py: addons_base_dir, addons_community_dir).
    paths = [path for path in (root / "addons", root.parent / "addons") if addon_folders(path)]
    series = odoo.release.series
    addons: Addons = {}
    for path in paths:
        for folder in addon_folders(path):
            try:
                described = describe_addon(folder, "odoo", series, with_hashes=False)
            except InvalidAddonError as error:  # Odoo leaves it out, too
                print(f"{error}.", file=sys.stderr)
                continue
            if described is not None:
                addons.setdefault(folder.name, described)
    return {"series": series, "addons_paths": [str(path) for path in paths], "addons": addons}


def describe_repository(root: Path, series: str) -> tuple[Addons, list[str]]:
    """Return the addons below `root`/{custom,oca,enterprise} and a sentence per addon that can't be used."""
    addons: Addons = {}
    errors: list[str] = []
    for origin in ORIGINS:
        for folder in addon_folders(root / origin):
            try:
                described = describe_addon(folder, origin, series, with_hashes=origin != "enterprise")
            except InvalidAddonError as error:
                errors.append(str(error))
                continue
            if described is not None:
                addons[folder.name] = described
    return addons, errors


def find_errors(own: Addons, repository: Addons, build: dict[str, Any]) -> list[str]:
    """Return a sentence per addon that has the name of one of Odoo's or depends on one that is nowhere."""
    # Which of the two Odoo would load depends on how it was packaged, so neither is right.
    errors = [
        f"Addon {name} ({repository[name]['origin']}) has the name of one of Odoo's own: rename it"
        for name in sorted(own.keys() & repository.keys())
    ]
    known = own.keys() | repository.keys()
    for name, addon in sorted(repository.items()):
        errors += [
            f"Addon {name} depends on {dependency}, which is {_whereabouts(dependency, build)}"
            for dependency in addon["depends"]
            if dependency not in known
        ]
    return errors


def _whereabouts(dependency: str, build: dict[str, Any]) -> str:
    unselected = build.get("unselected") or {}
    if dependency in unselected:
        return (
            f"in {unselected[dependency]} but not selected: link it in addons/oca/selected/ "
            "and list it in allowlist.yaml"
        )
    return f"neither in the repository nor in {build.get('base_image') or 'Odoo'}"


def compose(own: dict[str, Any], repository: Addons, build: dict[str, Any], root: Path) -> dict[str, object]:
    """Return the whole manifest (schema 1)."""
    used = {addon["origin"] for addon in repository.values()}
    return {
        "schema": SCHEMA,
        "series": own["series"],
        "base_image": build.get("base_image"),
        "base_digest": build.get("base_digest"),
        "commit_sha": build["commit_sha"],
        "author_email": build.get("author_email"),
        "message": build.get("message"),
        "submodules": build.get("submodules") or {},
        "uid": UID,
        "gid": GID,
        # Odoo warns about an addons path without addons at every start.
        "addons_paths": [str(root / origin) for origin in ORIGINS if origin in used] + own["addons_paths"],
        "addons": dict(sorted((own["addons"] | repository).items())),
    }


def write(value: dict[str, object], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    path.write_text(text + "\n", encoding="utf-8")
    path.chmod(0o644)


def write_release(options: argparse.Namespace) -> int:
    own = json.loads(options.odoo.read_text(encoding="utf-8"))
    build = json.loads(options.build.read_text(encoding="utf-8"))
    repository, errors = describe_repository(options.root, own["series"])
    errors += find_errors(own["addons"], repository, build)
    for error in errors:
        print(f"ODOOOPS_ERROR {error}.", file=sys.stderr)
    if errors:
        return 1
    write(compose(own, repository, build, options.root), options.output)
    return 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    odoo_parser = commands.add_parser("odoo")
    odoo_parser.add_argument("--output", type=Path, required=True)
    release = commands.add_parser("release")
    release.add_argument("--odoo", type=Path, required=True)
    release.add_argument("--build", type=Path, required=True)
    release.add_argument("--output", type=Path, required=True)
    release.add_argument("--root", type=Path, default=ADDONS_ROOT)
    options = parser.parse_args(argv)
    if options.command == "release":
        return write_release(options)
    write(describe_odoo(), options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
