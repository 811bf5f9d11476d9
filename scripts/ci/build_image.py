"""Build a customer's Odoo image from a checkout, push it, and print what it is as JSON.

    python scripts/ci/build_image.py --repository registry.example.com/demo --ref "$GITHUB_REF"

Build secrets (of a private package index, say) are files given with --secret, or stand in the variable
ODOOOPS_BUILD_SECRETS: a JSON object of texts by name, {"pip_conf": "…"}; {"file": "/path"} in place of a text names a
file of the machine.

Exit codes: 0 built (or found in the registry), 1 refused or failed, with one sentence per cause, 2 wrong
usage. The build's own output goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from odooops_ci import image
from odooops_ci.errors import InvalidInput, Refused


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default=Path("."), help="the repository's checkout (default: here)")
    parser.add_argument("--repository", required=True, help="where the image goes, without a tag")
    parser.add_argument("--base-image", default="odoo:19.0")
    parser.add_argument("--ref", help="the git ref this is for; must be at the commit that is checked out")
    parser.add_argument("--tag", action="append", default=[], help="one more tag (the commit's SHA is always one)")
    parser.add_argument("--enterprise", type=Path, help="a folder with Enterprise's addons outside the repository")
    parser.add_argument(
        "--secret", action="append", default=[], metavar="NAME=FILE", help=f"a build secret: {', '.join(image.SECRETS)}"
    )
    parser.add_argument("--network", help="Docker's network for the steps of the build")
    parser.add_argument("--allow-dirty", action="store_true", help="take what is not committed too; for trying things")
    parser.add_argument("--rebuild", action="store_true", help="build even if the registry has this commit")
    parser.add_argument("--no-push", action="store_true", help="leave the image on this machine")
    parser.add_argument("--context", type=Path, help="keep the build context in this folder")
    parser.add_argument("--context-only", action="store_true", help="write the build context and stop")
    parser.add_argument("--output", type=Path, help="write the JSON here too, for register_release.py")
    return parser.parse_args(argv)


def secrets(values: list[str]) -> dict[str, Path]:
    found = {}
    for value in values:
        name, separator, path = value.partition("=")
        if not separator:
            raise Refused(f"--secret {value}: write it as NAME=FILE.")
        found[name] = Path(path)
    return found


def secrets_of_job(text: str, folder: Path) -> dict[str, Path]:
    """Return the files of the secrets that ODOOOPS_BUILD_SECRETS holds; texts become files in `folder`.

    :raise InvalidInput: it is not as it has to be; the sentence quotes none of it.
    """
    try:
        given = json.loads(text) if text.strip() else {}
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise InvalidInput('The secret ODOOOPS_BUILD_SECRETS is no JSON object: write {"pip_conf": "<its text>"}.')
    return {name: _secret_file(name, value, folder) for name, value in given.items()}


def _secret_file(name: str, value: object, folder: Path) -> Path:
    if name not in image.SECRETS:
        raise InvalidInput(f"ODOOOPS_BUILD_SECRETS: there is no build secret {name!r}: use {', '.join(image.SECRETS)}.")
    if isinstance(value, dict) and isinstance(value.get("file"), str):
        return Path(value["file"])
    if not isinstance(value, str):
        raise InvalidInput(f'ODOOOPS_BUILD_SECRETS: {name} must be a text, or {{"file": "/path"}}.')
    path = folder / name
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(value)
    return path


def options_from(arguments: argparse.Namespace, more_secrets: Mapping[str, Path]) -> image.Options:
    return image.Options(
        source=arguments.source.resolve(),
        repository=arguments.repository,
        base_image=arguments.base_image,
        ref=arguments.ref,
        tags=tuple(arguments.tag),
        enterprise=arguments.enterprise and arguments.enterprise.resolve(),
        secrets={**more_secrets, **secrets(arguments.secret)},
        network=arguments.network,
        allow_dirty=arguments.allow_dirty,
        push=not arguments.no_push,
        rebuild=arguments.rebuild,
        context=arguments.context,
    )


def context_only(options: image.Options) -> dict[str, object]:
    image.check(options)
    contents = image.read_repository(options)
    folder = options.context or Path("context")
    image.write_context(folder, options, contents)
    return {"commit_sha": contents.commit_sha, "context": str(folder)}


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="odooops-secrets-") as folder:
            more_secrets = secrets_of_job(os.environ.get("ODOOOPS_BUILD_SECRETS", ""), Path(folder))
            options = options_from(arguments, more_secrets)
            result = context_only(options) if arguments.context_only else image.build(options)
    except Refused as refused:
        for error in refused.errors:
            print(error, file=sys.stderr)
        return refused.exit_code
    text = json.dumps(result, ensure_ascii=False)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
