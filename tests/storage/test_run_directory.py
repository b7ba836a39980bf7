from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pytest_dogfood.storage.files import private_directory
from pytest_dogfood.storage.run_directory import (
    LONGEST_WORKDIR,
    RunDirectory,
    attempt_name,
    project_name,
    remove_tree,
)


def state(run: RunDirectory, number: int, worker: str) -> Path:
    return private_directory(run.state_path(number, worker))


def test_states_of_other_chains_and_other_workers_are_other_directories(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    states = {state(run, number, worker) for number in (0, 1) for worker in ("gw0", "gw1")}
    assert len(states) == 4
    assert state(run, 0, "gw0") in states


def test_a_chain_is_seen_to_have_had_a_state_elsewhere(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    old = state(run, 1, "gw0")
    assert not run.has_other_states(1, old)
    assert run.has_other_states(1, state(run, 1, "gw2"))


def test_the_state_of_chain_ten_is_not_taken_for_one_of_chain_one(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    state(run, 10, "gw0")
    assert not run.has_other_states(1, state(run, 1, "gw0"))


def test_a_working_directory_is_not_taken_for_the_state_of_a_chain(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.fresh_workdir(attempt_name("c1", "gw1", 0))
    assert not run.has_other_states(1, state(run, 1, "gw0"))


@pytest.mark.parametrize(
    "journey, name",
    [
        ("look-around", "look-around-w3-gw0"),
        ("buy[oat milk]", "buy-oat-milk-w3-gw0"),
        ("buy[a/../b]", "buy-a-..-b-w3-gw0"),
        ("..", "w3-gw0"),
        (".hidden_one", "hidden_one-w3-gw0"),
        ("the-customer-who-never-comes-back", "the-customer-who-never-co-w3-gw0"),
        ("kauf[Brötchen]", "kauf-Br-tchen-w3-gw0"),
    ],
)
def test_a_working_directory_is_called_after_its_journey(tmp_path: Path, journey: str, name: str) -> None:
    path = RunDirectory(tmp_path).fresh_workdir(attempt_name(journey, "gw0", 3))
    assert (path.parent, path.name) == (tmp_path, name)
    assert len(path.name) <= LONGEST_WORKDIR


def test_long_names_of_workers_leave_working_directories_apart() -> None:
    names = ("worker-of-the-third-machine-on-the-left", "worker-of-the-third-machine-on-the-right")
    assert len({attempt_name("a", name, number) for name in names for number in (0, 1)}) == 4


def test_the_unmasked_outputs_of_a_worker_are_told_from_those_of_others(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    own = [
        f"{attempt_name(name, 'gw1', 7)}-{mark}" for name in ("a", "ü", "x-w1-gw2-step-1") for mark in MARKS
    ]
    names = ("a", "x-w1-gw1-step-1", "x-w1-gw1", "gw1")
    others = [f"{attempt_name(name, worker, 1)}-step-1.out" for worker in ("gw11", "gw2") for name in names]
    for name in [*own, *others]:
        (run.outputs / f"{name}.raw").touch()
        (run.outputs / name).touch()
    assert {path.name for path in run.unmasked_outputs("gw1")} == {f"{name}.raw" for name in own}


MARKS = ("step-1.out", "cleanup-step-12.err", "action-3.out")


def test_everything_in_a_run_is_private(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    paths = [
        run.shared,
        run.records,
        run.outputs,
        run.plans,
        state(run, 0, "gw0"),
        run.fresh_workdir(attempt_name("a", "gw0", 0)),
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o700}


def test_two_projects_have_two_names_and_one_has_always_the_same(tmp_path: Path) -> None:
    assert project_name(tmp_path) == project_name(tmp_path / "x" / "..")
    assert project_name(tmp_path) != project_name(tmp_path / "x")


def test_a_tree_is_removed_also_where_nobody_may_write(tmp_path: Path) -> None:
    inner = tmp_path / "tree" / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    inner.chmod(0o500)
    inner.parent.chmod(0o500)
    assert remove_tree(tmp_path / "tree") == ()
    assert not (tmp_path / "tree").exists()


def test_a_tree_is_removed_however_deep(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    here = os.open(tmp_path / "tree", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("directory", dir_fd=here)
        here, above = os.open("directory", os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(here)
    assert remove_tree(tmp_path / "tree") == ()
    assert not (tmp_path / "tree").exists()


def test_what_cannot_be_removed_is_named(nobody: Path) -> None:
    (nobody / "a").mkdir()
    (nobody / "b").touch()
    nobody.parent.chmod(0o500)
    assert remove_tree(nobody) == (str(nobody),)
    assert list(nobody.iterdir()) == []
    nobody.parent.chmod(0o700)


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "treasure").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "treasure")
    remove_tree(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["treasure"]


def test_removing_what_is_not_there_does_no_harm(tmp_path: Path) -> None:
    assert remove_tree(tmp_path / "nothing") == ()
