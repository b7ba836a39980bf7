"""What people, agents and fixers do on several machines, as a seed has it; and what has to hold all the time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace

from pytest_dogfood.consistency.hub.model import HubTask
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.consistency.task_findings import Finding
from pytest_dogfood.git.work_tree import LOCK_NAME
from tests.consistency.history_actions import Move, Options
from tests.consistency.history_environments import CODE, Stage
from tests.consistency.history_workplans import FILES, TASKS, Entry, edited, entries_in, path_of, with_words
from tests.consistency.invariants import LEFT, RANKS, Follower, Picture, require, require_commits
from tests.consistency.killed_processes import MOMENTS, dies
from tests.consistency.machines import Desk
from tests.support.checkouts import Checkout

STEPS = 22
WRITES = 14  # hardly any fix does more


class History:
    """One history. `steps` tells it in words, up to where it stopped."""

    def __init__(self, seed: int, stage: Stage) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._url = stage.url
        self._hub = stage.hub
        self._desks = stage.desks[: self._random.choice([2, 3, 3])]
        self._follower = Follower(stage.url)
        self.steps: list[str] = []
        self.deaths: list[str] = []
        self.fixes = 0

    def run(self) -> None:
        """Let it happen; raises BrokenPromiseError where something does that never may."""
        doings: dict[Callable[[Desk], None], int] = {
            self._edit: 8,
            self._write_something_else: 3,
            self._work_as_agent: 8,
            self._fix: 5,
            self._fix_and_die: 7,
            self._move: 2,
            self._check: 1,
            self._push: 4,
            self._pull: 4,
            self._tidy: 1,
        }
        try:
            for _ in range(STEPS):
                (doing,) = self._random.choices([*doings], [*doings.values()])
                doing(self._random.choice(self._desks))
                self._follower.read()
            self._settle()
        finally:
            self._follower.close()

    def _tell(self, desk: Desk, what: str) -> None:
        self.steps.append(f"{desk.machine.id}: {what}")

    # What people and agents do.

    def _edit(self, desk: Desk) -> None:
        task_id = self._random.choice(TASKS)
        before = entries_in(desk.clone.path)[task_id]
        status = self._random.choice([status for status in RANKS if status != before.status])
        reopening = RANKS[status] < RANKS[before.status] and self._random.random() < 0.5
        count = before.reopened + 1 if reopening else None
        path = desk.clone.path / path_of(task_id)
        path.write_bytes(edited(path.read_bytes(), task_id, status, reopened=count))
        self._tell(
            desk, f"{task_id} is {status} in the file{', reopened' if reopening else ''}{self._commit(desk)}"
        )

    def _commit(self, desk: Desk) -> str:
        if self._random.random() < 0.25:
            return ""
        done = desk.clone.does("commit", "--quiet", "--all", "--message=by hand")
        return ", committed" if done else ", not to be committed"

    def _write_something_else(self, desk: Desk) -> None:
        number = self._random.randrange(1000)
        path = desk.clone.path / self._random.choice([*FILES])
        path.write_bytes(with_words(path.read_bytes(), number))
        words = f"words in {path.name}{self._commit(desk)}"
        desk.clone.write(f"code = {number}\n", CODE)
        staged = desk.clone.does("add", CODE)
        desk.clone.write(f"{number}\n", "notes.txt")
        self._tell(desk, f"{words}; code {'staged' if staged else 'changed'}; notes")

    def _work_as_agent(self, desk: Desk) -> None:
        tasks = self._hub.tasks()
        if not tasks:
            return self._fix(desk)
        task = self._random.choice(tasks)
        further = [
            status for status in RANKS if RANKS[status] >= RANKS[task.status] and status != task.status
        ]
        status = self._random.choice(further)
        require(desk.set(task.task_id, status), f"{task.task_id} cannot become {status}")
        return self._tell(desk, f"{task.task_id} is {status} in the hub")

    def _push(self, desk: Desk) -> None:
        done = desk.clone.does("push", "--quiet")
        self._tell(desk, "push" if done else "push is refused")

    def _pull(self, desk: Desk) -> None:
        self._tell(desk, "pull" if self._pulls(desk) else "pull fails")

    def _pulls(self, desk: Desk) -> bool:
        """Pull as people do; where both sides changed a line, the remote's is kept."""
        if desk.clone.does("pull", "--quiet", "--rebase", "-Xours"):
            return True
        if (desk.clone.path / ".git/rebase-merge").exists():
            desk.clone.does("rebase", "--abort")
        return False

    def _tidy(self, desk: Desk) -> None:
        """Do what is told to whoever finds a file with changes, and a lock that a dead git has left."""
        clear_up(desk.clone)
        if self._random.random() < 0.5 and desk.clone.does("commit", "--quiet", "--all", "--message=tidied"):
            return self._tell(desk, "commit all")
        # Also where there is nothing to commit: of a git that died after its commit the index knows nothing.
        desk.clone.git("restore", "--staged", "--worktree", ".")
        return self._tell(desk, "restore")

    # What the product does.

    def _options(self) -> Options:
        pull, writeback, accept_reopen, offline = (
            self._random.random() < share for share in (0.1, 0.85, 0.3, 0.2)
        )
        return Options(
            writeback=writeback, accept_reopen=accept_reopen, offline=offline and not pull, pull=pull
        )

    def _fix(self, desk: Desk) -> None:
        self._fix_with(desk, self._options())

    def _fix_with(self, desk: Desk, options: Options) -> None:
        self._tell(desk, str(options))
        self.fixes += 1
        picture, hub = Picture.of(desk.clone), self._follower.everything()
        fixed = options.apply(desk)
        after = Picture.of(desk.clone)
        if not options.pull:
            picture.require_only_statuses_differ(after)
            require_commits(desk.clone, picture, after)
        if fixed:
            self._nothing_is_left_for(desk, options, after)
        else:
            require(hub == self._follower.everything(), "nothing was fixed, and the hub written")
            require(options.pull or picture == after, "nothing was fixed, and files or commits written")

    def _nothing_is_left_for(self, desk: Desk, options: Options, picture: Picture) -> None:
        hub = self._follower.everything()
        require(not options.apply(desk), "a second fix found something to do")
        require(picture == Picture.of(desk.clone), "a second fix wrote to files or committed")
        require(hub == self._follower.everything(), "a second fix wrote to the hub")

    def _check(self, desk: Desk) -> None:
        self._tell(desk, "check")
        before = Picture.of(desk.clone), self._follower.everything()
        desk.check()
        require(before == (Picture.of(desk.clone), self._follower.everything()), "check wrote something")

    def _move(self, desk: Desk) -> None:
        if not (tasks := self._hub.tasks()):
            return
        move = self._some_move(self._random.choice(tasks))
        before = Picture.of(desk.clone)
        self._tell(desk, f"{move}: {move.apply(desk)}")
        before.require_only_statuses_differ(Picture.of(desk.clone), reopening=True)

    def _some_move(self, task: HubTask) -> Move:
        kind = self._random.choice(["reopen", "reopen", "reopen --hub-only", "accept", "resolve"])
        return Move(kind=kind, task=task, take_file=self._random.random() < 0.5)

    def _fix_and_die(self, desk: Desk) -> None:
        """Give fix something to do, and kill it somewhere on its way."""
        if self._random.random() < 0.8:
            self._tidy(desk)
            self._pull(desk)
            self._edit(desk)
            self._work_as_agent(desk)
            self._work_as_agent(desk)
            self._follower.read()
        when = (
            self._random.choice(MOMENTS) if self._random.random() < 0.3 else self._random.randint(1, WRITES)
        )
        tasks = self._hub.tasks()
        move = self._some_move(self._random.choice(tasks)) if tasks and self._random.random() < 0.15 else None
        options = self._options()
        doing = move or options
        before = Picture.of(desk.clone)
        self._hub.close()  # it opens again by itself; no connection may be open where a process forks
        death = dies(lambda: self._alone(desk, doing), desk.clone.path, when)
        self.deaths.append(death)
        self._tell(desk, f"{doing}, {f'killed {death}' if death else 'not killed'}")
        after, died = Picture.of(desk.clone), bool(death)
        if move is not None:
            before.require_only_statuses_differ(after, died=died, reopening=True)
        elif not options.pull:
            before.require_only_statuses_differ(after, died=died)
            require_commits(desk.clone, before, after, died=died)
        if self._random.random() < 0.5:
            self._fix(desk)

    def _alone(self, desk: Desk, doing: Options | Move) -> None:
        """Do something with connections of one's own: those of another process must not be shared."""
        with Hub.open(self._url) as hub:
            doing.apply(replace(desk, hub=hub))

    # How it ends.

    def _settle(self) -> None:
        """Everybody pulls, fixes and pushes, twice; what is held is decided by somebody; then all must agree."""
        for _ in range(2):
            for desk in self._desks:
                self._tidy(desk)
                require(self._pulls(desk), "cannot pull")
                self._fix_with(desk, Options())
                require(desk.clone.does("push", "--quiet"), "cannot push")
                self._follower.read()
        first, *others = self._desks
        if held := first.check().findings:
            self._decide(first, held)
            require(first.clone.does("push", "--quiet"), "cannot push")
            require(not (left := first.check().findings), f"still left: {left}")
        for desk in others:
            require(self._pulls(desk), "cannot pull")
        in_hub = self._follower.read()
        pictures = [Picture.of(desk.clone) for desk in self._desks]
        for desk, picture in zip(self._desks, pictures, strict=True):
            in_files = entries_in(desk.clone.path)
            require(in_files == in_hub, f"{desk.machine.id} has {in_files}, the hub {in_hub}")
            require(picture.head == pictures[0].head, "the machines have different commits")
        self._follower.read_log()

    def _decide(self, desk: Desk, held: Iterable[Finding]) -> None:
        """Do what the hints of the findings say."""
        for found in held:
            self._tell(desk, f"{found.code} {found.task_id} is left: {found.message}")
            task, entry = desk.task(found.task_id), entries_in(desk.clone.path)[found.task_id]
            if entry == Entry(task.status, task.reopen_count):
                continue  # it came with another one
            if entry.reopened > task.reopen_count:
                self._fix_with(desk, Options(accept_reopen=True))
            elif entry.reopened < task.reopen_count:
                desk.moves().accept(task)
            else:
                desk.moves().resolve(task, take_file=self._random.random() < 0.5)
            self._follower.read()


def clear_up(clone: Checkout) -> None:
    """Remove what the dead have left: locks of git's, and files that were to take the place of another one."""
    for lock in (clone.path / ".git").rglob("*.lock"):
        if lock.name != LOCK_NAME:
            lock.unlink()
    for left in clone.path.rglob(LEFT):
        left.unlink()
