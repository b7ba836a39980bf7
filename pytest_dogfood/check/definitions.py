"""Findings on the definitions of tokens: unused, without a probe, or with nearly the name of another token."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator

from pytest_dogfood.check.errors import tokens_named_by, users_in
from pytest_dogfood.check.fleet import doubts_about_the_fleet
from pytest_dogfood.diagnostics import Diagnostic, Location, nearest, remark, warning
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Capability, Scope, Token, base_of, is_of_a_test
from pytest_dogfood.outcomes import listed

_DIGITS = re.compile(r"\d")

Mentioned = Callable[[Collection[Token]], Collection[Token]]
"""Returns those of some tokens that Python files mention."""


def doubtful_definitions(
    graph: CapabilityGraph, mentioned: Mentioned | None, *, is_whole: bool
) -> Iterator[Diagnostic]:
    """Yield findings on each definition: without a probe, unused, or with a wider scope than its needs."""
    required = {token for journey in graph.journeys.values() for token in graph.needed_by(journey)}
    required |= {base_of(token) for token in required}
    made = {base_of(token) for token in graph.establishers}
    for token, capability in graph.capabilities.items():
        yield from doubts_about_the_fleet(graph, capability)
        if capability.probe is None and capability.scope is not Scope.FLEET:
            message = f"{token!r} has no probe: it is taken on trust that it is present"
            hint = "add 'probe:', a command that exits 0 if and only if the token is present"
            yield remark(capability.location, "no-probe", message, hint)
        if token not in required:
            near = _nearest_token(token, required)
            # If Python tests are not known, report only misspellings.
            is_slip = near and is_whole and token not in made
            if mentioned is None or (is_slip and not mentioned((token,))):
                yield _unused_definition(graph, capability, near)
        tied = [need for need in graph.needs_of_provider(token) if graph.scope_of(need) is Scope.CHAIN]
        if capability.scope is Scope.MACHINE and tied:
            named = (capability.requires[need] for need in tied if need in capability.requires)
            message = f"{token!r} has scope 'machine', but its provider needs {listed(tied)}, "
            message += "which has scope 'chain'"
            hint = "give the tokens it needs scope 'machine' too, or let the provider set them up itself"
            yield warning(next(named, capability.location), "machine-needs-chain", message, hint)


def _unused_definition(graph: CapabilityGraph, capability: Capability, near: str) -> Diagnostic:
    """Return a remark on an unused definition; a warning if it was probably meant for a token without one."""
    message = f"nothing requires {capability.token!r}"
    if near and graph.capability(Token(near)) is None:
        hint = f"did you mean {near!r}? That is required, and no file defines it"
        return warning(capability.location, "nobody-requires", message, hint)
    hint = "remove it, or add it to 'requires:' of the journeys that need it"
    if near:
        hint = f"did you mean {near!r}? Else {hint}"
    return remark(capability.location, "nobody-requires", message, hint)


def _nearest_token(token: Token, known: Iterable[Token]) -> str:
    """Return the token with nearly the same name; names that differ only in digits are not misspellings."""
    alike = [one for one in known if _DIGITS.sub("", one) != _DIGITS.sub("", token)]
    return nearest(token, alike, likeness=0.8)


def undefined_tokens(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    """Yield one remark per file on the tokens that it establishes and that no file defines: they have no probe."""
    places: dict[str, dict[Token, Location]] = defaultdict(dict)
    for token, establishers in graph.establishers.items():
        if graph.capability(token) is None and not is_of_a_test(token):
            place = graph.journeys[establishers[0][0]].establishes[token]
            places[place.path].setdefault(base_of(token), place)
    for tokens in places.values():
        names = listed(map(repr, map(str, tokens)), most=len(tokens))
        have, they_are, each = ("has", "it is", "it") if len(tokens) == 1 else ("have", "they are", "each")
        message = f"{names} {have} no definition, so no probe: {they_are} taken on trust"
        hint = f"define {each} under 'capabilities:' with a 'probe:', "
        hint += "a command that exits 0 if and only if the token is present"
        yield remark(min(tokens.values()), "no-probe", message, hint)


def fixtures_for_unknown_tokens(graph: CapabilityGraph) -> Iterator[Diagnostic]:
    """Warn of a fixture whose token is not used or defined, if a defined one has nearly the same name."""
    used = {token for journey in graph.journeys.values() for token in graph.needed_by(journey)}
    for token, fixture in graph.fixtures.items():
        near = "" if token in used or graph.capability(token) else nearest(token, graph.capabilities)
        if near:
            place = graph.capabilities[Token(near)].location
            message = f"fixture {fixture!r} provides {token!r}, which no file defines"
            yield warning(place, "unknown-token", message, f"did you mean {near!r}?")


def misspelt_tokens(graph: CapabilityGraph, mentioned: Mentioned | None) -> Iterator[Diagnostic]:
    """Warn of a token that is not used, if one with nearly the same name is defined and has no source."""
    made = {base_of(token) for token in (*graph.establishers, *graph.fixtures)}
    orphans = [
        token
        for token, capability in graph.capabilities.items()
        if token not in made and not (capability.provision or capability.service)
    ]
    used = {base_of(token) for user in users_in(graph) for token, _ in tokens_named_by(user)}
    for journey in graph.journeys.values() if orphans else ():
        for token, place in journey.establishes.items():
            base = base_of(token)
            if base in used or graph.capability(token) is not None or is_of_a_test(token):
                continue
            near = _nearest_token(base, orphans)
            if near and not (mentioned and mentioned((Token(near), token))):
                message = f"{journey.id!r} establishes {token!r}, which nothing requires and no file defines"
                hint = f"did you mean {near + token.removeprefix(base)!r}? "
                hint += f"Nothing establishes or provides {near!r}"
                yield warning(place, "unknown-token", message, hint)
