"""Makes the view of a run from its record: the verdict, changes, the slowest, lanes, journeys and tokens."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from pytest_dogfood.journey import JourneyId, Token
from pytest_dogfood.outcomes import Outcome, Proof, Tally
from pytest_dogfood.report.root_causes import RootCauses
from pytest_dogfood.report.run_index import RunIndex
from pytest_dogfood.report.run_view import (
    WORDS,
    BarView,
    Change,
    JourneyView,
    LaneView,
    RunView,
    Slow,
    TokenView,
    shown,
)
from pytest_dogfood.storage.record import Activity, Kind, LostMachine, RecordedRun, Reference
from pytest_dogfood.walks import collector_paused

SLOWEST = 5
"""How many of the slowest journeys are listed."""

SHORTEST = 0.01
"""Seconds below which nothing is slow."""

SLOWER = 1.5
"""A journey is slower if it took this many times as long as before, and at least SLOWER_BY seconds longer."""

SLOWER_BY = 0.5

_ENDS = {
    None: "This run did not come to its end",
    2: "This run was interrupted",
    3: "pytest met an internal error",
    5: "This run found nothing to run",
}
"""What a run's exit status says of it before anything else."""

_NEVER_BEGAN = frozenset({Outcome.DEFERRED, Outcome.SKIPPED, Outcome.NO_ACTOR})


def view_of(recorded: RecordedRun, reference: Reference | None = None) -> RunView:
    """Return the view of a run, compared with the reference, or else with the last green run before it."""
    with collector_paused():
        return _Overview(RunIndex(recorded, reference or recorded.last_green)).build()


class _Overview:
    """Makes the parts of the view of one run."""

    def __init__(self, index: RunIndex) -> None:
        self._index = index
        causes = [one.cause for one in index.results.values() if one.cause is not None]
        self._blocked = {cause.who: cause.why for cause in causes if cause.blocked}

    def build(self) -> RunView:
        results, run = self._index.results, self._index.run
        planned = tuple(self._index.after) or tuple(results)
        ended = [one.started + one.seconds for one in self._index.activities]
        seconds = run.seconds or max(ended, default=run.started) - run.started
        causes = tuple(RootCauses(self._index).causes())
        because = {one: cause.id for cause in causes for one in (*cause.deferred, *cause.not_judged)}
        journeys = tuple(self._journey(one, because) for one in planned)
        counts = Counter(result.outcome for result in results.values())
        unaccounted = tuple(one for one in planned if one not in results)
        return RunView(
            run=run,
            verdict=", ".join(self._verdict(counts, unaccounted)),
            green=run.exit_status == 0,
            finished=run.exit_status is not None,
            planned=len(planned),
            counts=dict(counts),
            unaccounted=unaccounted,
            seconds=round(seconds, 3),
            best=self._best(),
            causes=causes,
            reference=self._index.reference,
            changes=tuple(self._changes(journeys)),
            slowest=self._slowest(journeys),
            lanes=tuple(self._lanes(seconds)),
            journeys=journeys,
            tokens=tuple(self._tokens(because)),
            others=tuple(map(self._index.activity, self._index.tests)),
            for_no_journey=tuple(
                self._index.activity(one)
                for name, several in self._index.done_for.items()
                if name not in self._index.known
                for one in several
            ),
            losses=tuple(shown(f"{one.name} was {one.said}") for one in self._index.lost),
        )

    def _verdict(self, counts: Mapping[Outcome, int], unaccounted: tuple[JourneyId, ...]) -> Iterator[str]:
        others, status, results = self._index.run.others, self._index.run.exit_status, self._index.results
        uncollected = {one.id for one in self._index.tests if one.kind is Kind.COLLECTION}
        if status in _ENDS and not uncollected:  # for pytest, that interrupts a run
            yield _ENDS[status]
        failed = counts.get(Outcome.FAILED, 0) + others.get("failed", 0) + others.get("crashed", 0)
        crashed, errors = counts.get(Outcome.CRASHED, 0), counts.get(Outcome.ERROR, 0)
        errors += others.get("error", 0) - sum(one.interrupted for one in results.values())
        in_replays = {
            name
            for name, replays in self._index.replays.items()
            if name not in results and replays[-1].outcome.is_bad
        }
        numbers = {
            "failed": failed if status is None else failed + crashed,
            "under way": crashed if status is None else 0,
            "could not be judged": errors,
            "failed when replayed": len(in_replays),
            "could not be collected": len(uncollected),
            "not run": len(unaccounted),
        }
        told = [f"{number} {what}" for what, number in numbers.items() if number]
        yield from told
        if told or status in _ENDS:
            return
        passed = counts.get(Outcome.PASSED, 0) + others.get("passed", 0)
        measured, wanted = Tally(tuple(results), results=dict(results)).measured()
        if passed or status == 0:
            yield f"{passed} passed"
        elif not (measured or others.get("xfailed") or others.get("xpassed")):
            yield "This run measured nothing"
        if status and measured and measured < wanted:
            yield f"too little was measured: {measured} of {wanted} journeys"

    def _journey(self, name: JourneyId, because: Mapping[JourneyId, str]) -> JourneyView:
        journey, result = self._index.graph.journeys.get(name), self._index.results.get(name)
        tries = self._index.tries.get(name, [])
        last = tries[-1] if tries else None
        reason = str(result.cause) if result is not None and result.cause is not None else ""
        return JourneyView(
            id=name,
            nodeid=journey.nodeid if journey else name,
            place=str(journey.location) if journey else "",
            chain=self._index.graph.chains[name] if journey else "",
            state=self._index.state_of(name) if journey else "",
            tier=str(journey.tier) if journey else "",
            outcome=result.outcome if result else None,
            title=shown(journey.rationale or journey.feature) if journey else "",
            python=journey is not None and journey.python,
            lane=last.lane if last else "",
            taken_from=self._index.taken_over.get(name, ""),
            start=round(last.started - self._index.run.started, 3) if last else 0.0,
            seconds=self._own_seconds(name),
            requires=self._index.graph.required_by(journey) if journey else (),
            establishes=tuple(journey.establishes) if journey else (),
            because=because.get(name, ""),
            reason=shown(reason),
            changed=self._index.changed(name),
            digest=self._index.digests.get(name, ""),
            again=last.again if last else "",
            kept=tuple(filter(None, result.kept.split(":"))) if result else (),
            trajectory=result.trajectory if result else "",
            unjudged=result.unjudged if result else 0,
            not_cleaned=result.not_cleaned if result else "",
            leaked=result.leaked if result else (),
            tries=tuple(map(self._index.activity, tries)),
            done_for_it=tuple(map(self._index.activity, self._index.done_for.get(name, ()))),
        )

    def _own_seconds(self, name: JourneyId) -> float:
        result, spent = self._index.results.get(name), self._index.seconds_of(name)
        return round(spent if result is None else result.own_seconds(spent), 3)

    def _best(self) -> float | None:
        """Return the longest of: the longest way through the graph, the heaviest state, all work over the workers."""
        if not self._index.after:
            return None
        length: dict[JourneyId, float] = {}
        states: dict[str, float] = defaultdict(float)
        total = 0.0
        for name, before in self._index.after.items():
            spent = self._index.seconds_of(name)
            length[name] = spent + max((length.get(one, 0.0) for one in before), default=0.0)
            states[self._index.state_of(name)] += spent
            total += spent
        return round(max(*length.values(), *states.values(), total / max(self._index.run.workers, 1)), 3)

    def _changes(self, journeys: Iterable[JourneyView]) -> Iterator[Change]:
        if self._index.reference is None:
            return
        before = self._index.reference.journeys
        seen: set[JourneyId] = set()
        for one in journeys:
            seen.add(one.id)
            known = before.get(one.id)
            note = "journey changed" if one.changed else ""
            if one.outcome in {Outcome.FAILED, Outcome.CRASHED, Outcome.ERROR, Outcome.DEFERRED}:
                word = "failing" if one.outcome in {Outcome.FAILED, Outcome.CRASHED} else WORDS[one.outcome]
                if known is None or known.outcome is not one.outcome:
                    yield Change(what=word, id=one.id, note=note or ("new journey" if known is None else ""))
            elif known is None:
                yield Change(what="new", id=one.id)
            elif known.outcome.is_bad or known.outcome is Outcome.DEFERRED:
                yield Change(what="passing again", id=one.id, note=note)
            elif one.seconds > max(known.seconds * SLOWER, known.seconds + SLOWER_BY):
                times = f"{known.seconds:.2f} s → {one.seconds:.2f} s"
                yield Change(what="slower", id=one.id, note=", ".join(filter(None, [times, note])))
        if self._index.run.whole:
            yield from (Change(what="gone", id=one) for one in before if one not in seen)

    def _slowest(self, journeys: Iterable[JourneyView]) -> tuple[Slow, ...]:
        ran = [one for one in journeys if one.seconds >= SHORTEST and one.outcome not in _NEVER_BEGAN]
        by_seconds = sorted(ran, key=lambda one: (-one.seconds, one.id))[:SLOWEST]
        found = []
        for one in by_seconds:
            steps = one.tries[-1].steps if one.tries else ()
            longest = max(steps, key=lambda step: step.seconds, default=None)
            dominates = longest is not None and len(steps) > 1 and longest.seconds * 2 > one.seconds
            step = longest.number if longest is not None and dominates else 0
            found.append(Slow(id=one.id, seconds=one.seconds, step=step))
        return tuple(found)

    def _lanes(self, seconds: float) -> Iterator[LaneView]:
        shown_kinds = {Kind.JOURNEY, Kind.RELEASE, Kind.TEST}
        ordered = sorted(self._index.activities, key=lambda one: (_lane_key(one.lane), one.started))
        for lane, several in groupby(ordered, key=lambda one: one.lane):
            own = list(several)
            bars = tuple(self._bar(one) for one in own if one.kind in shown_kinds)
            busy = sum(bar.seconds for bar in bars) / seconds if seconds else 0.0
            lost = next((one.at for one in self._index.lost if _is_lane_of(one, lane)), None)
            yield LaneView(name=lane, busy=min(round(busy, 3), 1.0), bars=bars, lost=lost)
        idle = [one for one in self._index.lost if not any(_is_lane_of(one, other.lane) for other in ordered)]
        yield from (LaneView(name=one.name, busy=0.0, bars=(), lost=one.at) for one in idle)

    def _bar(self, one: Activity) -> BarView:
        within = self._index.done_for.get(one.id, ()) if one.kind is Kind.JOURNEY else ()
        tries = self._index.tries.get(one.id)
        is_last = one.kind is Kind.JOURNEY and tries is not None and tries[-1] is one
        result = self._index.results.get(JourneyId(one.id)) if is_last else None
        end = one.started + one.seconds
        return BarView(
            id=one.id,
            kind=one.kind,
            outcome=one.outcome if result is None else result.outcome,
            start=round(one.started - self._index.run.started, 3),
            seconds=one.seconds,
            taken_from="" if one.kind is Kind.RELEASE else self._index.taken_over.get(one.id, ""),
            provisioning=tuple(
                (round(part.started - self._index.run.started, 3), part.seconds)
                for part in within
                if part.kind in {Kind.PROVISION, Kind.REPLAY, Kind.COPY}
                and one.started - 0.001 <= part.started <= end
            ),
        )

    def _tokens(self, because: Mapping[JourneyId, str]) -> Iterator[TokenView]:
        """Yield the tokens of the run, missing ones first, each in the order of the project."""
        results = self._index.results
        proofs: dict[Token, Proof] = {}
        for result in results.values():
            for token, proof in result.proofs.items():
                if proofs.get(token) is not Proof.PROBE:
                    proofs[token] = proof
        needed = Counter(
            token
            for one in self._index.after
            if one in self._index.graph.journeys
            for token in self._index.graph.required_by(self._index.graph.journeys[one])
        )
        named = [
            token
            for one in self._index.after
            if one in self._index.graph.journeys
            for token in (*self._index.required_by(one), *self._index.graph.journeys[one].establishes)
        ]
        views = [
            self._token(token, proofs.get(token), needed[token], because) for token in dict.fromkeys(named)
        ]
        yield from sorted(views, key=lambda view: view.present)

    def _token(
        self, token: Token, proof: Proof | None, needed_by: int, because: Mapping[JourneyId, str]
    ) -> TokenView:
        if proof is not None:
            provisions = self._index.provisions.get(token, ())
            how = next((one.how for one in provisions if one.outcome.establishes), "")
            made = [one for one in self._index.graph.establishing(token) if self._established_by(one)]
            why, root = f"by {made[0]}" if made else how or "was there already", ""
        else:
            why, root = self._why_missing(token, because)
        return TokenView(
            token=token,
            scope=self._index.graph.scope_of(token),
            present=proof is not None,
            why=why,
            because=root,
            proof=proof,
            needed_by=needed_by,
        )

    def _why_missing(self, token: Token, because: Mapping[JourneyId, str]) -> tuple[str, str]:
        """Return why nothing shows a token present, and the id of the root cause."""
        if token in self._blocked or self._index.provisions.get(token):
            return self._blocked.get(token, "could not be provisioned"), str(token)
        for maker in self._index.graph.establishing(token):
            if maker in self._index.results:
                return f"{maker}: {WORDS[self._index.results[maker].outcome]}", because.get(maker, maker)
            if replays := self._index.replays.get(maker):
                return f"{maker}: {WORDS[replays[-1].outcome]} when it was replayed", maker
            if maker in self._index.after:
                return f"{maker}: not run", ""
        return "nothing established it in this run", str(token)

    def _established_by(self, journey: JourneyId) -> bool:
        result = self._index.results.get(journey)
        return result is not None and result.outcome.establishes


def _is_lane_of(machine: LostMachine, lane: str) -> bool:
    return lane == machine.name or lane.startswith(f"{machine.name}, ")


def _lane_key(lane: str) -> tuple[str, int]:
    """Order lanes as people count: gw2 before gw10."""
    name = lane.rstrip("0123456789")
    return name, int(lane[len(name) :] or 0)
