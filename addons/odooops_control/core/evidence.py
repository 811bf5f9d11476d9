"""What proves a deployment, as one file that gives the same hash for the same facts."""

import hashlib
import json

SCHEMA = 1
# What paper takes of a log; the JSON has all that is kept.
PAPER_LINES = 120


def as_file(facts):
    """Return the facts as the bytes of a JSON file, written so that the same facts are the same bytes."""
    text = json.dumps({"odooops_evidence": SCHEMA, **facts}, indent=2, sort_keys=True, ensure_ascii=False)
    return f"{text}\n".encode()


def digest(data):
    """Return the SHA-256 that the audit log keeps of a file."""
    return hashlib.sha256(data).hexdigest()


def file_name(deployment_id, sha256, ending):
    """Return how a file of the pack is called: by the deployment and the JSON's hash."""
    return f"evidence-{deployment_id}-{sha256[:12]}.{ending}"


def tail(lines, most=PAPER_LINES):
    """Return the last lines and how many came before them."""
    return lines[-most:], max(0, len(lines) - most)


def shown_time(text):
    """Return a time of the JSON as people read it."""
    return f"{text.replace('T', ' ').rstrip('Z')} UTC" if text else "–"
