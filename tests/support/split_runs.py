"""Real runs of random projects with copyable tokens: what every number of workers has to come to."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.journey import Journey, JourneyId, Step, Token
from pytest_dogfood.scheduling.plan import prerequisites_to_run
from pytest_dogfood.scheduling.split import split
from tests.support.random_files import Project, Seen
from tests.support.random_items import with_python_tests
from tests.support.strategies import (
    ANYWHERE,
    Scene,
    new_journey,
    random_scene,
    with_copyable_tokens,
    without_gates_that_wait_for_later_tiers,
)

STATE = re.compile(r"[ct]\d+-([a-z]+\d*)(-.*)?")
"""The name of the directory of a state, or of what parts copy, with that of the worker."""


def scene_that_forks(dice: Random) -> Scene:
    """Build a random sound project most of whose journeys pass, and whose chains mostly fall into parts."""
    scene = dice.choice([random_scene(dice, least=5, most=11), _shape(dice)])
    scene = with_python_tests(scene, dice) if dice.random() < 0.3 else scene
    scene = with_copyable_tokens(scene, dice)
    made = {token for one in scene.journeys for token in one.establishes}
    step = Step(location=ANYWHERE, run="true")
    capabilities = tuple(
        one if one.token in made or one.provision else replace(one, provision=(step,))
        for one in scene.capabilities
    )
    with_gates = dice.random() < 0.2
    return _without_self_made_losses(
        replace(
            scene,
            journeys=tuple(replace(one, gating=one.gating and with_gates) for one in scene.journeys),
            capabilities=capabilities,
            failing=scene.failing if dice.random() < 0.3 else frozenset(),
        )
    )


def _without_self_made_losses(scene: Scene) -> Scene:
    """Let what makes tokens destroy none: what it makes may rest on them, with no probe that says that it is there."""
    journeys = [replace(one, invalidates={}) if one.establishes else one for one in scene.journeys]
    return replace(
        scene, journeys=tuple(without_gates_that_wait_for_later_tiers(journeys, scene.capabilities))
    )


def _shape(dice: Random) -> Scene:
    """Build a project of an ordinary shape: features of one or more journeys behind a login, trees, diamonds."""
    journeys = [_journey("login", gives="in")]
    for one in range(dice.randint(2, 4)):
        shape = dice.choice(["leaf", "row", "tree", "diamond"])
        first, after = f"a{one}", f"a{one}-done"
        journeys.append(_journey(first, needs="in", gives="" if shape == "leaf" else after))
        if shape == "row":
            journeys.append(_journey(f"b{one}", needs=after))
        if shape in {"tree", "diamond"}:
            sides = [f"b{one}x{side}" for side in range(2)]
            journeys += [_journey(side, needs=after, gives=f"{side}-done") for side in sides]
            if shape == "diamond":
                journeys.append(_journey(f"c{one}", needs=" ".join(f"{side}-done" for side in sides)))
    if dice.random() < 0.4:
        journeys.append(replace(_journey("logout", needs="in"), invalidates={Token("in"): ANYWHERE}))
    dice.shuffle(journeys)
    failing = frozenset(one.id for one in journeys if dice.random() < 0.1)
    return Scene(journeys=tuple(journeys), capabilities=(), failing=failing)


def _journey(name: str, *, needs: str = "", gives: str = "") -> Journey:
    return replace(
        new_journey(name),
        requires={Token(word): ANYWHERE for word in needs.split()},
        establishes={Token(word): ANYWHERE for word in gives.split()},
    )


class Trial(Struct, kw_only=True):
    """One project and one selection of it, to be run with several numbers of workers."""

    project: Project
    selected: list[JourneyId]
    dice: Random

    @classmethod
    def draw(cls, seed: int, directory: Path) -> Trial:
        dice = Random(seed)  # noqa: S311 - a die
        scene = scene_that_forks(dice)
        project = Project(scene, directory, _undeclared_needs(scene, Random(-seed)))  # noqa: S311 - a die
        ids = project.scene.ids
        selected = ids if dice.random() < 0.5 else dice.sample(ids, dice.randint(1, len(ids)))
        return cls(project=project, selected=selected, dice=dice)

    def run(self, workers: int, *arguments: str, crash: str = "") -> Seen:
        """Run the selection; every machine remembers other durations."""
        cache = self.project.directory / ".pytest_cache/v/dogfood"
        cache.mkdir(parents=True, exist_ok=True)
        journeys = self.project.scene.journeys
        durations = {one.nodeid: self.dice.choice([0.1, 1, 10, 100]) for one in journeys}
        (cache / "durations").write_text(json.dumps(durations))
        chosen = [one.nodeid for one in journeys if one.id in self.selected]
        everything = len(chosen) == len(journeys)
        order = self.dice.choice(["-pno:randomly", f"--randomly-seed={self.dice.randrange(1000)}"])
        paths = [] if everything else sorted(chosen)
        return self.project.run(f"-n{workers}", "-pcacheprovider", order, *arguments, *paths, crash=crash)

    @property
    def in_run(self) -> list[JourneyId]:
        """The items of a run: those selected, and tests that establish what these need."""
        graph = self.project.scene.graph()
        return [*self.selected, *prerequisites_to_run(graph, self.selected)]

    @property
    def expected(self) -> dict[JourneyId, str]:
        return self.project.scene.expected(self.in_run)

    def complaints(self, seen: Seen, *, crashed: JourneyId | None = None, once: bool = True) -> Iterator[str]:
        """Yield what is wrong with a run; `once` if a copy was made wherever one can be made."""
        scene = self.project.scene
        if self.project.reads:
            # What becomes of these depends on what was in their state, which is compared by `differences`.
            yield from [*self.project.missed(seen), *self.left_behind()]
            return
        if crashed is not None:
            scene = replace(scene, failing=scene.failing | {crashed})
        expected = scene.expected(self.in_run)
        names = {one.nodeid.partition("::")[2]: one.id for one in scene.journeys}
        outcomes = {names[name]: outcome for name, outcome in seen.outcomes.items() if name in names}
        for one in {*outcomes, *expected} - {crashed}:
            if outcomes.get(one) != expected.get(one):
                yield f"{one} is {outcomes.get(one)}, and not {expected.get(one)}"
        # What rests on a destroyed token is lost with it, and replayed for whoever needs it later.
        kept = not any(one.invalidates for one in scene.journeys)
        if once and kept and crashed is None:
            yield from self.project.complaints(seen, self.in_run)
        else:
            yield from self.project.missed(seen)
        dead = re.findall(r"\[(\w+)\] node down", seen.text)
        yield from self.left_behind(dead)

    def left_behind(self, dead: Sequence[str] = ()) -> Iterator[str]:
        """Yield the states that are there after all runs, but not for what failed in them or by a `dead` worker."""
        for record in (self.project.directory / "s").glob("*/run.json"):
            run = record.parent
            results = run / "results.json"
            kept = set(re.findall(r"[ct]\d+-[\w-]+", results.read_text())) if results.exists() else set()
            named = {path.name: STATE.fullmatch(path.name) for path in run.iterdir()}
            found = {name for name, match in named.items() if match is not None and match[1] not in dead}
            odd = {path.name for path in run.iterdir() if path.name.startswith(".") or "tmp" in path.name}
            if odd:
                yield f"half-made: {sorted(odd)}"
            if found - kept:
                yield f"left behind: {sorted(found - kept)}"

    def histories(self, seen: Seen) -> dict[JourneyId, str]:
        """Return what journeys of split chains found in their state; those that ran more than once are left out."""
        tree = split(self.project.scene.graph())
        times = Counter(event.who for event in seen.log if event.what == "found")
        return {
            JourneyId(event.who): event.where
            for event in seen.log
            if event.what == "found" and times[event.who] == 1 and event.who in self.selected
            if tree.is_split(tree.state_of[JourneyId(event.who)])
        }


def _undeclared_needs(scene: Scene, dice: Random) -> dict[JourneyId, JourneyId]:
    """Let some journeys of split chains need what an earlier one leaves, without saying so, in some projects."""
    positions = list(split(scene.graph()).positions)
    if dice.random() > 0.25:
        return {}
    return {
        one: dice.choice(positions[:number])
        for number, one in enumerate(positions)
        if number and dice.random() < 0.4
    }


def differences(one: dict[JourneyId, str], other: dict[JourneyId, str]) -> Iterator[str]:
    """Yield the journeys that found something else in their state in another run."""
    for name in one.keys() & other.keys():
        if one[name] != other[name]:
            yield f"{name} found {one[name]!r}, and {other[name]!r} with another number of workers"


def is_forked(trial: Trial) -> bool:
    return bool(split(trial.project.scene.graph()).forks)


def only_files(scene: Scene) -> bool:
    """Return whether everything can be made again after a crash: no test establishes anything."""
    return not any(one.python for one in scene.journeys)
