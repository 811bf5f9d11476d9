"""A customer's image, really built: its manifest, its layers, what fails, and what secrets leave behind."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from image_tools import Build, Built, docker

from scripts.demo.sample_repository import SampleRepository
from scripts.setup import build as machine
from scripts.setup import engine


@pytest.fixture
def customer(sample: SampleRepository, tmp_path: Path) -> SampleRepository:
    """A repository of a test's own."""
    (tmp_path / "downloads").symlink_to(sample.path.parent / "downloads")
    repository = SampleRepository(tmp_path)
    repository.create()
    return repository


def in_image(image: str, *argv: str) -> str:
    return docker("run", "--rm", "--network=none", image, *argv).stdout.strip()


def layers(image: str) -> list[str]:
    return json.loads(docker("image", "inspect", "--format={{json .RootFS.Layers}}", image).stdout)


def add_to_manifest(repository: SampleRepository, **more: object) -> None:
    path = repository.path / "addons/custom/workshop/__manifest__.py"
    path.write_text(
        path.read_text().rstrip().removesuffix("}") + "".join(f"    {k!r}: {v!r},\n" for k, v in more.items()) + "}\n"
    )


def test_image_is_pushed_by_digest_with_its_manifest(first: Built, sample: SampleRepository) -> None:
    assert "@sha256:" in first.image
    manifest = json.loads(in_image(first.image, "cat", "/etc/odooops/manifest.json"))
    assert manifest == first.result["manifest"]
    assert manifest["schema"] == 1
    assert manifest["series"] == "19.0"
    assert manifest["base_image"] == "odoo:19.0"
    assert manifest["commit_sha"] == first.result["commit_sha"]
    assert list(manifest["submodules"]) == ["addons/oca/repos/partner-contact"]
    addons = manifest["addons"]
    assert {name for name, addon in addons.items() if addon["origin"] != "odoo"} == {"workshop", "partner_firstname"}
    assert addons["workshop"]["version"] == "19.0.1.0.0"
    assert addons["workshop"]["depends"] == ["mail"]
    assert len(addons["workshop"]["hash"]) == 64
    assert addons["partner_firstname"]["origin"] == "oca"
    assert "fr" in addons["partner_firstname"]["i18n"]
    assert addons["sale"]["origin"] == "odoo"
    assert addons["sale"]["hash"] is None
    assert addons["sale"]["version"].startswith("19.0.")
    for path in manifest["addons_paths"]:
        assert in_image(first.image, "ls", path)


def test_image_runs_odoo_as_the_pinned_user(first: Built) -> None:
    assert in_image(first.image, "id", "-u") == "10019"
    assert in_image(first.image, "id", "-g") == "10019"
    assert in_image(first.image, "odoo", "--version").startswith("Odoo Server 19.0")
    assert in_image(first.image, "odooops-python", "-c", "import odoo.release; print(odoo.release.series)") == "19.0"
    helpers = in_image(first.image, "ls", "/usr/local/lib/odooops").split()
    assert {"healthy.py", "update.py", "warm.py"} <= set(helpers)
    facts = json.loads(docker("image", "inspect", "--format={{json .Config}}", first.image).stdout)
    assert not facts["Entrypoint"]
    assert facts["Cmd"] == ["odoo", "-c", "/etc/odoo/odoo.conf"]


def test_addons_are_compiled_and_belong_to_root(first: Built) -> None:
    listing = in_image(first.image, "find", "/opt/odoo/addons", "-user", "root", "-name", "*.pyc")
    assert "/opt/odoo/addons/custom/workshop/models/__pycache__/workshop_order" in listing
    assert not in_image(first.image, "find", "/opt/odoo/addons", "-writable")


def test_same_commit_again_is_the_same_digest(first: Built, sample: SampleRepository, run_build: Build) -> None:
    again = run_build(sample.path, "--ref=refs/tags/v1.0.0", "--tag=stable")
    assert again.image == first.image
    assert again.result["reused"] is True
    repository, _, digest = first.image.partition("@")
    assert docker("pull", f"{repository}:stable").stdout.splitlines()[1] == f"Digest: {digest}"


def test_change_of_a_custom_addon_rebuilds_two_layers(
    first: Built, customer: SampleRepository, run_build: Build, record_property
) -> None:
    assert run_build(customer.path).image == first.image  # the same commit, from another checkout
    customer.change_model()
    changed = run_build(customer.path, "--ref=refs/tags/v1.1.0")
    before, after = layers(first.image), layers(changed.image)
    assert before[:-2] == after[:-2]
    assert before[-2] != after[-2]
    was, now = (built.result["manifest"]["addons"] for built in (first, changed))
    assert [name for name in now if now[name] != was.get(name)] == ["workshop"]
    assert now["workshop"]["migrations"] == ["19.0.1.1.0/post-fill_minutes.py"]
    record_property("rebuild_seconds", changed.result["seconds"])
    print(f"rebuild, push and manifest after a change of one addon: {changed.result['seconds']} s")


def test_static_change_leaves_every_hash(first: Built, customer: SampleRepository, run_build: Build) -> None:
    customer.change_static()
    changed = run_build(customer.path)
    assert changed.result["manifest"]["addons"] == first.result["manifest"]["addons"]


def test_missing_program_fails_and_names_its_addon(customer: SampleRepository, run_build: Build) -> None:
    add_to_manifest(customer, external_dependencies={"bin": ["pdftotext-of-nobody"]})
    customer.commit("needs a program")
    built = run_build(customer.path)
    assert built.code == 1
    assert built.errors.rstrip().splitlines()[-1] == (
        "Addon workshop needs the program 'pdftotext-of-nobody', which is not in the image: "
        "add the Debian package that has it to apt.txt."
    )


def test_missing_python_package_fails_and_names_its_addon(
    customer: SampleRepository, run_build: Build, tmp_path: Path
) -> None:
    add_to_manifest(customer, external_dependencies={"python": ["odooops-nobody-has-this"]})
    customer.commit("needs a package")
    (tmp_path / "pip.conf").write_text("[global]\nno-index = true\n")
    built = run_build(customer.path, secrets={"pip_conf": tmp_path / "pip.conf"})
    assert built.code == 1
    last = built.errors.rstrip().splitlines()[-1]
    assert last.startswith("Addon workshop: Python package 'odooops-nobody-has-this' can't be installed: ")


def test_dependency_that_is_nowhere_fails_and_names_its_addon(customer: SampleRepository, run_build: Build) -> None:
    add_to_manifest(customer, depends=["mail", "workshop_pro"])
    customer.commit("depends on nothing")
    built = run_build(customer.path)
    assert built.code == 1
    assert (
        "Addon workshop depends on workshop_pro, which is neither in the repository nor in odoo:19.0." in built.errors
    )


def test_requirements_that_can_not_be_installed(customer: SampleRepository, run_build: Build, tmp_path: Path) -> None:
    (customer.path / "requirements.txt").write_text("odooops-nobody-has-this==1\n")
    customer.commit("requires nothing")
    (tmp_path / "pip.conf").write_text("[global]\nno-index = true\n")
    built = run_build(customer.path, secrets={"pip_conf": tmp_path / "pip.conf"})
    assert built.code == 1
    assert built.errors.rstrip().splitlines()[-1].startswith("The requirements (requirements.txt) can't be installed: ")


def test_dependencies_are_installed_and_secrets_leave_no_trace(
    customer: SampleRepository, run_build: Build, tmp_path: Path
) -> None:
    add_to_manifest(customer, external_dependencies={"python": ["python-slugify"], "bin": ["hello"]})
    (customer.path / "requirements.txt").write_text("iniconfig==2.3.1\n")
    (customer.path / "apt.txt").write_text("hello\n")
    customer.commit("needs things")
    given = machine.secret_files()
    secrets = {
        "netrc": "machine wheels.example.invalid login ci password odooops-marker-netrc\n",
        "apt_auth": "machine debs.example.invalid login ci password odooops-marker-apt\n",
        "pip_conf": given["pip_conf"].read_text()
        + "extra-index-url = https://ci:odooops-marker-pip@localhost:9/simple\nretries = 0\n",
    }
    for name, text in secrets.items():
        (tmp_path / name).write_text(text)
    built = run_build(customer.path, secrets={name: tmp_path / name for name in secrets}, project="secrets")
    assert in_image(built.image, "hello")
    assert in_image(built.image, "odooops-python", "-c", "import iniconfig, slugify; print('there')") == "there"
    assert "odooops-marker" not in docker("history", "--no-trunc", built.image).stdout
    assert not find_in_image(built.image, b"odooops-marker")
    assert not in_image(built.image, "find", "/run/secrets", "/build", "-type", "f")


def find_in_image(image: str, marker: bytes) -> bool:
    """Search all layers and the configuration of an image, as Docker exports them."""
    with subprocess.Popen([engine.client(), "save", image], stdout=subprocess.PIPE) as process:
        tail = b""
        while chunk := process.stdout.read(1 << 22):
            if marker in tail + chunk:
                process.kill()
                return True
            tail = chunk[-len(marker) :]
    return False
