"""The lines that end a finding: which ones to try, and their trial."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec.structs import replace

from pytest_dogfood.doubt.experiments.known import Known
from pytest_dogfood.doubt.experiments.smallest import Passes, Trial
from pytest_dogfood.doubt.experiments.values import Code, Finding, Line
from pytest_dogfood.journey import JourneyId, Scope, Token, is_of_a_test, is_test


def try_lines(known: Known, finding: Finding) -> Trial[Finding]:
    """Return the finding with the first lines that are accepted and with which the failing experiment passes."""
    proof = finding.proof
    if proof is None or proof.passing is None:
        return finding
    advice = ""
    for lines in _choices(known, finding):
        order = proof.failing.order
        if any(is_test(one) or known.graph.journeys[one].use for one in finding.guilty):
            order = proof.passing.order  # these cannot be replayed: pytest brings them into the run
        seen = yield replace(proof.failing, order=order, lines=lines, probes=False)
        if seen.refused:
            advice = advice or f"{lines[-1].key}: [{lines[-1].token}] is refused: {seen.refused}"
            continue
        if finding.code is Code.UNDECLARED_INVALIDATES:
            ended = not seen.void and all(end.outcome.establishes for end in seen.ends.values())
        else:
            ended = Passes(finding.journey).read(seen).holds is True
        if ended:
            return replace(finding, lines=lines, advice="")
        advice = advice or f"with {lines[-1].key}: [{lines[-1].token}] it fails all the same"
    return replace(finding, advice=advice)


def _choices(known: Known, finding: Finding) -> Iterator[tuple[Line, ...]]:
    journey = finding.journey
    if finding.code is Code.UNDECLARED_INVALIDATES:
        yield (Line(journey, "invalidates", finding.token),)
        return
    known_tokens = {one: _tokens_of(known, one) for one in finding.guilty}
    if all(known_tokens.values()):
        yield tuple(Line(journey, "requires", tokens[0]) for tokens in known_tokens.values())
    made: list[Line] = []
    needed: list[Line] = []
    for one in finding.guilty:
        token = _new_token(known, one)
        made.append(Line(one, "establishes", token))
        needed.append(Line(journey, "requires", token))
    yield (*made, *needed)


def _tokens_of(known: Known, journey: JourneyId) -> list[Token]:
    """Return the tokens that mean what a journey does, those that nothing else establishes first."""
    graph = known.graph
    tokens = [
        token
        for token in graph.journeys[journey].establishes
        if graph.scope_of(token) is Scope.CHAIN and not is_of_a_test(token)
    ]
    return sorted(tokens, key=lambda token: len(graph.establishing(token)) > 1)


def _new_token(known: Known, journey: JourneyId) -> Token:
    """Return a name for what a journey leaves, as `ID-done`, that no other token has."""
    name = journey.rpartition("::")[2] if is_test(journey) else journey
    if known.graph.journeys[journey].matrix:
        name = name.partition("[")[0]  # one line in the file is that of all instances
    stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "journey"
    token, number = Token(f"{stem}-done"), 2
    while known.graph.is_known(token):
        token, number = Token(f"{stem}-done-{number}"), number + 1
    return token
