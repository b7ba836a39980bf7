"""Examines the declarations of one chain: which experiment comes next, and what the ones so far have shown."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from pytest_dogfood.doubt.experiments import failures, half_way, suspects
from pytest_dogfood.doubt.experiments.known import Known
from pytest_dogfood.doubt.experiments.orders import provider_runs
from pytest_dogfood.doubt.experiments.smallest import NotShown, OtherSuspect, Trial
from pytest_dogfood.doubt.experiments.values import (
    Code,
    Experiment,
    Finding,
    Observation,
    Unclear,
)
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import ChainId, JourneyId, Scope, Token
from pytest_dogfood.outcomes import Outcome, reason_of

_FAILED = frozenset({Outcome.FAILED, Outcome.ERROR, Outcome.CRASHED})
BASIC_ORDERS = 2
THOROUGH_ORDERS = 8


class Examination:
    """One chain under examination. `run` yields experiments; findings are here as soon as they are proved."""

    def __init__(
        self,
        graph: CapabilityGraph,
        chain: ChainId,
        *,
        thorough: bool = False,
        tested: Collection[JourneyId] | None = None,
        earlier: Sequence[Experiment] = (),
    ) -> None:
        """Examine the declarations of the journeys `tested`, by default of all.

        If it is `thorough`, more orders are tried, and journeys that end half-way where tokens are copyable. What
        failed in the experiments `earlier` was not settled then, so they come first, as far as they are still possible.
        """
        self.graph = graph
        self.chain = chain
        self._tested = tested
        self._earlier = earlier
        self._orders = THOROUGH_ORDERS if thorough else BASIC_ORDERS
        self._half_way = thorough and half_way.can_be_tried(graph, chain)
        self.findings: list[Finding] = []
        self.unclear: list[Unclear] = []
        self.untested = ""
        """Why the chain was not tested to the end; empty if it was."""
        self.is_red = False
        """Whether a journey failed in the ordinary run."""
        self.is_done = False
        self.asked: set[tuple[object, ...]] = set()
        """The suspects that were looked at, so that nothing is looked at twice."""
        self.suspicious: list[Experiment] = []
        """Experiments in which something failed that is not settled, in the order in which they were done."""
        self.suspected: JourneyId | Token | None = None
        """What is being settled just now."""
        self.first = Observation()
        self.history: list[tuple[Experiment, Observation]] = []

    def run(self) -> Trial[None]:
        """Yield the experiments of the chain, and receive what was seen of each."""
        trial = self._examine()
        experiment = next(trial)
        while True:
            seen = yield experiment
            self.history.append((experiment, seen))
            if seen.void and not seen.refused:  # it shows nothing, so it is done once more
                seen = yield experiment
                self.history.append((experiment, seen))
            try:
                experiment = trial.send(seen)
            except StopIteration:
                self.is_done = True
                return

    def _examine(self) -> Trial[None]:
        self.first = yield Experiment(chain=self.chain, probes=True, steps=self._half_way)
        first = self.first
        if first.void:
            self.untested = first.void
            return
        bad = [one for one, end in first.ends.items() if not end.outcome.establishes]
        if bad:
            self.untested = f"{bad[0]} {reason_of(first.ends[bad[0]].outcome)} in the ordinary run"
            self.is_red = any(first.ends[one].outcome in _FAILED for one in bad)
            return
        known = Known(self.graph, self.chain, first, self.history, tested=self._tested)
        if not known.orders.members:
            return
        known.orders.seen(first.order, first.order)
        yield from self._try_earlier(known)
        yield from self._look_at_probes(known, first)
        yield from self._try_providers(known)
        yield from self._try_orders(known)
        yield from self._try_half_way(known)

    def _try_earlier(self, known: Known) -> Trial[None]:
        """Do again what was not settled the last time."""
        for experiment in self._earlier:
            if not known.orders.allows(experiment.order) or not {*experiment.provided}.issubset(
                self._with_provider()
            ):
                continue
            seen = yield experiment
            if not experiment.provided:
                known.orders.seen(experiment.order, [one for one in experiment.order if _passed(seen, one)])
            yield from self._look_at_failures(known, experiment, seen)

    def _try_providers(self, known: Known) -> Trial[None]:
        done: set[JourneyId] = set()
        while True:  # planned again behind each run: a finding takes its provider out of the next ones
            provided = [
                token for token in self._with_provider() if token not in known.bad_providers | known.weak
            ]
            runs = provider_runs(known.orders, provided)
            order, tokens = next((run for run in runs if not done.issuperset(run[0])), ((), ()))
            if not order:
                return
            experiment = Experiment(
                chain=self.chain, order=order, provided=tokens, twice=self._given_by_steps(tokens)
            )
            seen = yield experiment
            found = len(self.findings)
            for token in filter(seen.failed_again.__contains__, tokens):
                yield from self._settle(
                    known, "provider again", suspects.provider_again(known, token, experiment), token
                )
            if not seen.failed_again:  # else what failed may have failed because of that
                yield from self._look_at_failures(known, experiment, seen)
            is_clear = len(self.findings) == found or known.bad_providers.isdisjoint(tokens)
            done.update(order if is_clear else [one for one in order if _passed(seen, one)])

    def _with_provider(self) -> list[Token]:
        """Return the chain's tokens that their own definition can set up."""
        tokens = dict.fromkeys(
            token
            for one in self.first.order
            for token in self.graph.needed_by(self.graph.journeys[one])
            if self.graph.scope_of(token) is Scope.CHAIN and token not in self.graph.fixtures
        )
        return [token for token in tokens if self.graph.has_own_provider(token)]

    def _given_by_steps(self, tokens: Iterable[Token]) -> tuple[Token, ...]:
        definitions = ((token, self.graph.capability(token)) for token in tokens)
        return tuple(token for token, known in definitions if known is not None and known.provision)

    def _try_orders(self, known: Known) -> Trial[None]:
        left = self._orders
        most = left + 12  # a chain in which everything is wrong must come to an end too
        while left >= 0 and most > 0:
            order = known.orders.next_order(more=left - 1) if left else known.orders.rest()
            if not order:
                return
            found = len(self.findings) + len(self.unclear)
            experiment = Experiment(chain=self.chain, order=order, probes=True)
            seen = yield experiment
            most -= 1
            if seen.void:
                self.untested = seen.void
                return
            known.orders.seen(order, [one for one in order if _passed(seen, one)])
            yield from self._look_at_probes(known, seen)
            yield from self._look_at_failures(known, experiment, seen)
            if len(self.findings) + len(self.unclear) == found:
                left -= 1

    def _try_half_way(self, known: Known) -> Trial[None]:
        """Let journeys end where the probes of what they establish say yes, and run there what needs it."""
        left = [] if self.untested else [*half_way.half_made(known)]
        while left:
            experiment, chosen = half_way.together(known, left)
            left = [one for one in left if one not in chosen]
            seen = yield experiment
            if seen.void:
                self.untested = seen.void
                return
            for tried in chosen:
                # An error in its set-up is none of the journey that ended: it was set up again, or could not be.
                failed = [one for one in tried.users if one in seen.ends and _has_failed(seen, one)]
                for user in failed:
                    trial = half_way.probe_half_way(known, tried, user)
                    maker, token = tried.place.journey, tried.place.token
                    if (yield from self._settle(known, "probe half-way", trial, token, user, maker)):
                        break

    def _look_at_probes(self, known: Known, seen: Observation) -> Trial[None]:
        for token in suspects.present_at_first(known, seen):
            yield from self._settle(known, "probe true", suspects.probe_true(known, token), token)
        for token, journey in suspects.present_too_early(known, seen):
            trial = suspects.probe_too_early(known, token, journey)
            yield from self._settle(known, "probe too early", trial, token, journey)
        for token, journey in suspects.gone_after(known, seen):
            trial = suspects.undeclared_invalidates(known, token, journey, seen)
            yield from self._settle(known, "undeclared invalidates", trial, token, journey)

    def _look_at_failures(self, known: Known, experiment: Experiment, seen: Observation) -> Trial[None]:
        """Look at the first journey that failed; the others may have failed because of that."""
        failed = [one for one in experiment.order if one in seen.ends and seen.ends[one].outcome in _FAILED]
        for journey in failed:
            if journey in known.noisy:
                continue
            self.suspicious.append(experiment)
            unclear = len(self.unclear)
            settled = yield from self._settle(
                known,
                "failing journey",
                failures.failing_journey(known, journey, experiment),
                None,
                journey,
                experiment.order,
            )
            if len(self.unclear) == unclear:
                self.suspicious.remove(experiment)
            if settled:
                return

    def _settle(
        self,
        known: Known,
        what: str,
        trial: Trial[Finding | None],
        token: Token | None,
        journey: JourneyId | None = None,
        *more: object,
    ) -> Trial[bool]:
        """Look at a suspect unless that was done before; return whether it led to a finding.

        `what`, the token, the journey and `more` say which suspect it is.
        """
        key = (what, token, journey, *more)
        if key in self.asked:
            trial.close()
            return False
        self.asked.add(key)
        self.suspected = journey or token
        try:
            return (yield from self._settled(known, trial, token, journey))
        finally:
            self.suspected = None

    def _settled(
        self, known: Known, trial: Trial[Finding | None], token: Token | None, journey: JourneyId | None
    ) -> Trial[bool]:
        try:
            finding = yield from trial
        except OtherSuspect as other:
            # That one is looked at in the order in which it was seen to fail.
            return (
                yield from self._settle(
                    known, "failing alone", failures.failing_alone(known, other.journey), None, other.journey
                )
            )
        except NotShown as reason:
            if journey and not token:
                known.noisy.add(journey)
            self.unclear.append(
                Unclear(
                    chain=self.chain,
                    journey=journey or JourneyId(""),
                    token=token or Token(""),
                    why=reason.why,
                    texts=reason.texts,
                )
            )
            return False
        if finding is None:
            return False
        known.learn(finding)
        if finding.code is Code.NOT_REPEATABLE and finding.hint:
            known.noisy.add(finding.journey)
        self.findings.append(finding)
        return not finding.hint


def _has_failed(seen: Observation, journey: JourneyId) -> bool:
    return seen.ends[journey].outcome in {Outcome.FAILED, Outcome.CRASHED}


def _passed(seen: Observation, journey: JourneyId) -> bool:
    return journey in seen.ends and seen.ends[journey].outcome.establishes
