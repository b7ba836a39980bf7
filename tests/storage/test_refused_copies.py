from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_dogfood.storage.state_copy import PART, copy_state
from tests.support import disks
from tests.support.trees import copied, describe, refused

MEGABYTE = 2**20


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


class TestRefused:
    """What prevents a copy is named, and nothing of the copy is left."""

    @pytest.mark.parametrize("size", [10, 500_000])
    def test_a_binary_file_that_contains_the_path(self, state: Path, size: int) -> None:
        (state / "db").write_bytes(b"\0" * size + os.fsencode(state) + b"continued")
        assert refused(state) == "db: it is a binary file that contains the path of the state"

    def test_a_text_with_a_path_that_may_be_the_same_place(self, state: Path) -> None:
        (state / "log").write_text(f"wrote /mnt{state}/x\n")
        assert refused(state) == (
            f"log: it contains another path that ends with {state}, which may be the same place"
        )

    @pytest.mark.parametrize("folder", ["", "sub"])
    def test_a_link_that_leaves_the_state_and_comes_back(self, state: Path, folder: str) -> None:
        (state / "sub").mkdir()
        (state / "file").touch()
        way = ("../" if folder else "") + "../c0-gw0/file"
        (state / folder / "link").symlink_to(way)
        assert refused(state).endswith(f"link: it leads back into the original by {way}")

    def test_a_link_by_another_name_of_the_state(self, state: Path) -> None:
        state.with_name("alias").symlink_to(state)
        (state / "link").symlink_to(state.with_name("alias"))
        assert "it leads back into the original" in refused(state)

    def test_a_socket(self, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(state)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("s")
            assert refused(state) == "s: it is a socket"

    def test_a_fifo(self, state: Path) -> None:
        (state / "sub").mkdir()
        os.mkfifo(state / "sub" / "f")
        assert refused(state) == "sub/f: it is a FIFO"

    def test_a_device(self, state: Path) -> None:
        try:
            os.mknod(state / "d", 0o600 | 0o020000, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("only root may make a device")
        assert refused(state) == "d: it is a device"

    def test_a_mount_point(self, state: Path) -> None:
        (state / "m").mkdir()
        with disks.mounted(state / "m", "size=1m"):
            assert refused(state) == "m: it is a mount point"

    def test_a_mount_point_of_the_same_file_system(self, state: Path) -> None:
        (state / "m n").mkdir()
        with disks.itself(state / "m n"):
            assert refused(state) == "m n: it is a mount point"

    def test_more_than_the_limit(self, state: Path) -> None:
        (state / "a").write_bytes(b"x" * 1001)
        assert refused(state, limit=1000) == ".: it has more than 1,000 bytes"

    def test_holes_do_not_count(self, state: Path) -> None:
        with (state / "a").open("wb") as file:
            file.truncate(100 * MEGABYTE)
        copied(state, limit=MEGABYTE)

    def test_a_disk_that_has_no_room_for_all_copies(self, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        with disks.mounted(tmp_path / "run", "size=4m"):
            state = tmp_path / "run" / "c0-gw0"
            state.mkdir()
            (state / "a").write_bytes(b"x" * MEGABYTE)
            assert refused(state, copies=4) == ".: 4 x 1,048,576 bytes are needed, and 3,145,728 are free"
            copied(state, copies=3)

    def test_a_file_that_the_system_does_not_let_us_write(self, tmp_path: Path) -> None:
        state = tmp_path / "c0-gw0"
        state.mkdir()
        (state / "a").write_bytes(b"x" * 300_000)
        with disks.largest_file(100_000):
            assert refused(state) == "a: File too large"

    def test_a_file_that_we_may_not_read(self, nobody: Path) -> None:
        (nobody / "a").write_text("secret")
        (nobody / "a").chmod(0)
        assert refused(nobody) == "a: Permission denied"

    @pytest.mark.parametrize("mode", [0o000, 0o300, 0o600])
    def test_a_directory_that_we_may_not_list(self, nobody: Path, mode: int) -> None:
        (nobody / "a").mkdir()
        (nobody / "a" / "b").touch()
        (nobody / "a").chmod(mode)
        assert refused(nobody) in {"a: Permission denied", "a/b: Permission denied"}
        (nobody / "a").chmod(0o700)

    def test_names_of_other_lengths(self, state: Path) -> None:
        with pytest.raises(ValueError, match="must have the same length"):
            copy_state(state, state.with_name("c10-gw0"), limit=1)

    def test_a_target_that_is_not_empty(self, state: Path) -> None:
        state.with_name("c1-gw0").mkdir()
        (state.with_name("c1-gw0") / "a").touch()
        assert refused(state) == ".: Directory not empty"

    def test_a_state_that_is_not_there(self, tmp_path: Path) -> None:
        assert refused(tmp_path / "c0-gw0") == ".: No such file or directory"

    def test_names_that_cannot_be_decoded_can_be_printed(self, state: Path) -> None:
        os.mkfifo(os.fsencode(state) + b"/\xff\n")
        assert refused(state) == "\\xff\\n: it is a FIFO"


HOOKED = """\
import os, signal, sys
from pathlib import Path
from pytest_dogfood.storage.state_copy import NotCopyableError, copy_state

state, target, event, name, action = sys.argv[1:]

def look(seen, arguments):
    global name
    if seen == event and str(arguments[0]) == name:
        name = "once is enough"
        exec(action, {**globals(), "state": Path(state), "target": Path(target)})

sys.addaudithook(look)
try:
    copy_state(Path(state), Path(target), limit=2**31)
except NotCopyableError as error:
    print(error)
"""


def while_copied(state: Path, action: str, *, event: str = "open", name: str = "b") -> tuple[int, str]:
    """Do something when a file is opened to be copied; return the exit status of the copy, and what it said."""
    target = state.with_name("c1-gw0")
    argv = (sys.executable, "-c", HOOKED, str(state), str(target), event, name, action)
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert not done.stderr or done.stderr.endswith("\nKeyboardInterrupt\n")
    return done.returncode, done.stdout.strip()


@pytest.fixture
def abc(state: Path) -> Path:
    """A state whose files `a`, `b` and `c` are copied in this order, before those in its directories."""
    for name in "abc":
        (state / name).write_text(f"{name} in {state}\n" * 5000)
    (state / "sub").mkdir()
    (state / "sub" / "d").write_text("d")
    return state


@pytest.mark.parametrize(
    "action, named",
    [
        ("open(state / 'a', 'a').write('more')", "a"),
        ("open(state / 'c', 'a').write('more')", "c"),
        ("os.truncate(state / 'b', 10)", "b"),
        ("os.utime(state / 'a', ns=(1, 1))", "a"),
        ("(state / 'sub' / 'd').write_text('D')", "sub/d"),
        ("(state / 'sub' / 'new').touch()", "sub"),
        ("(state / 'new').touch()", "."),
        ("(state / 'new').touch(); (state / 'new').rename(state / 'a')", "."),
    ],
)
def test_a_state_that_changes_while_it_is_copied_is_refused(abc: Path, action: str, named: str) -> None:
    before = names_in(abc.parent)
    assert while_copied(abc, action) == (0, f"{named}: it has changed while it was copied")
    assert names_in(abc.parent) == before


@pytest.mark.parametrize(
    "action", ["(state / 'c').unlink()", "(state / 'c').unlink(); os.mkfifo(state / 'c')"]
)
def test_a_state_that_loses_a_file_while_it_is_copied_is_refused(abc: Path, action: str) -> None:
    assert while_copied(abc, action)[1] in {
        "c: No such file or directory",
        "c: it has changed while it was copied",
    }
    assert not abc.with_name("c1-gw0").exists()


def test_a_disk_that_is_full_meanwhile_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with disks.mounted(tmp_path / "run", "size=8m"):
        state = tmp_path / "run" / "c0-gw0"
        state.mkdir()
        for name in "abc":
            (state / name).write_bytes(b"x" * MEGABYTE)
        fill = "(state.parent / 'other').write_bytes(bytes(int(3.5 * 2**20)))"
        assert while_copied(state, fill) == (0, "b: No space left on device")
        assert names_in(state.parent) == {"c0-gw0", "other"}


def test_a_copy_that_is_interrupted_leaves_nothing(abc: Path) -> None:
    status, _ = while_copied(abc, "raise KeyboardInterrupt", name="d")
    assert status == -signal.SIGINT
    assert names_in(abc.parent) == {abc.name}


@pytest.mark.parametrize("event, name", [("open", "b"), ("open", "d"), ("os.rename", "")])
def test_a_copy_whose_process_is_killed_is_never_at_the_target(abc: Path, event: str, name: str) -> None:
    part = abc.with_name(f"c1-gw0{PART}")
    kill = "os.kill(os.getpid(), signal.SIGKILL)"
    assert while_copied(abc, kill, event=event, name=name or str(part)) == (-signal.SIGKILL, "")
    assert names_in(abc.parent) == {abc.name, part.name}
    assert describe(copied(abc), path=abc) == describe(abc)
    assert not part.exists()


def test_a_state_in_use_by_a_process_of_the_run_is_refused(state: Path) -> None:
    (state / "sub").mkdir()
    environment = {**os.environ, "_OF_THIS_RUN": "1"}
    with subprocess.Popen(["sleep", "300"], cwd=state / "sub", env=environment) as process:
        try:
            assert refused(state, marker="_OF_THIS_RUN") == f"sub: it is in use by sleep ({process.pid})"
            copied(state, marker="_OF_ANOTHER_RUN")
        finally:
            process.kill()
