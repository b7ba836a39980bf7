"""The results of journeys as plain values, and the closing line that adds them up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct, field

from pytest_dogfood.diagnostics import counted
from pytest_dogfood.journey import JourneyId, StateId, Token, is_test


class Outcome(StrEnum):
    """How a journey ended, in the order of the closing line."""

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
        """Whether the journey's tokens may be present after this."""
        return self in {Outcome.PASSED, Outcome.XPASSED}

    @property
    def closes_a_gate(self) -> bool:
        return self in {Outcome.FAILED, Outcome.ERROR, Outcome.CRASHED, Outcome.DEFERRED}

    @property
    def is_bad(self) -> bool:
        """Whether a run with such a result fails."""
        return self in {Outcome.FAILED, Outcome.ERROR, Outcome.CRASHED}

    @property
    def measured(self) -> bool:
        """Whether the product was tested."""
        return self in {Outcome.PASSED, Outcome.FAILED, Outcome.XFAILED, Outcome.XPASSED}


def reason_of(outcome: Outcome) -> str:
    """Return an outcome as the end of a sentence that begins with the journey's id."""
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
"""The reason in the cause of an item that a signal ended."""

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
    """Rank outcomes that one journey had in several places, so that `max` keeps the worst."""
    return _BEST_TO_WORST.index(outcome)


class Proof(StrEnum):
    """What shows that a token is present: its probe, or only that its journey or its provider succeeded."""

    PROBE = "probe"
    JOURNEY = "journey"
    PROVIDER = "provider"


class Cause(Struct, frozen=True, kw_only=True):
    """The root cause of a deferral: `who` is a journey, a gate or a token, `why` is the reason in words.

    `blocked` marks a cause that was declared with --dogfood-blocked. `details` is a replay's failure in full.
    """

    who: str
    why: str
    blocked: bool = False
    details: str = ""

    def __str__(self) -> str:
        return f"{self.who} {self.why}"


class Provisioned(Struct, frozen=True, kw_only=True):
    """One provisioning of a token, for the summary: `how` completes 'provisioned TOKEN once …'."""

    token: Token
    how: str
    seconds: float
    where: str


class StateCopy(Struct, frozen=True, kw_only=True):
    """A copy of `state` with which an item began: its `files`, their `bytes`, and the `seconds` it took.

    If the copy was prevented or was not as good, `problem` says by what, and `lost` how many seconds were spent on
    provisioning instead.
    """

    state: StateId
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    problem: str = ""
    lost: float = 0.0

    @property
    def note(self) -> str:
        """A line on what prevented the copy; empty if it was made."""
        return f"note: not copied: the state of {self.state}: {self.problem}" if self.problem else ""


class CacheUse(StrEnum):
    """What became of a state that the cache had, or might have had."""

    RESTORED = "restored"
    STORED = "stored"
    DROPPED = "dropped"
    NOT_STORED = "not stored"
    UNUSABLE = "unusable"


class CachedState(Struct, frozen=True, kw_only=True):
    """What became of a state with `tokens` in the cache, for an item: `problem` says why it was not restored or stored.

    It was `made` at a time (seconds since the epoch), and provisioning took `took` seconds. `seconds` is the time of
    restoring or storing it.
    """

    use: CacheUse
    tokens: tuple[Token, ...] = ()
    made: float = 0.0
    took: float = 0.0
    seconds: float = 0.0
    problem: str = ""


class JourneyResult(Struct, frozen=True, kw_only=True):
    """The result of one item. pytest's reports carry it as JSON-safe values.

    If an actor took part, `trajectory` is the file that lists its actions, and `unjudged` the number of expectations in
    free text that were not judged. `not_cleaned` names the clean-up steps that were not run, and why, `leaked` the
    processes that its steps left running.
    """

    id: JourneyId
    outcome: Outcome
    chain: str = ""
    worker: str = ""
    cause: Cause | None = None
    proofs: Mapping[Token, Proof] = field(default_factory=dict)
    provisioned: tuple[Provisioned, ...] = ()
    copies: tuple[StateCopy, ...] = ()
    cached: tuple[CachedState, ...] = ()
    kept: str = ""
    trajectory: str = ""
    unjudged: int = 0
    not_cleaned: str = ""
    leaked: tuple[str, ...] = ()

    @property
    def closes_a_gate(self) -> bool:
        """Whether later tiers are deferred if this is a gate; a blocked token defers none."""
        return self.outcome.closes_a_gate and not (self.cause is not None and self.cause.blocked)

    @property
    def interrupted(self) -> bool:
        """Whether a signal ended the item, which shows nothing about the product or the harness."""
        return self.outcome is Outcome.ERROR and self.cause is not None and self.cause.why == INTERRUPTED

    def own_seconds(self, spent: float) -> float:
        """Return the time without provisioning and copying, which other items may do in another run."""
        provisioned = sum(one.seconds for one in self.provisioned)
        copied = sum(one.seconds for one in self.copies) + sum(one.seconds for one in self.cached)
        return max(0.0, spent - provisioned - copied)

    def to_json(self) -> dict[str, Any]:
        result: dict[str, Any] = msgspec.to_builtins(self)
        return result

    @classmethod
    def from_json(cls, value: Any) -> JourneyResult:  # noqa: ANN401 - whatever a report has carried
        return msgspec.convert(value, type=cls)


class Tally(Struct):
    """Counts results against the plan, each journey once, by its last result.

    `gates` are the gates of planned journeys. `not_run` are the journeys that had not begun when the run was stopped,
    for instance by -x or Ctrl-C.
    """

    planned: tuple[JourneyId, ...]
    gates: tuple[JourneyId, ...] = ()
    not_run: tuple[JourneyId, ...] = ()
    results: dict[JourneyId, JourneyResult] = field(default_factory=dict)

    def add(self, result: JourneyResult) -> None:
        self.results[result.id] = result

    @property
    def unaccounted(self) -> tuple[JourneyId, ...]:
        """Return the planned journeys without a result, whether the reason is known or not."""
        return tuple(journey for journey in self.planned if journey not in self.results)

    def causes(self) -> dict[str, list[JourneyResult]]:
        """Return deferred results by the text of their root cause, in the order of the plan."""
        grouped: dict[str, list[JourneyResult]] = {}
        for journey in self.planned:
            result = self.results.get(journey)
            if result is not None and result.outcome is Outcome.DEFERRED and result.cause is not None:
                grouped.setdefault(str(result.cause), []).append(result)
        return grouped

    def gates_left_open(self) -> tuple[JourneyResult, ...]:
        """Return the gates that did not pass, but did not defer later tiers either."""
        found = (self.results.get(gate) for gate in self.gates)
        return tuple(
            result
            for result in found
            if result is not None and not result.outcome.establishes and not result.closes_a_gate
        )

    def measured(self) -> tuple[int, int]:
        """Count the journeys that tested the product, and those that their authors did not skip."""
        results = [result for result in self.results.values() if result.outcome is not Outcome.SKIPPED]
        return sum(result.outcome.measured for result in results), len(results) + len(self.unaccounted)

    def unseen_causes(self) -> tuple[Cause, ...]:
        """Return the causes of deferrals that are no failed items of this run, but failures of replays."""
        deferred = (result.cause for results in self.causes().values() for result in results)
        return tuple(
            {str(cause): cause for cause in deferred if cause is not None and cause.details}.values()
        )

    def too_little(self, least: int) -> str:
        """Return an error if less than `least` percent of the journeys measured anything; else the empty string."""
        measured, wanted = self.measured()
        if not wanted or measured * 100 >= least * wanted:
            return ""
        if not measured:
            return "dogfood: this run measured nothing"
        return f"dogfood: this run measured too little: {measured} of {wanted}"

    def closing_line(self) -> str:
        """Return the line that accounts for every journey and every token of the run."""
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
    """Count journeys and Python tests separately: "40 journeys and 12 tests"."""
    kinds = Counter("test" if is_test(item) else "journey" for item in items)
    return " and ".join(counted(kinds[kind], kind) for kind in sorted(kinds)) or "0 journeys"


def listed(names: Iterable[str], *, most: int = 5) -> str:
    """Join names for a sentence; the rest is a number."""
    all_names = list(names)
    rest = len(all_names) - most
    shown = ", ".join(all_names[:most])
    return f"{shown} and {rest} more" if rest > 0 else shown
