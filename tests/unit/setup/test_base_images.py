"""Which official images are taken."""

from scripts.setup import base_images

FIRST, SECOND = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def test_the_lock_names_every_official_image_and_pins_caddy_by_its_full_version():
    names = base_images.pinned(base_images.LOCK.read_text())
    assert set(names) == set(base_images.ALL) - {base_images.POSTGRES_FROM_DEBIAN}
    assert tuple(map(int, base_images.CADDY.partition(":")[2].split("."))) >= (2, 11, 2)


def test_a_tag_that_stands_for_another_image_than_before_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(base_images, "PULLED", tmp_path / "images.json")
    first = [f"mirror.test/odoo@{SECOND}", f"odoo@{FIRST}"]
    assert base_images.remember("odoo:19.0", first) == ""
    assert base_images.remember("registry:2", [f"registry@{SECOND}"]) == ""
    assert base_images.remember("odoo:19.0", first) == ""
    told = base_images.remember("odoo:19.0", [f"odoo@{SECOND}"])
    assert FIRST in told
    assert SECOND in told
    assert "images.lock" in told
    assert base_images.remember("odoo:19.0", [f"odoo@{SECOND}"]) == ""


def test_an_image_without_a_digest_changes_nothing_that_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(base_images, "PULLED", tmp_path / "images.json")
    base_images.remember("odoo:19.0", [f"odoo@{FIRST}"])
    assert base_images.remember("odoo:19.0", []) == ""
    assert FIRST in base_images.remember("odoo:19.0", [f"odoo@{SECOND}"])
