"""Suspects: what in a run may be due to a wrong declaration, and how each is proved or dropped.

A function that returns a `Trial` proves its suspect: it returns the finding, or None if nothing is wrong, and raises
NotShown if that cannot be told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from msgspec.structs import replace

from pytest_dogfood.doubt.experiments.known import Known
from pytest_dogfood.doubt.experiments.lines import try_lines
from pytest_dogfood.doubt.experiments.smallest import (
    IsAbsentAtFirst,
    NotShown,
    Passes,
    ProvidesAgain,
    StaysPresent,
    Trial,
    ask,
    prove,
)
from pytest_dogfood.doubt.experiments.values import Code, Experiment, Finding, Observation, ProbeAnswer
from pytest_dogfood.journey import JourneyId, Scope, Token
from pytest_dogfood.walks import reachable


def present_at_first(known: Known, seen: Observation) -> Iterator[Token]:
    """Yield the tokens whose probes say yes although nothing has run yet."""
    for answer in seen.probes:
        if not answer.after and answer.present and answer.token not in known.weak:
            yield answer.token


def present_too_early(known: Known, seen: Observation) -> Iterator[tuple[Token, JourneyId]]:
    """Yield tokens that are present behind a journey before one has run that establishes them."""
    for token, answers in _by_token(seen):
        makers = set(known.graph.establishing(token))
        if not makers or token in known.weak or answers[0].present:
            continue
        for answer in answers[1:]:
            if answer.after in makers:
                break
            if answer.present:
                yield token, answer.after
                break


def gone_after(known: Known, seen: Observation) -> Iterator[tuple[Token, JourneyId]]:
    """Yield tokens that were present before a journey and not behind it, although it does not invalidate them."""
    by_providers = {token for one in known.graph.capabilities.values() for token in one.invalidates}
    for token, answers in _by_token(seen):
        bases = reachable([token], known.graph.rests_on)
        for before, behind in pairwise(answers):
            journey = behind.after
            if not before.present or behind.present or token in seen.released.get(before.after, ()):
                continue
            end = seen.ends.get(journey)
            declared = known.graph.journeys[journey].invalidates
            if end is None or not end.outcome.establishes or any(one in declared for one in bases):
                continue
            if not by_providers.intersection(bases) and (token, journey) not in known.invalidates:
                yield token, journey


def _by_token(seen: Observation) -> list[tuple[Token, list[ProbeAnswer]]]:
    """Return the answers of each token in each state, in the order in which it was asked."""
    found: dict[tuple[Token, str], list[ProbeAnswer]] = {}
    for answer in seen.probes:
        found.setdefault((answer.token, answer.state), []).append(answer)
    return [(token, answers) for (token, _), answers in found.items()]


def probe_true(known: Known, token: Token) -> Trial[Finding | None]:
    """Prove that the probe of a token says yes in an empty state."""
    first = min(known.orders.members, key=lambda one: len(known.orders.closure([one])))
    experiment = known.experiment(known.orders.closure([first]), first, probes=True)
    proof = yield from prove(IsAbsentAtFirst(token), experiment, None)
    return Finding(code=Code.PROBE_TRUE, chain=known.chain, token=token, proof=proof)


MOST_USERS = 3
"""How many journeys that need a token are tried behind a probe that says yes too early."""


def probe_too_early(known: Known, token: Token, journey: JourneyId) -> Trial[Finding | None]:
    """Prove that a probe says yes where a journey that needs its token fails, because what establishes it has not run.

    If what needs the token passes there, the probe may be right, and nothing is said.
    """
    makers = known.graph.establishing(token)
    users = known.orders.users_of(token)
    before = known.orders.closure([journey])
    tried = 0
    for user in users:
        without = known.orders.closure([user], without=makers)
        if user in before or len(without.intersection(users)) > 1 or user in known.noisy:
            continue  # another one that needs the token runs before it
        tried += 1
        failing = known.experiment((without | before).difference(makers), user)
        reading = yield from ask(Passes(user), failing)
        if reading.holds is False:
            passing = known.experiment(before | known.orders.closure([user]), user)
            proof = yield from prove(Passes(user), failing, passing)
            return Finding(
                code=Code.PROBE_TOO_EARLY,
                chain=known.chain,
                token=token,
                journey=user,
                guilty=(journey,),
                proof=proof,
            )
        if tried == MOST_USERS:
            break
    return None


def undeclared_invalidates(
    known: Known, token: Token, journey: JourneyId, seen: Observation
) -> Trial[Finding | None]:
    """Prove that a journey destroys a token, and that this is not only a matter of time."""
    makers = [one for one in known.graph.establishing(token) if one in known.orders.members]
    users = known.orders.users_of(token)
    earlier = seen.order[: seen.order.index(journey)]
    made = known.orders.closure(makers or [one for one in users if one in earlier][:1])
    if journey in made or not made:
        return None
    # A token with a release is released behind its last user, so that one is still to come.
    definition = known.graph.capability(token)
    is_released = definition is not None and bool(definition.release)
    keeping = [
        one
        for one in users
        if is_released and one not in made and known.orders.closure([one]) <= made | {one} and one != journey
    ][:1]
    before = known.orders.in_given_order(
        (made | known.orders.closure([journey])).difference([journey, *keeping])
    )
    failing = Experiment(chain=known.chain, order=(*before, journey, *keeping), probes=True)
    passing = replace(failing, idle={journey: known.seconds_of(journey)})
    question = StaysPresent(token, journey)
    proof = yield from prove(question, failing, passing)
    finding = Finding(
        code=Code.UNDECLARED_INVALIDATES, chain=known.chain, journey=journey, token=token, proof=proof
    )
    return (yield from try_lines(known, finding))


def provider_again(known: Known, token: Token, experiment: Experiment) -> Trial[Finding | None]:
    """Prove that the provider of a token fails where the token is present already."""
    user = next(one for one in experiment.order if token in known.graph.needed_by(known.graph.journeys[one]))
    passing = known.with_provided(user, [token])
    failing = replace(passing, twice=(token,))
    proof = yield from prove(ProvidesAgain(token), failing, passing, control=Passes(user))
    return Finding(
        code=Code.PROVIDER_NOT_IDEMPOTENT, chain=known.chain, token=token, journey=user, proof=proof
    )


def failing_with_providers(known: Known, journey: JourneyId, experiment: Experiment) -> Trial[Finding | None]:
    """Prove that a journey fails where a provider has set up a token, or has done so twice.

    It is known to pass behind the journeys that it needs.
    """
    needed = reachable(known.graph.needed_by(known.graph.journeys[journey]), known.graph.rests_on)
    tokens = [token for token in experiment.provided if token in needed]
    for token in tokens:
        once = known.with_provided(journey, [token])
        seen = yield once
        if Passes(journey).read(seen).holds is False:
            passing = known.experiment(known.orders.closure([journey]), journey)
            proof = yield from prove(Passes(journey), once, passing)
            # A provider is quicker than a journey: what expires at the wrong moment is no difference.
            pause = max([0.1, *(known.seconds_of(one) for one in _makers(known, token))])
            if (yield from ask(Passes(journey), replace(once, pause=pause))).holds is not False:
                raise NotShown("it passed after a pause", proof.text)
            # If the probe says yes without it, the provider was not even asked.
            was_provided = token in seen.provisioned
            return Finding(
                code=Code.PROVIDER_DIFFERS if was_provided else Code.PROBE_TOO_EARLY,
                chain=known.chain,
                token=token,
                journey=journey,
                guilty=_makers(known, token),
                proof=proof,
            )
    for token in tokens:
        if token not in experiment.twice:
            continue
        once = known.with_provided(journey, [token])
        twice = replace(once, twice=(token,))
        reading = yield from ask(Passes(journey), twice)
        if reading.holds is False:
            proof = yield from prove(Passes(journey), twice, once)
            return Finding(
                code=Code.PROVIDER_NOT_IDEMPOTENT,
                chain=known.chain,
                token=token,
                journey=journey,
                proof=proof,
            )
    return None


def _makers(known: Known, token: Token) -> tuple[JourneyId, ...]:
    return tuple(one for one in known.graph.establishing(token) if one in known.orders.members)


def chain_tokens(known: Known, journey: JourneyId) -> Sequence[Token]:
    """Return the tokens of the chain that a journey establishes."""
    graph = known.graph
    return [token for token in graph.journeys[journey].establishes if graph.scope_of(token) is Scope.CHAIN]
