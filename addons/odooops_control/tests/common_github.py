import hashlib
import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from .. import secret_files
from ..core import github_signature
from .common import SHA_A, SHA_B, fixtures_folder

SECRET = "webhook-secret-of-the-tests"
REPOSITORY = {"id": 4711, "full_name": "acme/demo", "owner": {"id": 11}}
NO_COMMIT = "0" * 40


def examples():
    """Return GitHub's own examples of payloads."""
    return json.loads((fixtures_folder().parent / "github" / "payloads.json").read_text())


@contextmanager
def secret_folder(**secrets):
    """Lend a folder of secrets; ``__`` in a name stands for the dot after a project."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {secret_files.VARIABLE: folder}):
        for name, text in secrets.items():
            (Path(folder) / name.replace("__", ".")).write_text(text)
        yield Path(folder)


def push(ref="refs/heads/main", before=SHA_A, after=SHA_B, **values):
    """Return the payload of a push to the tests' repository."""
    return {
        "ref": ref,
        "before": before,
        "after": after,
        "repository": REPOSITORY,
        "sender": {"login": "mona"},
        **values,
    }


class GithubSetup:
    """What tests of GitHub's deliveries share."""

    def _lend_secrets(self, **secrets):
        self.enterContext(secret_folder(**(secrets or {"webhook_secret": SECRET})))

    def _delivered(self, kind, payload, signed_for=""):
        """Take a delivery in and process it; return its event."""
        text = json.dumps([kind, payload, self.env["odooops.event"].search_count([])])
        delivery = hashlib.sha256(text.encode()).hexdigest()[:32]
        self.env["odooops.event"]._take_in(delivery, kind, signed_for, payload)
        event = self.env["odooops.event"].search([("delivery_id", "=", delivery)])
        if event.state == "received":
            event._process()
        return event

    def _headers(self, body, kind="push", delivery="d-1", secret=SECRET, **headers):
        found = {
            "Content-Type": "application/json",
            "X-GitHub-Event": kind,
            "X-GitHub-Delivery": delivery,
            "X-Hub-Signature-256": github_signature.signature(secret, body),
            **headers,
        }
        return {name: value for name, value in found.items() if value is not None}
