import json
from pathlib import Path

import pytest
from core import protocol

FIXTURES = Path(__file__).resolve().parents[3] / "tests/contract/fixtures"
CLASSES = {
    "lease_request": protocol.LeaseRequest,
    "heartbeat_request": protocol.Heartbeat,
    "steps_request": protocol.Steps,
    "logs_request": protocol.Logs,
    "finish_request": protocol.Finish,
    "mails_request": protocol.Mails,
    "upload_request": protocol.Upload,
}
REQUESTS = sorted(FIXTURES.glob("*_request*.json"))


def test_fixtures_are_there():
    assert len(REQUESTS) >= 9


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.stem)
def test_requests_are_understood(path):
    [message_class] = {cls for name, cls in CLASSES.items() if path.stem.startswith(name)}
    message_class.from_json({**json.loads(path.read_text()), "unknown": 1})


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.stem)
def test_any_field_of_another_type_is_refused_or_ignored(path):
    """Nothing but a BadMessage may come out, whatever stands in a field."""
    [message_class] = {cls for name, cls in CLASSES.items() if path.stem.startswith(name)}
    message = json.loads(path.read_text())
    for name in message:
        for value in (None, True, -1, 10**30, "x", [], [1], {}, {"x": []}, 1.5):
            try:
                message_class.from_json({**message, name: value})
            except protocol.BadMessage as error:
                assert "\n" not in str(error)  # noqa: PT017


def test_times():
    assert protocol.show_time(protocol.take_time({"at": "2026-01-02T03:04:05.678Z"}, "at")) == "2026-01-02T03:04:05Z"
    assert protocol.show_time(protocol.take_time({"at": "2026-01-02T03:04:05+02:00"}, "at")) == "2026-01-02T01:04:05Z"
    assert protocol.take_time({}, "at", None) is None
    for bad in ("yesterday", "", "2026-13-01T00:00:00Z", "9999-12-31T23:59:59-23:59"):
        with pytest.raises(protocol.BadMessage):
            protocol.take_time({"at": bad}, "at")


def test_scrubbed():
    assert protocol.scrubbed({"a\x00": ["b\x00", {"c": "\ud800"}], "n": 1}) == {"a?": ["b?", {"c": "?"}], "n": 1}
