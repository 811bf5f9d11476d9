"""What is read from the machine's apt and from the lock files."""

from scripts.setup import apt, base_images

TARGETS = """http://mirror.example/debian/|bookworm|main
http://mirror.example/debian/|bookworm|main
http://mirror.example/debian-security/|bookworm-security|main
not a target
"""


def test_sources_are_read_once_each():
    assert [(source.suite, source.component) for source in apt.parse_targets(TARGETS)] == [
        ("bookworm", "main"),
        ("bookworm-security", "main"),
    ]


def test_a_source_is_checked_with_debians_key():
    line = apt.Source("http://mirror.example/debian/", "sid", "main").line()
    assert line == f"deb [signed-by={apt.KEYRING}] http://mirror.example/debian/ sid main"


def test_every_package_of_a_stand_in_is_locked_with_a_checksum():
    locked = apt.parse_lock(apt.LOCK.read_text())
    wanted = {name for names in base_images.DEBS.values() for name in names} | {"docker-compose"}
    assert wanted == set(locked)
    assert all(len(package.sha256) == 64 for package in locked.values())


def test_every_base_image_is_listed_where_versions_are_pinned():
    official = set(base_images.ALL) - {base_images.POSTGRES_FROM_DEBIAN}
    assert set(base_images.pinned(base_images.LOCK.read_text())) == official


def test_a_dash_is_no_digest():
    assert base_images.pinned("# note\na:1 -\nb:2 sha256:0f\n") == {"a:1": "", "b:2": "sha256:0f"}
