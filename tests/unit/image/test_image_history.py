"""The commits before a build, by which the console knows what contains a release that was rolled back."""

from __future__ import annotations

import subprocess

import pytest
from odooops_ci import git
from odooops_ci.errors import Refused


def test_newest_first_without_the_build_s_own(repository):
    first = repository.git("rev-parse", "HEAD")
    second = repository.commit("second")
    third = repository.commit("third")
    assert git.ancestors(repository.path) == [second, first]
    assert third not in git.ancestors(repository.path)


def test_both_sides_of_a_merge(repository):
    base = repository.git("rev-parse", "HEAD")
    repository.git("switch", "--quiet", "--create", "fix")
    fix = repository.commit("fix")
    repository.git("switch", "--quiet", "main")
    other = repository.commit("other")
    repository.git("merge", "--quiet", "--no-ff", "--message", "merge", "fix")
    assert set(git.ancestors(repository.path)) == {base, fix, other}


def test_the_first_commit_has_none(make_repository):
    repository = make_repository("new")
    repository.commit("first")
    assert git.ancestors(repository.path) == []


def test_they_are_bounded(repository, monkeypatch):
    commits = [repository.commit(f"commit {number}") for number in range(4)]
    monkeypatch.setattr(git, "MAX_ANCESTORS", 2)
    assert git.ancestors(repository.path) == [commits[2], commits[1]]


def test_a_shallow_clone_does_not_know(repository, tmp_path):
    repository.commit("second")
    shallow = tmp_path / "shallow"
    source = f"file://{repository.path}"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", source, str(shallow)], check=True)
    assert git.ancestors(shallow) is None


def test_what_is_no_repository(tmp_path):
    with pytest.raises(Refused):
        git.ancestors(tmp_path)
