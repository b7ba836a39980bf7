"""What holds of the states of a run, whatever the workers, the durations and the faults: random projects for it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.journey import JourneyId
from pytest_dogfood.scheduling.plan import make_plan, prerequisites_to_run
from pytest_dogfood.scheduling.split import StateTree, split
from tests.support.played_states import PlayedStates
from tests.support.played_steps import Faults, with_played_steps
from tests.support.played_workers import lineage
from tests.support.split_runs import only_files, scene_that_forks
from tests.support.strategies import Scene

NAME = re.compile(r"[ct]\d+-([a-z]+\d*)-\d+(\.part)?")
"""The name of the directory of a state of a split chain, or a template, with its worker, and of a half-made copy."""

Histories = Mapping[JourneyId, tuple[tuple[str, ...], ...]]
"""The journeys that had begun in the state of each item, for each try of it."""


class StateTrial(Struct, kw_only=True):
    """A random project, a selection of it, and what goes wrong in it."""

    scene: Scene
    selected: list[JourneyId]
    faults: Faults
    dice: Random

    @classmethod
    def draw(cls, seed: int) -> StateTrial:
        dice = Random(seed)  # noqa: S311 - a die
        scene = with_played_steps(scene_that_forks(dice))
        ids = scene.ids
        selected = ids if dice.random() < 0.5 else dice.sample(ids, dice.randint(1, len(ids)))
        graph = scene.graph()
        stuck = {one for one in ids if dice.random() < 0.1} if dice.random() < 0.3 else set()
        flaky = {one for one in ids if dice.random() < 0.15} if dice.random() < 0.3 else set()
        reads = {
            one: dice.choice([other for other in ids if graph.chains[other] == graph.chains[one]])
            for one in (ids if dice.random() < 0.3 else ())
            if dice.random() < 0.3
        }
        by_chance = only_files(scene) and dice.random() < 0.5
        faults = Faults(
            stuck=frozenset(stuck),
            flaky=frozenset(flaky),
            reads={one: other for one, other in reads.items() if one != other},
            deaths=dice.choice([0, 1, 2]) if by_chance else 0,
            full=dice.choice([0.0, 0.02, 0.2]) if by_chance else 0.0,
        )
        return cls(scene=scene, selected=selected, faults=faults, dice=dice)

    @property
    def in_run(self) -> list[JourneyId]:
        return [*self.selected, *prerequisites_to_run(self.scene.graph(), self.selected)]

    def run(self, workers: int, directory: Path, control: Callable[[], None] | None = None) -> PlayedStates:
        """Run the selection in a directory below which there is nothing; each machine remembers other durations."""
        graph, in_run = self.scene.graph(), self.in_run
        durations = {one.nodeid: self.dice.choice([0.1, 1, 10, 100]) for one in graph.journeys.values()}
        plan = make_plan(graph, in_run, durations=durations)
        dice = Random(self.dice.random())  # noqa: S311 - a die
        done = PlayedStates(
            self.scene, plan, dice, workers, directory=directory, faults=self.faults, control=control
        )
        done.run()
        return done

    def complaints(self, done: PlayedStates, first: PlayedStates) -> Iterator[str]:
        """Yield what is wrong with a run, also in comparison with the `first` one of the same project."""
        tree = split(self.scene.graph())
        if set(done.outcomes) != set(self.in_run):
            yield f"ended: {sorted(done.outcomes)}, and not {sorted(self.in_run)}"
        yield from _wrong_events(done, tree)
        yield from _left_behind(done)
        yield from self._wrong_outcomes(done)
        if not self.faults.are_chance and not self._loses_tokens_of_the_machine():
            yield from _differences(first, done, tree)
            if first.outcomes != done.outcomes:
                other = {one for one in done.outcomes if done.outcomes[one] != first.outcomes.get(one)}
                yield f"other outcomes: {sorted(other)}"

    def _loses_tokens_of_the_machine(self) -> bool:
        """Return whether it is chance when a token of the whole machine, and what rests on it, is made again."""
        shared = any(self.scene.is_shared(one.token) for one in self.scene.capabilities)
        return shared and any(one.invalidates for one in self.scene.journeys)

    def _wrong_outcomes(self, done: PlayedStates) -> Iterator[str]:
        """Yield the outcomes that do not follow from the graph; what reads what it has not declared is left out."""
        if self.faults.reads or (self.faults.stuck and not only_files(self.scene)):
            return  # what a test has made cannot be made again where it cannot be copied
        crashed = {one for one, outcome in done.outcomes.items() if outcome == "crashed"}
        failing = {one for one in crashed if done.ended_by_dead[one] in {"failed", "error", "crashed"}}
        replayed = done.killed_in_replays() if done.dead else set()
        ways = [
            replace(self.scene, failing=self.scene.failing | also).expected(self.in_run)
            for also in (failing, failing | replayed)
        ]
        for one in done.outcomes.keys() - crashed:
            if done.outcomes[one] not in {way[one] for way in ways}:
                yield f"{one} is {done.outcomes[one]}, and not {ways[0][one]}"


def _wrong_events(done: PlayedStates, tree: StateTree) -> Iterator[str]:
    again = (
        set()
        if only_files(done.scene)
        else set(done.faults.flaky) | done.scene.failing | set(done.faults.reads)
    )
    for event in done.events():
        if event.what in {"misses", "half"}:
            yield f"{event.who} in {event.where} {event.what} {event.found[0]}"
        elif event.what == "item" and event.who in tree.positions:
            foreign = set(event.found) - set(lineage(tree, event.who)) - again
            if foreign:
                yield f"{event.who} found what {sorted(foreign)} left"


def _left_behind(done: PlayedStates) -> Iterator[str]:
    allowed = {Path(path).name for path in done.kept} | done.failed_in | done.homes_of_machine_tokens()
    for path in done.directory.iterdir():
        match = NAME.fullmatch(path.name)
        if match is None or path.name in allowed or match[1] in done.dead or not any(path.iterdir()):
            continue
        # What was to be removed by a worker that died goes at the end of the run.
        if match[2] is not None or not done.dead:
            yield f"left behind: {path.name}"
    for kept in done.kept:
        if not Path(kept).exists():
            yield f"said to be kept, and gone: {kept}"


def histories(done: PlayedStates, tree: StateTree) -> Histories:
    """Return what items of split chains found in their states."""
    found: dict[JourneyId, list[tuple[str, ...]]] = defaultdict(list)
    for event in done.events():
        if event.what == "item" and event.who in tree.positions:
            found[event.who].append(event.found)
    return {one: tuple(tries) for one, tries in found.items()}


def _differences(first: PlayedStates, done: PlayedStates, tree: StateTree) -> Iterator[str]:
    before, after = histories(first, tree), histories(done, tree)
    for one in before.keys() | after.keys():
        if before.get(one) != after.get(one):
            yield f"{one} found {after.get(one)}, and {before.get(one)} with {first.workers} workers"
