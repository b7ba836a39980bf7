"""What the history of a fleet begins with, and what goes wrong in it, drawn by a seed."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.journey import Capability, JourneyId, Scope, Step, Token
from tests.support.fleet_database import Trouble
from tests.support.strategies import ANYWHERE, Scene, new_journey, random_scene, with_copyable_tokens


class Fault(Struct, frozen=True):
    """Something that happens to a machine, by its number, at a time, in seconds, or at the next occasion after it."""

    what: str
    machine: int
    at: float
    seconds: float = 0.0
    when: str = ""


class Story(Struct, frozen=True, kw_only=True):
    """What a history begins with, and what goes wrong in it. `longest` is that of an item, in seconds.

    `probe_seconds` is how long a probe takes. `broken` holds tokens by the number of a machine."""

    scene: Scene
    selected: tuple[JourneyId, ...]
    plain: tuple[str, ...] = ()
    fleet_tokens: frozenset[Token] = frozenset()
    there_before: frozenset[Token] = frozenset()
    workers: tuple[int, ...] = (1,)
    begins: tuple[float, ...] = (0.0,)
    longest: float = 20.0
    probe_seconds: float = 0.05
    broken: tuple[frozenset[Token], ...] = (frozenset(),)
    faults: tuple[Fault, ...] = ()
    trouble: Trouble = Trouble()


def random_story(seed: int) -> Story:
    """Draw a project, machines, and what goes wrong: nothing in some histories, a lot in others."""
    dice = Random(seed)  # noqa: S311 - a die, no secret
    scene = _crowd(dice) if dice.random() < 0.35 else random_scene(dice, least=1, most=12)
    if dice.random() < 0.3:
        scene = with_copyable_tokens(scene, dice)
    selected = dice.sample(
        scene.ids, len(scene.ids) if dice.random() < 0.7 else dice.randint(1, len(scene.ids))
    )
    named = {token for one in scene.journeys for token in (*one.requires, *one.establishes, *one.invalidates)}
    shared = sorted(token for token in named if scene.is_shared(token))
    fleet_tokens = frozenset(token for token in shared if dice.random() < 0.8)
    provided = sorted(token for token in fleet_tokens if scene.capability(token).provision)
    count = dice.randint(1, 6)
    wild = dice.choice([0.0, 0.3, 1.0, 1.0])
    horizon = dice.choice([10.0, 30.0, 90.0])
    return Story(
        scene=scene,
        selected=tuple(selected),
        plain=tuple(f"plain{dice.randrange(3)}.py::test_{number}" for number in range(dice.randint(0, 8))),
        fleet_tokens=fleet_tokens,
        # Where its provider needs something, whether that can be had would make no difference.
        there_before=frozenset(
            one
            for one in provided
            if scene.capability(one).probe is not None
            and dice.random() < 0.15
            and not scene.capability(one).requires
        ),
        workers=tuple(dice.randint(1, 4) for _ in range(count)),
        begins=tuple(dice.choice([0.0, dice.uniform(0, 2), dice.uniform(0, horizon)]) for _ in range(count)),
        longest=dice.choice([5.0, 30.0, 30.0, 150.0]),
        broken=_broken(dice, scene, count) if wild and dice.random() < 0.3 else (frozenset(),) * count,
        faults=tuple(_faults(dice, count, horizon)) if wild else (),
        trouble=_trouble(dice, count, wild, horizon),
    )


def _crowd(dice: Random) -> Scene:
    """Build a project in which many journeys need a few shared tokens that have providers."""
    tokens = [Token(f"shared-{number}") for number in range(dice.randint(1, 3))]
    step = Step(location=ANYWHERE, run="true")
    capabilities = [
        Capability(
            token=token,
            location=ANYWHERE,
            scope=Scope.MACHINE,
            requires=dict.fromkeys(tokens[:number][-1:], ANYWHERE) if dice.random() < 0.5 else {},
            probe=step if dice.random() < 0.6 else None,
            provision=(step,),
        )
        for number, token in enumerate(tokens)
    ]
    journeys = []
    for number in range(dice.randint(4, 14)):
        needs = dice.sample(tokens, dice.randint(1, len(tokens)))
        journey = replace(new_journey(f"j{number}", line=number + 1), requires=dict.fromkeys(needs, ANYWHERE))
        if number and dice.random() < 0.15:
            journey = replace(journey, invalidates=dict.fromkeys(dice.sample(tokens, 1), ANYWHERE))
        journeys.append(journey)
    failing = frozenset(one.id for one in journeys if dice.random() < 0.1)
    return Scene(journeys=tuple(journeys), capabilities=tuple(capabilities), failing=failing)


def _broken(dice: Random, scene: Scene, count: int) -> tuple[frozenset[Token], ...]:
    """Choose what some machines, or all of them, cannot provide."""
    providers = sorted(one.token for one in scene.capabilities if one.provision)
    same = (
        frozenset(dice.sample(providers, dice.randint(1, len(providers))))
        if providers
        else frozenset[Token]()
    )
    broken = dice.choice([0.2, 0.5, 1.0])
    return tuple(same if dice.random() < broken else frozenset() for _ in range(count))


def _faults(dice: Random, count: int, horizon: float) -> Iterable[Fault]:
    for _ in range(dice.choice([0, 1, 1, 2, 3, 6])):
        what = dice.choice(
            ["kill", "freeze", "freeze", "kill worker", "leave", *("kill", "kill worker", "leave", "freeze")]
        )
        when = dice.choice(["", "", "when it provides", "when it holds"])
        seconds = dice.choice([dice.uniform(0, 10), dice.uniform(20, 100)])
        yield Fault(what, dice.randrange(count), dice.uniform(0, horizon), seconds, when)


def _trouble(dice: Random, count: int, wild: float, horizon: float) -> Trouble:
    def some(most: float) -> float:
        return wild * dice.choice([0.0, 0.2, 1.0]) * most

    def interval() -> tuple[float, float]:
        begin = dice.uniform(0, horizon)
        return begin, begin + dice.choice([dice.uniform(1, 10), dice.uniform(10, 60)])

    away = tuple(interval() for _ in range(dice.choice([0, 0, 1, 2]) if wild else 0))
    cut = [
        (f"m{dice.randrange(count)}", *interval()) for _ in range(dice.choice([0, 0, 1, 3]) if wild else 0)
    ]
    return Trouble(slow=some(0.2), lost=some(0.2), late=some(0.3), stuck=some(0.8), away=away, cut=tuple(cut))


def cut_off_while_others_work(seed: int) -> Story:
    """Draw a history in which a machine is cut off for long, and what it asked for then arrives afterwards."""
    dice = Random(seed)  # noqa: S311 - a die, no secret
    story = random_story(seed)
    count = max(2, len(story.workers))
    begin = dice.uniform(0, 20)
    return replace(
        story,
        selected=tuple(story.scene.ids),
        workers=(1,) * count,
        begins=(0.0,) * count,
        broken=(frozenset(),) * count,
        longest=150.0,
        faults=(),
        trouble=Trouble(stuck=1.0, cut=(("m0", begin, begin + 70),)),
    )


def workers_that_die_when_they_hold(seed: int) -> Story:
    """Draw a history in which requests are slow, and workers die right after they have asked for a token."""
    dice = Random(seed)  # noqa: S311 - a die, no secret
    story = random_story(seed)
    scene = _crowd(dice)
    count = len(story.workers)
    return replace(
        story,
        scene=scene,
        selected=tuple(scene.ids),
        fleet_tokens=frozenset(one.token for one in scene.capabilities),
        there_before=frozenset(),
        broken=(frozenset(),) * count,
        faults=tuple(
            Fault("kill worker", machine, at, when="when it holds")
            for machine in range(count)
            for at in (0.0, 5.0, 10.0)
        ),
        trouble=Trouble(slow=0.7),
    )


def machines_with_the_same_trouble(seed: int) -> Story:
    """Draw a history in which no machine can provide what many journeys need."""
    dice = Random(seed)  # noqa: S311 - a die, no secret
    story = random_story(seed)
    scene = _crowd(dice)
    count = max(2, len(story.workers))
    return replace(
        story,
        scene=scene,
        selected=tuple(scene.ids),
        fleet_tokens=frozenset(),
        there_before=frozenset(),
        workers=(1,) * count,
        begins=(0.0,) * count,
        broken=(frozenset(one.token for one in scene.capabilities),) * count,
        faults=(),
        trouble=Trouble(),
    )
