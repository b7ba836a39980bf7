from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from pytest_dogfood.storage.run_directory import remove_tree
from pytest_dogfood.storage.state_copy import CopiedState, copy_state
from tests.support import disks
from tests.support.trees import copied, describe, refused
from tests.support.waiting import until

MEGABYTE = 2**20


@pytest.fixture(params=["here", "tmpfs", "btrfs", "xfs"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A directory on a file system of each kind."""
    place = tmp_path / "run"
    place.mkdir()
    disk: AbstractContextManager[None] = nullcontext()
    if request.param == "tmpfs":
        disk = disks.mounted(place, "size=300m")
    elif request.param != "here":
        disk = disks.formatted(place, request.param, tmp_path / "image")
    with disk:
        yield place


def fill(state: Path) -> None:
    """Put one of everything into a state that a copy must keep."""
    path = os.fsencode(state)
    (state / "small").write_bytes(b"in " + path + b"/bin:" + path + b"\n")
    (state / "empty").touch()
    (state / "binary").write_bytes(os.urandom(300_000) + b"\0")
    (state / "long").write_bytes((path + b"/" + b"x" * 70 + b"\n") * 30_000)
    (state / "a" / "b" / "empty").mkdir(parents=True)
    (state / "a" / "c").write_text("text")
    os.link(state / "a" / "c", state / "a" / "b" / "same")
    (state / os.fsdecode(b"\xff\xfe name\n")).write_bytes(b"\xff" + path)
    (state / "absolute").symlink_to(state / "a" / "c")
    (state / "relative").symlink_to("a/../a/c")
    (state / "dangling").symlink_to("/nowhere/at/all")
    (state / "outside").symlink_to("/bin/sh")
    os.link(state / "relative", state / "relative too", follow_symlinks=False)
    with (state / "sparse").open("wb") as file:
        file.seek(20 * MEGABYTE)
        file.write(b"x" * 5000)
        file.truncate(50 * MEGABYTE)
    (state / "cached.pyc").write_bytes(b"\0" + path)
    for name, mode in {"setuid": 0o6755, "secret": 0o400, "nothing": 0o000}.items():
        (state / name).write_text(name)
        (state / name).chmod(mode)
    for name, mode in {"closed": 0o000, "sticky": 0o1777, "read": 0o555}.items():
        (state / name).mkdir()
        (state / name / "inside").write_text(name)
        (state / name).chmod(mode if os.getuid() == 0 else mode | 0o500)
    for name in ("a", "small", "relative"):
        os.utime(state / name, ns=(1_000_000_001, 1_234_567_890_123_456_789), follow_symlinks=False)
    if os.getuid() == 0:
        for name in ("owned", "owned link"):
            (state / name).symlink_to("a") if "link" in name else (state / name).touch()
            os.chown(state / name, 12345, 54321, follow_symlinks=False)
        (state / "owned").chmod(0o6755)  # a new owner takes these bits away
    os.setxattr(state / "a", "user.dir", b"1")
    os.setxattr(state / "small", "user.file", b"\0" * 100)


def test_a_copy_equals_the_original_but_for_its_path(place: Path) -> None:
    state = place / "c0-gw0"
    state.mkdir()
    try:
        fill(state)
    except OSError as error:
        pytest.skip(f"this file system has no such files: {error.strerror}")
    if os.getuid():
        (state / "nothing").unlink()
    before = describe(state)
    target = copied(state)
    assert describe(target, path=state) == {
        **before,
        b"cached.pyc": (*before[b"cached.pyc"][:4], *describe(target)[b"cached.pyc"][4:]),
    }
    assert (target / "cached.pyc").read_bytes() == b"\0" + os.fsencode(state)
    assert describe(state) == before
    assert (target / "sparse").stat().st_blocks * 512 < MEGABYTE
    for name in ("small", "long", "binary", "a/c"):
        assert not (target / name).samefile(state / name)
    remove_tree(target)


def test_the_group_of_the_directory_above_is_not_given_to_a_copy(state: Path) -> None:
    (state / "a").mkdir()
    (state / "a" / "b").touch()
    before = describe(state)
    try:
        os.chown(state.parent, -1, 54321)
    except PermissionError:
        pytest.skip("only root may give a directory to any group")
    state.parent.chmod(0o2700)
    assert describe(copied(state)) == before


def test_it_says_what_was_copied(state: Path) -> None:
    (state / "a").mkdir()
    (state / "a" / "b").write_bytes(b"x" * 1000)
    os.link(state / "a" / "b", state / "c")
    (state / "d").symlink_to("c")
    done = copy_state(state, state.with_name("c1-gw0"), limit=1001)
    assert done == CopiedState(files=3, bytes=1001, seconds=done.seconds)


def test_a_file_of_the_copy_may_change_without_the_original(place: Path) -> None:
    state = place / "c0-gw0"
    state.mkdir()
    (state / "data").write_bytes(b"old" * MEGABYTE)
    target = copied(state)
    with (target / "data").open("r+b") as file:
        file.write(b"new")
    assert (state / "data").read_bytes() == b"old" * MEGABYTE
    (state / "data").unlink()
    assert (target / "data").read_bytes() == b"new" + b"old" * (MEGABYTE - 1)


@pytest.mark.parametrize("place", ["xfs"], indirect=True)  # only clones are not searched again
def test_a_large_file_that_has_changed_is_searched_again(place: Path) -> None:
    state = place / "c0-gw0"
    state.mkdir()
    (state / "data").write_bytes(b"\0" * MEGABYTE)
    long_ago = time.time_ns() - (state / "data").stat().st_ctime_ns
    assert until(lambda: time.time_ns() - (state / "data").stat().st_ctime_ns > long_ago + 2_100_000_000)
    for _ in range(2):
        remove_tree(copied(state))
    with (state / "data").open("r+b") as file:
        file.write(os.fsencode(state))
    os.utime(state / "data", ns=(1, 1))
    assert refused(state) == "data: it is a binary file that contains the path of the state"


def test_a_state_in_an_overlay_is_copied(tmp_path: Path) -> None:
    """There, files may be on other devices than their directories."""
    for name in ("disk", "upper", "work", "run"):
        (tmp_path / name).mkdir()
    with disks.mounted(tmp_path / "disk", "size=1m"), disks.overlay(tmp_path):
        state = tmp_path / "run" / "c0-gw0"
        state.mkdir()
        (state / "a").write_text(f"{state}/a")
        assert (copied(state) / "a").read_text() == f"{state.with_name('c1-gw0')}/a"


class TestWithoutTheOriginal:
    """Real programs work in a copy when the original is gone."""

    @pytest.fixture
    def git(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for role in ("AUTHOR", "COMMITTER"):
            monkeypatch.setenv(f"GIT_{role}_NAME", "A")
            monkeypatch.setenv(f"GIT_{role}_EMAIL", "a@example.com")
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
        monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")

    def moved(self, state: Path) -> Path:
        target = copied(state)
        state.rename(state.with_name("gone"))
        return target

    def test_a_virtual_environment(self, state: Path) -> None:
        call(sys.executable, "-m", "venv", "--without-pip", str(state / "venv"))
        script = state / "venv" / "bin" / "tool"
        script.write_text(f"#!{state}/venv/bin/python\nimport sys\nprint(sys.prefix)\n")
        script.chmod(0o755)
        target = self.moved(state)
        assert call(str(target / "venv" / "bin" / "tool")) == f"{target}/venv"
        shown = call("sh", "-c", f". {target}/venv/bin/activate; command -v python; echo $VIRTUAL_ENV")
        assert shown.splitlines() == [f"{target}/venv/bin/python", f"{target}/venv"]

    @pytest.mark.usefixtures("git")
    def test_a_clone_pushes_to_the_remote_in_the_copy(self, state: Path) -> None:
        call("git", "init", "-q", "--bare", "-b", "main", str(state / "remote.git"))
        call("git", "clone", "-q", str(state / "remote.git"), str(state / "clone"))
        call("git", "-C", str(state / "clone"), "commit", "-q", "--allow-empty", "-m", "first")
        call("git", "-C", str(state / "clone"), "push", "-q", "origin", "HEAD:main")
        first = call("git", "-C", str(state / "remote.git"), "rev-parse", "main")
        target = copied(state)
        call("git", "-C", str(target / "clone"), "commit", "-q", "--allow-empty", "-m", "second")
        call("git", "-C", str(target / "clone"), "push", "-q", "origin", "HEAD:main")
        second = call("git", "-C", str(target / "clone"), "rev-parse", "HEAD")
        assert call("git", "-C", str(target / "remote.git"), "rev-parse", "main") == second
        assert call("git", "-C", str(state / "remote.git"), "rev-parse", "main") == first
        state.rename(state.with_name("gone"))
        assert call("git", "-C", str(target / "clone"), "pull", "origin", "main") == "Already up to date."

    @pytest.mark.usefixtures("git")
    def test_a_worktree(self, state: Path) -> None:
        call("git", "init", "-q", "-b", "main", str(state / "repo"))
        call("git", "-C", str(state / "repo"), "commit", "-q", "--allow-empty", "-m", "first")
        call("git", "-C", str(state / "repo"), "worktree", "add", "-q", str(state / "tree"), "-b", "other")
        target = self.moved(state)
        (target / "tree" / "new").write_text("new")
        call("git", "-C", str(target / "tree"), "add", "new")
        call("git", "-C", str(target / "tree"), "commit", "-q", "-m", "second")
        assert call("git", "-C", str(target / "repo"), "log", "--format=%s", "other") == "second\nfirst"
        listed = call("git", "-C", str(target / "repo"), "worktree", "list", "--porcelain").splitlines()
        assert [line for line in listed if line.startswith("worktree")] == [
            f"worktree {target}/repo",
            f"worktree {target}/tree",
        ]

    def test_an_absolute_link(self, state: Path) -> None:
        (state / "file").write_text("content")
        (state / "link").symlink_to(state / "file")
        assert (self.moved(state) / "link").read_text() == "content"


def call(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def test_what_we_may_not_write_is_copied(nobody: Path) -> None:
    (nobody / "a").mkdir()
    (nobody / "a" / "b").write_text(f"{nobody}/a")
    (nobody / "a" / "b").chmod(0o400)
    (nobody / "a").chmod(0o500)
    nobody.chmod(0o500)
    before = describe(nobody)
    assert describe(copied(nobody), path=nobody) == before


def test_a_tree_may_be_deeper_than_the_longest_path(state: Path) -> None:
    here = os.open(state, os.O_RDONLY)
    for _ in range(100):
        os.mkdir("d" * 60, dir_fd=here)
        here, above = os.open("d" * 60, os.O_RDONLY, dir_fd=here), here
        os.close(above)
    file = os.open("last", os.O_WRONLY | os.O_CREAT, dir_fd=here)
    os.write(file, os.fsencode(state))
    os.close(file)
    os.close(here)
    try:
        target = copied(state)
        script = f"cd {target}; while cd {'d' * 60} 2>/dev/null; do :; done; cat last"
        assert call("bash", "-c", script) == str(target)
    finally:
        call("rm", "-rf", str(state.parent / "c0-gw0"), str(state.parent / "c1-gw0"))


names = st.sampled_from(["a", "b", "c0-gw0", "d.pyc", "é", os.fsdecode(b"\xff")])
pieces = st.sampled_from(["PATH", "PATH/bin", "PATH:", "PATH.", "PATH-x", "PATH0", "-IPATH", "text", "\0"])
texts = st.tuples(st.lists(pieces, max_size=5), st.sampled_from([1, 3, 3000]))
links = st.sampled_from(["PATH/a", "a", "../a", "/nowhere"])
trees = st.recursive(texts | links, lambda inner: st.dictionaries(names, inner, max_size=4), max_leaves=12)
Tree = Mapping[str, Any]


def build(folder: Path, tree: Tree, path: str) -> None:
    folder.mkdir()
    for name, inner in tree.items():
        match inner:
            case str():
                (folder / name).symlink_to(inner.replace("PATH", path))
            case (parts, times):
                (folder / name).write_text(" ".join([*parts, ""]).replace("PATH", path) * times)
            case _:
                build(folder / name, inner, path)


@settings(deadline=None)
@given(st.dictionaries(names, trees, max_size=5))
def test_any_tree_is_copied_or_refused_for_a_binary_file(tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as directory:
        state = Path(directory, "c0-gw0")
        build(state, tree, str(state))
        path, before = os.fsencode(state), describe(state)
        stays = {name for name, one in before.items() if name.endswith(b".pyc") and stat.S_ISREG(one[0])}
        if any(b"\0" in one[4] and path in one[4] for name, one in before.items() if name not in stays):
            assert refused(state).endswith("it is a binary file that contains the path of the state")
            return
        target = copied(state)
        after = describe(target)
        assert {name: one[4] for name, one in after.items()} == {
            name: one[4]
            if name in stays
            else re.sub(re.escape(path) + rb"(?!-x|0)", os.fsencode(target), one[4])
            for name, one in before.items()
        }
        for name, one in after.items():
            assert (*one[:4], *one[5:]) == (*before[name][:4], *before[name][5:])
