"""Machines that work on clones of one remote and share one hub, and what people do there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_dogfood.consistency.check import CheckOptions, RepoReport, check
from pytest_dogfood.consistency.checkouts import choose
from pytest_dogfood.consistency.decision import Policy
from pytest_dogfood.consistency.fix import FixOptions, fix
from pytest_dogfood.consistency.hub.model import (
    Checkout as Registered,
    HubTask,
    Machine,
    Source,
    Stamp,
    Status,
)
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.consistency.moves import DeliberateMoves, MoveResult
from pytest_dogfood.consistency.task_findings import Finding
from tests.support.checkouts import Checkout, Farm

REPO = "shop"


def plan(statuses: Mapping[str, str]) -> str:
    """Return a workplan with these tasks."""
    blocks = (
        f"## {name}\n\n```task\nid: {name}\nstatus: {status}\n```\n" for name, status in statuses.items()
    )
    return "---\ntype: workplan\n---\n# Plan\n\n" + "\n".join(blocks)


def stamp(source: Source = Source.API, reason: str = "") -> Stamp:
    return Stamp(machine=Machine(id="agent", host="agent"), actor="agent", source=source, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A machine with one clone, registered in the hub."""

    clone: Checkout
    hub: Hub
    machine: Machine

    def check(self, *, offline: bool = False) -> RepoReport:
        (report,) = check(self.hub, self._checkouts(), CheckOptions(offline=offline))
        return report

    def fix(
        self,
        *,
        writeback: bool = True,
        accept_reopen: bool = False,
        offline: bool = False,
        pull: bool = False,
        wait: float = 30,
    ) -> RepoReport:
        policy = Policy(writeback=writeback, accept_reopen=accept_reopen)
        fix_options = self.fix_options(policy=policy, offline=offline, pull=pull, wait=wait)
        (report,) = fix(self.hub, self._checkouts(), fix_options)
        return report

    def fix_options(
        self, *, policy: Policy | None = None, offline: bool = False, pull: bool = False, wait: float = 30
    ) -> FixOptions:
        return FixOptions(
            machine=self.machine,
            actor="tester",
            run_id="run",
            check_options=CheckOptions(fixing=True, offline=offline, policy=policy or Policy()),
            lock_timeout=wait,
            pull=pull,
        )

    def moves(self, reason: str = "because") -> DeliberateMoves:
        return DeliberateMoves(self.hub, self.fix_options(), reason=reason, here=self.clone.path)

    def reopen(self, task_id: str, to: Status = Status.TODO, *, hub_only: bool = False) -> MoveResult:
        return self.moves().reopen(self.task(task_id), to, hub_only=hub_only)

    def task(self, task_id: str) -> HubTask:
        return self.hub.only_task(task_id)

    def set(self, task_id: str, status: str) -> bool:
        """Set a status in the hub as an agent does."""
        return self.hub.set_status(self.task(task_id), Status(status), stamp=stamp())

    def edit(self, task_id: str, status: str, *, reopened: int | None = None) -> None:
        """Set a status in the file by hand, and leave it uncommitted."""
        text = self.clone.plan.read_text()
        more = "" if reopened is None else f"reopened: {reopened}\n"
        new = re.sub(
            rf"(id: {task_id}\n)status: .*\n(reopened: \d+\n)?",
            lambda found: f"{found[1]}status: {status}\n{more or found[2] or ''}",
            text,
        )
        self.clone.write(new)

    def commit(self) -> None:
        self.clone.git("commit", "--quiet", "--all", "--allow-empty", "--message=by hand")

    def push(self) -> bool:
        self.clone.git("push", "--quiet", ok=False)
        return self.clone.out("rev-parse", "HEAD") == self.clone.out("rev-parse", "@{upstream}")

    def pull(self) -> bool:
        """Pull as people do; where both sides changed a line, the remote's is kept."""
        self.clone.git("pull", "--quiet", "--rebase", "-Xours", ok=False)
        self.clone.git("rebase", "--abort", ok=False)
        return self.clone.out("rev-list", "--count", "HEAD..@{upstream}") == "0"

    def statuses(self) -> dict[str, tuple[str, int]]:
        """Return the statuses in the file, with their reopen counts."""
        found = re.findall(
            r"id: (\S+)\nstatus: (\S+)\n(?:reopened: (\d+))?", self.clone.plan.read_bytes().decode()
        )
        return {name: (status, int(count or 0)) for name, status, count in found}

    def _checkouts(self) -> tuple[Registered, ...]:
        return choose(self.hub, self.machine.id, slugs=[REPO]).checkouts


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A remote, a hub, and the machines that share them."""

    farm: Farm
    hub: Hub

    @classmethod
    def of(cls, farm: Farm, hub: Hub, statuses: Mapping[str, str]) -> World:
        first = farm.checkout("first")
        first.commit(plan(statuses))
        first.git("clone", "--quiet", "--bare", str(first.path), str(farm.root / "origin.git"))
        return cls(farm=farm, hub=hub)

    def desk(self, name: str) -> Desk:
        clone = self.farm.clone(name)
        machine = Machine(id=name, host=name)
        roots = clone.out("rev-list", "--max-parents=0", "HEAD").split()
        self.hub.register(Path(clone.path).resolve(), slug=REPO, root_commit=roots[0], machine=machine)
        return Desk(clone=clone, hub=self.hub, machine=machine)

    def create(self, task_id: str, *statuses: str) -> None:
        """Create a task in the hub and take it through these statuses."""
        first, *others = statuses
        made = self.hub.create_task(
            HubTask(id="", repo=REPO, task_id=task_id, status=first), stamp=stamp(Source.CREATE)
        )
        assert made is not None
        for status in others:
            assert self.hub.set_status(self.hub.only_task(task_id), Status(status), stamp=stamp())


def codes(report: RepoReport) -> list[str]:
    return [finding.code for finding in report.findings]


def finding(report: RepoReport, task_id: str | None = None, code: str | None = None) -> Finding:
    """Return the only finding of this task and code; either may be left out."""
    found = [
        each for each in report.findings if task_id in {None, each.task_id} and code in {None, each.code}
    ]
    assert len(found) == 1, found
    return found[0]


def state(desk: Desk) -> tuple[object, ...]:
    """Return all that fix may write."""
    hub = desk.hub
    return (
        hub.tasks(),
        hub.events(),
        hub.writebacks(),
        desk.clone.head,
        desk.clone.plan.read_bytes(),
        desk.clone.git("status", "--porcelain"),
    )


def upstream_moves_on(made: World) -> None:
    """Have another machine push a commit that ours does not have."""
    other = made.desk("other")
    other.clone.commit("news\n", "README.md")
    assert other.push()


def ahead_of_both(made: World) -> Desk:
    """A desk with one task of which the file is ahead, one of which the hub is, and one the hub does not know."""
    made.create("X-F", "todo")
    made.create("X-W", "done")
    return made.desk("here")
