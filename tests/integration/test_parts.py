"""What the tests choose to test with."""

from __future__ import annotations

from pathlib import Path

import pytest
from parts.postgres import packaged


@pytest.mark.parametrize(
    ("installed", "chosen"),
    [(["15", "18"], "15"), (["16"], "16"), (["9.6", "14", "16", "17"], "16"), ([], "15")],
    ids=["Debian 12 with a newer one", "Ubuntu 24.04", "older ones beside", "none: the failure names the oldest"],
)
def test_the_oldest_packaged_postgresql_that_odoo_is_supported_on(
    tmp_path: Path, installed: list[str], chosen: str
) -> None:
    for version in installed:
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "initdb").touch()
    assert packaged(tmp_path) == chosen
