"""Where a checkout is, and what is no checkout, git says by its exit status and not in words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_dogfood.git.command import GitError
from pytest_dogfood.git.repository import Repository
from pytest_dogfood.git.work_tree import RepoState
from tests.support.checkouts import Checkout, Farm, permissions, remote_moves_on, survey


@pytest.fixture
def here(farm: Farm) -> Checkout:
    """A clone of a remote with one commit."""
    farm.origin()
    return farm.clone()


def test_a_directory_without_git_lets_only_the_hub_be_written(farm: Farm) -> None:
    (farm.root / "plain").mkdir()
    found = survey(farm.at("plain"), GIT_CEILING_DIRECTORIES=str(farm.root))
    assert found.condition.state is RepoState.NOT_A_WORK_TREE
    assert permissions(found) == (True, False)


def test_inside_a_git_directory_there_is_no_work_tree(farm: Farm) -> None:
    farm.checkout()
    assert survey(farm.at("here/.git")).condition.state is RepoState.NOT_A_WORK_TREE


def test_a_bare_repository_has_no_files(farm: Farm) -> None:
    found = survey(farm.origin())
    assert found.condition.state is RepoState.PATH_MISSING
    assert "bare" in found.condition.detail


@pytest.mark.parametrize("name", ["gone", "file"])
def test_a_path_that_is_no_directory_is_missing(farm: Farm, name: str) -> None:
    (farm.root / "file").touch()
    found = survey(farm.at(name))
    assert found.condition.state is RepoState.PATH_MISSING
    assert name in found.condition.detail
    assert permissions(found) == (False, False)


def test_a_directory_that_git_distrusts_is_not_written(here: Checkout) -> None:
    found = survey(here, GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
    assert found.condition.state is RepoState.GIT_UNUSABLE
    assert "dubious ownership" in found.condition.detail
    assert permissions(found) == (False, False)


def test_a_work_tree_whose_repository_vanished_is_not_written(farm: Farm) -> None:
    (farm.root / "lost").mkdir()
    (farm.root / "lost/.git").write_text("gitdir: /nowhere\n")
    assert survey(farm.at("lost")).condition.state is RepoState.GIT_UNUSABLE


def test_a_machine_without_git_is_not_written(here: Checkout) -> None:
    found = survey(here, PATH=str(here.path))
    assert found.condition.state is RepoState.GIT_UNUSABLE
    assert "cannot start 'git'" in found.condition.detail


@pytest.mark.parametrize("said", ["git version 2.29.9", "git version 1.9.1 (old)", "what?"])
def test_a_git_that_is_too_old_is_not_used(farm: Farm, here: Checkout, said: str) -> None:
    (farm.root / "bin").mkdir()
    git = farm.root / "bin/git"
    git.write_text(f"#!/bin/sh\necho '{said}'\n")
    git.chmod(0o755)
    found = survey(here, PATH=f"{git.parent}:{os.environ['PATH']}")
    assert found.condition.state is RepoState.GIT_UNUSABLE
    assert found.condition.detail == f"{said} is older than 2.30"


def test_a_broken_repository_is_not_written(here: Checkout) -> None:
    tip = here.head
    (here.path / ".git/objects" / tip[:2] / tip[2:]).unlink(missing_ok=True)
    for pack in (here.path / ".git/objects/pack").glob("*"):
        pack.unlink()
    found = survey(here, offline=True)
    assert found.condition.state is RepoState.GIT_UNUSABLE
    assert permissions(found) == (False, False)


def test_a_work_tree_beside_the_main_one_has_its_own_state(farm: Farm, here: Checkout) -> None:
    here.git("worktree", "add", "-q", "-b", "side", "../side", "origin/main")
    side = farm.at("side")
    here.git("bisect", "start")
    assert survey(here).condition.state is RepoState.IN_OPERATION
    found = survey(side)
    assert found.condition.state is RepoState.UP_TO_DATE
    assert side.repository().work_tree.git_dir == here.path / ".git/worktrees/side"
    assert side.repository().work_tree.common_dir == here.path / ".git"


def test_a_submodule_is_a_checkout_of_its_own(farm: Farm, here: Checkout) -> None:
    outer = farm.checkout("outer")
    outer.commit("x")
    outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(here.path), "inner")
    inner = farm.at("outer/inner")
    found = survey(inner)
    assert found.condition.state is RepoState.UP_TO_DATE
    assert (inner.repository().work_tree.top, inner.repository().work_tree.prefix) == (
        outer.path / "inner",
        "",
    )


def test_a_directory_within_a_work_tree_knows_where_it_is(here: Checkout, farm: Farm) -> None:
    within = farm.at("here/workplans")
    found = survey(within)
    assert (within.repository().work_tree.top, within.repository().work_tree.prefix) == (
        here.path,
        "workplans/",
    )
    assert found.condition.state is RepoState.UP_TO_DATE


def test_inside_a_hook_of_another_repository_it_is_still_this_one(farm: Farm, here: Checkout) -> None:
    other = farm.checkout("other")
    found = survey(here, GIT_DIR=str(other.path / ".git"), GIT_WORK_TREE=str(other.path), GIT_INDEX_FILE="x")
    assert (found.condition.state, found.head) == (RepoState.UP_TO_DATE, here.head)


def test_a_path_with_strange_characters_is_measured(farm: Farm) -> None:
    strange = farm.checkout("-a\nb *[é]\n")
    strange.commit("x")
    found = survey(strange)
    assert found.condition.state is RepoState.NO_UPSTREAM
    assert strange.repository().work_tree.top == strange.path


def test_the_first_commit_tells_one_repository_from_another(here: Checkout) -> None:
    root = here.head
    here.git("checkout", "-q", "--orphan", "other")
    other = here.commit("y")
    here.git("checkout", "-q", "main")
    here.git("merge", "-q", "--allow-unrelated-histories", "-s", "ours", "-m", "both", "other")
    assert here.repository().root_commits() == (root, other)


def test_without_a_commit_there_is_no_first_one(farm: Farm) -> None:
    assert farm.checkout().repository().root_commits() == ()


def test_a_pull_follows_the_upstream(farm: Farm, here: Checkout) -> None:
    remote_moves_on(farm)
    assert here.repository().pull().ok
    assert here.head == farm.at("first").head


def test_a_pull_that_would_have_to_merge_fails(farm: Farm, here: Checkout) -> None:
    remote_moves_on(farm)
    tip = here.commit("status: blocked\n")
    assert not here.repository().pull().ok
    assert here.head == tip


def test_where_there_is_no_work_tree_its_git_cannot_be_had(tmp_path: Path) -> None:
    with pytest.raises(GitError, match="is not a git work tree"):
        Repository(
            tmp_path, environment={**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
        ).head()
