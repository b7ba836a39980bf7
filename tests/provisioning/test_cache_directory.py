"""The cache on disk: several processes, killed ones, its limit, and who may write to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from pytest_dogfood.journey import Token
from pytest_dogfood.outcomes import Proof
from pytest_dogfood.provisioning.state_cache import (
    CachedToken,
    Entry,
    StateCache,
    UnusableCacheError,
    cache_directory,
    placeholder,
    used_ago,
)
from pytest_dogfood.settings import Settings
from pytest_dogfood.storage.run_directory import project_name
from pytest_dogfood.storage.state_copy import NotCopyableError

Eventually = Callable[[Callable[[], bool]], bool]

MUCH = 10**9


def entry(key: str = "one") -> Entry:
    token = CachedToken(token=Token("built"), by="provision", proof=Proof.PROBE, values={})
    return Entry(key=key, tokens=(token,), made=1.0, seconds=2.0, files=0, bytes=0)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "c0-main"
    path.mkdir()
    (path / "where").write_text(f"{path}\n")
    return path


@pytest.fixture
def cache(tmp_path: Path) -> StateCache:
    return StateCache(tmp_path / "cache" / "project", limit=MUCH)


def store(cache: StateCache, state: Path, key: str = "one") -> Entry:
    return cache.store(state, entry(key), limit=MUCH, users=None)


def test_a_state_comes_back_under_another_path(cache: StateCache, state: Path) -> None:
    store(cache, state)
    target = state.with_name("c1-gw11")
    found = cache.entry("one")
    assert found is not None
    cache.restore(found, target)
    assert (target / "where").read_text() == f"{target}\n"


def test_the_path_of_no_run_is_in_the_cache(cache: StateCache, state: Path) -> None:
    store(cache, state)
    text = (cache.directory / "one" / "state" / "where").read_text()
    assert text == f"{placeholder(str(state))}\n"
    assert len(text) == len(f"{state}\n")


def test_a_state_that_is_there_already_is_not_stored_again(cache: StateCache, state: Path) -> None:
    first = store(cache, state)
    (state / "more").touch()
    assert store(cache, state) == first
    assert first.files == 1


def test_an_entry_that_cannot_be_read_is_replaced(cache: StateCache, state: Path) -> None:
    store(cache, state)
    (cache.directory / "one" / "entry.json").write_text("{")
    assert cache.entry("one") is None
    assert cache.entries() == []
    store(cache, state)
    assert cache.entry("one") is not None


def test_what_was_not_used_for_the_longest_time_makes_room(tmp_path: Path, state: Path) -> None:
    (state / "where").write_bytes(b"x" * 1000)
    cache = StateCache(tmp_path / "cache", limit=2500)
    for number, key in enumerate(("one", "two")):
        store(cache, state, key)
        os.utime(cache.directory / key / "entry.json", (number, number))
    found = cache.entry("one")
    assert found is not None
    cache.restore(found, tmp_path / "c1-main")
    store(cache, state, "three")
    assert [one.key for one, _ in cache.entries()] == ["three", "one"]


def test_what_is_larger_than_all_is_refused(tmp_path: Path, state: Path) -> None:
    (state / "where").write_bytes(b"x" * 1000)
    cache = StateCache(tmp_path / "cache", limit=999)
    with pytest.raises(NotCopyableError, match="more than 999 bytes"):
        store(cache, state)
    assert [path.name for path in cache.directory.iterdir()] == ["locks"]


def test_clearing_removes_all(cache: StateCache, state: Path) -> None:
    store(cache, state, "one")
    store(cache, state, "two")
    (cache.directory / "new-three").mkdir()
    (cache.directory / "gone-four").mkdir()
    assert cache.clear() == 2
    assert [path.name for path in cache.directory.iterdir()] == ["locks"]


def test_an_entry_that_changes_while_it_is_copied_is_not_used(cache: StateCache, state: Path) -> None:
    found = store(cache, state)
    with pytest.raises(NotCopyableError, match="not as it was stored"):
        cache.restore(replace(found, files=7), state.with_name("c1-main"))
    assert not state.with_name("c1-main").exists()


CHILD = """
import os, signal, sys
from pathlib import Path
from pytest_dogfood.provisioning.state_cache import StateCache
from pytest_dogfood.storage.file_copy import FileCopier
from tests.provisioning.test_cache_directory import store
copied, copy = [], FileCopier.copy
def copy_some(*arguments):
    copied.append(1)
    if len(copied) == 20:
        os.kill(os.getpid(), signal.SIGKILL)
    copy(*arguments)
FileCopier.copy = copy_some
cache, what, path = StateCache(Path(sys.argv[1]), limit=10**9), sys.argv[2], Path(sys.argv[3])
if what == "store":
    store(cache, path)
else:
    cache.restore(cache.entry("one"), path)
"""


def kill_in_the_middle(cache: StateCache, what: str, path: Path) -> None:
    """Let a process store or restore a state, and die in the middle of it."""
    command = [sys.executable, "-c", CHILD, str(cache.directory), what, str(path)]
    assert subprocess.run(command, check=False, timeout=120).returncode == -signal.SIGKILL


@pytest.fixture
def many_files(state: Path) -> Path:
    for number in range(40):
        (state / f"{number}").write_text(f"{state}\n")
    return state


def test_what_a_killed_process_has_half_stored_is_not_used(cache: StateCache, many_files: Path) -> None:
    kill_in_the_middle(cache, "store", many_files)
    assert cache.entry("one") is None
    assert len(list((cache.directory / "new-one" / "state.part").iterdir())) == 20
    assert store(cache, many_files).files == 41
    assert sorted(path.name for path in cache.directory.iterdir()) == ["locks", "one"]


def test_what_a_killed_process_has_half_restored_is_not_used(cache: StateCache, many_files: Path) -> None:
    found = store(cache, many_files)
    target = many_files.with_name("c1-main")
    kill_in_the_middle(cache, "restore", target)
    assert len(list(target.with_name("c1-main.part").iterdir())) == 20
    assert not target.exists()
    assert cache.restore(found, target).files == 41


def test_an_entry_in_use_is_not_removed_to_make_room(
    tmp_path: Path, state: Path, eventually: Eventually
) -> None:
    cache = StateCache(tmp_path / "cache", limit=MUCH)
    store(cache, state, "one")
    ready, over = tmp_path / "ready", tmp_path / "over"
    text = (
        "import sys, time; from pathlib import Path; from pytest_dogfood.storage.locks import LockTable\n"
        "with LockTable(Path(sys.argv[1])).holding('one'):\n"
        "    Path(sys.argv[2]).touch()\n"
        "    while not Path(sys.argv[3]).exists(): time.sleep(0.01)\n"
    )
    command = [sys.executable, "-c", text, str(cache.directory / "locks"), str(ready), str(over)]
    process = subprocess.Popen(command)
    try:
        assert eventually(ready.exists)
        assert not cache.drop("one", wait=False)
    finally:
        over.touch()
        assert process.wait(60) == 0
    assert cache.drop("one", wait=False)


def test_a_directory_is_made_for_its_owner_only(tmp_path: Path) -> None:
    cache = StateCache(tmp_path / "cache" / "project", limit=MUCH)
    assert [path.stat().st_mode & 0o777 for path in (cache.directory, cache.directory.parent)] == [0o700] * 2


@pytest.mark.parametrize("which", ["cache/project", "cache", "."])
@pytest.mark.parametrize("mode", [0o777, 0o772])
def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path, which: str, mode: int) -> None:
    (tmp_path / "cache" / "project").mkdir(parents=True)
    (tmp_path / which).chmod(mode)
    with pytest.raises(UnusableCacheError, match="dogfood_cache_dir"):
        StateCache(tmp_path / "cache" / "project", limit=MUCH)


def test_the_directory_is_the_users_and_the_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    name = project_name(tmp_path)
    settings = Settings()
    usual = tmp_path / ".cache" / "pytest-dogfood" / name
    assert cache_directory(settings, tmp_path, {}) == usual
    assert cache_directory(settings, tmp_path, {"XDG_CACHE_HOME": "relative"}) == usual
    assert cache_directory(settings, tmp_path, {"XDG_CACHE_HOME": "/x"}) == Path("/x/pytest-dogfood") / name
    settings = Settings(cache_dir="kept")
    assert cache_directory(settings, tmp_path, {}) == tmp_path / "kept" / name
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_directory(Settings(), tmp_path, {}) == tmp_path / "Library/Caches/pytest-dogfood" / name


@pytest.mark.parametrize(
    "seconds, text",
    [
        (-1, "0 s ago"),
        (59.9, "59 s ago"),
        (60, "1 min ago"),
        (7200, "2 h ago"),
        (90_000, "25 h ago"),
        (200_000, "2 days ago"),
    ],
)
def test_how_long_ago_something_was(seconds: float, text: str) -> None:
    assert used_ago(seconds) == text
