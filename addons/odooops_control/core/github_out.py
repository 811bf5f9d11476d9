"""What is told to GitHub: requests as data, made of what the console knows. Nothing here sends anything."""

import re
from dataclasses import dataclass, field
from datetime import timedelta

from .github_events import FULL_NAME

API = "https://api.github.com"
VERSION = "2022-11-28"
# GitHub's limits.
MAX_STATUS_DESCRIPTION = 140
MAX_GATE_COMMENT = 1000
MAX_COMMENT = 60_000

MAX_ATTEMPTS = 12
_FIRST_PAUSE = timedelta(seconds=20)
_LONGEST_PAUSE = timedelta(hours=1)
_RETRIED = frozenset((408, 409, 425, 429, 500, 502, 503, 504))

# Where a deployment stands, as GitHub's Deployments API and as a commit's status say it; None is not told.
_DEPLOYMENT_STATES = {
    "draft": ("queued", "pending"),
    "planned": ("queued", "pending"),
    "awaiting_approval": ("pending", "pending"),
    "approved": ("queued", "pending"),
    "queued": ("queued", "pending"),
    "running": ("in_progress", "pending"),
    "soaking": ("in_progress", "pending"),
    "live": ("success", "success"),
    "superseded": ("inactive", None),
    "cancelled": ("inactive", "error"),
    "rejected": ("failure", "failure"),
    "failed": ("failure", "failure"),
    "rolled_back": ("failure", "failure"),
    "indeterminate": ("error", "error"),
}
# What GitHub's own gate is told; the states that are missing are waited out.
_GATE_STATES = {
    **dict.fromkeys(("approved", "queued", "running", "soaking", "live"), "approved"),
    **dict.fromkeys(("superseded", "cancelled", "rejected", "failed", "rolled_back", "indeterminate"), "rejected"),
}
_CALLBACK = re.compile(r"/repos/([^/]+/[^/]+)/actions/runs/([0-9]{1,20})/deployment_protection_rule")


@dataclass(frozen=True)
class Request:
    """One HTTP request to GitHub's API."""

    method: str
    path: str
    body: dict | None = None
    query: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Retry:
    """Whether a call that failed is tried again, and after how long."""

    again: bool
    pause: timedelta = timedelta(0)


def repository_path(full_name):
    """Return the path of a repository; nothing else may get into an address.

    :raises ValueError: when it is no repository's name
    """
    if not FULL_NAME.fullmatch(full_name or ""):
        raise ValueError("The project names no GitHub repository.")
    return f"/repos/{full_name}"


def commit_status(full_name, deployment):
    """Return the request that sets the status of a commit for one environment, None when there is nothing to say."""
    state = _DEPLOYMENT_STATES[deployment["state"]][1]
    if state is None:
        return None
    return Request(
        "POST",
        f"{repository_path(full_name)}/statuses/{deployment['commit_sha']}",
        {
            "state": state,
            "context": f"odooops/{deployment['environment']}",
            "description": cut(_said(deployment), MAX_STATUS_DESCRIPTION),
            "target_url": deployment["console_url"],
        },
    )


def deployment_task(deployment):
    """Return the name by which a deployment is found again on GitHub."""
    return f"deploy:odooops-{deployment['id']}"


def find_deployment(full_name, deployment):
    """Return the request that lists a deployment that was made before its answer got lost."""
    query = {"task": deployment_task(deployment), "sha": deployment["commit_sha"], "per_page": 1}
    return Request("GET", f"{repository_path(full_name)}/deployments", query=query)


def create_deployment(full_name, deployment):
    """Return the request that makes a deployment known to GitHub."""
    return Request(
        "POST",
        f"{repository_path(full_name)}/deployments",
        {
            "ref": deployment["commit_sha"],
            "task": deployment_task(deployment),
            "auto_merge": False,
            # The console has its own checks, and has let it through.
            "required_contexts": [],
            "environment": github_environment(deployment["tier"], deployment["code"]),
            "description": cut(f"{deployment['tag']} to {deployment['environment']}", MAX_STATUS_DESCRIPTION),
            "transient_environment": deployment["tier"] == "preview",
            "production_environment": deployment["tier"] == "production",
        },
    )


def deployment_status(full_name, number, deployment):
    """Return the request that says where a deployment stands."""
    body = {
        "state": _DEPLOYMENT_STATES[deployment["state"]][0],
        "environment": github_environment(deployment["tier"], deployment["code"]),
        "description": cut(_said(deployment), MAX_STATUS_DESCRIPTION),
        "log_url": deployment["console_url"],
        "auto_inactive": deployment["state"] == "live",
    }
    if deployment["url"]:
        body["environment_url"] = deployment["url"]
    return Request("POST", f"{repository_path(full_name)}/deployments/{int(number)}/statuses", body)


def github_environment(tier, code):
    """Return what an environment is called on GitHub: stage is ``staging``, prod ``production``."""
    names = {("staging", "stage"): "staging", ("production", "prod"): "production"}
    return names.get((tier, code), code)


def gate_answer(full_name, gate):
    """Return the request that opens or closes GitHub's own gate."""
    return Request(
        "POST",
        f"{repository_path(full_name)}/actions/runs/{int(gate['run'])}/deployment_protection_rule",
        {
            "environment_name": gate["environment_name"],
            "state": gate["state"],
            "comment": cut(gate["comment"], MAX_GATE_COMMENT),
        },
    )


def gate_state(deployment_state):
    """Return what a deployment's state means for the gate: approved, rejected, or None while it is open."""
    return _GATE_STATES.get(deployment_state)


def run_of_callback(url, api, full_name):
    """Return the run that asks at the gate, None for an address that is not GitHub's for this repository."""
    match = _CALLBACK.fullmatch(url.removeprefix(api)) if isinstance(url, str) and url.startswith(api) else None
    return match[2] if match and match[1].lower() == full_name.lower() else None


def marker(project, number):
    """Return the line by which our comment is found again."""
    return f"<!-- odooops {project} #{number} -->"


def find_comment(full_name, number, page):
    """Return the request that lists a pull request's comments."""
    path = f"{repository_path(full_name)}/issues/{int(number)}/comments"
    return Request("GET", path, query={"per_page": 100, "page": page})


def comment(full_name, number, comment_id, body):
    """Return the request that writes the comment, or writes it anew where ``comment_id`` is."""
    base = f"{repository_path(full_name)}/issues"
    if comment_id:
        return Request("PATCH", f"{base}/comments/{int(comment_id)}", {"body": body})
    return Request("POST", f"{base}/{int(number)}/comments", {"body": body})


def comment_body(request):
    """Return the text of a pull request's comment: risk, checks, plan and preview.

    :param dict request: project, number, risk, reasons, checks, is_fork, preview
    """
    lines = [marker(request["project"], request["number"]), "### OdooOps", ""]
    lines.append(f"**Risk:** {request['risk']}" + (f" ({text(request['reason'])})" if request["reason"] else ""))
    lines += ["", *_checks_lines(request["checks"]), *_preview_lines(request)]
    return cut("\n".join(lines).rstrip() + "\n", MAX_COMMENT)


def _checks_lines(checks):
    if not checks:
        return ["No check has reported yet.", ""]
    signs = {"success": "✅", "failure": "❌", "timed_out": "❌", "cancelled": "⚪", "skipped": "⚪", "neutral": "⚪"}
    rows = [f"| {signs.get(one['status'], '⏳')} | {text(one['name'])} | {text(one['summary'])} |" for one in checks]
    return ["| | Check | |", "|---|---|---|", *rows, ""]


def _preview_lines(request):
    if request["is_fork"]:
        return ["From a fork: nothing is deployed for it."]
    preview = request["preview"]
    if not preview:
        return ["No preview."]
    lines = [f"**Preview:** {preview['url'] or preview['environment']} ({preview['state_label'].lower()})"]
    if preview["modules"]:
        named = ", ".join(map(code, preview["modules"][:30]))
        more = f" and {len(preview['modules']) - 30} more" if len(preview["modules"]) > 30 else ""
        lines += ["", f"**Plan:** {named}{more} to update or install, {preview['migrations']} migration scripts."]
    elif preview["planned"]:
        lines += ["", "**Plan:** no module changes, the containers are switched."]
    return lines


def text(value):
    """Return ``value`` as it can stand in Markdown without meaning anything there, nor calling anybody."""
    line = " ".join(str(value or "").split())
    for sign, shown in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("@", "@\u200b"), ("#", "#\u200b")):
        line = line.replace(sign, shown)
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", line)


def code(value):
    """Return ``value`` in the type of code, where nothing but a backtick means anything."""
    return "`" + re.sub(r"[`\s]+", "", str(value or ""))[:100] + "`"


def after_failure(status, attempt, retry_after=None, remaining=None):
    """Decide on a call that failed.

    :param status: the answer's status, None when nobody answered
    :param int attempt: how many times it was tried, this one included
    :param retry_after: how many seconds GitHub asks to wait
    :param remaining: how many calls GitHub still takes in this period
    """
    limited = status in (403, 429) and (retry_after is not None or remaining == 0)
    if status is not None and status not in _RETRIED and not limited:
        return Retry(again=False)
    if attempt >= MAX_ATTEMPTS:
        return Retry(again=False)
    pause = min(_FIRST_PAUSE * 2 ** (attempt - 1), _LONGEST_PAUSE)
    return Retry(again=True, pause=max(pause, timedelta(seconds=min(retry_after or 0, 7200))))


def cut(value, limit):
    """Return ``value``, at most ``limit`` characters of it."""
    return value if len(value) <= limit else value[: limit - 1] + "…"


def _said(deployment):
    label = deployment["state_label"]
    return f"{deployment['tag']}: {label}" + (f", {deployment['error']}" if deployment["error"] else "")
