"""Mask what looks like a secret before it is stored; the agent masks what it knows, before."""

import re

MASK = "********"
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_SECRETS = (
    re.compile(
        r"(?i)(\b[a-z0-9_.-]*(?:password|passwd|secret|token|api_?key|private_?key)[a-z0-9_]*"
        r"['\"]?\s*[=:]\s*['\"]?)([^\s'\",;&]+)"
    ),
    re.compile(r"(?i)(\bauthorization\s*[:=]\s*['\"]?(?:bearer|basic)\s+)([^\s'\",;]+)"),
    re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)([^\s@/]+)(?=@)"),
    re.compile(r"(\bodooops_agent_[0-9]+_)([A-Za-z0-9_-]{20,})"),
    re.compile(r"(\b(?:gh[pousr]_|github_pat_|glpat-|dop_v1_|AKIA))([A-Za-z0-9_-]{10,})"),
)
_SECRET_KEY = re.compile(r"(?i)password|passwd|secret|token|api_?key|private_?key")


def masked(text, limit=8000):
    """Return one line of ``text`` without control characters and without what looks secret."""
    line = _CONTROL.sub("?", _ANSI.sub("", text or "").rstrip("\r\n").replace("\t", "    "))
    for pattern in _SECRETS:
        line = pattern.sub(lambda match: match[1] + MASK, line)
    return line if len(line) <= limit else line[:limit] + " […]"


def masked_data(data):
    """Return JSON ``data`` with every text in it masked, and all texts under a key that names a secret."""
    if isinstance(data, str):
        return masked(data)
    if isinstance(data, list):
        return [masked_data(item) for item in data]
    if isinstance(data, dict):
        return {
            masked(key): MASK if isinstance(value, str) and _SECRET_KEY.search(key) else masked_data(value)
            for key, value in data.items()
        }
    return data
