"""Does something in a forked process which is killed between two of its writes: real code, and a real SIGKILL.

No write is simulated, and nothing in the product knows: an audit hook and the events of SQLAlchemy see each write
that is about to be done, and hooks of git see how far a git has come that was started.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pytest_dogfood.execution.watcher import alive
from pytest_dogfood.git.work_tree import LOCK_NAME

GIT_WRITES = frozenset(("fetch", "commit", "update-index", "pull"))
_HUB_WRITES = ("INSERT", "UPDATE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A point in a run of git, as one of its hooks sees it; git dies too, or goes on."""

    hook: str
    argument: str = ""
    with_git: bool = True

    def __str__(self) -> str:
        place = f"{self.hook} {self.argument}".rstrip()
        return f"with git in its {place}" if self.with_git else f"while git goes on from its {place}"


MOMENTS = tuple(
    Moment(hook=hook, argument=argument, with_git=with_git)
    for hook, argument in (
        ("pre-commit", ""),
        ("reference-transaction", "prepared"),
        ("reference-transaction", "committed"),
        ("post-index-change", ""),
        ("post-commit", ""),
    )
    for with_git in (True, False)
)


def dies(act: Callable[[], object], place: Path, when: int | Moment) -> str:
    """Do something to a checkout, and die before the write of this number, or at this moment of git's.

    Gives where it died, or nothing for who does not come so far and ends well. Raises AssertionError for any
    other end. No connection to an SQLite hub may be open here.
    """
    if isinstance(when, int):
        next_write = _forked(act, place, when)
        return f"before {next_write}" if next_write else ""
    with _hooked(place / ".git", when) as seen:
        if not _forked(act, place, 0):
            return ""
        if not when.with_git:
            _wait_for(int(seen.read_text()))
    return str(when)


def _forked(act: Callable[[], object], place: Path, number: int) -> str:
    """Do something in a process of its own; names the last write that it came to if it was killed."""
    _require_no_connection()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        _Doomed(place, number, writing).do(act)
    os.close(writing)
    with open(reading, encoding="utf-8") as said:  # noqa: PTH123 - a pipe
        writes = said.read().splitlines()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return writes[-1]
    assert status == 0, "\n".join(writes)
    return ""


def _require_no_connection() -> None:
    """See that no SQLite file is open: in a fork its locks would count as held, and would not be."""
    opened = (Path(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers
    names = [str(each.readlink()) for each in opened if each.exists()]
    assert not [name for name in names if name.endswith(".sqlite")], names


class _Doomed:
    """The process that dies; it never returns to who forked it."""

    def __init__(self, place: Path, number: int, pipe: int) -> None:
        self._place = f"{place}{os.sep}"
        self._left = number
        self._pipe = pipe
        self._in_transaction = False

    def do(self, act: Callable[[], object]) -> None:
        status = 1
        try:
            self._watch()
            os.environ["DOOMED"] = str(os.getpid())
            act()
            status = 0
        except BaseException:  # noqa: BLE001 - who forked us reads it
            self._say(traceback.format_exc())
        finally:
            os._exit(status)

    def _watch(self) -> None:
        from sqlalchemy import Engine, event

        sys.addaudithook(self._hear)
        event.listen(Engine, "before_cursor_execute", self._statement)
        event.listen(Engine, "commit", self._commit)

    def _write(self, name: str) -> None:
        self._say(name)
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def _say(self, text: str) -> None:
        os.write(self._pipe, f"{text}\n".encode())

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "subprocess.Popen":
            verbs = GIT_WRITES.intersection(map(str, arguments[1]))  # type: ignore[call-overload]
            for verb in verbs:
                self._write(f"git {verb}")
        elif event in {"os.rename", "os.remove", "os.chmod"} or (event == "open" and _is_writing(arguments)):
            name = self._within(arguments[1] if event == "os.rename" else arguments[0])
            if name == LOCK_NAME:
                self._write("the lock")  # what is done to it differs between versions of filelock
            elif name:
                self._write(f"{event.removeprefix('os.')} {name}")

    def _within(self, path: object) -> str:
        """Name a file of the checkout, in words that are the same in all histories."""
        named = str(Path(f"/proc/self/fd/{path}").readlink()) if isinstance(path, int) else os.fsdecode(path)  # type: ignore[arg-type]
        if not named.startswith(self._place):
            return ""
        name = os.path.basename(named)  # noqa: PTH119 - within an audit hook
        return "the new file" if name.startswith(".dogfood-") else re.sub(r"^.*\.md$", "the workplan", name)

    def _statement(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(_HUB_WRITES):
            self._in_transaction = True
            self._write(f"hub: {' '.join(statement.split()[: 3 if statement[0] == 'I' else 2])}")

    def _commit(self, _connection: object) -> None:
        if self._in_transaction:
            self._write("hub: COMMIT")
        self._in_transaction = False


def _is_writing(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


@contextmanager
def _hooked(git_dir: Path, moment: Moment) -> Iterator[Path]:
    """Have git kill the doomed process, and itself where it dies too; gives the file that git's id goes into."""
    hook = git_dir / "hooks" / moment.hook
    hook.parent.mkdir(exist_ok=True)
    seen = git_dir / "doomed"
    # Only a transaction that moves a branch: newer versions of git also have an empty one in each fetch.
    test = f'test "$1" = {moment.argument} && grep -q " refs/heads/" && ' if moment.argument else ""
    dying = "$DOOMED $PPID" if moment.with_git else "$DOOMED"
    hook.write_text(f"#!/bin/sh\n{test}test ! -e '{seen}' || exit 0\necho $PPID >'{seen}'\nkill -9 {dying}\n")
    hook.chmod(0o755)
    try:
        yield seen
    finally:
        hook.unlink()
        seen.unlink(missing_ok=True)


def _wait_for(git: int) -> None:
    deadline = time.monotonic() + 20
    while alive(git, None) and time.monotonic() < deadline:
        time.sleep(0.001)
    assert not alive(git, None), f"git {git} does not end"
