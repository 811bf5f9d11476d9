"""Manifests are kept by digest, whatever becomes of the image."""

from pathlib import Path

import pytest
from odooops_agent.errors import Refused
from odooops_agent.runtime.shelf import Shelf

DIGEST = f"sha256:{'a' * 64}"


def test_what_was_kept_is_found_by_the_next_agent(tmp_path: Path) -> None:
    assert Shelf(tmp_path / "shelf").find(DIGEST) is None
    Shelf(tmp_path / "shelf").keep(DIGEST, b"{}")
    assert Shelf(tmp_path / "shelf").find(DIGEST) == b"{}"
    assert Shelf(tmp_path / "shelf").find(f"sha256:{'b' * 64}") is None


def test_an_image_without_a_digest_is_not_kept(tmp_path: Path) -> None:
    Shelf(tmp_path).keep("", b"{}")
    assert list(tmp_path.iterdir()) == []


def test_a_digest_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        Shelf(tmp_path).keep("sha256:../../etc", b"{}")
