"""Write `payloads.json`: GitHub's own examples of the events that the console reads.

    npm pack @octokit/webhooks-examples@7.6.1
    python tests/contract/github/collect.py octokit-webhooks-examples-7.6.1.tgz

All examples of these events are kept, of github.com's and of GitHub Enterprise's, and one of some others. Left out
are addresses, which make three quarters of them and which nobody reads, and examples that then equal another one.
The examples are MIT-licensed.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

TARGET = Path(__file__).parent / "payloads.json"
READ = (
    "check_suite", "create", "deployment", "deployment_status", "ping", "pull_request", "push", "release",
    "workflow_run",
)  # fmt: skip
OTHERS = ("fork", "issues", "star", "member")


def main(package: Path) -> int:
    found = []
    with tarfile.open(fileobj=io.BytesIO(package.read_bytes())) as archive:
        for member in sorted(archive.getnames()):
            if member.endswith("/index.json"):
                found += list(_examples(member.split("/")[1], json.load(archive.extractfile(member))))
    found = list({json.dumps([one["kind"], one["payload"]]): one for one in reversed(found)}.values())[::-1]
    TARGET.write_text("".join(f"{'[' if n == 0 else ','}{json.dumps(one)}\n" for n, one in enumerate(found)) + "]\n")
    print(f"{len(found)} examples in {TARGET}.")
    return 0


def _examples(source: str, index: list[dict]) -> Iterator[dict]:
    for entry in index:
        wanted = (
            entry["examples"] if entry["name"] in READ else entry["examples"][:1] if entry["name"] in OTHERS else []
        )
        for number, payload in enumerate(wanted):
            yield {"source": source, "kind": entry["name"], "number": number, "payload": _slim(payload)}


def _slim(value: object) -> object:
    if isinstance(value, list):
        return [_slim(item) for item in value]
    if isinstance(value, dict):
        return {name: _slim(item) for name, item in value.items() if not _is_address(name)}
    return value


def _is_address(name: str) -> bool:
    return name in ("url", "_links", "node_id", "gravatar_id") or name.endswith("_url")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
