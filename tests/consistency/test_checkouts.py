"""A repository that is registered again, from another place and without its name, stays one repository."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_dogfood.cli.main import main
from pytest_dogfood.consistency.checkouts import NewCheckout, guess_repository
from pytest_dogfood.consistency.hub.model import Checkout, HubUsageError, Repo
from pytest_dogfood.consistency.hub.store import Hub
from tests.consistency.machines import plan
from tests.support.checkouts import Checkout as Clone, Farm

Known = Callable[[], list[tuple[str, str]]]


@pytest.fixture
def shop(data_directory: Path, plain_git: Farm) -> Clone:
    """A clone with one task, which a local hub knows as `shop`."""
    del data_directory
    first = plain_git.checkout("shop")
    first.commit(plan({"X-T1": "done"}))
    assert main(["hub", "init", "--local"]) == 0
    assert main(["hub", "register", str(first.path)]) == 0
    assert main(["consistency", "fix", "--all"]) == 0
    return first


@pytest.fixture
def known(data_directory: Path) -> Known:
    """Return the checkouts as the hub knows them, with their repositories."""

    def look() -> list[tuple[str, str]]:
        with Hub.open(str(data_directory / "hub.sqlite")) as hub:
            return [(each.repo, Path(each.path).name) for each in hub.checkouts()]

    return look


def test_a_clone_that_was_moved_is_recognised(
    shop: Clone, known: Known, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = shop.path.rename(shop.path.with_name("store"))
    capsys.readouterr()
    assert main(["hub", "register", str(moved)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"shop is at {moved}",
        f"{shop.path} no longer exists; if it was moved here: dogfood hub forget {shop.path}",
    ]
    assert main(["hub", "forget", str(shop.path)]) == 0
    assert known() == [("shop", "store")]
    assert main(["consistency", "check", "--all"]) == 0


def test_a_second_clone_of_another_name_is_asked_about(
    shop: Clone, known: Known, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.git("clone", "--quiet", ".", str(shop.path.with_name("again")))
    again = str(shop.path.with_name("again"))
    assert main(["hub", "register", again]) == 2
    said = capsys.readouterr().err
    assert "begins with the same commit as 'shop'" in said
    assert "add --slug shop; if it is a different repository, add --slug again" in said
    assert known() == [("shop", "shop")]
    assert main(["hub", "register", again, "--slug", "shop"]) == 0
    assert main(["hub", "register", again]) == 0
    assert known() == [("shop", "again"), ("shop", "shop")]


def test_a_fork_is_a_repository_of_its_own_where_that_is_said(shop: Clone, known: Known) -> None:
    fork = shutil.copytree(shop.path, shop.path.with_name("fork"))
    assert main(["hub", "register", str(fork), "--slug", "fork"]) == 0
    assert known() == [("fork", "fork"), ("shop", "shop")]


def test_a_linked_work_tree_is_a_checkout_of_its_repository(shop: Clone, known: Known) -> None:
    shop.git("worktree", "add", "--quiet", "../feature")
    assert main(["hub", "register", str(shop.path.with_name("feature"))]) == 0
    assert known() == [("shop", "feature"), ("shop", "shop")]


def test_a_shallow_clone_is_asked_about_where_a_checkout_is_gone(
    shop: Clone, known: Known, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.commit("more\n", "README.md")
    store = shop.path.with_name("store")
    shop.git("clone", "--quiet", "--depth=1", f"file://{shop.path}", str(store))
    shutil.rmtree(shop.path)
    assert main(["hub", "register", str(store)]) == 2
    assert "has no first commit to identify it, and may be 'shop'" in capsys.readouterr().err
    assert main(["hub", "register", str(store), "--slug", "shop"]) == 0
    assert known() == [("shop", "shop"), ("shop", "store")]


def test_a_new_repository_is_named_after_its_directory_also_where_a_checkout_is_gone(
    shop: Clone, known: Known, plain_git: Farm
) -> None:
    shutil.rmtree(shop.path)
    other = plain_git.checkout("other")
    other.commit(plan({"O-T1": "todo"}))
    assert main(["hub", "register", str(other.path)]) == 0
    assert known() == [("other", "other"), ("shop", "shop")]


def test_a_history_that_has_the_known_beginning_somewhere_is_the_same_repository(
    shop: Clone, known: Known
) -> None:
    shop.git("checkout", "--quiet", "--orphan", "pages")
    shop.git("commit", "--quiet", "--allow-empty", "--message=pages")
    shop.git("merge", "--quiet", "--allow-unrelated-histories", "--message=both", "main")
    moved = shop.path.rename(shop.path.with_name("store"))
    assert main(["hub", "register", str(moved)]) == 0
    assert known() == [("shop", "shop"), ("shop", "store")]


REPOS = (
    Repo(id="1", slug="a", root_commit="r"),
    Repo(id="2", slug="b", root_commit="r"),
    Repo(id="3", slug="c", root_commit="s"),
    Repo(id="4", slug="unknown"),
)


def at(repo: str, path: str) -> Checkout:
    return Checkout(id=path, repo=repo, machine_id="m", host="m", path=path)


@pytest.mark.parametrize(
    "name, roots, here, gone, answer",
    [
        ("b", ("r",), [], [], "b"),
        ("new", ("n",), [at("a", "/a")], ["/a"], "new"),
        ("new", ("s", "n"), [at("c", "/c")], ["/c"], "c"),
        ("new", ("n", "s"), [at("c", "/c")], ["/c"], "c"),
        ("new", ("s",), [at("c", "/c")], [], "?c"),
        ("new", ("s",), [], [], "?c"),
        ("new", ("r",), [at("a", "/a")], ["/a"], "?a?b"),
        ("new", (), [], [], "new"),
        ("new", (), [at("a", "/a")], [], "new"),
        ("new", (), [at("a", "/a"), at("c", "/c")], ["/a", "/c"], "?a?c"),
        ("a", (), [at("c", "/c")], ["/c"], "a"),
        ("new", ("n",), [at("unknown", "/u")], ["/u"], "?unknown"),
        ("a", ("s",), [at("c", "/c")], ["/c"], "c"),
        ("new", (), [at("a", "/at/new")], [], "a"),
    ],
)
def test_what_is_recognised_and_what_is_asked(
    name: str, roots: tuple[str, ...], here: list[Checkout], gone: list[str], answer: str
) -> None:
    new_checkout = NewCheckout(path=Path("/at") / name, roots=roots)
    if not answer.startswith("?"):
        assert guess_repository(new_checkout, REPOS, here, gone) == answer
        return
    with pytest.raises(HubUsageError) as asked:
        guess_repository(new_checkout, REPOS, here, gone)
    assert all(f"--slug {slug}" in str(asked.value) for slug in [*answer[1:].split("?"), name])
