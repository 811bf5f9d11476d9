"""Write `api.json`: of GitHub's own description of its API, what the console calls.

    npm pack @octokit/openapi@23.0.2
    python tests/contract/github/collect_api.py octokit-openapi-23.0.2.tgz

Of each call: its path, parameters, the schema of its body and the first example of its answer. MIT-licensed.
"""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path

TARGET = Path(__file__).parent / "api.json"
DESCRIPTION = "package/generated/api.github.com.deref.json"
CALLS = (
    ("POST", "/repos/{owner}/{repo}/statuses/{sha}"),
    ("GET", "/repos/{owner}/{repo}/deployments"),
    ("POST", "/repos/{owner}/{repo}/deployments"),
    ("POST", "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses"),
    ("GET", "/repos/{owner}/{repo}/issues/{issue_number}/comments"),
    ("POST", "/repos/{owner}/{repo}/issues/{issue_number}/comments"),
    ("PATCH", "/repos/{owner}/{repo}/issues/comments/{comment_id}"),
    ("POST", "/repos/{owner}/{repo}/actions/runs/{run_id}/deployment_protection_rule"),
    ("GET", "/repos/{owner}/{repo}/installation"),
    ("POST", "/app/installations/{installation_id}/access_tokens"),
)
KEPT = ("type", "enum", "required", "properties", "items", "oneOf", "anyOf", "maxLength", "nullable", "format")


def main(package: Path) -> int:
    with tarfile.open(package) as archive:
        paths = json.load(archive.extractfile(DESCRIPTION))["paths"]
    calls = [_call(method, path, paths[path][method.lower()]) for method, path in CALLS]
    TARGET.write_text(json.dumps(calls, indent=1) + "\n")
    return 0


def _call(method: str, path: str, described: dict) -> dict:
    body = described.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    status, answer = next((code, one) for code, one in described["responses"].items() if code.startswith("2"))
    examples = answer.get("content", {}).get("application/json", {}).get("examples", {})
    return {
        "method": method,
        "path": path,
        "query": [one["name"] for one in described.get("parameters", []) if one["in"] == "query"],
        "body": _slim(body),
        "status": int(status),
        "answer": _without_addresses(next(iter(examples.values()))["value"]) if examples else None,
    }


def _slim(schema: object) -> object:
    """Return a schema without what is said for people; names of properties are kept whatever they are."""
    if not isinstance(schema, dict):
        return schema
    kept = {name: value for name, value in schema.items() if name in KEPT}
    if "properties" in kept:
        kept["properties"] = {name: _slim(value) for name, value in kept["properties"].items()}
    if "items" in kept:
        kept["items"] = _slim(kept["items"])
    for name in ("oneOf", "anyOf"):
        if name in kept:
            kept[name] = [_slim(one) for one in kept[name]]
    return kept


def _without_addresses(value: object) -> object:
    if isinstance(value, list):
        return [_without_addresses(item) for item in value]
    if isinstance(value, dict):
        return {
            # What looks like a secret would be taken for one.
            name: "installation-token" if name == "token" else _without_addresses(item)
            for name, item in value.items()
            if name not in ("url", "node_id", "permissions") and not name.endswith("_url")
        }
    return value


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
