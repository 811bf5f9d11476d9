"""Register an image that was built as a release, by its digest; or give a built release a tag.

    python scripts/ci/register_release.py --project demo --ref refs/heads/main --build build.json
    python scripts/ci/register_release.py --project demo --ref refs/tags/v1.4.1 --commit-sha "$GITHUB_SHA"

The first reads what `build_image.py --output` wrote. The second builds nothing: the tag names the image that is
recorded for the commit, and is refused when there is none. The control plane comes from ODOOOPS_URL and
ODOOOPS_API_KEY. Exit codes: 0 registered (or was already), 1 refused, 2 wrong input, 3 the control plane can't be
reached.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from odooops_ci import control, patterns
from odooops_ci.errors import InvalidInput, Refused


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", required=True)
    parser.add_argument("--ref", required=True, help="refs/heads/main, or refs/tags/v1.4.1")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--build", type=Path, help="the JSON that build_image.py wrote")
    what.add_argument("--commit-sha", help="the commit that was built before; only with a tag")
    parser.add_argument("--checks", type=Path, help="a JSON file with the preflight's results")
    return parser.parse_args(argv)


def arguments_for(options: argparse.Namespace) -> dict[str, object]:
    """Return the named arguments of `odooops.release.register`.

    :raise InvalidInput: one of them is not of the form it must have.
    """
    ref = patterns.require_ref(options.ref)
    built = built_before(ref, options.commit_sha) if options.commit_sha is not None else built_now(options.build)
    patterns.require(patterns.COMMIT, str(built["commit_sha"]), "a commit", "40 hexadecimal digits")
    return {
        "project": patterns.require(patterns.PROJECT, options.project, "a project's code", "demo"),
        "ref": ref,
        **built,
        "checks": read_json(options.checks) if options.checks else [],
    }


def built_before(ref: str, commit_sha: str) -> dict[str, object]:
    if not ref.startswith("refs/tags/"):
        raise InvalidInput(f"{ref} brings an image of its own: name it with --build; --commit-sha is for tags.")
    return {"commit_sha": commit_sha}


def built_now(path: Path) -> dict[str, object]:
    build = read_json(path)
    if not isinstance(build, dict):
        raise InvalidInput(f"{path} holds no JSON object: name what build_image.py wrote.")
    image = str(build.get("image"))
    repository, _, digest = image.partition("@")
    patterns.require(patterns.REPOSITORY, repository, "an image repository", "registry.example.com/demo")
    patterns.require(patterns.DIGEST, digest, "an image's digest (was it pushed?)", "sha256:9f86…")
    return {
        "commit_sha": str(build.get("commit_sha")),
        "image": image,
        "manifest": build.get("manifest"),
        "ancestors": ancestors_in(build),
    }


def ancestors_in(build: dict[str, object]) -> list[str] | None:
    """Return the commits before this one; None where the build did not know them."""
    given = build.get("ancestors")
    if given is None:
        return None
    if not isinstance(given, list):
        raise InvalidInput("The build's ancestors are no list of commits: build again with build_image.py.")
    return [patterns.require(patterns.COMMIT, str(one), "a commit", "40 hexadecimal digits") for one in given]


def warn_without_history(arguments: dict[str, object]) -> None:
    """Say what it costs when nobody knows which commits a release contains."""
    if "image" in arguments and arguments["ancestors"] is None:
        print(
            "The build does not know the commits before this one (a shallow clone?): after a rollback it would be "
            "barred from production along with the release that was rolled back. Check out with fetch-depth: 0.",
            file=sys.stderr,
        )


def read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} can't be read as JSON: {error}.") from None


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    try:
        arguments = arguments_for(options)
        warn_without_history(arguments)
        result = control.from_environment().call("odooops.release", "register", **arguments)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return refused.exit_code
    print(json.dumps(result, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
