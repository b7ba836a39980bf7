from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.execution.masking import SecretKeeper
from pytest_dogfood.storage.files import private_directory
from pytest_dogfood.storage.retention import (
    KEPT_RUNS,
    RunLease,
    checked_root,
    clear_leftovers,
    default_root,
    held_run,
    mask_kept,
)
from pytest_dogfood.storage.run_directory import RunDirectory, read_unmasked

PROJECT = "12345678"


def state(run: RunDirectory, number: int, worker: str) -> Path:
    return private_directory(run.state_path(number, worker))


def left_behind(root: Path, name: str) -> Path:
    """Make what a run leaves that died: its lock file, which nobody holds, and its directory."""
    path = root / name
    (path / "c0-gw0").mkdir(parents=True)
    (root / f"{PROJECT}.{name}.lock").touch()
    return path


def left_in(root: Path) -> list[str]:
    """Name what is left but for the project's own lock, which runs take turns with."""
    return sorted(path.name for path in root.iterdir() if path.name != f"{PROJECT}.lock")


def test_a_run_that_keeps_nothing_leaves_nothing(tmp_path: Path) -> None:
    lease = RunLease(tmp_path, PROJECT)
    (state(lease.directory, 0, "main") / "file").touch()
    assert lease.close(keep=()) == ()
    assert left_in(tmp_path) == []


def test_a_run_keeps_what_it_is_told_to_and_nothing_else(tmp_path: Path) -> None:
    lease = RunLease(tmp_path, PROJECT)
    kept, gone = state(lease.directory, 0, "main"), state(lease.directory, 1, "main")
    lease.close(keep=[kept])
    assert kept.is_dir()
    assert not gone.exists()


def test_what_a_dead_run_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    dead = left_behind(tmp_path, "aaaaaa")
    RunLease(tmp_path, PROJECT).close(keep=())
    assert not dead.exists()
    assert left_in(tmp_path) == []


def test_a_live_run_is_left_alone(tmp_path: Path) -> None:
    live = RunLease(tmp_path, PROJECT)
    clear_leftovers(tmp_path, PROJECT)
    assert live.directory.path.is_dir()
    live.close(keep=())


def test_what_another_project_left_is_none_of_our_business(tmp_path: Path) -> None:
    dead = left_behind(tmp_path, "aaaaaa")
    clear_leftovers(tmp_path, "other")
    assert dead.is_dir()


def test_only_the_newest_kept_runs_stay(tmp_path: Path) -> None:
    paths = []
    for _ in range(KEPT_RUNS + 2):
        lease = RunLease(tmp_path, PROJECT)
        lease.close(keep=[state(lease.directory, 0, "main")])
        paths.append(lease.directory.path)
    clear_leftovers(tmp_path, PROJECT)
    assert [path.exists() for path in paths] == [False] * 2 + [True] * KEPT_RUNS


def test_a_run_that_is_held_is_not_removed_by_others(tmp_path: Path) -> None:
    def kept() -> Path:
        lease = RunLease(tmp_path, PROJECT)
        lease.close(keep=[state(lease.directory, 0, "main")])
        return lease.directory.path

    held = kept()
    with held_run(held):
        for _ in range(KEPT_RUNS + 1):
            kept()
        assert held.is_dir()
    clear_leftovers(tmp_path, PROJECT)
    assert not held.exists()


def test_a_run_that_is_under_way_or_was_killed_is_not_held(tmp_path: Path) -> None:
    lease = RunLease(tmp_path, PROJECT)
    with (
        pytest.raises(HarnessError, match="is still under way: wait for its end"),
        held_run(lease.directory.path),
    ):
        pass
    with (
        pytest.raises(HarnessError, match="was killed before the secrets in its files could be masked"),
        held_run(left_behind(tmp_path, "aaaaaa")),
    ):
        pass
    lease.close(keep=())


def test_what_may_hold_a_secret_after_masking_is_written_down(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    (tmp_path / "c0-main" / "abc-s3cret").mkdir(parents=True)
    (tmp_path / "c0-main" / "link").symlink_to("to/s3cret")
    (tmp_path / "c0-main" / "file").write_text("it is s3cret")
    mask_kept(run, [tmp_path / "c0-main"], SecretKeeper(["s3cret"]))
    assert (tmp_path / "c0-main" / "file").read_text() == "it is ***"
    assert read_unmasked(tmp_path) == {
        "c0-main/abc-s3cret": ("c0-main/abc-***", "its name contains a secret value"),
        "c0-main/link": ("c0-main/link", "the path that it links to contains a secret value"),
    }


def test_a_root_whose_states_would_be_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"at most 60 leave room for a socket.*\[state-path-too-long\]"):
        checked_root(tmp_path / ("x" * 60))


def test_the_default_root_is_short_enough_also_where_the_temporary_directory_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deep = tmp_path / ("x" * 80)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    assert len(str(default_root() / "ffffff" / "c99999-gw99")) <= 60
