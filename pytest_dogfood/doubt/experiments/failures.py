"""A journey that fails in another order than the usual one: what it needs, or what spoils it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from msgspec.structs import replace

from pytest_dogfood.doubt.experiments.known import Known
from pytest_dogfood.doubt.experiments.last_writer import last_writer
from pytest_dogfood.doubt.experiments.lines import try_lines
from pytest_dogfood.doubt.experiments.smallest import (
    REPETITIONS,
    REPETITIONS_IN_DOUBT,
    NotShown,
    OtherSuspect,
    Passes,
    Reading,
    Trial,
    ask,
    first_number,
    prove,
    smallest,
)
from pytest_dogfood.doubt.experiments.suspects import chain_tokens, failing_with_providers
from pytest_dogfood.doubt.experiments.values import Code, Experiment, Finding, Observation, Proof
from pytest_dogfood.journey import JourneyId


def failing_journey(known: Known, journey: JourneyId, experiment: Experiment) -> Trial[Finding | None]:
    """Find out why a journey fails in an experiment, and prove it."""
    alone = known.experiment(known.orders.closure([journey]), journey)
    reading = yield from _ask(known, journey, alone)
    if not reading:
        return (yield from _undeclared_requires(known, journey, alone))
    if experiment.provided:
        return (yield from failing_with_providers(known, journey, experiment))
    return (yield from _order_matters(known, journey, experiment.order))


def failing_alone(known: Known, journey: JourneyId) -> Trial[Finding | None]:
    """Find out why a journey fails behind nothing but what it needs, and prove it."""
    alone = known.experiment(known.orders.closure([journey]), journey)
    if (yield from _ask(known, journey, alone)):
        raise NotShown("it passed when it was repeated")
    return (yield from _undeclared_requires(known, journey, alone))


def _ask(known: Known, journey: JourneyId, experiment: Experiment) -> Trial[bool]:
    """Return whether a journey passes; raises OtherSuspect if one before it fails."""
    seen = yield experiment
    reading = Passes(journey).read(seen)
    _look_at_others(known, journey, experiment, seen, reading)
    return reading.holds is True


def _look_at_others(
    known: Known, journey: JourneyId, experiment: Experiment, seen: Observation, reading: Reading
) -> None:
    if reading.holds is True:
        return
    for other in experiment.order:
        if other == journey:
            break
        if Passes(other).read(seen).holds is False:
            if other in known.noisy:
                raise NotShown(f"{other}, which runs before it, fails now and then")
            raise OtherSuspect(other)
    if reading.holds is None:
        raise NotShown(reading.text or "it did not run when it was repeated")


def _undeclared_requires(known: Known, journey: JourneyId, alone: Experiment) -> Trial[Finding | None]:
    orders = known.orders
    base = orders.closure([journey])
    usual = known.first.order[: known.first.order.index(journey)]
    candidates = [one for one in usual if one not in base and known.in_same_state(one, journey)]

    def with_these(chosen: Sequence[JourneyId]) -> Trial[bool]:
        return _ask(known, journey, known.experiment(orders.closure([journey, *chosen]), journey))

    helpers = yield from _guessed(known, journey, candidates, with_these)
    if not helpers:
        whole = known.experiment({*orders.closure(candidates), *base}, journey)
        passes = yield from _ask(known, journey, whole)
        if not passes:
            return (yield from _not_repeatable(known, journey, whole))
        if not candidates:
            raise NotShown("it passed when it was repeated")
        helpers = yield from smallest(candidates, with_these)
    passing = known.experiment(orders.closure([journey, *helpers]), journey)
    otherwise = known.passed_otherwise(journey, before=helpers, has=False)
    proof = yield from prove(
        Passes(journey), alone, passing, times=REPETITIONS_IN_DOUBT if otherwise else REPETITIONS
    )
    main = helpers[0]
    if main not in orders.closure([*helpers[1:], *base]):
        # With a pause in its place it must fail too; else it is the time that helps, such as a session that expires.
        reading = yield from ask(Passes(journey), replace(passing, idle={main: known.seconds_of(main)}))
        if reading.holds is True:
            raise NotShown(f"it also passed where nothing ran in place of {main}", proof.text)
    finding = Finding(
        code=Code.UNDECLARED_REQUIRES, chain=known.chain, journey=journey, guilty=helpers, proof=proof
    )
    return (yield from try_lines(known, finding))


def _guessed(
    known: Known,
    journey: JourneyId,
    candidates: Sequence[JourneyId],
    is_enough: Callable[[Sequence[JourneyId]], Trial[bool]],
) -> Trial[tuple[JourneyId, ...]]:
    """Return what is enough if the first guess is right, found in few runs; nothing if it is wrong."""
    guess = last_writer(known.text_of_failure(journey), candidates, known.first.written)
    if guess is None or not (yield from is_enough([guess])):
        return ()
    # Is it itself to blame, or what it needs?
    below = known.orders.closure([guess]).difference([guess])
    below_here = [one for one in candidates if one in below]
    if not below_here or not (yield from is_enough(below_here)):
        return (guess,)
    return (yield from smallest(below_here, is_enough))


FAILURES_IN_A_ROW = 4


def _not_repeatable(known: Known, journey: JourneyId, usual: Experiment) -> Trial[Finding | None]:
    """Prove that a journey that passed at first fails ever after, where nothing in its state is different."""
    texts: list[str] = []
    for number in range(1, FAILURES_IN_A_ROW):
        reading = yield from ask(Passes(journey), replace(usual, number=number))
        texts.append(reading.text)
        if reading.holds is not False:
            raise NotShown("it failed in the usual order, and passed when that was repeated", *texts)
    passed = [seen for _, seen in known.history if Passes(journey).read(seen).holds is True]
    if len(passed) > 1:
        raise NotShown("it fails now and then in the usual order", *texts)
    return Finding(
        code=Code.NOT_REPEATABLE,
        chain=known.chain,
        journey=journey,
        proof=Proof(failing=usual, text=texts[-1], times=FAILURES_IN_A_ROW),
        hint=all(known.graph.has_independent_provider(one) for one in chain_tokens(known, journey)),
    )


def _order_matters(known: Known, journey: JourneyId, order: Sequence[JourneyId]) -> Trial[Finding | None]:
    orders = known.orders
    base = orders.closure([journey])
    before = order[: order.index(journey)]
    fixed = [one for one in before if one in base]

    def in_this_order(chosen: Collection[JourneyId]) -> Experiment:
        wanted = orders.closure([journey, *chosen])
        return Experiment(chain=known.chain, order=(*(one for one in before if one in wanted), journey))

    def fails_with(chosen: Sequence[JourneyId]) -> Trial[bool]:
        return _negated(_ask(known, journey, in_this_order(chosen)))

    usual = known.experiment(base, journey)
    if usual.order != (*fixed, journey) and (yield from fails_with(())):
        return (yield from _order_within(known, journey, usual, in_this_order(())))
    candidates = [one for one in before if one not in base and known.in_same_state(one, journey)]
    spoilers = yield from _guessed(known, journey, candidates, fails_with)
    if not spoilers:
        if not candidates or not (yield from fails_with(candidates)):
            raise NotShown("it passed when it was repeated")
        spoilers = yield from smallest(candidates, fails_with)
    failing = in_this_order(spoilers)
    spoiler = spoilers[0]
    left = orders.closure([journey, *spoilers[1:]])
    passing = Experiment(chain=known.chain, order=tuple(one for one in failing.order if one in left))
    if spoiler not in left:
        # In its place the state is left alone for as long: a session that expires meanwhile is not its fault.
        passing = replace(failing, idle={spoiler: known.seconds_of(spoiler)})
    otherwise = known.passed_otherwise(journey, before=spoilers[:1], has=True)
    proof = yield from prove(
        Passes(journey), failing, passing, times=REPETITIONS_IN_DOUBT if otherwise else REPETITIONS
    )
    # Something that expires at the wrong moment is not spoilt: later it would be set up again.
    reading = yield from ask(Passes(journey), replace(failing, pause=known.seconds_of(spoiler)))
    if reading.holds is not False:
        raise NotShown("it passed after a pause", proof.text)
    return Finding(
        code=Code.ORDER_MATTERS, chain=known.chain, journey=journey, guilty=spoilers[:1], proof=proof
    )


def _negated(trial: Trial[bool]) -> Trial[bool]:
    return not (yield from trial)


def _order_within(
    known: Known, journey: JourneyId, passing: Experiment, failing: Experiment
) -> Trial[Finding | None]:
    """Find two journeys, both needed, that must not run in the order in which they do in `failing`."""
    usual, other = passing.order[:-1], failing.order[:-1]

    def order_with(number: int) -> tuple[JourneyId, ...]:
        """Return the order in which the first `number` of the failing one come first, and the others as usual."""
        first = other[:number]
        return (*first, *(one for one in usual if one not in first), journey)

    def fails(number: int) -> Trial[bool]:
        return _negated(_ask(known, journey, Experiment(chain=known.chain, order=order_with(number))))

    number = yield from first_number(len(other), fails)
    too_early = other[number - 1]
    start, rest = other[: number - 1], [one for one in usual if one not in other[:number]]
    # Behind how many of the others must it come, so that it does no harm?
    place = order_with(number - 1).index(too_early) - len(start)

    def passes_behind(count: int) -> Trial[bool]:
        order = (*start, *rest[:count], too_early, *rest[count:], journey)
        return _ask(known, journey, Experiment(chain=known.chain, order=order))

    if not place:
        raise NotShown("it passed when it was repeated")
    count = yield from first_number(place, passes_behind)
    a = Experiment(
        chain=known.chain, order=(*start, *rest[: count - 1], too_early, *rest[count - 1 :], journey)
    )
    b = Experiment(chain=known.chain, order=(*start, *rest[:count], too_early, *rest[count:], journey))
    proof = yield from prove(Passes(journey), a, b)
    reading = yield from ask(Passes(journey), replace(b, pause=known.seconds_of(rest[count - 1])))
    if reading.holds is not True:
        raise NotShown("it also failed after a pause", proof.text, reading.text)
    return Finding(
        code=Code.ORDER_MATTERS,
        chain=known.chain,
        journey=journey,
        guilty=(too_early, rest[count - 1]),
        proof=proof,
    )
