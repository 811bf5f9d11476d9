"""GitHub's deliveries at the console's door, beside Odoo's own health page on the same server and workers."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

from scripts.bench import deliveries
from scripts.bench.deliveries import Answers, Request
from scripts.bench.figures import percentile
from scripts.bench.registry import Goal, Row, bench, row
from scripts.bench.site import Site
from scripts.setup import secret_files

CLIENTS = 4
SECONDS = 8
ROUNDS = 3
# Every so many deliveries one is sent again, as GitHub's page lets people do.
AGAIN_EVERY = 20
HEALTH = Request("GET", "/web/health")
PAYLOADS = Path(__file__).parents[3] / "tests/contract/github/payloads.json"


class Sender:
    """Signed deliveries of a real push, each with an id of its own, save those that are sent twice."""

    def __init__(self, mark: str) -> None:
        self._mark, self._secret = mark, secret_files.read(secret_files.GITHUB_WEBHOOK).encode()
        [self._push, *_] = [one["payload"] for one in json.loads(PAYLOADS.read_text()) if one["kind"] == "push"]
        # As large as the original, whose addresses were left out.
        self._push["padding"] = "x" * 4000
        self.sent: set[str] = set()

    def requests(self) -> Iterator[Request]:
        number = 0
        while True:
            number += 1
            delivery = f"{self._mark}-{number}"
            self.sent.add(delivery)
            yield self._request(delivery)
            if number % AGAIN_EVERY == 0:
                yield self._request(delivery)

    def _request(self, delivery: str) -> Request:
        body = json.dumps({**self._push, "after": hashlib.sha1(delivery.encode()).hexdigest()}).encode()  # noqa: S324
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": delivery,
            "X-Hub-Signature-256": "sha256=" + hmac.new(self._secret, body, hashlib.sha256).hexdigest(),
        }
        return Request("POST", "/odooops/github/webhook", headers, body)


@bench("webhook")
def webhook(site: Site) -> list[Row]:
    mark = f"bench-{secrets.token_hex(6)}"
    sender = Sender(mark)
    stream, health = sender.requests(), _forever(HEALTH)
    ours, theirs = [], []
    for _ in range(ROUNDS):
        theirs.append(_measured(site, health, 200).rate)
        ours.append(_measured(site, stream, 202).rate)
    best, healthy = max(ours), max(theirs)
    half = _measured(site, stream, 202, best / 2)
    found = site.in_control("count_deliveries.py", mark=mark)
    lost, doubled = len(sender.sent - set(found)), sum(count - 1 for count in found.values())
    if set(found) - sender.sent:
        raise RuntimeError("There are deliveries that nobody sent.")
    about = f"Odoo's own /web/health on the same server, {healthy:.0f} a second; deliveries {best:.0f} a second"
    return [
        row("taking in one webhook delivery at full load, 2 workers", 1000 / best, "ms", Goal(times=0.35),
            1000 / healthy, about),
        row("the same at half that load, p99 with the wait in line", 1000 * percentile(half.seconds, 99), "ms",
            Goal(at_most=150)),
        row(f"deliveries lost or doubled, of {len(sender.sent)}", lost + doubled, "", Goal(at_most=0)),
    ]  # fmt: skip


def _measured(site: Site, requests: Iterator[Request], status: int, per_second: float | None = None) -> Answers:
    answers = deliveries.send(site.stack.console_url, requests, CLIENTS, SECONDS, per_second)
    if not answers.only(status):
        raise RuntimeError(f"Answers other than {status}: {answers.statuses}.")
    return answers


def _forever(request: Request) -> Iterator[Request]:
    while True:
        yield request
