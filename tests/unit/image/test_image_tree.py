"""What git tracks, and where links may lead."""

from __future__ import annotations

import pytest
from odooops_ci import addons, tree
from odooops_ci.errors import Refused


def refused(repository, **options) -> str:
    with pytest.raises(Refused) as caught:
        addons.select(tree.read_checkout(repository.path, **options))
    return str(caught.value)


def test_submodules_are_read_with_their_commits(repository):
    read = tree.read_checkout(repository.path)
    assert "addons/oca/repos/partner-contact/partner_ref/__manifest__.py" in read.files
    commit = repository.git("-C", "addons/oca/repos/partner-contact", "rev-parse", "HEAD")
    assert read.submodules == {"addons/oca/repos/partner-contact": commit}


def test_uncommitted_change_is_refused_unless_allowed(repository):
    repository.write("addons/custom/workshop/models.py", "x = 1")
    assert "changes that are not committed (addons/custom/workshop/" in refused(repository)
    read = tree.read_checkout(repository.path, allow_dirty=True)
    assert "addons/custom/workshop/models.py" in read.files


def test_change_inside_a_submodule_is_refused(repository):
    repository.write("addons/oca/repos/partner-contact/partner_firstname/__init__.py", "x = 1")
    assert "not committed (addons/oca/repos/partner-contact)" in refused(repository)


def test_submodule_at_another_commit_is_refused(repository):
    repository.git("-C", "addons/oca/repos/partner-contact", "commit", "--quiet", "--allow-empty", "--message", "x")
    assert "not committed (addons/oca/repos/partner-contact)" in refused(repository)


def test_deleted_file_of_a_dirty_tree_is_gone(repository):
    (repository.path / "addons/custom/workshop/__init__.py").unlink()
    read = tree.read_checkout(repository.path, allow_dirty=True)
    assert "addons/custom/workshop/__init__.py" not in read.files


def test_submodule_that_is_not_initialised(repository):
    repository.git("submodule", "--quiet", "deinit", "--force", "--all")
    assert refused(repository) == (
        "Submodule addons/oca/repos/partner-contact is not initialised: run git submodule update --init --recursive."
    )


def test_ignored_files_stay_out(repository):
    repository.write(".gitignore", "*.secret\n")
    repository.commit()
    repository.write("addons/custom/workshop/key.secret", "s")
    assert not [path for path in tree.read_checkout(repository.path).files if path.endswith(".secret")]


def test_folder_that_is_no_checkout(tmp_path):
    with pytest.raises(Refused, match="is not the root of a git checkout"):
        tree.read_checkout(tmp_path)


@pytest.mark.parametrize("target", ["/etc", "../../../..", "../../../partner-contact/partner_ref"])
def test_link_out_of_the_repository(repository, target):
    repository.link("addons/custom/escape", target)
    repository.commit()
    assert refused(repository) == "The link addons/custom/escape leads out of the repository: link what is in it."


def test_link_that_leads_nowhere_or_round(repository):
    repository.link("addons/custom/gone", "nothing")
    repository.link("addons/custom/one", "two")
    repository.link("addons/custom/two", "one")
    repository.commit()
    message = refused(repository)
    assert "The link addons/custom/gone leads nowhere" in message
    assert "The link addons/custom/one leads round in circles" in message


@pytest.mark.parametrize("target", ["../../.git", "../../.git/config", "../../ignored"])
def test_link_to_what_git_does_not_track(repository, target):
    repository.write(".gitignore", "ignored/\n")
    repository.write("ignored/shop/__manifest__.py", "{}")
    repository.link("addons/custom/shop", target)
    repository.commit()
    assert "which git does not track" in refused(repository)


def expand(repository, folder):
    return tree.read_checkout(repository.path).expand(folder)


def test_links_inside_an_addon_are_followed(repository):
    repository.write("shared/logo.svg", "<svg/>")
    repository.write("shared/css/shop.css", "a{}")
    repository.link("addons/custom/workshop/logo.svg", "../../../shared/logo.svg")
    repository.link("addons/custom/workshop/css", "../../../shared/css")
    repository.commit()
    files = expand(repository, "addons/custom/workshop")
    assert files["logo.svg"] == repository.path / "shared/logo.svg"
    assert files["css/shop.css"] == repository.path / "shared/css/shop.css"


def test_link_inside_an_addon_out_of_the_repository(repository):
    repository.link("addons/custom/workshop/passwd", "/etc/passwd")
    repository.commit()
    with pytest.raises(Refused, match="workshop/passwd leads out of the repository"):
        expand(repository, "addons/custom/workshop")


@pytest.mark.parametrize("target", [".", "..", "../workshop"])
def test_link_inside_an_addon_to_a_folder_above(repository, target):
    repository.link("addons/custom/workshop/static", target)
    repository.commit()
    with pytest.raises(Refused, match="round in circles"):
        expand(repository, "addons/custom/workshop")
