"""The build context, the checks before it, and the argv lists for Docker."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from odooops_ci import docker, image, patterns
from odooops_ci.errors import InvalidInput, Refused


def options(repository, **more) -> image.Options:
    return image.Options(source=repository.path, repository="localhost:5000/demo", **more)


def write(repository, folder: Path, **more) -> Path:
    chosen = options(repository, **more)
    image.check(chosen)
    image.write_context(folder, chosen, image.read_repository(chosen))
    return folder


def fingerprint(folder: Path) -> dict[str, tuple[str, int, float]]:
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        status = path.stat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found[path.relative_to(folder).as_posix()] = (digest, status.st_mode, status.st_mtime)
    return found


def test_context_depends_on_the_commit_alone(repository, tmp_path):
    first = fingerprint(write(repository, tmp_path / "one"))
    for path in repository.path.rglob("*.py"):
        path.chmod(0o600)
        os.utime(path)
    mask = os.umask(0o077)
    try:
        second = write(repository, tmp_path / "two")
    finally:
        os.umask(mask)
    assert fingerprint(second) == first
    assert {path.stat().st_mode & 0o777 for path in second.rglob("*/")} == {0o755}
    assert {mode & 0o777 for _, mode, _ in first.values()} <= {0o644, 0o755}


def test_time_of_a_file_follows_its_content(repository, tmp_path):
    before = fingerprint(write(repository, tmp_path / "one"))
    repository.write("addons/custom/workshop/__init__.py", "# changed\n")
    repository.commit()
    after = fingerprint(write(repository, tmp_path / "two"))
    changed = {name for name in after if after[name][2] != before[name][2]}
    assert changed == {"custom/workshop/__init__.py", "build.json"}


def test_addons_are_sorted_by_origin_and_links_resolved(repository, tmp_path):
    folder = write(repository, tmp_path / "context")
    assert (folder / "custom/workshop/__manifest__.py").is_file()
    assert (folder / "oca/partner_firstname/__manifest__.py").is_file()
    assert (folder / "enterprise").is_dir()
    assert not [path for path in folder.rglob("*") if path.is_symlink()]


def test_build_facts(repository, tmp_path):
    facts = json.loads((write(repository, tmp_path / "context") / "build.json").read_text())
    assert facts["commit_sha"] == repository.git("rev-parse", "HEAD")
    assert facts["message"] == "first"
    assert facts["author_email"] == "t@example.com"
    assert list(facts["submodules"]) == ["addons/oca/repos/partner-contact"]
    assert facts["unselected"] == {"partner_ref": "addons/oca/repos/partner-contact/partner_ref"}


def test_ref_must_be_at_the_commit_that_is_checked_out(repository):
    repository.git("tag", "v1.0.0")
    image.read_repository(options(repository, ref="refs/tags/v1.0.0"))
    repository.commit("second")
    with pytest.raises(Refused, match=r"refs/tags/v1.0.0 is at \w{7} and \w{7} is checked out"):
        image.read_repository(options(repository, ref="refs/tags/v1.0.0"))


@pytest.mark.parametrize(
    "ref",
    ["v1.0.0", "refs/tags/v1.0.0; rm -rf /", "refs/tags/v1.0.0\n", "refs/tags/1.0", "refs/tags/v1..0", "refs/heads/",
     "refs/heads/-x", "refs/heads/a..b", "refs/pull/1/merge", "refs/tags/$(id)", ""],
)  # fmt: skip
def test_refs_that_no_release_comes_from(ref):
    with pytest.raises(InvalidInput, match="is not a ref"):
        patterns.require_ref(ref)


@pytest.mark.parametrize(
    "ref",
    ["refs/heads/main", "refs/heads/feature/x", "refs/tags/v1.4.1", "refs/tags/v19.0.1.2.0", "refs/tags/v1.4.1-rc1"],
)
def test_refs_that_a_release_comes_from(ref):
    assert patterns.require_ref(ref) == ref


@pytest.mark.parametrize(
    "wrong",
    [{"repository": "localhost:5000/demo:tag"}, {"repository": "-demo"}, {"repository": "a b"}, {"tags": ("-v1",)},
     {"tags": ("a/b",)}, {"base_image": "odoo:19.0 --x"}, {"base_image": "--privileged"}],
)  # fmt: skip
def test_names_of_images_are_checked(repository, wrong):
    given = {"source": repository.path, "repository": "demo", **wrong}
    with pytest.raises(InvalidInput):
        image.check(image.Options(**given))


def test_secrets_are_known_files(repository, tmp_path):
    with pytest.raises(Refused, match="There is no build secret 'aws'"):
        image.check(options(repository, secrets={"aws": tmp_path}))
    with pytest.raises(Refused, match="Build secret netrc"):
        image.check(options(repository, secrets={"netrc": tmp_path / "none"}))


def test_folder_for_the_context_must_be_empty(repository, tmp_path):
    (tmp_path / "context").mkdir()
    (tmp_path / "context/mine").touch()
    with pytest.raises(Refused, match="is not empty"):
        image.check(options(repository, context=tmp_path / "context"))


def test_build_is_one_argv_list(tmp_path):
    argv = docker.build(
        tmp_path, tag="demo:abc", base_image="odoo@sha256:0", secrets={"netrc": Path("/run/my netrc")},
        labels={"a": "b c"},
    )  # fmt: skip
    assert argv[1:] == [
        "build", "--progress=plain", "--tag=demo:abc", "--build-arg=BASE_IMAGE=odoo@sha256:0",
        "--secret=id=netrc,src=/run/my netrc", "--label=a=b c", str(tmp_path),
    ]  # fmt: skip


def test_only_a_registry_of_this_machine_may_be_insecure():
    assert "--insecure" in docker.remote_digest("localhost:5000/demo:1")
    assert "--insecure" not in docker.remote_digest("localhost.example.com/demo:1")


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("odoo:19.0", "odoo"),
        ("localhost:5000/odoo", "localhost:5000/odoo"),
        ("localhost:5000/a/b:1", "localhost:5000/a/b"),
        ("odoo@sha256:00", "odoo"),
    ],
)
def test_repository_of_an_image(name, repository):
    assert image.repository_of(name) == repository


def test_digest_is_taken_from_the_same_repository_only():
    facts = {"RepoDigests": ["other/demo@sha256:1", "localhost:5000/demo@sha256:2"]}
    assert image.digest_in(facts, "localhost:5000/demo") == "sha256:2"
    assert image.digest_in(facts, "odoo") is None


def test_sentences_of_a_failed_build():
    lines = [
        "#7 2.1 ODOOOPS_ERROR Addon a needs b.",
        "#7 ERROR: x",
        " > [5/6] RUN y:",
        "2.1 ODOOOPS_ERROR Addon a needs b.",
    ]
    assert image.build_errors(lines) == ["Addon a needs b."]
    assert image.build_errors(["#1 x", "ERROR: failed to solve: y", ""]) == [
        "The image can't be built: failed to solve: y."
    ]
