"""Random histories of a fleet in virtual time, by a seed: what happened, and what should never happen.

Queue, units, turns, membership and the rules for tokens are the real ones; machines, workers, database and product are
played. A history is judged while it happens, and at its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from functools import partial
from itertools import combinations
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.fleet.board import FleetToken, MachineState
from pytest_dogfood.fleet.membership import Membership
from pytest_dogfood.fleet.turns import Turns
from pytest_dogfood.fleet.units import units_of, with_units
from pytest_dogfood.journey import JourneyId, Token
from pytest_dogfood.scheduling.plan import make_plan
from pytest_dogfood.scheduling.queue import jobs_for
from pytest_dogfood.scheduling.shared_queue import SharedQueue
from pytest_dogfood.scheduling.split import split
from tests.support.fleet_boards import MemoryRun
from tests.support.fleet_database import Database
from tests.support.fleet_stories import Fault, Story
from tests.support.played_machines import FENCED, GREEN, PlayedMachine
from tests.support.virtual_time import World

LEASE = 30.0
ENOUGH = 600.0
"""Seconds beside all items and faults after which every machine must have come to its end."""


class Rules(Struct, frozen=True):
    """The rules by which a fleet works. A control changes one of them, which must be noticed."""

    run: type[MemoryRun] = MemoryRun
    membership: type[Membership] = Membership
    turns: type[Turns] = Turns
    probes_under_the_hold: bool = False

    def begin(self) -> None:
        """Begin a history: forget what the one before has left."""
        getattr(self.membership, "written", {}).clear()


AS_THEY_ARE = Rules()


class History:
    """A story as it happens; `violations` is what must never happen, in words."""

    def __init__(self, story: Story, *, seed: int = 0, rules: Rules = AS_THEY_ARE) -> None:
        self.story = story
        self.rules = rules
        self.lease = LEASE
        rules.begin()
        self.dice = Random(seed)  # noqa: S311 - a die, no secret
        self.scene = story.scene
        graph = story.scene.graph()
        self.tree = split(graph)
        plan = make_plan(graph, story.selected)
        ids = [*(one.nodeid for one in plan.journeys), *story.plain]
        by_nodeid = plan.by_nodeid()
        self.ids = ids
        self.places = {nodeid: index for index, nodeid in enumerate(ids)}
        self.planned = [by_nodeid.get(nodeid) for nodeid in ids]
        self.seconds = [story.longest * self.dice.random() ** 3 for _ in ids]
        self.jobs = with_units(ids, jobs_for(ids, plan, "load"))
        self.after = {job.index: job.after for job in self.jobs}
        self.units = units_of(self.jobs)
        self.needs = self._needs_of_units()
        self.fleet_tokens: Collection[Token] = story.fleet_tokens
        self.there: set[Token] = set(story.there_before)
        self.probe_seconds = story.probe_seconds
        self.probes_under_the_hold = rules.probes_under_the_hold
        self.world = World()
        self.run = rules.run()
        self.database = Database(self.world, self.dice, story.trouble, self._check_ends)
        self.violations: list[str] = []
        self.begun_at: dict[str, list[tuple[float, str]]] = {}
        """When each item began, in seconds, and on which machine."""
        self.ended_at: dict[str, float] = {}
        self.provisions: Counter[Token] = Counter()
        self.releases: dict[Token, list[str]] = {}
        self.machines = [
            PlayedMachine(self, f"m{number}", workers, broken=story.broken[number])
            for number, workers in enumerate(story.workers)
        ]
        self._by_name = {machine.name: machine for machine in self.machines}
        self._ended_on: dict[int, set[str]] = {}
        self._users: dict[tuple[str, str], tuple[Token, ...]] = {}
        self._seen_ends = 0
        self._awaited: dict[tuple[str, str], Fault] = {}
        self.last_fault = max(
            [
                *story.begins,
                *(fault.at + fault.seconds for fault in story.faults),
                *(end for _, end in story.trouble.away),
                *(end for _, _, end in story.trouble.cut),
            ]
        )

    def play(self) -> History:
        """Let all of it happen, and judge it."""
        for machine, begins in zip(self.machines, self.story.begins, strict=True):
            self.world.start(machine.take_part(begins), machine.life)
        for fault in self.story.faults:
            self.world.after(fault.at, partial(self._arrange, fault))
        until, longest = 0.0, self.last_fault + sum(self.seconds) + ENOUGH
        while until < longest and not (
            until > self.last_fault and all(machine.is_over for machine in self.machines)
        ):
            until += 30
            self.world.run(until)
        self._judge()
        return self

    def new_turns(self, machine: str, queue: SharedQueue) -> Turns:
        return self.rules.turns(machine, queue, self.ids, self.needs)

    def new_membership(self, machine: str, joined: float) -> Membership:
        return self.rules.membership(machine, self.lease, joined)

    def _needs_of_units(self) -> dict[str, set[Token]]:
        graph = self.scene.graph()
        needs: dict[str, set[Token]] = {unit: set() for unit in self.units}
        for job in self.jobs:
            if (planned := self.planned[job.index]) is not None:
                tokens = graph.needed_by(graph.journeys[planned.id])
                needs[job.unit] |= {
                    one
                    for one in tokens
                    if self.scene.capability(one).provision and one not in self.story.fleet_tokens
                }
        return needs

    def _arrange(self, fault: Fault) -> None:
        """Let a fault happen now, or at the next occasion."""
        if fault.when:
            self._awaited[f"m{fault.machine}", fault.when] = fault
        else:
            self._happen(fault)

    def occasion(self, machine: str, what: str, seconds: float) -> None:
        """Let happen within so many seconds what waits for such an occasion."""
        fault = self._awaited.pop((machine, what), None)
        if fault is not None:
            self.world.after(self.dice.random() * seconds, lambda: self._happen(fault))

    def _happen(self, fault: Fault) -> None:
        machine = self.machines[fault.machine]
        if fault.what == "kill":
            machine.kill()
        elif fault.what == "freeze":
            machine.life.freeze(self.world.now + fault.seconds)
        elif machine.life.frozen_until <= self.world.now:
            if fault.what == "kill worker":
                machine.kill_worker()
            else:
                machine.interrupt()

    # What is checked while it happens

    def is_live(self, name: str) -> bool:
        """Return whether a machine does anything now, and the board counts it as part of the run."""
        here = self.run.machines.get(name)
        return here is not None and here.state is MachineState.HERE and self.is_active(self._by_name[name])

    def is_active(self, machine: PlayedMachine) -> bool:
        """Return whether a machine does anything now."""
        return not machine.is_over and machine.life.frozen_until <= self.world.now

    def begin_item(self, machine: PlayedMachine, index: int) -> None:
        """Check that an item may begin on a machine now."""
        nodeid = self.ids[index]
        self.begun_at.setdefault(nodeid, []).append((self.world.now, machine.name))
        unit = self.run.units[machine.queue.unit_of(index)]
        if unit.machine != machine.name or unit.done:
            self._complain(
                f"{nodeid} begins on {machine.name}, but {unit.name} is {unit.machine or 'free'}'s"
            )
        for one in self.machines:
            others = {one.queue.unit_of(other) for other in one.running.values()}
            if one is not machine and unit.name in others and self.is_active(one):
                self._complain(f"{nodeid} begins on {machine.name} while {one.name} runs {unit.name}")
        for other in self.after[index]:
            if self.ids[other] not in self.run.ends and machine.name not in self._ended_on.get(other, ()):
                self._complain(f"{nodeid} begins on {machine.name} before {self.ids[other]} has ended")
            for one in self.machines:
                if other in one.running.values() and one is not machine and self.is_live(one.name):
                    self._complain(
                        f"{nodeid} begins on {machine.name} while {self.ids[other]} runs on {one.name}"
                    )

    def ended_here(self, machine: PlayedMachine, index: int) -> None:
        self._ended_on.setdefault(index, set()).add(machine.name)
        self.ended_at[self.ids[index]] = self.world.now

    def _check_ends(self) -> None:
        if len(self.run.ends) == self._seen_ends:
            return
        for end in list(self.run.ends.values())[self._seen_ends :]:
            unit = self.run.units[end.unit]
            if (unit.machine, unit.attempt) != (end.machine, end.attempt):
                self._complain(
                    f"the end of {end.nodeid} on {end.machine} counts, but {unit.machine} has the unit"
                )
            for other in self.after[self.places[end.nodeid]]:
                if self.ids[other] not in self.run.ends:
                    self._complain(f"the end of {end.nodeid} counts before that of {self.ids[other]}")
        self._seen_ends = len(self.run.ends)

    def begin_use(self, machine: str, worker: str, tokens: Iterable[Token]) -> None:
        self._users[machine, worker] = tuple(tokens)

    def end_use(self, machine: str, worker: str) -> None:
        self._users.pop((machine, worker), None)

    def _other_users(self, machine: str, token: Token) -> list[str]:
        return [
            f"{name}/{worker}"
            for (name, worker), tokens in self._users.items()
            if token in tokens and name != machine and self.is_live(name)
        ]

    def begin_provision(self, machine: str, token: Token) -> float:
        """Check that a token may be provided now; return how long that takes, in seconds."""
        self.provisions[token] += 1
        if users := self._other_users(machine, token):
            self._complain(f"{token} is provided on {machine} while {users} use it")
        seconds = self.dice.choice([0.1, 2.0, 10.0])
        self.occasion(machine, "when it provides", seconds)
        return seconds

    def begin_release(self, machine: PlayedMachine, token: Token) -> float:
        """Check that a token may be released now; return how long that takes, in seconds."""
        self.releases.setdefault(token, []).append(machine.name)
        if users := self._other_users(machine.name, token):
            self._complain(f"{token} is released on {machine.name} while {users} use it")
        return self.dice.choice([0.1, 2.0])

    def in_order_of_release(self, tokens: Iterable[FleetToken]) -> list[FleetToken]:
        return list(tokens)

    def figures(self) -> dict[str, int]:
        """Return how often something has happened, by what it is."""
        losses = [unit.losses for unit in self.run.units.values()]
        tokens = self.run.tokens.values()
        return {
            "machines": len(self.machines),
            "machines lost": sum(one.state is MachineState.LOST for one in self.run.machines.values()),
            "machines fenced": sum(one.status == FENCED for one in self.machines),
            "machines killed": sum(one.life.is_dead for one in self.machines),
            "units": len(self.units),
            "units lost with a machine": sum(losses),
            "units lost twice or more": sum(number > 1 for number in losses),
            "items": len(self.ids),
            "items that crashed": sum(end.outcome == "crashed" for end in self.run.ends.values()),
            "items unaccounted": len(self.ids) - len(self.run.ends),
            "tokens provided": sum(self.provisions.values()),
            "tokens lost while they were provided": sum(len(row.lost_on) for row in tokens),
            "tokens released": sum(map(len, self.releases.values())),
            "requests": self.database.requests,
        }

    def status_of(self, machine: PlayedMachine) -> int:
        """Return the exit status of a machine by what it knows."""
        known = machine.all_outcomes
        return int(len(known) < len(self.ids) or any(outcome != "passed" for outcome in known.values()))

    def _complain(self, text: str) -> None:
        self.violations.append(f"{self.world.now:.2f}: {text}")

    # What is checked in the end

    def _judge(self) -> None:
        for machine in self.machines:
            if not machine.is_over and machine.has_joined:
                left = [self.ids[index] for index in machine.queue.pending]
                self._complain(
                    f"{machine.name} waits for ever; {left} have not ended; it runs {machine.running}"
                )
        ends = self.run.ends
        is_whole = len(ends) == len(self.ids)
        if not is_whole and any(machine.status == GREEN for machine in self.machines):
            self._complain("a machine is green, though items have not run")
        self._judge_outcomes()
        statuses = {machine.status for machine in self.machines if machine.status in {0, 1}}
        is_green = is_whole and all(end.outcome == "passed" for end in ends.values())
        if statuses and statuses != {int(not is_green)}:
            self._complain(f"exit statuses {statuses}, but the run is {'green' if is_green else 'red'}")
        self._judge_releases()

    def _judge_outcomes(self) -> None:
        """Compare with a run on one machine, in which what a machine spoilt would have failed."""
        blamed = {self._journey(end.nodeid): end for end in self.run.ends.values() if end.result == b"blamed"}
        spoilt = {one: end for one, end in blamed.items() if one is not None}
        # A worker may have died after it had told all machines what it had established.
        may_have_passed = [
            one
            for one, end in spoilt.items()
            if end.outcome == "crashed"
            and not self.story.fleet_tokens.isdisjoint(self.scene.graph().journeys[one].establishes)
        ]
        allowed = [
            replace(self.scene, failing=self.scene.failing | (spoilt.keys() - set(passed))).expected(
                self.story.selected
            )
            for count in range(len(may_have_passed) + 1)
            for passed in combinations(may_have_passed, count)
        ]
        for nodeid, end in self.run.ends.items():
            journey = self._journey(nodeid)
            if end.result == b"blamed":
                continue
            wanted = {"passed"} if journey is None else {expected[journey] for expected in allowed}
            if end.outcome not in wanted:
                self._complain(
                    f"{nodeid} is {end.outcome} on {end.machine} instead of {' or '.join(sorted(wanted))}"
                )

    def _journey(self, nodeid: str) -> JourneyId | None:
        planned = self.planned[self.places[nodeid]]
        return None if planned is None else planned.id

    def _judge_releases(self) -> None:
        done = [machine for machine in self.machines if machine.status in {0, 1, 2}]
        unreleased = [row.token for row in self.run.tokens.values() if row.ours]
        lost = [one for one in self.machines if one not in done]
        last_left = done and not any(one.state is MachineState.HERE for one in self.run.machines.values())
        if last_left and unreleased and not lost:
            self._complain(f"{unreleased} were not released")
        for token, machines in self.releases.items():
            lost_ones = {one.name for one in lost}
            if len([one for one in machines if one not in lost_ones]) > 1 and len(set(machines)) == 1:
                self._complain(f"{token} was released several times, on {machines}")
            made = self.provisions[token] or self.scene.establishers(token)
            if not made and token in self.story.there_before:
                self._complain(f"{token} was released, though it was there before the run")
