"""With the cache a run ends as without it, and its journeys find the same files in their states."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.scenes import Scene

SEEDS = range(6)


def capability(die: Random, number: int, needs: list[str]) -> tuple[str, bool]:
    """Return a random definition of a token, and whether a journey has to establish it."""
    token, keys = f"t{number}", ["description: a file"]
    copyable, provides = die.random() < 0.9, die.random() < 0.6
    keys += ["copyable: true"] if copyable else []
    keys += ["inputs: {files: in.txt}"] if copyable and die.random() < 0.85 else []
    keys += [f"probe: test -f $DOGFOOD_STATE/{token}"] if die.random() < 0.6 else []
    if provides:
        keys += [f"requires: [{', '.join(needs)}]"] if needs else []
        keys += [f"provision: ['echo {token} >>$DOGFOOD_ROOT/made; echo $DOGFOOD_STATE >{token}']"]
    return f"  {token}: {{{', '.join(keys)}}}\n", not provides


def journey(name: str, needs: list[str], makes: str, run: str) -> str:
    keys = [f"requires: [{', '.join(needs)}]"] if needs else []
    keys += [f"establishes: [{makes}]"] if makes else []
    return f"  - {{{', '.join([f'id: {name}', *keys, f'steps: [{run!r}]'])}}}\n"


def write(scene: Scene, die: Random) -> list[str]:
    """Write a random project; return the journeys that look at their state."""
    capabilities, journeys, number = "", [], die.randint(2, 5)
    for made in range(number):
        token, needs = f"t{made}", [f"t{before}" for before in range(made) if die.random() < 0.4]
        definition, needs_journey = capability(die, made, needs)
        capabilities += definition
        if needs_journey or die.random() < 0.3:
            ending = "false" if die.random() < 0.1 else "true"
            run = f"echo {token} >>$DOGFOOD_ROOT/made; echo $DOGFOOD_STATE >$DOGFOOD_STATE/{token}; {ending}"
            journeys.append(journey(f"make-{token}", needs, token, run))
    looking = [f"look-{one}" for one in range(die.randint(2, 4))]
    for name in looking:
        needs = [f"t{one}" for one in die.sample(range(number), die.randint(1, 2))]
        paths = 'for f in t?; do test ! -f $f || test "$(cat $f)" = "$DOGFOOD_STATE"; done'
        run = f"cd $DOGFOOD_STATE; touch {name}; {paths}; ls >$DOGFOOD_ROOT/{name}.saw"
        journeys.append(journey(name, needs, "", run))
    die.shuffle(journeys)
    scene.write("pytest.ini", "[pytest]\n")
    scene.write("in.txt", "one\n")
    (scene.path / "all.journey.yaml").write_text(
        f"capabilities:\n{capabilities}journeys:\n{''.join(journeys)}"
    )
    return looking


def result(scene: Scene, *arguments: str) -> tuple[dict[str, str], dict[str, str], int]:
    """Run the project; return how each item ended, what it found in its state, and how often something was made."""
    for path in (*scene.path.glob("*.saw"), scene.path / "made"):
        path.unlink(missing_ok=True)
    run = scene.run(*arguments)
    assert "not restored" not in run.text
    ends = {name: case.kind for name, case in run.cases.items()}
    saw = {path.name: path.read_text() for path in sorted(scene.path.glob("*.saw"))}
    return ends, saw, len(scene.lines("made"))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_ends_the_same_and_makes_no_more(scene: Scene, seed: int) -> None:
    die = Random(seed)  # noqa: S311 - a die, no secret
    looking = write(scene, die)
    selection = ["-k", die.choice(["look", *looking])]
    without = result(scene, "--dogfood-cache=off", *selection)
    first = result(scene, *selection)
    again = result(scene, die.choice(["-n0", "-n2"]), *selection)
    assert first == without
    assert again[:2] == without[:2]
    assert again[2] <= first[2]
