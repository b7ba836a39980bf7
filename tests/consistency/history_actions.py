"""What a history asks of the product: to fix, in one way or another, and to make deliberate moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pytest_dogfood.consistency.hub.model import HubTask, RefusedError, Status
from pytest_dogfood.consistency.moves import MoveResult
from tests.consistency.machines import Desk


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How somebody runs fix; with `pull` it is sync."""

    writeback: bool = True
    accept_reopen: bool = False
    offline: bool = False
    pull: bool = False

    def __str__(self) -> str:
        said = {
            "--no-writeback": not self.writeback,
            "--accept-reopen": self.accept_reopen,
            "--offline": self.offline,
        }
        return " ".join(
            ["sync" if self.pull else "fix", *(option for option, holds in said.items() if holds)]
        )

    def apply(self, desk: Desk) -> bool:
        """Run it; tells whether anything was fixed."""
        report = desk.fix(
            writeback=self.writeback,
            accept_reopen=self.accept_reopen,
            offline=self.offline,
            pull=self.pull,
        )
        return any(each.fixed for each in report.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A deliberate move, which may be refused."""

    kind: str
    task: HubTask
    take_file: bool

    def __str__(self) -> str:
        return f"{self.kind} {self.task.task_id}{' --take file' if self.take_file and self.kind == 'resolve' else ''}"

    def apply(self, desk: Desk) -> str:
        moves, task = desk.moves(), self.task
        kinds: dict[str, Callable[[], MoveResult]] = {
            "reopen": lambda: moves.reopen(task, Status.TODO),
            "reopen --hub-only": lambda: moves.reopen(task, Status.TODO, hub_only=True),
            "accept": lambda: moves.accept(task),
            "resolve": lambda: moves.resolve(task, take_file=self.take_file),
        }
        try:
            kinds[self.kind]()
        except RefusedError:
            return "refused"
        return "done"
