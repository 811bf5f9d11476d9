"""The demo's story on a real stack: every chapter happened, and all that it claims is true."""

from __future__ import annotations

import pytest

from scripts.demo import closing
from scripts.setup.stack import Stack

from .conftest import Told

CHAPTERS = [
    ("agent online", None, None),
    ("image pushed", None, "main"),
    ("stage is live", "stage", None),
    ("waits for approval", "prod", "v1.0.0"),
    ("approved", "prod", "v1.0.0"),
    ("prod is live", "prod", "v1.0.0"),
    ("approved", "prod", "v1.1.0"),
    ("prod: live", "prod", "v1.1.0"),
    ("on prod only", "prod", None),
    ("approved", "prod", "v1.2.0"),
    ("prod: failed", "prod", "v1.2.0"),
    ("reverted", "prod", "v1.2.0"),
    ("rolled back", "prod", "v1.0.0"),
    ("bar lifted", "prod", "v1.1.0"),
    ("rolled back", "prod", "v1.1.0"),
]
CLAIMS = [
    "the control Odoo runs with odooops_control",
    "is enrolled and keeps beating",
    "the agent's role in PostgreSQL is no superuser",
    "the release is registered by digest",
    "the image holds the customer's workshop and OCA's partner_firstname",
    "stage took the push to main by itself",
    "v1.0.0 names the digest that stage runs",
    "workshop and partner_firstname are installed",
    "belongs to story",
    "the approver has an activity, the CI user has none",
    "CI's own approval is refused",
    "prod is green and shows its login page through Caddy",
    "the plan updates workshop from 19.0.1.0.0 to 19.0.1.1.0 and nothing else",
    "exactly workshop was updated",
    "the migration filled the orders' minutes",
    "no request failed",
    "prod still runs v1.1.0, by its digest, and is green",
    "prod's data is as before",
    "the deployment's chatter has the failure's log",
    "the preview names what would be lost",
    "the code alone can't go back",
    "prod runs v1.0.0 with its own data",
    "v1.1.0 is barred from production",
    "the rollback was rolled back",
]


def test_story_is_true(told: Told) -> None:
    assert told.summary["ok"], list(told.world.untrue())
    assert told.events("NOT TRUE") == []


@pytest.mark.parametrize(("event", "environment", "tag"), CHAPTERS)
def test_chapter_is_told(told: Told, event: str, environment: str | None, tag: str | None) -> None:
    assert told.events(event, environment, tag)


@pytest.mark.parametrize("beginning", CLAIMS)
def test_claim_was_verified(told: Told, beginning: str) -> None:
    found = {sentence: holds for sentence, holds in told.claims.items() if beginning in sentence}
    assert found, beginning
    assert all(found.values()), found


def test_no_visitor_saw_an_error(told: Told) -> None:
    assert told.summary["failed_requests"] == 0
    assert len(told.world.reports) == 3
    assert all(len(report.answers) > 50 for report in told.world.reports)


def test_file_has_the_promised_form(told: Told, stack: Stack) -> None:
    keys = {"ok", "failed_requests", "longest_wait_seconds", "setup_seconds", "story_seconds", "console_url"}
    assert told.file["summary"].keys() == keys
    assert told.file["summary"]["console_url"] == stack.console_url
    assert all(one.keys() == {"at", "event", "environment", "tag", "detail", "seconds"} for one in told.file["events"])


def test_closing_says_how_to_get_in(told: Told, stack: Stack) -> None:
    text = closing.text(told.world, told.summary, stack.admin_password)
    for needed in (
        stack.console_url,
        "admin",
        "approver",
        told.world.passwords["approver"],
        told.world.project.hosts["prod"],
    ):
        assert needed in text
