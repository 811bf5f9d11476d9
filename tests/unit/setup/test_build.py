"""What goes into a build, and when an image is built anew."""

from scripts.setup import build
from scripts.setup.build import fingerprint, pip_settings

HOST = """:env:.cert='/etc/ssl/certs/own.crt'
:env:.find-links='/srv/wheels'
global.extra-index-url='file:///opt/one/simple file:///opt/two/simple'
global.index-url='https://user:word@mirror.example/simple'
install.trusted-host='mirror.example'
"""


def test_pip_settings_keep_the_index_and_take_the_bundle_of_the_secret():
    assert pip_settings(HOST, with_bundle=True).splitlines() == [
        "[global]",
        "cert = /run/secrets/ca_bundle",
        "index-url = https://user:word@mirror.example/simple",
        "trusted-host = mirror.example",
    ]


def test_pip_settings_drop_what_only_this_host_has_but_keep_the_rest_of_the_list():
    mixed = "global.extra-index-url='file:///opt/one/simple https://two.example/simple'\n"
    assert pip_settings(mixed, with_bundle=False) == "[global]\nextra-index-url = https://two.example/simple\n"


def test_pip_settings_of_a_machine_without_any():
    assert pip_settings("", with_bundle=False) == "[global]\n"


def test_fingerprint_follows_contents_names_and_words(tmp_path):
    (tmp_path / "a").write_text("one")
    first = fingerprint(tmp_path, "word")
    assert fingerprint(tmp_path, "word") == first
    assert fingerprint(tmp_path, "other") != first
    (tmp_path / "a").write_text("two")
    changed = fingerprint(tmp_path, "word")
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, changed, fingerprint(tmp_path, "word")}) == 3


def test_fingerprint_sees_that_a_script_became_executable(tmp_path):
    script = tmp_path / "run.sh"
    script.write_text("")
    before = fingerprint(tmp_path)
    script.chmod(0o755)
    assert fingerprint(tmp_path) != before


def test_fingerprint_is_blind_to_what_tools_leave_behind(tmp_path):
    before = fingerprint(tmp_path)
    for name in build._IGNORED:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("")
    assert fingerprint(tmp_path) == before
