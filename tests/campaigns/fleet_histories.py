"""Random histories of a fleet in virtual time: machines die, freeze and come late, and the database goes away.

    python -m tests.campaigns.fleet_histories [FIRST [COUNT]]
    python -m tests.campaigns.fleet_histories --controls [FIRST [COUNT]]

Plays COUNT histories (default 1000) by the seeds from FIRST on, prints each in which something happened that must never
happen, and ends with 1 if there was one. With --controls it breaks one rule after the other, prints in how many
histories that was noticed, and ends with 1 if one was not.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable

from tests.support.fleet_controls import CONTROLS
from tests.support.fleet_simulation import AS_THEY_ARE, History, Rules
from tests.support.fleet_stories import Story, random_story


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def violations(
    seed: int, rules: Rules = AS_THEY_ARE, story: Callable[[int], Story] = random_story
) -> tuple[History | None, list[str]]:
    """Play a history; return what must never happen in it, an error of the machines' own included."""
    try:
        history = History(story(seed), seed=seed, rules=rules).play()
    except Exception as error:  # noqa: BLE001 - a broken rule may break anything
        return None, [repr(error)]
    return history, history.violations


def judge(first: int, count: int) -> int:
    """Play histories by the rules; return the number of those that were not as they should be."""
    bad, begun = 0, time.monotonic()
    seen: Counter[str] = Counter()
    for seed in range(first, first + count):
        history, found = violations(seed)
        if found:
            bad += 1
            say("\n".join([f"seed {seed}:", *(f"    {one}" for one in found)]))
        if history is not None:
            seen.update(history.figures())
        if (seed - first + 1) % 1000 == 0:
            say(f"{seed - first + 1} histories, {bad} not as they should be")
    say(
        f"{count} histories from seed {first} in {time.monotonic() - begun:.0f} s: {bad} not as they should be"
    )
    say(", ".join(f"{number} {what}" for what, number in sorted(seen.items())))
    return bad


def judge_controls(first: int, count: int) -> int:
    """Break each rule; return the number of those where nobody noticed, or where something happens by the rules."""
    missed = 0
    for name, control in CONTROLS.items():
        seeds = range(first, first + count)
        noticed = [seed for seed in seeds if violations(seed, control.rules, control.story)[1]]
        wrong = [seed for seed in noticed if violations(seed, AS_THEY_ARE, control.story)[1]]
        missed += not noticed or bool(wrong)
        say(
            f"{name}: noticed in {len(noticed)} of {count} histories, such as {noticed[:5]}; by the rules: {wrong}"
        )
    return missed


def main(*arguments: str) -> int:
    controls = "--controls" in arguments
    numbers = [int(one) for one in arguments if one != "--controls"]
    first, count = (*numbers, *(0, 1000)[len(numbers) :])
    return judge_controls(first, count) if controls else judge(first, count)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) > 0)
