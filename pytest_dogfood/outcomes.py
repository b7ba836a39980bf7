"""What journeys came to, as plain values: their results, and the closing line that adds them up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct, field

from pytest_dogfood.diagnostics import counted
from pytest_dogfood.journey import JourneyId, Token, is_test


class Outcome(StrEnum):
    """What a journey came to, in the order of the closing line."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    CRASHED = "crashed"
    DEFERRED = "deferred"
    SKIPPED = "skipped"
    NO_ACTOR = "no actor"
    XFAILED = "xfailed"
    XPASSED = "xpassed"

    @property
    def establishes(self) -> bool:
        """Whether what the journey establishes may hold after this."""
        return self in {Outcome.PASSED, Outcome.XPASSED}

    @property
    def closes_a_gate(self) -> bool:
        return self in {Outcome.FAILED, Outcome.ERROR, Outcome.CRASHED, Outcome.DEFERRED}

    @property
    def is_bad(self) -> bool:
        """Whether a run with this in it is not green."""
        return self in {Outcome.FAILED, Outcome.ERROR, Outcome.CRASHED}

    @property
    def measured(self) -> bool:
        """Whether the product was really tested."""
        return self in {Outcome.PASSED, Outcome.FAILED, Outcome.XFAILED, Outcome.XPASSED}


def reason_of(outcome: Outcome) -> str:
    """Say what a journey came to, as the end of a sentence that begins with its id."""
    return {
        Outcome.FAILED: "failed",
        Outcome.ERROR: "could not be run by the harness",
        Outcome.CRASHED: "crashed its worker",
        Outcome.DEFERRED: "was deferred",
        Outcome.SKIPPED: "was skipped",
        Outcome.NO_ACTOR: "has a step without a command, and there is no actor to decide one",
        Outcome.XFAILED: "failed, as its xfail mark expects",
    }.get(outcome, str(outcome))


INTERRUPTED = "was interrupted"
"""Why an item has an error that a signal ended."""

_BEST_TO_WORST = (
    Outcome.PASSED,
    Outcome.XPASSED,
    Outcome.XFAILED,
    Outcome.SKIPPED,
    Outcome.NO_ACTOR,
    Outcome.DEFERRED,
    Outcome.ERROR,
    Outcome.CRASHED,
    Outcome.FAILED,
)


def badness(outcome: Outcome) -> int:
    """Rank outcomes that one journey had in several places, so that `max` keeps the one that must not be lost."""
    return _BEST_TO_WORST.index(outcome)


class Proof(StrEnum):
    """What shows that a token is present: its probe, or only that its journey or its provider succeeded."""

    PROBE = "probe"
    JOURNEY = "journey"
    PROVIDER = "provider"


class Cause(Struct, frozen=True, kw_only=True):
    """Why something was deferred, down to the root: `who` is a journey, a gate or a token, `why` is for people.

    `blocked` marks a cause that was declared with --dogfood-blocked. `details` is a replay's failure in full.
    """

    who: str
    why: str
    blocked: bool = False
    details: str = ""

    def __str__(self) -> str:
        return f"{self.who} {self.why}"


class Provisioned(Struct, frozen=True, kw_only=True):
    """One act of provisioning, for the summary: `how` completes 'provisioned TOKEN once …'."""

    token: Token
    how: str
    seconds: float
    where: str


class JourneyResult(Struct, frozen=True, kw_only=True):
    """What one item came to. It travels with pytest's reports as JSON-safe values.

    Where an actor took part, `trajectory` is the file that says what it did, and `unjudged` the number of
    expectations in free text that were not judged. `not_cleaned` names the clean-up steps that were not run, and why,
    `leaked` the processes that its steps have left running.
    """

    id: JourneyId
    outcome: Outcome
    chain: str = ""
    worker: str = ""
    cause: Cause | None = None
    proofs: Mapping[Token, Proof] = field(default_factory=dict)
    provisioned: tuple[Provisioned, ...] = ()
    kept: str = ""
    trajectory: str = ""
    unjudged: int = 0
    not_cleaned: str = ""
    leaked: tuple[str, ...] = ()

    @property
    def closes_a_gate(self) -> bool:
        """Whether later tiers are held back, this being a gate; a declared blocker holds nothing back."""
        return self.outcome.closes_a_gate and not (self.cause is not None and self.cause.blocked)

    @property
    def interrupted(self) -> bool:
        """Whether a signal ended the item, which shows nothing about the product or the harness."""
        return self.outcome is Outcome.ERROR and self.cause is not None and self.cause.why == INTERRUPTED

    def own_seconds(self, spent: float) -> float:
        """Leave out the time for provisioning: in another run, other items may spend it."""
        return max(0.0, spent - sum(one.seconds for one in self.provisioned))

    def to_json(self) -> dict[str, Any]:
        result: dict[str, Any] = msgspec.to_builtins(self)
        return result

    @classmethod
    def from_json(cls, value: Any) -> JourneyResult:  # noqa: ANN401 - whatever a report has carried
        return msgspec.convert(value, type=cls)


class Tally(Struct):
    """Counts results against what was planned, each journey once: the last word wins.

    `gates` are the journeys that something of the plan stands behind. `not_run` are those that had not begun when the
    run was stopped, as by -x or Ctrl-C.
    """

    planned: tuple[JourneyId, ...]
    gates: tuple[JourneyId, ...] = ()
    not_run: tuple[JourneyId, ...] = ()
    results: dict[JourneyId, JourneyResult] = field(default_factory=dict)

    def add(self, result: JourneyResult) -> None:
        self.results[result.id] = result

    @property
    def unaccounted(self) -> tuple[JourneyId, ...]:
        """Return what has no result, be it known why or not."""
        return tuple(journey for journey in self.planned if journey not in self.results)

    def causes(self) -> dict[str, list[JourneyResult]]:
        """Deferred results by the text of their root cause, in the order of the plan."""
        grouped: dict[str, list[JourneyResult]] = {}
        for journey in self.planned:
            result = self.results.get(journey)
            if result is not None and result.outcome is Outcome.DEFERRED and result.cause is not None:
                grouped.setdefault(str(result.cause), []).append(result)
        return grouped

    def gates_left_open(self) -> tuple[JourneyResult, ...]:
        """Return the gates that later tiers passed although nothing showed that the gates are good."""
        found = (self.results.get(gate) for gate in self.gates)
        return tuple(
            result
            for result in found
            if result is not None and not result.outcome.establishes and not result.closes_a_gate
        )

    def measured(self) -> tuple[int, int]:
        """Count the journeys that really tested the product, and those that their authors did not skip."""
        results = [result for result in self.results.values() if result.outcome is not Outcome.SKIPPED]
        return sum(result.outcome.measured for result in results), len(results) + len(self.unaccounted)

    def unseen_causes(self) -> tuple[Cause, ...]:
        """Return the failures that deferred something but are not failed items of this run: they were in replays."""
        deferred = (result.cause for results in self.causes().values() for result in results)
        return tuple(
            {str(cause): cause for cause in deferred if cause is not None and cause.details}.values()
        )

    def too_little(self, least: int) -> str:
        """Return how little was measured, if it is less than `least` percent; else nothing."""
        measured, wanted = self.measured()
        if not wanted or measured * 100 >= least * wanted:
            return ""
        if not measured:
            return "dogfood: this run measured nothing"
        return f"dogfood: this run measured too little: {measured} of {wanted}"

    def closing_line(self) -> str:
        """Return the one line that accounts for every journey and every token of the run."""
        counts = Counter(_COUNTED_AS.get(result.outcome, result.outcome) for result in self.results.values())
        parts = []
        for outcome in filter(counts.get, Outcome):
            number = counts[outcome]
            said = counted(number, "error") if outcome is Outcome.ERROR else f"{number} {outcome}"
            causes = f" ({counted(len(self.causes()), 'cause')})" if outcome is Outcome.DEFERRED else ""
            parts.append(f"{said}{causes}")
        probed: dict[Token, bool] = {}
        for result in self.results.values():
            for token, proof in result.proofs.items():
                probed[token] = probed.get(token, False) or proof is Proof.PROBE
        by_probe = sum(probed.values())
        unverified = len(probed) - by_probe
        proofs = [f"{by_probe} probed"] if by_probe else []
        proofs += [f"{unverified} unverified (no probe)"] if unverified else []
        if self.not_run:
            parts.append(f"{len(self.not_run)} not run")
        number = len(self.unaccounted) - len(self.not_run)
        lost = f"; {number} unaccounted" if number else ""
        tokens = counted(len(probed), "token") + (f": {', '.join(proofs)}" if proofs else "")
        return f"dogfood: {counted_items(self.planned)} = {' + '.join(parts) or '0 passed'}{lost}; {tokens}"


_COUNTED_AS = {Outcome.CRASHED: Outcome.FAILED, Outcome.NO_ACTOR: Outcome.SKIPPED}


def counted_items(items: Iterable[JourneyId]) -> str:
    """Count journeys and Python tests apart: "40 journeys and 12 tests"."""
    kinds = Counter("test" if is_test(item) else "journey" for item in items)
    return " and ".join(counted(kinds[kind], kind) for kind in sorted(kinds)) or "0 journeys"


def listed(names: Iterable[str], *, most: int = 5) -> str:
    """Join names for a sentence, the tail as a number."""
    all_names = list(names)
    rest = len(all_names) - most
    shown = ", ".join(all_names[:most])
    return f"{shown} and {rest} more" if rest > 0 else shown
