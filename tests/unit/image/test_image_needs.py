"""requirements.txt, apt.txt and external_dependencies."""

from __future__ import annotations

import pytest
from odooops_ci import addons, requirements, tree
from odooops_ci.errors import Refused


def gather(repository):
    repository.commit()
    checkout = tree.read_checkout(repository.path)
    return requirements.gather(checkout, addons.select(checkout).addons)


def test_files_at_the_root_beside_addons_and_in_submodules_of_selected_addons(repository, make_repository):
    unused = make_repository("unused")
    unused.addon("unused_addon")
    unused.write("requirements.txt", "never\n")
    unused.commit()
    repository.git("submodule", "--quiet", "add", str(unused.path), "addons/oca/repos/unused")
    oca = repository.path / "addons/oca/repos/partner-contact"
    (oca / "requirements.txt").write_text("phonenumbers\n")
    repository.git("-C", str(oca), "add", "--all")
    repository.git("-C", str(oca), "commit", "--quiet", "--message", "x")
    for folder in ("", "addons/", "addons/custom/", "addons/custom/workshop/", "docs/"):
        repository.write(f"{folder}requirements.txt", "qrcode\n")
    found = gather(repository)
    assert found.requirements == (
        "requirements.txt",
        "addons/requirements.txt",
        "addons/custom/requirements.txt",
        "addons/oca/repos/partner-contact/requirements.txt",
    )


def test_included_files_come_along(repository):
    repository.write("requirements.txt", "-r requirements/base.txt\n--constraint=addons/c.txt\n")
    repository.write("requirements/base.txt", "-r ../more.txt  # all\n")
    repository.write("more.txt", "qrcode\n")
    repository.write("addons/c.txt", "qrcode<9\n")
    found = gather(repository)
    assert found.requirements == ("requirements.txt",)
    assert set(found.files) == {"requirements.txt", "requirements/base.txt", "more.txt", "addons/c.txt"}


@pytest.mark.parametrize("name", ["../../secret.txt", "/etc/passwd", "missing.txt"])
def test_included_file_outside_the_repository(repository, name):
    repository.write("requirements.txt", f"-r {name}\n")
    with pytest.raises(Refused, match="which git does not track in this repository"):
        gather(repository)


def test_files_that_include_each_other(repository):
    repository.write("requirements.txt", "-r a.txt\n")
    repository.write("a.txt", "-r requirements.txt\n")
    assert set(gather(repository).files) == {"requirements.txt", "a.txt"}


@pytest.mark.parametrize("line", ["odoo-addon-queue-job", "odoo19-addon-queue_job==1", "  Odoo_Addon_x>=1"])
def test_addons_do_not_come_through_requirements(repository, line):
    repository.write("requirements.txt", f"{line}\n")
    with pytest.raises(Refused, match="passes no allowlist"):
        gather(repository)


def test_packages_are_merged_and_sorted(repository):
    repository.write("apt.txt", "# PDF\npoppler-utils\n\nlibxmlsec1-dev=1.2.37-2  # pinned\n")
    repository.write("addons/custom/apt.txt", "ghostscript\npoppler-utils\n")
    assert gather(repository).packages == ("ghostscript", "libxmlsec1-dev=1.2.37-2", "poppler-utils")


@pytest.mark.parametrize(
    "line", ["-o APT::Get::AllowUnauthenticated=true", "a b", "x; rm -rf /", "Foo", "$(id)", "./x.deb"]
)
def test_line_that_is_no_package(repository, line):
    repository.write("apt.txt", f"{line}\n")
    with pytest.raises(Refused, match="is no name of a Debian package"):
        gather(repository)


def test_external_dependencies_name_their_addons(repository):
    repository.addon("addons/custom/workshop", external_dependencies={"python": ["qrcode>=7"], "bin": ["pdftotext"]})
    repository.addon("addons/custom/labels", external_dependencies={"python": ["qrcode>=7"]})
    assert gather(repository).external == {
        "python": {"qrcode>=7": ["labels", "workshop"]},
        "bin": {"pdftotext": ["workshop"]},
    }
