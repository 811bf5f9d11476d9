"""The files that tell Caddy where a route leads."""

from __future__ import annotations

from pathlib import Path

import pytest
from odooops_agent.errors import Permanent
from odooops_agent.targets import Targets


@pytest.fixture
def targets(tmp_path: Path) -> Targets:
    return Targets(tmp_path / "targets")


def dialled(targets: Targets, slug: str, part: str = "web") -> str:
    return (targets.root / slug / part).read_text()


def test_a_route_leads_to_nobody_until_somebody_answers(targets: Targets) -> None:
    targets.point("demo-prod", "demo-prod-r1")
    assert dialled(targets, "demo-prod") == targets.nobody
    targets.answer("demo-prod-r1", "odooops-demo-prod-web-1")
    assert dialled(targets, "demo-prod") == "odooops-demo-prod-web-1:8069"
    assert dialled(targets, "demo-prod", "websocket") == "odooops-demo-prod-web-1:8072"
    assert targets.address("demo-prod-r1") == "odooops-demo-prod-web-1:8069"


def test_a_host_answers_one_alias_only(targets: Targets) -> None:
    targets.point("demo-prod", "demo-prod-r1")
    targets.answer("demo-prod-r1", "old")
    targets.point("demo-prod", "demo-prod-r2")
    targets.answer("demo-prod-r2", "old")
    assert targets.answered_as("old") == "demo-prod-r2"
    assert targets.address("demo-prod-r1") is None


def test_pointing_keeps_who_answers_and_silencing_does_not(targets: Targets) -> None:
    targets.answer("a", "host")
    targets.point("demo-prod", "a")
    targets.point("demo-prod", "a")
    assert targets.alias_of("demo-prod") == "a"
    assert targets.address("a") == "host:8069"
    targets.silence("a")
    assert targets.address("a") is None
    assert dialled(targets, "demo-prod") == targets.nobody


def test_a_container_that_goes_leaves_a_route_that_holds(targets: Targets) -> None:
    targets.point("demo-prod", "a")
    targets.answer("a", "host")
    targets.forget("host")
    assert dialled(targets, "demo-prod") == targets.nobody
    targets.answer("b", "other")
    targets.forget("other")
    assert not (targets.root / "by-alias" / "b").exists()


def test_nothing_is_known_of_what_never_was(targets: Targets) -> None:
    assert targets.alias_of("demo-prod") is None
    assert targets.answered_as("host") is None
    assert targets.address("a") is None
    targets.forget("host")
    targets.silence("a")


def test_an_aliass_name_that_begins_like_another_is_another(targets: Targets) -> None:
    targets.answer("demo-prod-r1", "odooops-demo-prod-web-1")
    targets.answer("demo-prod-r11", "odooops-demo-prod-web-11")
    assert targets.answered_as("odooops-demo-prod-web-1") == "demo-prod-r1"


def test_a_folder_that_can_not_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Permanent, match="make it a volume"):
        Targets(tmp_path / "file").answer("a", "host")
