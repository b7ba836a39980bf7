"""Which checkout a command is about, where work trees lie inside each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_dogfood.cli.main import main
from pytest_dogfood.consistency.checkouts import choose, only_checkout
from pytest_dogfood.consistency.hub.model import HubUsageError
from tests.consistency.machines import REPO, Desk, World


@pytest.fixture
def desk(world: Callable[..., World]) -> Desk:
    return world(T1="todo").desk("here")


@pytest.fixture
def linked(desk: Desk) -> Path:
    """A linked work tree inside the checkout, which the hub does not know."""
    desk.clone.git("worktree", "add", "--quiet", "trees/other")
    return desk.clone.path.resolve() / "trees/other"


def chosen(desk: Desk, here: Path, *slugs: str) -> list[str]:
    return [each.path for each in choose(desk.hub, desk.machine.id, slugs=slugs, here=here).checkouts]


def test_the_directories_of_a_checkout_belong_to_it(desk: Desk, linked: Path) -> None:
    top = desk.clone.path.resolve()
    for here in (top, top / "workplans", linked.parent, top / ".git"):
        assert chosen(desk, here) == [str(top)]


@pytest.mark.parametrize("below", ["", "workplans"])
def test_a_linked_work_tree_is_not_taken_for_the_checkout_around_it(
    desk: Desk, linked: Path, below: str
) -> None:
    with pytest.raises(HubUsageError, match=f"{linked} is a separate work tree.*register {linked}"):
        choose(desk.hub, desk.machine.id, here=linked / below)
    with pytest.raises(HubUsageError, match=f"{linked} is a separate work tree"):
        only_checkout(desk.hub, desk.machine.id, REPO, here=linked / below)


def test_another_repository_inside_a_checkout_is_not_taken_for_it(desk: Desk) -> None:
    inner = desk.clone.path.resolve() / "vendor"
    inner.mkdir()
    desk.clone.git("init", "--quiet", "vendor")
    with pytest.raises(HubUsageError, match=f"{inner} is a separate work tree"):
        choose(desk.hub, desk.machine.id, here=inner)


def test_a_linked_work_tree_that_is_registered_is_a_checkout_of_its_own(desk: Desk, linked: Path) -> None:
    root = desk.clone.out("rev-list", "--max-parents=0", "HEAD")
    desk.hub.register(linked, slug=REPO, root_commit=root, machine=desk.machine)
    assert chosen(desk, linked / "workplans") == [str(linked)]
    assert chosen(desk, linked / "workplans", REPO) == [str(linked)]
    assert chosen(desk, linked.parent, REPO) == [str(desk.clone.path.resolve())]


def test_outside_of_all_checkouts_a_name_means_all_of_them(desk: Desk, linked: Path, tmp_path: Path) -> None:
    top = str(desk.clone.path.resolve())
    assert chosen(desk, tmp_path, REPO) == chosen(desk, linked, REPO) == [top]
    assert only_checkout(desk.hub, desk.machine.id, REPO, here=tmp_path).path == top


def test_a_makefile_is_told_the_path_of_its_own_work_tree(
    desk: Desk,
    linked: Path,
    data_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    del data_directory
    top = desk.clone.path.resolve()
    other = desk.clone.path.resolve().parent / "again"
    desk.clone.git("clone", "--quiet", ".", str(other))
    assert main(["hub", "init", "--local"]) == 0
    for path in (top, other):
        assert main(["hub", "register", str(path), "--slug", REPO]) == 0
    for here, paths in ((top, [top]), (linked, [other, top])):
        monkeypatch.chdir(here)
        capsys.readouterr()
        assert main(["hub", "repos", "--path", "--slug", REPO]) == 0
        assert sorted(capsys.readouterr().out.splitlines()) == sorted(map(str, paths))
