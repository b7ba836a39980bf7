"""Random projects with items of every kind, for tests of whole runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

from msgspec.structs import replace

from pytest_dogfood.journey import Capability, Journey, JourneyId, Mark, Tier
from pytest_dogfood.walks import reachable
from tests.support.strategies import ANYWHERE, Scene, ancestors, random_scene

PLAIN = {
    "passes": "def test_{n}(): pass",
    "fails": "def test_{n}(): assert 0",
    "is_skipped": "@pytest.mark.skip(reason='not now')\ndef test_{n}(): pass",
    "is_known": "@pytest.mark.xfail\ndef test_{n}(): assert 0",
    "has_values": "@pytest.mark.parametrize('n', [1, 2])\ndef test_{n}(n): assert n == 1",
    "breaks": "@pytest.fixture\ndef broken_{n}(): assert 0\n\ndef test_{n}(broken_{n}): pass",
}


def varied_scene(dice: Random, *, least: int = 4, most: int = 9) -> Scene:
    """Build a sound project, some of whose journeys are Python tests, are skipped, or may fail."""
    scene = with_python_tests(random_scene(dice, least=least, most=most), dice)
    marks = ((Mark(name="skip"),), (Mark(name="xfail"),))
    return replace(
        scene,
        journeys=tuple(
            replace(one, marks=dice.choice(marks)) if dice.random() < 0.15 else one for one in scene.journeys
        ),
    )


def with_python_tests(scene: Scene, dice: Random) -> Scene:
    """Write some of the journeys as Python tests."""
    to_replay = set(_below_providers(scene))
    journeys = tuple(
        as_test(one)
        if one.id not in to_replay and _could_be_a_test(scene, one) and dice.random() < 0.4
        else one
        for one in scene.journeys
    )
    known = {one.token for one in scene.capabilities}
    by_tests = dict.fromkeys(token for one in journeys if one.python for token in one.establishes)
    defined = tuple(Capability(token=token, location=ANYWHERE) for token in by_tests if token not in known)
    return replace(scene, journeys=journeys, capabilities=(*scene.capabilities, *defined))


def _below_providers(scene: Scene) -> Iterator[JourneyId]:
    """Name what the needs of providers rest on: they may be asked for in any state."""
    graph = scene.graph()
    for token in {token for capability in scene.capabilities for token in capability.requires}:
        for establisher in scene.establishers(token):
            yield establisher.id
            yield from ancestors(graph, establisher.id)


def _could_be_a_test(scene: Scene, journey: Journey) -> bool:
    """Return whether a journey says nothing that a test cannot say, and nobody has to repeat it after a destroyer."""
    simple = journey.tier is Tier.CORE and not journey.gating
    # What rests on a destroyed token is lost with it.
    graph = scene.graph()
    below = graph.with_bases([*journey.establishes, *(journey.requires if journey.establishes else ())])
    rests_on = reachable(below, graph.rests_on)
    return simple and not any(map(scene.destroyers, rests_on))


def as_test(journey: Journey) -> Journey:
    path = f"test_{journey.path.partition('.')[0]}.py"
    return replace(
        journey, python=True, path=path, nodeid=f"{path}::test_{journey.id}", steps=(), estimate=None
    )


def further_files(dice: Random) -> dict[str, str]:
    """Return files of tests outside of the graph, and journeys that run once per value."""
    return {**dict(_plain_tests(dice)), "matrix.journey.yaml": _matrix(dice)}


def _plain_tests(dice: Random) -> Iterator[tuple[str, str]]:
    for number in range(dice.randint(1, 3)):
        functions = [PLAIN[dice.choice(list(PLAIN))].format(n=n) for n in range(dice.randint(1, 3))]
        yield f"test_plain{number}.py", "\n\n".join(["import pytest", *functions])


def _matrix(dice: Random) -> str:
    """Return a token per value, of which one may not come about."""
    values = [f"v{number}" for number in range(dice.randint(1, 3))]
    bad = dice.choice([*values, "none"])
    scope = dice.choice(["chain", "machine"])
    return f"""
capabilities:
  made: {{scope: {scope}}}
journeys:
  - id: make
    matrix: {{value: {values}}}
    establishes: ["made:${{value}}"]
    steps: [{{run: 'test "$value" != {bad}'}}]
  - {{id: use-all, requires: ["made:*"], steps: [run: "true"]}}
  - {{id: use-one, requires: ["made:v0"], steps: [run: "true"]}}
"""


def write(files: dict[str, str], directory: Path) -> None:
    for name, text in files.items():
        (directory / name).write_text(text)
