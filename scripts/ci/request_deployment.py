"""Ask the control plane to deploy a registered release.

    python scripts/ci/request_deployment.py --environment demo/prod --ref refs/tags/v1.4.1 --commit-sha "$GITHUB_SHA"

Staging goes at once; production waits for approval in the console. With `--wait SECONDS` the command waits
for the end. The control plane comes from ODOOOPS_URL and ODOOOPS_API_KEY. Exit codes: 0 requested (or ended
well), 1 refused or failed, 2 wrong input, 3 the control plane can't be reached, 4 not ended in time.
"""

from __future__ import annotations

import argparse
import json
import sys

from odooops_ci import control, job, patterns
from odooops_ci.errors import Refused


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--environment", required=True, help="<project>/<code>, or the code where there is one project")
    parser.add_argument("--ref", required=True)
    parser.add_argument("--commit-sha", required=True)
    parser.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="wait for the end (default: do not)")
    return parser.parse_args(argv)


def request(options: argparse.Namespace) -> object:
    arguments = {
        "environment": patterns.require(patterns.ENVIRONMENT, options.environment, "an environment", "demo/stage"),
        "ref": patterns.require_ref(options.ref),
        "commit_sha": patterns.require(patterns.COMMIT, options.commit_sha, "a commit", "40 hexadecimal digits"),
    }
    plane = control.from_environment()
    result = plane.call("odooops.deployment", "request", **arguments)
    if options.wait <= 0:
        return result
    if not isinstance(result, dict) or not isinstance(result.get("id"), int):
        raise Refused("The control plane tells no id of the deployment, so its end can't be waited for.")
    job.tell(f"{result.get('environment')}: {result.get('tag')} is asked for, see {result.get('console_url')}")
    ended = control.wait_for_end(plane, result["id"], options.wait, tell=job.tell)
    job.summarise(table(ended))
    return {**result, **ended}


def table(status: dict[str, object]) -> str:
    """Return what the job's page says of a deployment that ended."""
    rows = [
        ("Environment", status.get("environment")), ("Release", status.get("tag")), ("Image", status.get("digest")),
        ("State", status.get("state_label") or status.get("state")),
        ("Held", f"{status.get('downtime_seconds') or 0} s"),
        ("Console", status.get("console_url")),
    ]  # fmt: skip
    return job.table("Deployment", rows)


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    try:
        result = request(options)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return refused.exit_code
    print(json.dumps(result, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
