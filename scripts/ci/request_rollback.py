"""Ask the control plane to take an environment back to a release that ran there.

    python scripts/ci/request_rollback.py --environment demo/stage --previous-tag v1.4.0 --reason "orders are lost"

Staging goes back at once; production waits for approval in the console. With `--wait SECONDS` the command waits for
the end. The control plane comes from ODOOOPS_URL and ODOOOPS_API_KEY. Exit codes: 0 requested (or ended well), 1
refused or failed, 2 wrong input, 3 the control plane can't be reached, 4 not ended in time.
"""

from __future__ import annotations

import argparse
import json
import sys

from odooops_ci import control, job, patterns
from odooops_ci.errors import InvalidInput, Refused

MODEL = "odooops.rollback.request"


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--environment", required=True, help="<project>/<code>, or the code where there is one project")
    parser.add_argument("--previous-tag", required=True, help="the release to go back to, such as v1.4.0")
    parser.add_argument("--reason", required=True, help="why, in a few words; whoever approves reads it")
    parser.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="wait for the end (default: do not)")
    return parser.parse_args(argv)


def request(options: argparse.Namespace) -> object:
    if not options.reason.strip():
        raise InvalidInput("Say with --reason why, in a few words: whoever approves reads it.")
    arguments = {
        "environment": patterns.require(patterns.ENVIRONMENT, options.environment, "an environment", "demo/stage"),
        "previous_tag": patterns.require_release_name(options.previous_tag),
        "reason": options.reason.strip(),
    }
    plane = control.from_environment()
    result = plane.call(MODEL, "submit", **arguments)
    if options.wait <= 0:
        return result
    if not isinstance(result, dict) or not isinstance(result.get("id"), int):
        raise Refused("The control plane tells no id of the rollback, so its end can't be waited for.")
    job.tell(f"{result.get('environment')}: going back to {result.get('tag')}, see {result.get('console_url')}")
    ended = control.wait_for_end(plane, result["id"], options.wait, model=MODEL, what="Rollback", tell=job.tell)
    job.summarise(table(ended))
    return {**result, **ended}


def table(status: dict[str, object]) -> str:
    """Return what the job's page says of a rollback that ended."""
    loss = status.get("loss")
    rows = [
        ("Environment", status.get("environment")),
        ("Back to", status.get("tag")),
        ("From", status.get("from_tag")),
        ("Mode", status.get("mode")),
        ("Lost", json.dumps(loss) if loss else None),
        ("Held", f"{status.get('downtime_seconds') or 0} s"),
        ("Console", status.get("console_url")),
    ]
    return job.table("Rollback", rows)


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
