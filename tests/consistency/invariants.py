"""What holds in every history, found out without asking the product: what readers see, what fix leaves alone."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import TypeAlias

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from pytest_dogfood.consistency.hub.connection import parse_url
from tests.consistency.history_workplans import FILES, Entry, besides_statuses, besides_tasks, entries
from tests.support.checkouts import Checkout

RANKS = {"todo": 0, "in_progress": 1, "blocked": 1, "done": 2, "cancelled": 2}
DELIBERATE = {"reopen", "resolve"}
LEFT = ".dogfood-writeback-*~"
SUBJECT = "chore(consistency): sync task status from DB [auto]"

Rows: TypeAlias = list[tuple[object, ...]]


class BrokenPromiseError(AssertionError):
    """Something happened that must never happen."""


class WentBackError(BrokenPromiseError):
    """A task is at a lower position than it was."""


def require(holds: object, otherwise: str) -> None:
    if not holds:
        raise BrokenPromiseError(otherwise)


class Follower:
    """Reads the hub again and again, as a dashboard does, with statements of its own."""

    def __init__(self, url: str) -> None:
        # No pool: a connection to SQLite must not be open where a process forks.
        self._engine = create_engine(parse_url(url), poolclass=NullPool)
        self._seen: dict[str, Entry] = {}

    def read(self) -> dict[str, Entry]:
        """Read all statuses; raises WentBackError if one is lower than at any time before."""
        now = {str(name): Entry(str(status), int(str(count))) for name, status, count in self._rows("tasks")}
        for name, before in self._seen.items():
            if name not in now:
                raise WentBackError(f"{name} is gone; it was {before}")
            if _position(now[name]) < _position(before):
                raise WentBackError(f"{name} went back from {before} to {now[name]}")
        self._seen = now
        return now

    def everything(self) -> Mapping[str, Rows]:
        """Return all that fix may write."""
        return {table: self._rows(table, "*") for table in ("tasks", "task_events", "writebacks")}

    def read_log(self) -> None:
        """See that the log tells, without a gap, how each task came to be where it is, and of no step back."""
        columns = "task, version, from_status, to_status, reopen_count, source, reason"
        rows = self._rows("task_events", columns, order="task, version")
        tasks = {row[0]: row[1:] for row in self._rows("tasks", "id, status, reopen_count, version")}
        for task, events in itertools.groupby(rows, key=lambda row: row[0]):
            _require_unbroken([row[1:] for row in events], tasks.pop(task))
        require(not tasks, f"tasks without events: {tasks}")

    def close(self) -> None:
        self._engine.dispose()

    def _rows(self, table: str, columns: str = "task_id, status, reopen_count", order: str = "1") -> Rows:
        with self._engine.connect() as connection:
            found = connection.execute(text(f"SELECT {columns} FROM {table} ORDER BY {order}"))  # noqa: S608
            return [tuple(row) for row in found]


def _position(entry: Entry) -> tuple[int, int]:
    return entry.reopened, RANKS[entry.status]


def _require_unbroken(events: list[tuple[object, ...]], task: tuple[object, ...]) -> None:
    status: object = None
    position = (0, -1)
    for number, (version, before, after, count, source, reason) in enumerate(events, start=1):
        require((version, before) == (number, status), f"a gap before {events[number - 1]}")
        now = _position(Entry(str(after), int(str(count))))
        if now < position:
            raise WentBackError(f"the log goes back from {position} to {now}: {events[number - 1]}")
        lower = before is not None and RANKS[str(after)] < RANKS[str(before)]
        require(not lower or (source in DELIBERATE and reason), f"no reason for {events[number - 1]}")
        position, status = now, after
    require(task == (status, position[0], len(events)), f"the log ends at {events[-1]}, the task is {task}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A checkout with all that fix must leave alone, and what it may change.

    `status` is what git says of files that are not as they were committed, with the ids of what is staged. `left` are
    files that were to take the place of another one when somebody died; they are in neither of the two, and whether
    they are still there makes no difference.
    """

    files: Mapping[str, bytes]
    left: frozenset[str] = field(compare=False)
    status: tuple[str, ...]
    head: str

    @classmethod
    def of(cls, clone: Checkout) -> Picture:
        there = {str(path.relative_to(clone.path)): path for path in _files(clone.path) if path.is_file()}
        left = {name for name, path in there.items() if fnmatch(path.name, LEFT)}
        return cls(
            files={name: path.read_bytes() for name, path in there.items() if name not in left},
            left=frozenset(left),
            status=tuple(
                line
                for line in clone.out("status", "--porcelain=v2", "-z", "-uall").split("\0")
                if line.removeprefix("? ") not in left
            ),
            head=(clone.path / ".git/refs/heads/main").read_text(),
        )

    def require_only_statuses_differ(
        self, later: Picture, *, died: bool = False, reopening: bool = False
    ) -> None:
        """See that of a fix, or a deliberate move, only statuses of workplans are new, and committed.

        Who died may leave the change without a commit, and the file that was to take the workplan's place; who comes
        after them may remove that.
        """
        came = later.left - self.left
        require(len(came) <= died, f"left behind: {came}")
        require(
            later.files.keys() == self.files.keys(), f"came or went: {later.files.keys() ^ self.files.keys()}"
        )
        for name, content in self.files.items():
            plain = besides_tasks if reopening else besides_statuses
            same = plain if name in FILES else bytes
            require(
                same(content) == same(later.files[name]),
                f"{name} changed:\n{content!r}\n{later.files[name]!r}",
            )
        kept = (_others(self.status), _others(later.status)) if died else (self.status, later.status)
        require(kept[0] == kept[1], f"not left as it was, or not committed: {kept[0]} -> {kept[1]}")


def _files(directory: Path) -> Iterable[Path]:
    return (path for top in directory.iterdir() if top.name != ".git" for path in (top, *top.rglob("*")))


def _others(status: Iterable[str]) -> list[str]:
    return [line for line in status if not line.endswith(tuple(FILES))]


def require_commits(clone: Checkout, before: Picture, after: Picture, *, died: bool = False) -> None:
    """See that there is one commit for each file that changed, of this file alone, with exactly the message."""
    if before.head == after.head:
        return
    span = f"{before.head.strip()}..{after.head.strip()}"
    said = clone.out(
        "log", "--reverse", "--topo-order", "--format=%x01%H %P%x02%B%x02", "--name-only", "-z", span
    )
    parent = before.head.strip()
    changed = {path for path in FILES if before.files[path] != after.files[path]}
    for told in said.split("\1")[1:]:
        ids, message, names = told.split("\2")
        commit, *parents = ids.split()
        path, *others = filter(None, names.replace("\n", "").split("\0"))
        require(path in changed and not others, f"{commit} changes {path}, {others}")
        require(parents == [parent], f"{commit} follows {parents}, not {parent}")
        wanted = _message(entries(before.files[path]), entries(after.files[path]))
        require(re.fullmatch(wanted, message), f"not the message for {path}: {message!r}")
        changed.remove(path)
        parent = commit
    require(died or not changed, f"changed without a commit: {changed}")


def _message(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> str:
    """Return the message as a pattern: only the date is left open."""
    changes = (
        f"- {name}: {entry.status} → {after[name].status}\n"
        for name, entry in before.items()
        if entry != after[name]
    )
    first = re.escape(f"{SUBJECT}\n\nUpdated by fix-consistency on ")
    return first + r"\d{4}-\d\d-\d\d:\n" + re.escape("".join(changes)) + r"\n?"
