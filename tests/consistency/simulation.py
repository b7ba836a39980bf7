"""Runs histories, as many as you like, and tells what happened.

python -m tests.consistency.simulation SEED             one history, step by step
python -m tests.consistency.simulation FIRST-LAST       many of them, and what was seen
python -m tests.consistency.simulation -                for each line SEED that is read, a line of JSON
Options: --naive follows the rule that goes wrong; --server URL has the hubs on a PostgreSQL server.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from tests.consistency import naive_rule
from tests.consistency.histories import History
from tests.consistency.history_environments import Stages, own_stages
from tests.consistency.invariants import WentBackError

MACHINES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a history. `trouble` is empty if every promise was kept; `seconds` are the processors'."""

    seed: int
    trouble: str
    went_back: bool
    steps: tuple[str, ...]
    fixes: int
    deaths: tuple[str, ...]
    seconds: float

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Outcome:
        values = json.loads(line)
        return cls(**{**values, "steps": tuple(values["steps"]), "deaths": tuple(values["deaths"])})

    def story(self, options: str = "") -> str:
        """Tell it in words, and how to see it again."""
        told = "\n".join(f"{number:3} {step}" for number, step in enumerate(self.steps, start=1))
        again = f"python -m tests.consistency.simulation {options}{self.seed}"
        return f"history {self.seed}:\n{told}\n{self.trouble}\nonce more: {again}"


def tell(seed: int, stages: Stages) -> Outcome:
    """Let one history happen."""
    started = _processor_seconds()
    error: BaseException | None = None
    with stages.stage(MACHINES) as stage:
        history = History(seed, stage)
        try:
            history.run()
        except Exception as caught:  # noqa: BLE001 - it is told
            error = caught
    return Outcome(
        seed=seed,
        trouble="".join(traceback.format_exception(error)) if error else "",
        went_back=isinstance(error, WentBackError),
        steps=tuple(history.steps),
        fixes=history.fixes,
        deaths=tuple(history.deaths),
        seconds=_processor_seconds() - started,
    )


def _processor_seconds() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def main(arguments: list[str]) -> int:
    parser = ArgumentParser(prog="python -m tests.consistency.simulation", description=__doc__)
    parser.add_argument("seeds")
    parser.add_argument("--naive", action="store_true")
    parser.add_argument("--server", default="")
    options = parser.parse_args(arguments)
    if options.naive:
        naive_rule.take_over()
    with own_stages(options.server) as stages:
        if options.seeds == "-":
            return _answer(stages)
        outcomes = (tell(seed, stages) for seed in _seeds(options.seeds))
        return _report(outcomes, single="-" not in options.seeds, naive_rule=options.naive)


def _answer(stages: Stages) -> int:
    for line in sys.stdin:
        _say(tell(int(line), stages).to_json())
    return 0


def _seeds(written: str) -> Iterable[int]:
    first, _, last = written.partition("-")
    return range(int(first), int(last or first) + 1)


def _report(outcomes: Iterable[Outcome], *, single: bool, naive_rule: bool) -> int:
    """Print the steps of a single history, and of those that went wrong unforeseen; the figures at the end.

    After Ctrl-C they are those of the histories that came to their end.
    """
    every = []
    with suppress(KeyboardInterrupt):
        for outcome in outcomes:
            every.append(replace(outcome, steps=()))
            foreseen = not outcome.trouble or (naive_rule and outcome.went_back)
            if single or not foreseen:
                _say(outcome.story("--naive " if naive_rule else ""))
    troubled = sum(bool(outcome.trouble) for outcome in every)
    deaths = Counter(death for outcome in every for death in outcome.deaths if death)
    _say(
        f"{len(every)} histories: {sum(outcome.went_back for outcome in every)} went back, {troubled} with trouble; "
        f"{sum(outcome.fixes for outcome in every)} fixes, "
        f"{deaths.total()} of {sum(len(outcome.deaths) for outcome in every)} doomed processes killed; "
        f"{sum(outcome.seconds for outcome in every):.1f} s of processors"
    )
    for where, times in sorted(deaths.items()):
        _say(f"{times:6} killed {where}")
    return int(troubled > 0)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - this is what was asked for


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
