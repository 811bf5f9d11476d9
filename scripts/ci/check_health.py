"""Tell how an environment is: what the console says of it, and what its own address answers.

    python scripts/ci/check_health.py --environment demo/prod --wait 120

Green is: the console calls it green, and `/web/health` at its URL answers 200. With `--wait` it may take that long.
The control plane comes from ODOOOPS_URL and ODOOOPS_API_KEY. Exit codes: 0 green, 1 not, 2 wrong input, 3 the
control plane can't be reached.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

import requests
from odooops_ci import control, job, patterns
from odooops_ci.errors import Refused

HEALTH_PATH = "/web/health"
TIMEOUT_SECONDS = 15
PAUSE_SECONDS = 5
Status = dict[str, object]


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--environment", required=True, help="<project>/<code>, or the code where there is one project")
    parser.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="for it to turn green (default: 0)")
    return parser.parse_args(argv)


def look(plane: control.Control, environment: str) -> Status:
    """Return the console's word on an environment, with what its address answers."""
    status = plane.call("odooops.environment", "status", environment=environment)
    if not isinstance(status, dict):
        raise Refused(f"The control plane tells nothing of {environment}.")
    return {**status, "answer": answer_of(str(status.get("url") or ""))}


def answer_of(url: str) -> str:
    """Return what `/web/health` below an address answers: "200", another status, or why there is none."""
    if not url:
        return "no URL is recorded"
    address, host = reachable(url.rstrip("/") + HEALTH_PATH)
    try:
        response = requests.get(address, headers={"Host": host}, timeout=TIMEOUT_SECONDS, allow_redirects=False)
    except requests.Timeout:
        return "no answer in time"
    except requests.exceptions.SSLError:
        return "its certificate is not valid"
    except requests.RequestException:
        return "no connection"
    return str(response.status_code)


def reachable(url: str) -> tuple[str, str]:
    """Return where to connect for an address, and the host to name there.

    Names below .localhost are this machine, as browsers have it (RFC 6761); resolvers often do not know them.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not (parts.hostname or "").endswith(".localhost"):
        return url, parts.netloc
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit(parts._replace(netloc=f"127.0.0.1{port}")), parts.netloc


def is_green(status: Status) -> bool:
    return status.get("health") == "green" and status["answer"] == "200"


def wait_for_green(
    plane: control.Control, environment: str, seconds: float, clock: Callable[[], float] = time.monotonic
) -> Status:
    """Return the status once it is green, or the last one when the time is over."""
    deadline, told = clock() + seconds, ""
    while True:
        status = look(plane, environment)
        if (sentence := describe(status)) != told:
            told = sentence
            job.tell(sentence)
        if is_green(status) or clock() + PAUSE_SECONDS > deadline:
            return status
        plane.sleep(PAUSE_SECONDS)


def describe(status: Status) -> str:
    detail = f" ({status['health_detail']})" if status.get("health_detail") else ""
    return (
        f"{status.get('environment')} runs {status.get('tag') or 'nothing'}: {status.get('health')}{detail}, "
        f"{HEALTH_PATH} at {status.get('url') or 'no URL'}: {status['answer']}"
    )


def table(status: Status) -> str:
    rows = [
        ("Environment", status.get("environment")), ("Health", status.get("health")),
        ("Detail", status.get("health_detail")), ("Runs", status.get("tag")), ("Image", status.get("digest")),
        (f"{HEALTH_PATH}", status["answer"]), ("URL", status.get("url")), ("Drift", status.get("drift")),
    ]  # fmt: skip
    return job.table("Healthcheck", rows)


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    try:
        environment = patterns.require(patterns.ENVIRONMENT, options.environment, "an environment", "demo/stage")
        status = wait_for_green(control.from_environment(), environment, options.wait)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return refused.exit_code
    job.summarise(table(status))
    print(json.dumps(status, ensure_ascii=False))
    if is_green(status):
        return 0
    print(f"{environment} is not green: look at it in the console.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
