"""A recorded run with its activities by journey and by token, and its steps as a report shows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import JourneyId, StateId, Token
from pytest_dogfood.outcomes import JourneyResult, Outcome, Proof
from pytest_dogfood.report.run_view import NOTHING, ActivityView, OutputText, StepView, shown, text_of
from pytest_dogfood.storage.record import Activity, Kind, RecordedRun, Reference, StepRecord, WrongRecord
from pytest_dogfood.storage.retention import name_of_run


def steps_in_words(recorded: RecordedRun, journey: str) -> Iterator[str]:
    """Yield the steps of a journey's last try in a run, and where their outputs are kept."""
    tries = [one for one in recorded.activities if (one.kind, one.id) == (Kind.JOURNEY, journey)]
    for step in tries[-1].steps if tries else ():
        about = f", {step.intent}" if step.intent else ""
        exited = "" if step.exit is None else f": exit {step.exit}, {step.seconds:.2f} s"
        yield f"      step {step.number}{exited}{about}"
        for name in (step.out, step.err):
            if name and (recorded.directory / name).exists():
                yield f"          {recorded.directory / name}"


class RunIndex:
    """What several parts of a report look up.

    `tries` are the runs of a journey as an item. `done_for` is what was done for a journey beside it, `provisions` and
    `replays` the same by the token or journey that it was about. Where a run was killed, and has left no results, the
    last try of each journey says what it came to.
    """

    def __init__(self, recorded: RecordedRun, reference: Reference | None) -> None:
        self.run, self.results, self.directory = recorded.run, recorded.results, recorded.directory
        self.reference, self._texts = reference, recorded.texts
        self.home = Path(recorded.home) if recorded.home else recorded.directory.absolute()
        self.word = recorded.word or name_of_run(recorded.directory)
        record = recorded.graph
        self.graph = record.graph if record is not None else CapabilityGraph(())
        self.after = record.after if record is not None else {}
        self._states = record.states if record is not None else {}
        self.digests = record.digests if record is not None else {}
        self.tests = tuple(one for one in recorded.activities if one.kind in {Kind.TEST, Kind.COLLECTION})
        self.activities = recorded.activities
        self.lost, self.taken_over = recorded.lost, recorded.taken_over
        self.tries: dict[str, list[Activity]] = defaultdict(list)
        self.done_for: dict[str, list[Activity]] = defaultdict(list)
        self.provisions: dict[str, list[Activity]] = defaultdict(list)
        self.replays: dict[str, list[Activity]] = defaultdict(list)
        by_kind = {Kind.PROVISION: self.provisions, Kind.REPLAY: self.replays}
        for one in recorded.activities:
            if one.kind is Kind.JOURNEY:
                self.tries[one.id].append(one)
            elif one.kind not in {Kind.TEST, Kind.COLLECTION}:
                self.done_for[one.for_ or one.id].append(one)
            if one.kind in by_kind:
                by_kind[one.kind][one.id].append(one)
        if not self.results:
            self.results = {
                JourneyId(name): self._as_it_ended(JourneyId(name), tries[-1].outcome)
                for name, tries in self.tries.items()
            }

    def _as_it_ended(self, name: JourneyId, outcome: Outcome) -> JourneyResult:
        """Return what a journey of a killed run came to, with the tokens that were present by then."""
        proofs: dict[Token, Proof] = {}
        if outcome.establishes and name in self.graph.journeys:
            proofs = dict.fromkeys(self.graph.journeys[name].establishes, Proof.JOURNEY)
        kinds = {Kind.PROVISION: Proof.PROVIDER, Kind.PROBE: Proof.PROBE}
        for one in self.done_for.get(name, ()):
            if one.kind in kinds and one.outcome.establishes:
                proofs[Token(one.id)] = kinds[one.kind]
        return JourneyResult(id=name, outcome=outcome, proofs=proofs)

    @cached_property
    def planned(self) -> tuple[JourneyId, ...]:
        return tuple(self.after) or tuple(self.results)

    @cached_property
    def known(self) -> frozenset[str]:
        return frozenset(self.planned)

    def state_of(self, name: JourneyId) -> StateId:
        """Return the state of its chain in which a journey of the graph ran; a record may not tell it."""
        return self._states.get(name) or StateId(self.graph.chains[name])

    def changed(self, name: JourneyId) -> bool | None:
        """Return whether a journey says something else than in the reference; None if that is not known."""
        known = self.reference.journeys.get(name) if self.reference is not None else None
        return None if known is None or not known.digest else known.digest != self.digests.get(name)

    def required_by(self, name: JourneyId) -> tuple[Token, ...]:
        journey = self.graph.journeys.get(name)
        return () if journey is None else self.graph.required_by(journey)

    def seconds_of(self, name: JourneyId) -> float:
        """Return how long the last try of a journey took, provisioning included."""
        tries = self.tries.get(name)
        return tries[-1].seconds if tries else 0.0

    def step(self, step: StepRecord) -> StepView:
        return StepView(
            place=step.place,
            number=step.number,
            of=step.of,
            start=round(step.started - self.run.started, 3),
            seconds=step.seconds,
            intent=shown(step.intent),
            command=shown(step.command),
            ended_at=shown(step.ended_at),
            exit=step.exit,
            timed_out=step.timed_out,
            tries=step.tries,
            wrong=tuple(map(_shown_wrong, step.wrong)),
            saved={name: None if value is None else shown(value) for name, value in step.saved.items()},
            out=self._output(step.out),
            err=self._output(step.err),
        )

    def _output(self, name: str) -> OutputText:
        if not name:
            return NOTHING  # as most steps do
        text = self._texts.get(name)
        return text_of(self.directory, name) if text is None else OutputText(shown(text), len(text.encode()))

    def activity(self, one: Activity) -> ActivityView:
        return ActivityView(
            kind=one.kind,
            id=one.id,
            outcome=one.outcome,
            lane=one.lane,
            start=round(one.started - self.run.started, 3),
            seconds=one.seconds,
            attempt=one.attempt,
            how=one.how,
            text=shown(one.text),
            steps=tuple(map(self.step, one.steps)),
        )

    def failed_step(self, activity: Activity) -> StepView | None:
        """Return the step that decided how an activity ended; None if none was wrong."""
        wrong = [step for step in activity.steps if step.wrong]
        return self.step(wrong[-1]) if wrong else None


def _shown_wrong(wrong: WrongRecord) -> WrongRecord:
    return WrongRecord(wrong.what, shown(wrong.expected), shown(wrong.actual), tuple(map(shown, wrong.diff)))
